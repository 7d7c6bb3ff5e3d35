//! Whose disk a data directory is: stamped once, before anything else, and never changed.

use std::{fmt::Write, path::Path};

use rand::TryRngCore;
use sha2::{Digest, Sha256};

use super::files::{create_dir, doing, read_if_there, write_whole};
use crate::{Config, ReplicaId, StartError};

/// Name of the identity file in the data directory.
pub(crate) const IDENTITY_FILE: &str = "identity";
/// First bytes of an identity file.
const MAGIC: &[u8; 8] = b"QUORATE\0";
/// Version of everything below the data directory.
pub(crate) const DISK_FORMAT: u16 = 1;
/// Magic, format, cluster, replica, incarnation, CRC.
const IDENTITY_BYTES: usize = 8 + 2 + 16 + 8 + 16 + 4;

/// Names a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Derived from the cluster's token: replicas of another cluster are strangers.
    pub(crate) cluster: [u8; 16],
    /// The replica this disk belongs to.
    pub(crate) replica_id: ReplicaId,
    /// Random bits drawn when the disk was new: a replica with another disk is another replica,
    /// because it has forgotten what it acknowledged.
    pub(crate) incarnation: [u8; 16],
}

impl Identity {
    /// The cluster's identity as people see it.
    pub(crate) fn cluster_id(&self) -> String {
        hex(&self.cluster)
    }

    /// Reads the identity of a data directory and compares it with the configuration; stamps the
    /// directory if it is empty.
    ///
    /// # Errors
    /// [`StartError::Foreign`] for the disk of another cluster or replica, [`StartError::Damaged`]
    /// for an identity that cannot be read or one that is missing beside data.
    pub(crate) fn claim(config: &Config) -> Result<Self, StartError> {
        let cluster = cluster_of(&config.cluster_token);
        let Some(found) = Self::read(&config.data_dir)? else {
            return Self::stamp(config, cluster);
        };
        if found.cluster != cluster || found.replica_id != config.replica_id {
            return Err(StartError::Foreign {
                path: config.data_dir.clone(),
                found: format!("replica {} of cluster {}", found.replica_id, found.cluster_id()),
                wanted: format!("replica {} of cluster {}", config.replica_id, hex(&cluster)),
            });
        }
        Ok(found)
    }

