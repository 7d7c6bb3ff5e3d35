//! Follows the operations guide: reads the code blocks of a section, puts this machine's paths and
//! ports in the place of the guide's, and runs the commands one after another.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use toml::Table;

use crate::support::{
    cluster::{Cluster, PATIENCE},
    process::PROGRAM,
};

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub is_ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The refusal of a command that failed, which is one line.
    pub fn one_sentence(&self) -> String {
        assert!(!self.is_ok, "it was carried out: {}", self.stdout);
        assert_eq!(self.stderr.trim().lines().count(), 1, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        self.stderr.trim().to_owned()
    }

    /// The value beside a name in a table of two columns.
    pub fn row(&self, name: &str) -> String {
        assert!(self.is_ok, "{}", self.stderr);
        let row = self.stdout.lines().find_map(|line| line.strip_prefix(name));
        row.unwrap_or_else(|| panic!("no {name} in {}", self.stdout)).trim().to_owned()
    }
}

/// Runs the program to its end.
pub fn quorate(words: &[&str]) -> Said {
    run(words, &BTreeMap::new())
}

fn run(words: &[&str], environment: &BTreeMap<String, String>) -> Said {
    let mut command = Command::new(PROGRAM);
    command.args(words).env_clear().envs(environment).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        is_ok: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Name and content of every file of a directory, the lock aside, which is never written.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

/// A code block of the guide.
#[derive(Clone, Debug)]
enum Block {
    Commands(Vec<String>),
    Configuration(String),
}

/// The code blocks of the guide by the title of their section.
pub struct Guide(BTreeMap<String, Vec<Block>>);

impl Guide {
    /// Reads the guide.
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let text = fs::read_to_string(path).unwrap();
        let mut sections: BTreeMap<String, Vec<Block>> = BTreeMap::new();
        let (mut title, mut fence, mut block) = (String::new(), None, Vec::new());
        for line in text.lines() {
            match (line.strip_prefix("```"), &fence) {
                (Some(language), None) => fence = Some(language.to_owned()),
                (Some(_), Some(language)) => {
                    let lines = std::mem::take(&mut block);
                    let found = match language.as_str() {
                        "sh" => Some(Block::Commands(lines)),
                        "toml" => Some(Block::Configuration(lines.join("\n"))),
                        _ => None,
                    };
                    sections.entry(title.clone()).or_default().extend(found);
                    fence = None;
                }
                (None, Some(_)) => block.push(line.to_owned()),
                (None, None) if line.starts_with('#') => {
                    line.trim_start_matches('#').trim().clone_into(&mut title);
                }
                (None, None) => {}
            }
        }
        Self(sections)
    }

    fn section(&self, title: &str) -> &[Block] {
        let blocks = self.0.get(title).map(Vec::as_slice).unwrap_or_default();
        assert!(!blocks.is_empty(), "the guide has no commands under {title}");
        blocks
    }

    /// The configuration that the guide founds a cluster with.
    fn founding(&self) -> String {
        let blocks = self.section("Found a cluster").iter();
        let mut texts = blocks.filter_map(|block| match block {
            Block::Configuration(text) => Some(text.clone()),
            Block::Commands(_) => None,
        });
        texts.next().unwrap()
    }
}

/// Replicas as the guide has them, on this machine.
pub struct Site {
    pub cluster: Cluster,
    place: tempfile::TempDir,
    founding: String,
    /// What was changed of each replica's configuration since.
    changes: BTreeMap<u64, Table>,
    environment: BTreeMap<String, String>,
    count: u64,
}

impl Site {
    /// Starts replicas with the guide's configuration; the peers are the first `count` of it.
    pub async fn start(guide: &Guide, count: u64) -> Self {
        let mut site = Self {
            cluster: Cluster::prepare(count, &[]),
            place: tempfile::tempdir().unwrap(),
            founding: guide.founding(),
            changes: BTreeMap::new(),
            environment: BTreeMap::new(),
            count,
        };
        fs::create_dir(site.place.path().join("backups")).unwrap();
        for id in 1..=count {
            site.serve(id);
        }
        site.cluster.wait_all_ready().await;
        site
    }

