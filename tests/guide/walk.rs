//! Follows a guide: writes its files, runs its commands by bash in a directory of their own, with
//! this machine's ports and paths in the place of the guide's, and compares what they print.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub)]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{
    expect::is_expected,
    script::{self, Run, Step, What},
};
use crate::support::process::{PROGRAM, free_port};

/// How long one command may take, and how long it is repeated where the guide says to wait.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a command is repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// Marks the processes that a guide has started.
const MARK: &str = "QUORATE_TEST_GUIDE";
/// What is run for each command: what it exported is there for the next one.
const SHELL: &str = r#"
[ ! -e .shell ] || . ./.shell
set -o pipefail
eval "$1"
status=$?
export -p >.shell
exit $status
"#;

/// A guide that is being followed; every process it started ends with it.
pub struct Walk {
    name: String,
    steps: Vec<Step>,
    dir: TempDir,
    /// This machine's port for each of the guide's.
    ports: BTreeMap<String, u16>,
    /// Other words of the guide, and what stands in their place.
    words: Vec<(String, String)>,
    ran: usize,
}

impl Walk {
    /// Reads a guide of this repository.
    pub fn open(name: &str) -> Self {
        Self::of(name, &text_of(name))
    }

    /// As [`Walk::open`], of a text that has other commands too, which are not tried.
    pub fn open_partly(name: &str) -> Self {
        let text = text_of(name);
        Self::with(name, &text, script::read_consoles(name, &text))
    }

    /// As [`Walk::open`], of a text.
    pub fn of(name: &str, text: &str) -> Self {
        Self::with(name, text, script::read(name, text))
    }

    fn with(name: &str, text: &str, steps: Vec<Step>) -> Self {
        Self {
            name: name.to_owned(),
            steps,
            dir: TempDir::with_prefix("quorate-guide-").unwrap(),
            ports: ports(text),
            words: Vec::new(),
            ran: 0,
        }
    }

    /// Where the guide's files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// This machine's port in the place of one that the guide has as `127.0.0.1:PORT`.
    pub fn port(&self, port: u16) -> u16 {
        let found = self.ports.get(&port.to_string());
        *found.unwrap_or_else(|| panic!("{} has no 127.0.0.1:{port}", self.name))
    }

    /// Has a port of the guide stand for one that is known already.
    pub fn set_port(&mut self, port: u16, here: u16) {
        self.ports.insert(port.to_string(), here);
    }

    /// Has a word of the guide stand for another.
    pub fn set_word(&mut self, word: &str, here: &str) {
        self.words.push((word.to_owned(), here.to_owned()));
    }

    /// Runs a command that the guide takes for done.
    pub fn prepare(&self, command: &str) {
        let (status, printed) = self.shell(command);
        assert!(status.is_some_and(|status| status.success()), "{command}: {status:?}: {printed}");
    }

    /// Commands that are not tried.
    pub fn by_hand(&self) -> Vec<&str> {
        let commands = self.steps.iter().filter_map(|step| match &step.what {
            What::ByHand(command) => Some(command.as_str()),
            _ => None,
        });
        commands.collect()
    }

    /// Does everything that the guide says. Returns how many commands were run.
    pub fn follow(&mut self) -> usize {
        for step in self.steps.clone() {
            self.take(&step);
        }
        self.ran
    }

    /// As [`Walk::follow`], up to the first command that begins with these words, which is left
    /// for later.
    pub fn follow_until(&mut self, words: &str) {
        let here =
            |step: &Step| matches!(&step.what, What::Run(run) if run.command.starts_with(words));
        let at = self.steps.iter().position(here);
        let at = at.unwrap_or_else(|| panic!("{} has no command {words}", self.name));
        let rest = self.steps.split_off(at);
        for step in std::mem::replace(&mut self.steps, rest) {
            self.take(&step);
        }
    }

    fn take(&mut self, step: &Step) {
        match &step.what {
            What::ByHand(_) => {}
            What::Write { name, text } => {
                fs::write(self.dir().join(name), self.put_in_place(text)).unwrap();
            }
            What::Run(run) => {
                self.run(step.line, run);
                self.ran += 1;
            }
        }
    }

