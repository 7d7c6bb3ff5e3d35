//! A private Docker daemon: its own socket, port, data and pid file in a directory that goes with
//! it, and one tiny image made on the spot, since there is no registry to ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use super::process::free_port;

/// The image every daemon has.
pub const IMAGE: &str = "quorate-test:1";
/// A static program that is a shell and a server in one; Debian's package `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";
/// How long a daemon may take to come or go.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What is special about a daemon.
#[derive(Clone, Debug, Default)]
pub struct DockerOptions {
    /// Its port wants TLS and a [`Docker::certificate`].
    pub is_tls: bool,
    /// Its data is on a disk of this many bytes.
    pub disk_bytes: Option<u64>,
    /// It starts without [`IMAGE`].
    pub is_bare: bool,
}

/// A daemon that ends with the value, with all its containers.
pub struct Docker {
    dir: TempDir,
    daemon: Option<Child>,
    options: DockerOptions,
    port: u16,
    subnet: u32,
}

impl Docker {
    /// Starts a daemon and gives it the image. Panics with what is missing if there cannot be one.
    pub fn start() -> Self {
        Self::start_with(DockerOptions::default())
    }

    /// As [`Docker::start`], but for what is special.
    pub fn start_with(options: DockerOptions) -> Self {
        for (program, package) in [("dockerd", "docker.io"), ("docker", "docker.io")] {
            assert!(
                find(program).is_some(),
                "these tests need {program}, which is not installed: run scripts/setup test, or \
                 install {package}"
            );
        }
        assert!(
            Path::new(BUSYBOX).exists(),
            "these tests need {BUSYBOX}: run scripts/setup test, or install busybox-static"
        );
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests start a Docker daemon of their own, which needs root"
        );
        let dir = TempDir::with_prefix("qdocker-").unwrap();
        // Daemons side by side must not give their networks the same addresses.
        let subnet = std::process::id() % 200 + 20;
        let mut docker = Self { dir, daemon: None, options, port: free_port(), subnet };
        if docker.options.is_tls {
            docker.write_certificates();
        }
        if let Some(bytes) = docker.options.disk_bytes {
            let data = docker.path("data");
            fs::create_dir_all(&data).unwrap();
            let size = format!("size={bytes}");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(data);
            assert!(mount.status().unwrap().success(), "a small disk is mounted");
        }
        docker.up();
        if !docker.options.is_bare {
            docker.import_image();
        }
        docker
    }

    /// `unix://…`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path("s").display())
    }

    /// `tcp://…`, on loopback; the same for every start.
    pub fn tcp_url(&self) -> String {
        format!("tcp://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// One of `ca.pem`, `cert.pem`, `key.pem`: for clients of a daemon that wants TLS.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Starts the daemon again after [`Docker::down`], with what it had.
    pub fn up(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs");
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let (pidfile, socket) = (self.path("pid"), self.path("s"));
        let _ = fs::remove_file(&pidfile);
        let _ = fs::remove_file(&socket);
        let mut command = match find("setpriv") {
            // The daemon goes when the test goes, however that ends.
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "TERM", "dockerd"]);
                command
            }
            None => Command::new("dockerd"),
        };
        let pool = format!("base=10.{}.0.0/16,size=24", self.subnet);
        command.args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        command.args(["--bridge=none", "--default-address-pool", &pool]);
        command.args(["--host", &self.url(), "--host", &self.tcp_url()]);
        if self.options.is_tls {
            command.arg("--tlsverify");
            for (flag, name) in
                [("--tlscacert", "ca.pem"), ("--tlscert", "cert.pem"), ("--tlskey", "key.pem")]
            {
                command.arg(flag).arg(self.path(name));
            }
        } else {
            command.arg("--tls=false");
        }
        command.arg("--pidfile").arg(pidfile);
        command.arg("--data-root").arg(self.path("data"));
        command.arg("--exec-root").arg(self.path("exec"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().expect("dockerd starts"));
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "no Docker daemon can run here ({ended:?}); it says:\n{}",
                self.log()
            );
            sleep(PAUSE);
        }
    }

    /// Ends the daemon; its containers end with it and stay on its disk.
    pub fn down(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = pid_of(&daemon);
        let _ = kill(pid, Signal::SIGCONT);
        let _ = kill(pid, Signal::SIGTERM);
        let until = Instant::now() + PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
            sleep(PAUSE);
        }
        self.end_what_is_left();
    }

    /// Ends the daemon at once, as `kill -9` does; its containers go on.
    pub fn crash(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        // The container engine dies with the daemon. Where nobody collects dead orphans, the next
        // daemon would take its number for a sign of life.
        let _ = fs::remove_file(self.path("exec/containerd/containerd.pid"));
    }

    /// The daemon does nothing more, but whoever connects to it is let in.
    pub fn freeze(&self) {
        let pid = pid_of(self.daemon.as_ref().expect("the daemon runs"));
        kill(pid, Signal::SIGSTOP).unwrap();
        // Its threads stop one after another; one that is still at it would answer.
        let until = Instant::now() + PATIENCE;
        while !threads_are_stopped(pid) {
            assert!(Instant::now() < until, "the daemon does not stop");
            sleep(PAUSE);
        }
    }

    /// The daemon goes on where it was.
    pub fn thaw(&self) {
        kill(pid_of(self.daemon.as_ref().expect("the daemon runs")), Signal::SIGCONT).unwrap();
    }

    /// Leaves nothing of the small disk that the daemon has.
    pub fn fill_disk(&self) {
        assert!(self.options.disk_bytes.is_some(), "only a small disk is filled");
        let mut file = File::create(self.path("data/full")).unwrap();
        let chunk = vec![0_u8; 4_096];
        while file.write_all(&chunk).is_ok() {}
    }

    /// Takes back what [`Docker::fill_disk`] did.
    pub fn clear_disk(&self) {
        fs::remove_file(self.path("data/full")).unwrap();
    }

    /// Runs the client and returns what it prints. Panics if it fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    /// Runs the client.
    pub fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("docker").args(["-H", &self.url()]).args(arguments).output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Names and states of the containers with a label, sorted: `NAME running`.
    pub fn containers(&self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        let format = "{{.Names}} {{.State}}";
        let found = self.docker(&["ps", "-a", "--filter", &filter, "--format", format]);
        let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
        found.sort();
        found
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn answers(&self) -> bool {
        self.try_docker(&["version"]).is_ok()
    }

    /// Gives the daemon [`IMAGE`].
    pub fn import_image(&self) {
        let root = self.path("image");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        let archive = self.path("image.tar");
        let packed =
            Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
        assert!(packed.unwrap().success(), "the image is packed");
        self.docker(&["import", archive.to_str().unwrap(), IMAGE]);
    }

    /// Somebody who vouches for daemon and clients, and a certificate that does for both.
    fn write_certificates(&self) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "daemons");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(self.path("ca.pem"), issuer.pem()).unwrap();
        fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
    }

    /// Kills what a daemon that did not end in order has left: its container engine, the keepers
    /// of its containers, and what they keep.
    fn end_what_is_left(&self) {
        let dir = self.dir.path().to_str().unwrap();
        let parents = processes();
        let own = std::process::id();
        let mut doomed: BTreeSet<u32> = parents
            .keys()
            .copied()
            .filter(|pid| *pid != own && command_line(*pid).contains(dir))
            .collect();
        loop {
            let known = doomed.len();
            let children = parents.iter().filter(|(_, parent)| doomed.contains(parent));
            let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
            doomed.extend(children);
            if doomed.len() == known {
                break;
            }
        }
        for pid in doomed {
            let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
        }
    }
}

