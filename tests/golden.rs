//! What was released decodes for ever, and means the same: entries of the log with what they come
//! to, states as they lie in snapshots, and a backup, as bytes of format 1.
//!
//! `tests/golden/1/entries-NNN.txt` has a line an entry: name, entry, reply, the latter two in
//! hexadecimal; applying all segments in order leads to the states of `state-NNN.txt`, a record a
//! line. The commands are the golden lines of the families beside their code, and those of this
//! file. A command that is not in the files yet makes the test fail; `scripts/golden` then adds a
//! segment, and never touches what is there.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{collections::BTreeSet, env, fs, io, path::PathBuf, process::Command as Process};

use quorate::{
    domain::{
        Command, cello, kvrocks,
        system::{
            self,
            access::{self, Family, Role, Token},
            member::{MemberNote, MemberVerb},
        },
        undermoon,
    },
    replica::Replica,
};
use quorate_raft::{
    Context, Machine, Proposal, RecordSink, RecordSource, RequestId,
    entry::{self, encode, restamp},
};
use serde_json::Value;
use support::{cluster::Cluster, process::PROGRAM, writers};

/// Of the first golden entry, milliseconds since the Unix epoch.
const START_MS: u64 = 1_770_000_000_000;
const ACTOR: &str = "golden@10.0.0.1";
const BACKUP: &str = "backup.qback";
const BACKUP_FACTS: &str = "backup.json";

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/1").join(name)
}

fn is_adding() -> bool {
    env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "add")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// One golden entry.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    entry: Vec<u8>,
    reply: String,
}

impl Line {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, entry, reply] = words[..] else { panic!("not a golden entry: {line}") };
        Self { name: name.to_owned(), entry: bytes_of(entry), reply: reply.to_owned() }
    }

    fn command(&self) -> Vec<u8> {
        entry::view(&self.entry).expect("the layout is known for ever").command.to_vec()
    }
}

/// The segments in order: entries, and the records of the state they lead to.
fn segments() -> Vec<(Vec<Line>, Vec<String>)> {
    let mut segments = Vec::new();
    for number in 1.. {
        let Ok(entries) = fs::read_to_string(place(&format!("entries-{number:03}.txt"))) else {
            return segments;
        };
        let state = fs::read_to_string(place(&format!("state-{number:03}.txt"))).unwrap();
        let entries = entries.lines().map(Line::read).collect();
        segments.push((entries, state.lines().map(ToOwned::to_owned).collect()));
    }
    segments
}