    /// Reads the identity of a data directory; `None` if it has none.
    ///
    /// # Errors
    /// [`StartError::Damaged`] for an identity that cannot be read.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Self>, StartError> {
        let path = data_dir.join(IDENTITY_FILE);
        let Some(bytes) = read_if_there(&path).map_err(doing("reading", &path))? else {
            return Ok(None);
        };
        let found = Self::decode(&bytes).map_err(|what| unreadable(&path, &what))?;
        Ok(Some(found))
    }

    /// An identity for a disk that never was: the incarnation is drawn now.
    ///
    /// # Errors
    /// [`StartError::Io`] if the system gives no random bits.
    pub(crate) fn new(cluster: [u8; 16], replica_id: ReplicaId) -> Result<Self, StartError> {
        Ok(Self { cluster, replica_id, incarnation: Self::draw()? })
    }

    /// Draws the random bits that name a disk.
    ///
    /// # Errors
    /// [`StartError::Io`] if the system has none.
    pub(crate) fn draw() -> Result<[u8; 16], StartError> {
        #[cfg(test)]
        if let Some(drawn) = crate::testing::sim::runtime::draw() {
            return Ok(drawn);
        }
        let mut incarnation = [0; 16];
        rand::rngs::OsRng.try_fill_bytes(&mut incarnation).map_err(|error| StartError::Io {
            doing: "drawing the random bits that name the disk failed".to_owned(),
            source: std::io::Error::other(error),
        })?;
        Ok(incarnation)
    }

    /// Writes the identity into a data directory, durably.
    ///
    /// # Errors
    /// [`StartError::Io`].
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), StartError> {
        let path = data_dir.join(IDENTITY_FILE);
        write_whole(&path, &self.encode()).map_err(doing("writing", &path))
    }

    fn stamp(config: &Config, cluster: [u8; 16]) -> Result<Self, StartError> {
        Self::check_empty(&config.data_dir)?;
        let identity = Self::new(cluster, config.replica_id)?;
        identity.write(&config.data_dir)?;
        Ok(identity)
    }

    /// Stamps an empty directory with the place a cluster has given this replica.
    ///
    /// # Errors
    /// [`StartError::Io`].
    pub(crate) fn stamp_as(
        config: &Config,
        replica_id: ReplicaId,
        incarnation: [u8; 16],
    ) -> Result<(), StartError> {
        let cluster = cluster_of(&config.cluster_token);
        Self { cluster, replica_id, incarnation }.write(&config.data_dir)
    }

    /// The replica a directory belongs to; `None` if it is not stamped.
    ///
    /// # Errors
    /// [`StartError::Damaged`] for an identity that cannot be read.
    pub(crate) fn replica_of(data_dir: &Path) -> Result<Option<ReplicaId>, StartError> {
        Ok(Self::read(data_dir)?.map(|found| found.replica_id))
    }

    /// Makes sure that a directory without an identity has nothing of a replica in it.
    ///
    /// # Errors
    /// [`StartError::Damaged`].
    pub(crate) fn check_empty(data_dir: &Path) -> Result<(), StartError> {
        let Some(stray) = first_data(data_dir) else { return Ok(()) };
        Err(StartError::Damaged(format!(
            "{} has {stray} but no identity file: this is not a data directory, or it lost \
             its identity; restore the file, or choose an empty directory",
            data_dir.display()
        )))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&DISK_FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.cluster);
        bytes.extend_from_slice(&self.replica_id.to_le_bytes());
        bytes.extend_from_slice(&self.incarnation);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((MAGIC, rest)) = bytes.split_first_chunk::<8>() else {
            return Err("is not an identity file".to_owned());
        };
        let (format, rest) = rest.split_first_chunk::<2>().ok_or("is cut off")?;
        let format = u16::from_le_bytes(*format);
        if format != DISK_FORMAT {
            return Err(format!(
                "has format {format}, this program knows {DISK_FORMAT}; run the program that wrote it"
            ));
        }
        let (cluster, rest) = rest.split_first_chunk::<16>().ok_or("is cut off")?;
        let (replica_id, rest) = rest.split_first_chunk::<8>().ok_or("is cut off")?;
        let (incarnation, rest) = rest.split_first_chunk::<16>().ok_or("is cut off")?;
        let sum = crc32c::crc32c(&bytes[..bytes.len() - rest.len()]);
        if rest != sum.to_le_bytes() {
            return Err("is damaged (its checksum does not hold)".to_owned());
        }
        Ok(Self {
            cluster: *cluster,
            replica_id: u64::from_le_bytes(*replica_id),
            incarnation: *incarnation,
        })
    }
}

fn unreadable(path: &Path, what: &str) -> StartError {
    StartError::Damaged(format!(
        "{} {what}: restore the file from a copy of this disk, or replace the replica under a new \
         id",
        path.display()
    ))
}

/// Creates the data directory.
///
/// # Errors
/// [`StartError::Io`].
pub(crate) fn create_data_dir(data_dir: &Path) -> Result<(), StartError> {
    create_dir(data_dir).map_err(doing("creating", data_dir))
}

/// The cluster's identity, from its token.
pub(crate) fn cluster_of(token: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"quorate cluster token\0");
    hash.update(token.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

/// Names a file that only a used data directory has.
fn first_data(data_dir: &Path) -> Option<&'static str> {
    ["raft", "mark", "snap", "recv", "recovery"]
        .into_iter()
        .find(|name| data_dir.join(name).exists())
}