fn pid_of(daemon: &Child) -> Pid {
    Pid::from_raw(i32::try_from(daemon.id()).unwrap())
}

/// Every process and its parent.
fn processes() -> BTreeMap<u32, u32> {
    let found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may have blanks; the parent is the second word after it.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    });
    found.collect()
}

fn threads_are_stopped(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let is_stopped = |thread: PathBuf| {
        let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"))
    };
    threads.into_iter().all(|thread| is_stopped(thread.unwrap().path()))
}

fn command_line(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).into_owned()
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            let _ = kill(pid_of(daemon), Signal::SIGCONT);
            if let Ok(all) = self.try_docker(&["ps", "-aq"])
                && !all.is_empty()
            {
                let mut arguments = vec!["rm", "-f"];
                arguments.extend(all.lines());
                let _ = self.try_docker(&arguments);
            }
            let _ = self.try_docker(&["network", "prune", "-f"]);
        }
        self.down();
        self.end_what_is_left();
        unmount(self.dir.path());
    }
}

/// Takes away what is still mounted below a directory, deepest first.
fn unmount(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let dir = dir.to_str().unwrap();
    let mut below: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| path.starts_with(dir))
        .collect();
    below.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in below {
        let _ = Command::new("umount").args(["-l", path]).status();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A command that serves a port in every container and stops when asked to.
pub fn serving(port: u16) -> Vec<String> {
    let script = format!(
        "trap 'exit 0' TERM; /bin/busybox nc -ll -p {port} -e /bin/busybox cat & \
         while :; do wait; done"
    );
    ["/bin/busybox", "sh", "-c", &script].map(str::to_owned).to_vec()
}