/// Commands of a family, from the golden lines beside its code.
fn of_family<T: serde::de::DeserializeOwned>(
    family: &str,
    golden: &str,
    wrap: fn(T) -> Command,
) -> Vec<(String, Command)> {
    let is_command = |name: &str| {
        ["command-", "sealed-command-", "wish-", "report-"]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    let lines = golden.lines().filter_map(|line| line.split_once(' '));
    let commands = lines.filter(|(name, _)| is_command(name));
    let command = |(name, text): (&str, &str)| {
        let command = postcard::from_bytes(&bytes_of(text)).expect("a released command");
        (format!("{family}-{name}"), wrap(command))
    };
    commands.map(command).collect()
}

fn token() -> Token {
    Token {
        id: [7; 8],
        digest: [8; 32],
        name: "golden".to_owned(),
        role: Role::Operate,
        family: Some(Family::Kvrocks),
        namespace: Some("ns".to_owned()),
        created_ms: 0,
        expires_ms: Some(START_MS + 86_400_000),
        created_by: String::new(),
    }
}

/// Everything that can be asked for, named, in the order in which it is applied.
fn samples() -> Vec<(String, Command)> {
    let seed = undermoon::settings::Seed::default();
    let note =
        |verb, is_refused| system::Command::NoteMembers(MemberNote { verb, id: 4, is_refused });
    let system = [
        ("raise-2", system::Command::RaiseFeatureLevel { level: 2 }),
        ("found", system::Command::Found { undermoon: seed }),
        ("raise-beyond", system::Command::RaiseFeatureLevel { level: 3 }),
        ("use-3", system::Command::UseFeatureLevel { level: 3 }),
        ("note-add", note(MemberVerb::Add, false)),
        ("note-promote", note(MemberVerb::Promote, false)),
        ("note-remove", note(MemberVerb::Remove, true)),
        ("note-replace", note(MemberVerb::Replace, false)),
        ("note-update", note(MemberVerb::Update, false)),
        ("note-join", note(MemberVerb::Join, true)),
    ];
    let second = Token { id: [9; 8], family: None, namespace: None, expires_ms: None, ..token() };
    let access = [
        ("create", access::Command::CreateToken(Box::new(token()))),
        ("create-again", access::Command::CreateToken(Box::new(token()))),
        ("create-wide", access::Command::CreateToken(Box::new(second))),
        ("revoke", access::Command::RevokeToken { id: [7; 8] }),
        ("revoke-unknown", access::Command::RevokeToken { id: [1; 8] }),
    ];
    let system = system
        .into_iter()
        .map(|(name, command)| (format!("system-{name}"), Command::System(command)));
    let access = access
        .into_iter()
        .map(|(name, command)| (format!("access-{name}"), Command::Access(command)));
    let mut all: Vec<(String, Command)> = system.chain(access).collect();
    let undermoon = include_str!("../src/domain/undermoon/golden.txt");
    let kvrocks = include_str!("../src/domain/kvrocks/golden.txt");
    let cello = include_str!("../src/domain/cello/golden.txt");
    all.extend(of_family::<undermoon::Command>("undermoon", undermoon, Command::Undermoon));
    all.extend(of_family::<kvrocks::Command>("kvrocks", kvrocks, Command::Kvrocks));
    all.extend(of_family::<cello::Command>("cello", cello, Command::Cello));
    all
}

/// A state, and the index of its last entry.
#[derive(Default)]
struct Player {
    replica: Replica,
    index: u64,
}

impl Player {
    /// Applies an entry as the engine does; the reply, encoded.
    fn apply(&mut self, entry: &[u8]) -> String {
        self.index += 1;
        let view = entry::view(entry).unwrap();
        let command: Command = postcard::from_bytes(view.command).expect("a released command");
        assert!(Replica::level_needed(&command) <= Replica::level_known_max());
        let context = Context {
            index: self.index,
            term: 1,
            time_ms: view.time_ms,
            actor: view.actor,
            request_id: view.request_id,
        };
        let reply = self.replica.apply(&context, command, &mut Vec::new());
        hex(&postcard::to_stdvec(&reply).unwrap())
    }

    fn records(&self) -> Vec<String> {
        let mut records = Records::default();
        self.replica.export(&mut records).unwrap();
        records.0.iter().map(|(kind, bytes)| format!("{kind} {}", hex(bytes))).collect()
    }

    /// The bytes of an entry at the next position.
    fn encode(&self, at: u64, command: Command) -> Vec<u8> {
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&at.to_le_bytes());
        let proposal = Proposal {
            request_id: RequestId(request_id),
            actor: ACTOR.to_owned(),
            fence_term: None,
            command,
        };
        restamp(encode(&proposal).unwrap(), START_MS + at * 1_000).unwrap().to_vec()
    }
}

/// Records in memory.
#[derive(Default)]
struct Records(std::collections::VecDeque<(u8, Vec<u8>)>);

impl RecordSink for Records {
    fn put(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.0.push_back((kind, bytes.to_vec()));
        Ok(())
    }
}

impl RecordSource for Records {
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        Ok(self.0.pop_front())
    }
}

/// How many variants an enum has after these bytes: the first number that is not understood.
fn variants(before: &[u8]) -> u8 {
    let is_unknown = |variant: &u8| {
        let bytes = [before, &[*variant]].concat();
        let decoded = postcard::from_bytes::<Command>(&bytes);
        matches!(decoded, Err(postcard::Error::SerdeDeCustom))
    };
    (0..128).find(is_unknown).expect("an enum ends")
}

#[test]
fn released_entries_lead_to_the_released_replies_and_states() {
    let segments = segments();
    assert!(is_adding() || !segments.is_empty());
    let mut player = Player::default();
    for (entries, state) in segments {
        for line in entries {
            assert_eq!(
                player.apply(&line.entry),
                line.reply,
                "{} is answered otherwise",
                line.name
            );
        }
        assert!(player.records() == state, "the state after entry {} is another", player.index);
        // As a snapshot it comes back, and goes out again as the same bytes.
        let records = state.iter().map(|record| record.split_once(' ').unwrap());
        let records = records.map(|(kind, bytes)| (kind.parse().unwrap(), bytes_of(bytes)));
        let replica = Replica::import(&mut Records(records.collect())).expect("a released state");
        assert!(Player { replica, index: 0 }.records() == state);
    }
}

