//! The directory of a cluster on loopback: data, logs, process ids, and the shape it was made with.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// File with the shape of the cluster.
const SHAPE: &str = "dev.json";

/// What cannot change between two runs: the replicas know each other by it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    replicas: u16,
    base_port: u16,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    /// Makes or takes up the directory.
    ///
    /// # Errors
    /// If it has a cluster of another shape, or one that still runs.
    pub(super) fn take(root: &Path, replicas: u16, base_port: u16) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let place = Self { root: root.canonicalize()? };
        for id in 1..=replicas {
            if let Some(pid) = place.running(id) {
                return Err(io::Error::other(format!(
                    "replica {id} in {} runs already as process {pid}; stop it first",
                    place.root.display()
                )));
            }
            place.forget_pid(id);
        }
        place.check_shape(&Shape { replicas, base_port })?;
        Ok(place)
    }

    fn check_shape(&self, wanted: &Shape) -> io::Result<()> {
        let path = self.root.join(SHAPE);
        match fs::read(&path) {
            Ok(bytes) => {
                let found: Shape = serde_json::from_slice(&bytes)?;
                if found == *wanted {
                    return Ok(());
                }
                let Shape { replicas, base_port } = found;
                Err(io::Error::other(format!(
                    "{} has {replicas} replicas on base port {base_port}; give the same \
                     --replicas and --base-port, or another --data-dir",
                    self.root.display()
                )))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(path, serde_json::to_vec(wanted)?)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data_dir(&self, id: u16) -> PathBuf {
        self.root.join(format!("replica-{id}"))
    }

    pub(super) fn log(&self, id: u16) -> PathBuf {
        self.root.join(format!("replica-{id}.log"))
    }

    pub(super) fn open_log(&self, id: u16) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log(id))
    }

    fn pid_file(&self, id: u16) -> PathBuf {
        self.root.join(format!("replica-{id}.pid"))
    }

    pub(super) fn write_pid(&self, id: u16, pid: i32) -> io::Result<()> {
        fs::write(self.pid_file(id), format!("{pid}\n"))
    }

    pub(super) fn has_pid(&self, id: u16) -> bool {
        self.pid_file(id).exists()
    }

    pub(super) fn forget_pid(&self, id: u16) {
        // It may be gone already, which is what is wanted.
        drop(fs::remove_file(self.pid_file(id)));
    }

    /// The process behind a pid file, if it is still this replica. Process ids are reused, so a
    /// file left by a crash may name a stranger.
    fn running(&self, id: u16) -> Option<i32> {
        let pid = fs::read_to_string(self.pid_file(id)).ok()?.trim().parse().ok()?;
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let data_dir = format!("--data-dir={}", self.data_dir(id).display());
        command_line.split(|&byte| byte == 0).any(|part| part == data_dir.as_bytes()).then_some(pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_shape_and_survives_stale_pid_files() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::take(dir.path(), 3, 7799).unwrap();
        // A process that exists and is not a replica: this one.
        place.write_pid(1, i32::try_from(std::process::id()).unwrap()).unwrap();
        let place = Place::take(dir.path(), 3, 7799).unwrap();
        assert!(!place.has_pid(1));
        let error = Place::take(dir.path(), 5, 7799).unwrap_err().to_string();
        assert!(error.contains("3 replicas"), "{error}");
    }
}
