//! A private Docker daemon: its own socket, data and pid file in a directory that goes with it, and
//! one tiny image made on the spot, since there is no registry to ask.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The image every daemon has.
pub const IMAGE: &str = "quorate-test:1";
/// A static program that is a shell and a server in one; Debian's package `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";
/// How long a daemon may take to come or go.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A daemon that ends with the value, with all its containers.
pub struct Docker {
    dir: TempDir,
    daemon: Option<Child>,
    subnet: u32,
}

impl Docker {
    /// Starts a daemon and gives it the image. Panics with what is missing if there cannot be one.
    pub fn start() -> Self {
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
        let mut docker = Self { dir, daemon: None, subnet };
        docker.up();
        docker.import_image();
        docker
    }

    /// `unix://…`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path("s").display())
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
        command.args(["--host", &self.url()]).arg("--pidfile").arg(pidfile);
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
        let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let until = Instant::now() + PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
            sleep(PAUSE);
        }
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

    fn import_image(&self) {
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
}

impl Drop for Docker {
    fn drop(&mut self) {
        if self.daemon.is_some() {
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