#[test]
fn what_is_written_today_is_what_was_released() {
    let mut player = Player::default();
    let mut released = Vec::new();
    let segments = segments();
    let count = segments.len() + 1;
    for (entries, _) in segments {
        for line in entries {
            player.apply(&line.entry);
            released.push(line);
        }
    }
    let mut added = Vec::new();
    for (name, command) in samples() {
        let known = released.iter().zip(1_u64..).find(|(line, _)| line.name == name);
        if let Some((line, at)) = known {
            let found = player.encode(at, command);
            assert!(found == line.entry, "{name} is encoded otherwise than it was released");
            continue;
        }
        let entry = player.encode(player.index + 1, command);
        let reply = player.apply(&entry);
        added.push(format!("{name} {} {reply}\n", hex(&entry)));
    }
    let names = released.iter().map(|line| &line.name).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), released.len(), "two golden entries have one name");
    if added.is_empty() {
        return;
    }
    assert!(is_adding(), "run scripts/golden: {} entries have no golden line", added.len());
    let add = |name: String, text: String| {
        let path = place(&name);
        assert!(!path.exists());
        fs::write(path, text).unwrap();
    };
    add(format!("entries-{count:03}.txt"), added.concat());
    add(format!("state-{count:03}.txt"), player.records().join("\n") + "\n");
}

#[test]
fn every_command_has_a_golden_entry() {
    let released: Vec<Vec<u8>> =
        segments().iter().flat_map(|(entries, _)| entries).map(Line::command).collect();
    // System, undermoon, kvrocks, cello, access; undermoon's follow the profile.
    assert_eq!(variants(&[]), 5, "a new family: name it here, and in the samples");
    let mut checked = 0;
    for family in 0..5_u8 {
        let before: &[u8] = if family == 1 { &[1, 0] } else { &[family] };
        for variant in 0..variants(before) {
            let has = |command: &&Vec<u8>| command[0] == family && command[before.len()] == variant;
            checked += 1;
            assert!(
                is_adding() || released.iter().any(|command| has(&command)),
                "variant {variant} of family {family} has no golden entry: add a sample beside \
                 its code or in this file, and run scripts/golden"
            );
        }
    }
    assert!(checked > 50, "only {checked} variants were found");
}

/// What the program prints when it succeeds.
fn printed(words: &[&str]) -> String {
    let output = Process::new(PROGRAM).args(words).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the golden backup, if there is none.
async fn add_backup() {
    let cluster = Cluster::start(1, &[]).await;
    let url = cluster.url(1);
    writers::prepare(&url).await;
    let namespace = serde_json::json!({ "namespace": "golden" });
    let made = cluster.client.post(format!("{url}/api/v1/namespaces")).json(&namespace).send();
    assert!(made.await.unwrap().status().is_success());
    let file = place(BACKUP);
    let words = ["ctl", "--endpoint", &url, "--output", "json", "backup", "create", "--to"];
    let said = printed(&[&words[..], &[file.to_str().unwrap()]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    fs::write(place(BACKUP_FACTS), format!("{:#}\n", said["backup"])).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_backup_is_restored_to_the_released_state() {
    if is_adding() && !place(BACKUP).exists() {
        add_backup().await;
    }
    let file = place(BACKUP);
    let file = file.to_str().unwrap();
    let facts: Value =
        serde_json::from_str(&fs::read_to_string(place(BACKUP_FACTS)).unwrap()).unwrap();
    printed(&["ctl", "backup", "verify", file]);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("disk");
    let target = target.to_str().unwrap();
    let words = ["recover", "from-backup", "--file", file, "--data-dir", target];
    let place = ["--cluster-token", "golden", "--peer", "1=127.0.0.1:1"];
    let said = printed(&[&words[..], &place].concat());
    let digest = said.lines().find_map(|line| line.strip_prefix("its digest")).unwrap();
    assert_eq!(digest.trim(), facts["end"]["digest"].as_str().unwrap());
}