    /// A replica's present configuration.
    pub fn config(&self, id: u64) -> Table {
        let mut config: Table = self.put_in_place(id, &self.founding).parse().unwrap();
        config.insert("replica_id".to_owned(), i64::try_from(id).unwrap().into());
        let peers = config["peers"].as_array_mut().unwrap();
        peers.truncate(usize::try_from(self.count).unwrap());
        config.extend(self.changes.get(&id).cloned().unwrap_or_default());
        config
    }

    /// Carries out what the guide says under a title; returns everything that was printed.
    pub async fn follow(&mut self, guide: &Guide, title: &str) -> String {
        let mut printed = String::new();
        let mut here = 1;
        for block in guide.section(title) {
            match block {
                Block::Configuration(text) => {
                    let change: Table = self.put_in_place(here, text).parse().unwrap();
                    self.changes.entry(here).or_default().extend(change);
                }
                Block::Commands(lines) => {
                    for line in lines {
                        self.step(line, &mut here, &mut printed).await;
                    }
                }
            }
        }
        printed
    }

    async fn step(&mut self, line: &str, here: &mut u64, printed: &mut String) {
        if let Some(note) = line.strip_prefix('#') {
            if let Some(id) = note.trim().strip_prefix("on replica ") {
                *here = id.parse().unwrap();
            }
            return;
        }
        let line = self.put_in_place(*here, line);
        let words: Vec<String> = words(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["export", setting] => {
                let (name, value) = setting.split_once('=').unwrap();
                self.environment.insert(name.to_owned(), value.to_owned());
            }
            ["test", "!", "-e", found, "||", "mv", from, to] => {
                assert_eq!(found, from);
                if Path::new(found).exists() {
                    fs::rename(from, to).unwrap();
                }
            }
            ["quorate", "serve", "--config", _] => {
                self.serve(*here);
                self.cluster.wait_ready(*here).await;
            }
            ["quorate", ref rest @ ..] => {
                let said = run(rest, &self.environment);
                assert!(said.is_ok, "{line}: {}", said.stderr);
                printed.push_str(&said.stdout);
            }
            _ => panic!("the guide has a command this test cannot run: {line}"),
        }
    }

    /// Runs a replica that is expected to refuse its start, and returns what it says.
    pub fn serve_once(&self, config: &Table) -> String {
        let path = self.place.path().join("once.toml");
        fs::write(&path, config.to_string()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config", path.to_str().unwrap()]).env_clear();
        command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("the replica runs");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// The cluster that a replica's disk belongs to. The replica must not run.
    pub fn cluster_id_of(&mut self, id: u64) -> String {
        let dir = self.cluster.replica(id).data_dir.clone();
        let dir = dir.to_str().unwrap();
        let said = quorate(&["inspect", "check", "--data-dir", dir, "--output", "json"]);
        let said: Value = serde_json::from_str(&said.stdout).unwrap();
        said["disk"]["cluster_id"].as_str().unwrap().to_owned()
    }

    fn serve(&mut self, id: u64) {
        let path = self.config_path(id);
        fs::write(&path, self.config(id).to_string()).unwrap();
        let args = ["--config".to_owned(), path.to_str().unwrap().to_owned()];
        let replica = self.cluster.replica(id);
        replica.set_args(args.to_vec());
        replica.start();
    }

    fn config_path(&self, id: u64) -> PathBuf {
        self.place.path().join(format!("replica-{id}.toml"))
    }

    /// This machine's paths and addresses instead of the guide's.
    fn put_in_place(&self, here: u64, text: &str) -> String {
        let mut text = text.to_owned();
        for replica in &self.cluster.replicas {
            let id = replica.id;
            text = text
                .replace(&format!("10.0.0.{id}:7800"), &replica.peer_addr)
                .replace(&format!("10.0.0.{id}:7799"), &replica.client_addr);
            if id == here {
                text = text
                    .replace("0.0.0.0:7799", &replica.client_addr)
                    .replace("/var/lib/quorate", replica.data_dir.to_str().unwrap());
            }
        }
        let backups = self.place.path().join("backups");
        text.replace("/var/backups/quorate", backups.to_str().unwrap())
            .replace("/etc/quorate/quorate.toml", self.config_path(here).to_str().unwrap())
    }
}

/// The words of a command line; quotes keep spaces together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in line.trim().chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words
}
