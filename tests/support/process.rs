//! One replica as a process of its own.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_quorate");

/// Ports are handed out below the range the system uses for outgoing connections, so that a
/// replica that was killed finds its port free when it is started again.
const PORTS_FROM: u32 = 15_000;
/// Ports of a block.
const BLOCK_PORTS: u32 = 340;
const BLOCKS: u32 = 50;

/// A replica that may run or not.
pub struct Replica {
    /// Its id.
    pub id: u64,
    /// Its client address, `127.0.0.1:port`.
    pub client_addr: String,
    /// Its peer address, `127.0.0.1:port`.
    pub peer_addr: String,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    wrapper: Vec<String>,
    program: String,
    child: Option<Child>,
}

impl Replica {
    /// Describes a replica; does not start it.
    pub fn new(id: u64, dir: &Path) -> Self {
        Self::on("127.0.0.1", id, dir)
    }

    /// As [`Replica::new`], on another address of this machine.
    pub fn on(host: &str, id: u64, dir: &Path) -> Self {
        Self {
            id,
            client_addr: format!("{host}:{}", free_port()),
            peer_addr: format!("{host}:{}", free_port()),
            data_dir: dir.join(format!("replica-{id}")),
            log: dir.join(format!("replica-{id}.log")),
            args: Vec::new(),
            wrapper: Vec::new(),
            program: PROGRAM.to_owned(),
            child: None,
        }
    }

    /// Sets the flags of `quorate serve`, the same for every start.
    pub fn set_args(&mut self, args: Vec<String>) {
        self.args = args;
    }

    /// The flags of `quorate serve`.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Has another program started from now on.
    pub fn set_program(&mut self, program: String) {
        self.program = program;
    }

    /// Changes the flags for the next start.
    pub fn change_args(&mut self, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.args);
    }

    /// Adds flags of `quorate serve`.
    pub fn add_args(&mut self, args: &[&str]) {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
    }

    /// Has the process started by another program, which is given the command line of the
    /// replica after these words.
    pub fn set_wrapper(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// Id of the running process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the replica runs").id()
    }

    /// Base URL of its client port.
    pub fn url(&self) -> String {
        format!("http://{}", self.client_addr)
    }

    /// Starts the process. It must not be running.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "replica {} runs already", self.id);
        let program = [self.program.clone()];
        let mut words = self.wrapper.iter().chain(&program);
        let child = Command::new(words.next().expect("a program"))
            .args(words)
            .arg("serve")
            .args(&self.args)
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(self.log_file()))
            .stderr(Stdio::from(self.log_file()))
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none() && self.child.is_some()
    }

    /// The exit status, once the process has ended by itself.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("the process can be asked"))
    }

    /// Waits until the process has ended by itself.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.exit_status() {
                self.child = None;
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Ends the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the process can be killed");
            child.wait().expect("the process ends");
        }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the replica runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
        kill(pid, signal).expect("the process takes signals");
    }

    /// What the process has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_file(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.log).expect("a log file")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop_at_once();
    }
}

impl Replica {
    /// Ends the process, also one that stands still.
    pub fn stop_at_once(&mut self) {
        if let Some(child) = &self.child {
            // A stopped process cannot be waited for.
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
            let _ = kill(pid, Signal::SIGCONT);
        }
        self.kill();
    }
}

/// A port nobody listens on, of a block that no other process of these tests takes ports from: one
/// whose replica was killed must not be found by a stranger before it is started again.
pub fn free_port() -> u16 {
    static BLOCK: OnceLock<(File, u32)> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (_lock, block) = BLOCK.get_or_init(own_block);
    for _ in 0..BLOCK_PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % BLOCK_PORTS;
        let port = u16::try_from(PORTS_FROM + block * BLOCK_PORTS + step).expect("a port number");
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return port,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("no port can be had: {error}"),
        }
    }
    panic!("no port is free");
}

/// Locks a block for as long as this process lives.
fn own_block() -> (File, u32) {
    let dir = std::env::temp_dir().join("quorate-test-ports");
    std::fs::create_dir_all(&dir).expect("a directory for the locks of ports");
    for step in 0..BLOCKS {
        let block = std::process::id().wrapping_add(step) % BLOCKS;
        let path = dir.join(block.to_string());
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        match file.try_lock() {
            Ok(()) => return (file, block),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => panic!("{}: {error}", path.display()),
        }
    }
    panic!("{BLOCKS} processes run tests already");
}
