//! The layer between a replica and the system: what it can be told, from outside the process.
//!
//! The layer itself is `shim.c`, compiled with the system's C compiler when a site starts.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/shim.c");

/// One thing the layer can be told; the order is that of `shim.c`.
#[derive(Clone, Copy, Debug)]
enum Place {
    SyncErrno,
    WriteErrno,
    SyncDelayUs,
    SyncHangs,
    ClockMs,
    Tear,
    Hits,
}

/// What fails a write or a sync.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The disk is broken.
    Broken,
    /// The disk is full.
    Full,
}

impl Failure {
    const fn errno(self) -> i64 {
        match self {
            Self::Broken => 5,
            Self::Full => 28,
        }
    }
}

/// The layer of one replica.
pub struct Shim {
    control: File,
    path: PathBuf,
}

impl Shim {
    /// A layer that does nothing yet.
    pub fn new(dir: &Path, id: u64) -> Self {
        let path = dir.join(format!("control-{id}"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let control = options.open(&path).expect("a control file");
        control.set_len(8 * (Place::Hits as u64 + 1)).expect("room for the control file");
        Self { control, path }
    }

    /// Words before a command line that put the layer under the program.
    pub fn wrapper(&self, library: &Path, id: u64, data_dir: &Path) -> Vec<String> {
        vec![
            "/usr/bin/env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("CHAOS_CONTROL={}", self.path.display()),
            format!("CHAOS_DATA={}/", data_dir.display()),
            format!("CHAOS_SOURCE={}", source(id)),
        ]
    }

    /// Syncs fail, or no longer.
    pub fn fail_syncs(&self, failure: Option<Failure>) {
        self.tell(Place::SyncErrno, failure.map_or(0, Failure::errno));
    }

    /// Writes fail, or no longer.
    pub fn fail_writes(&self, failure: Option<Failure>) {
        self.tell(Place::WriteErrno, failure.map_or(0, Failure::errno));
    }

    /// Every sync takes this much longer.
    pub fn delay_syncs(&self, by: Duration) {
        self.tell(Place::SyncDelayUs, i64::try_from(by.as_micros()).expect("a short delay"));
    }

    /// Syncs do not return, or do again.
    pub fn hang_syncs(&self, is_hanging: bool) {
        self.tell(Place::SyncHangs, i64::from(is_hanging));
    }

    /// The wall clock shows this many milliseconds more.
    pub fn move_clock(&self, ms: i64) {
        self.tell(Place::ClockMs, ms);
    }

    /// The next write to the log is cut in half, and the process ends with it.
    pub fn tear_next_write(&self, is_wanted: bool) {
        self.tell(Place::Tear, i64::from(is_wanted));
    }

    /// How often anything was done to the process; a test whose fault never struck is no test.
    pub fn hits(&self) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * Place::Hits as u64).expect("the control file");
        i64::from_ne_bytes(bytes)
    }

    /// Everything works again.
    pub fn heal(&self) {
        self.fail_syncs(None);
        self.fail_writes(None);
        self.delay_syncs(Duration::ZERO);
        self.hang_syncs(false);
        self.move_clock(0);
        self.tear_next_write(false);
    }

    fn tell(&self, place: Place, value: i64) {
        let at = 8 * place as u64;
        self.control.write_all_at(&value.to_ne_bytes(), at).expect("the control file");
    }
}

/// The address from which a replica calls the others.
pub fn source(id: u64) -> String {
    format!("127.0.1.{id}")
}

/// Compiles the layer; returns where it lies.
pub fn compile(dir: &Path) -> PathBuf {
    let library = dir.join("chaos-shim.so");
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(SOURCE)
        .output()
        .expect("a C compiler: these tests need one, called cc");
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "the layer does not compile: {complaint}");
    library
}