    fn run(&self, line: usize, run: &Run) {
        let command = self.put_in_place(&run.command);
        let expected: Vec<String> =
            run.expected.iter().map(|line| self.put_in_place(line)).collect();
        let begun = Instant::now();
        loop {
            let (status, printed) = self.shell(&command);
            let is_well = status.is_some_and(|status| status.success())
                && is_expected(&expected, &printed, run.is_rough);
            if is_well {
                eprintln!("{}:{line}: {:.1?}", self.name, begun.elapsed());
                return;
            }
            assert!(
                run.is_repeated && begun.elapsed() < PATIENCE,
                "{}:{line}: $ {command}\n{}\n--- the guide says\n{}\n--- it printed\n{printed}",
                self.name,
                status.map_or("it does not end".to_owned(), |status| status.to_string()),
                expected.join("\n"),
            );
            sleep(PAUSE);
        }
    }

    /// Runs a command as somebody at a terminal would; both outputs in one.
    fn shell(&self, command: &str) -> (Option<ExitStatus>, String) {
        let path = self.dir().join(".printed");
        let printed = File::create(&path).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-c", SHELL, "bash", command]).current_dir(self.dir());
        bash.env_clear().env("PATH", programs()).env("HOME", self.dir()).env(MARK, self.dir());
        bash.env("LC_ALL", "C.UTF-8");
        bash.stdin(Stdio::null()).stdout(printed.try_clone().unwrap()).stderr(printed);
        // Where `quorate ctl` looks if nobody says anything else.
        if let Some(port) = self.ports.get("7799") {
            bash.env("QUORATE_ENDPOINT", format!("http://127.0.0.1:{port}"));
        }
        let status = wait(bash.spawn().unwrap(), Instant::now() + PATIENCE);
        (status, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned())
    }

    /// This machine's ports and words instead of the guide's.
    fn put_in_place(&self, text: &str) -> String {
        let (mut done, mut number) = (String::new(), String::new());
        for letter in text.chars().map(Some).chain([None]) {
            match letter.filter(char::is_ascii_digit) {
                Some(digit) => number.push(digit),
                None => {
                    match self.ports.get(&number) {
                        Some(port) => done.push_str(&port.to_string()),
                        None => done.push_str(&number),
                    }
                    number.clear();
                    done.extend(letter);
                }
            }
        }
        self.words.iter().fold(done, |text, (word, here)| text.replace(word, here))
    }
}

fn text_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits for a process; ends it when the time is over.
fn wait(mut child: Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        sleep(Duration::from_millis(5));
    }
}

/// The ports of this machine that a guide names, each with a free one.
fn ports(text: &str) -> BTreeMap<String, u16> {
    let addresses = text.split("127.0.0.1:").skip(1);
    let ports = addresses.map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    let ports: std::collections::BTreeSet<String> = ports.filter(|port| !port.is_empty()).collect();
    ports.into_iter().map(|port| (port, free_port())).collect()
}

/// Where commands are found: the program under test before everything else, and after everything
/// else what `scripts/setup test` puts beside it.
pub fn programs() -> String {
    let here = Path::new(PROGRAM).parent().unwrap();
    let tools = here.parent().unwrap().join("tools/bin");
    let system = std::env::var("PATH").unwrap();
    format!("{}:{system}:{}", here.display(), tools.display())
}

/// Processes whose environment has the mark of this directory.
fn started_in(dir: &Path) -> Vec<Pid> {
    let mark = format!("{MARK}={}", dir.display());
    let is_ours = |proc: &PathBuf| {
        let environment = fs::read(proc.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        is_ours(&path).then(|| Pid::from_raw(pid))
    });
    found.collect()
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
                if file.path().extension().is_some_and(|extension| extension == "log") {
                    let log = fs::read_to_string(file.path()).unwrap_or_default();
                    let lines: Vec<&str> = log.lines().collect();
                    let last = lines[lines.len().saturating_sub(15)..].join("\n");
                    eprintln!("--- {} ends with\n{last}", file.path().display());
                }
            }
        }
        // One that is just being started is found by the next look.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = started_in(self.dir());
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            for pid in left {
                let _ = kill(pid, Signal::SIGKILL);
            }
            sleep(Duration::from_millis(20));
        }
    }
}
