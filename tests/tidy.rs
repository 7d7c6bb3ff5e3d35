//! House rules that no linter knows, checked by reading the sources.
//!
//! Each rule is a function from a file to its faults, and each is tried on a bad sample first: a
//! rule that cannot fail holds nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quorate::telemetry::FIELDS;

/// Longest source file, lines.
const FILE_LINES_MAX: usize = 800;
/// What may lie in the root without a leading dot.
const ROOT: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "README.md", "deploy", "docs", "raft", "scripts", "src", "tests"];
/// Present while building, and not part of the repository.
const ROOT_IGNORED: [&str; 1] = ["target"];

/// A source file with its path below the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.ends_with("_test.rs")
            || self.path.contains("/testing/")
            || self.path.starts_with("raft/tests/")
    }

    /// Lines outside comments and inline test modules, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line))
    }

    fn find(&self, rule: &str, words: &[&str]) -> Vec<String> {
        self.code()
            .flat_map(|(number, line)| {
                let found = words.iter().filter(move |word| contains_word(line, word));
                found.map(move |word| format!("{}:{number}: {word}: {rule}", self.path))
            })
            .collect()
    }
}

/// Whether a line has a word that is not part of a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let is_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let begins_name = is_name(word.chars().next());
        let ends_name = is_name(word.chars().next_back());
        let continues = (begins_name && is_name(before)) || (ends_name && is_name(after));
        !continues
    })
}

fn domain_is_pure(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/domain/") || source.is_test() {
        return Vec::new();
    }
    let words = [
        "tokio",
        "axum",
        "quorate_raft",
        "tracing",
        "reqwest",
        "HashMap",
        "HashSet",
        "SystemTime",
        "Instant",
        "rand",
        "std::fs",
        "std::net",
        "std::env",
        "f32",
        "f64",
        ".unwrap()",
        "panic!",
        "unreachable!",
        "assert!",
        ".expect(",
    ];
    source.find("the domain is pure and total", &words)
}

fn families_keep_apart(source: &Source) -> Vec<String> {
    let families = ["undermoon", "kvrocks", "cello"];
    let here = families.iter().find(|family| {
        ["src/domain", "src/api"]
            .iter()
            .any(|root| source.path.starts_with(&format!("{root}/{family}/")))
    });
    let Some(here) = here else {
        return Vec::new();
    };
    let others = families.iter().filter(|family| *family != here);
    others
        .flat_map(|other| source.find("a family knows no other", &[&format!("{other}::")]))
        .collect()
}

fn engine_knows_no_family(source: &Source) -> Vec<String> {
    if !source.path.starts_with("raft/") {
        return Vec::new();
    }
    let lower = source.text.to_ascii_lowercase();
    ["undermoon", "kvrocks", "cello", "redis"]
        .iter()
        .filter(|word| lower.contains(*word))
        .map(|word| format!("{}: {word}: the engine knows no family", source.path))
        .collect()
}

fn engine_stays_behind_the_broker(source: &Source) -> Vec<String> {
    let may = ["src/replica.rs", "src/broker", "raft/", "tests/", "src/cli/"];
    if may.iter().any(|path| source.path.starts_with(path)) {
        return Vec::new();
    }
    source.find("only replica and broker know the engine", &["quorate_raft"])
}

fn openraft_stays_in_the_engine(source: &Source) -> Vec<String> {
    if source.path.starts_with("raft/") || source.path == "tests/tidy.rs" {
        return Vec::new();
    }
    source.find("openraft is named in the engine alone", &["openraft", "rocksdb"])
}

fn status_codes_live_at_the_edge(source: &Source) -> Vec<String> {
    let may = ["src/api/", "src/gateway/", "tests/", "raft/", "src/cli/", "src/client/"];
    if may.iter().any(|path| source.path.starts_with(path)) {
        return Vec::new();
    }
    source.find("HTTP status codes exist in src/api alone", &["StatusCode"])
}

fn nothing_unfinished(source: &Source) -> Vec<String> {
    if source.path == "tests/tidy.rs" {
        return Vec::new();
    }
    let words = ["todo!", "unimplemented!", "dbg!", "#[ignore]"];
    let mut faults = source.find("finish it or leave it out", &words);
    if ["TODO", "FIXME", "XXX"].iter().any(|word| contains_word(&source.text, word)) {
        faults.push(format!("{}: a bare reminder in a comment", source.path));
    }
    faults
}

fn no_unwrap(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    source.find("say why it holds, or return an error", &[".unwrap()"])
}

fn clock_has_one_door(source: &Source) -> Vec<String> {
    if source.is_test() || source.path == "src/clock.rs" {
        return Vec::new();
    }
    source.find("wall time comes from clock.rs", &["SystemTime::now"])
}

fn randomness_has_one_door(source: &Source) -> Vec<String> {
    let may = ["src/clock.rs", "raft/"];
    if source.is_test() || may.iter().any(|path| source.path.starts_with(path)) {
        return Vec::new();
    }
    source.find("randomness comes from clock.rs", &["rand::"])
}

/// What parts may not name, by the beginning of their path.
const BARRED: [(&str, &[&str]); 8] = [
    ("src/replica.rs", &["axum", "clap"]),
    ("src/broker", &["axum", "clap", "api"]),
    ("src/api/", &["storage", "config", "cli", "server", "control"]),
    ("src/control", &["api", "axum", "cli"]),
    ("src/observe", &["api", "axum", "cli", "control"]),
    ("src/client/", &["domain", "broker", "api", "observe"]),
    ("src/config", &["api", "axum", "server", "control"]),
    // A gateway forwards what it does not understand; it has no state and no log.
    (
        "src/gateway",
        &[
            "domain", "broker", "replica", "api", "client", "observe", "control", "config", "cli",
            "server",
        ],
    ),
];

fn parts_import_what_they_may(source: &Source) -> Vec<String> {
    let barred = BARRED.iter().filter(|(path, _)| source.path.starts_with(path));
    let mut faults = Vec::new();
    for (part, names) in barred {
        for (number, line) in source.code() {
            let path = line.trim_start().trim_start_matches("pub ").trim_start_matches("use ");
            // Deeper lines of a `use` name what lies below another part.
            let is_top = line.len() - line.trim_start().len() <= 4;
            let found = names.iter().filter(|name| {
                contains_word(line, &format!("crate::{name}"))
                    || is_top && path.strip_prefix(*name).is_some_and(|rest| rest.starts_with("::"))
            });
            for name in found {
                faults.push(format!("{}:{number}: {part} does not import {name}", source.path));
            }
        }
    }
    faults
}

fn log_fields_come_from_one_list(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let text: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
    let mut faults = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        for (at, call) in text.match_indices(&format!("tracing::{level}!(")) {
            for argument in arguments(&text[at + call.len()..]) {
                let name = argument.split('=').next().unwrap_or_default();
                let name = name.trim().trim_start_matches(['%', '?']);
                if !argument.starts_with('"') && !FIELDS.contains(&name) {
                    faults.push(format!("{}: {name}: no field of a log line", source.path));
                }
            }
        }
    }
    faults
}

/// The arguments of a call, from behind its opening parenthesis.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut in_text, mut begin) = (0_u32, false, 0);
    let mut found = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                found.push(text[begin..at].trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

fn files_are_short_and_explained(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
    }
    if !source.text.starts_with("//!") {
        faults.push(format!("{}: does not begin with what it is", source.path));
    }
    faults
}

type Rule = fn(&Source) -> Vec<String>;

/// Every rule, with a sample it must refuse.
const RULES: [(Rule, &str, &str); 14] = [
    (domain_is_pure, "src/domain/x/apply.rs", "//! x\nuse std::collections::HashMap;\n"),
    (families_keep_apart, "src/domain/kvrocks/apply.rs", "//! x\nuse super::undermoon::State;\n"),
    (engine_knows_no_family, "raft/src/node.rs", "//! Replicates Undermoon.\n"),
    (engine_stays_behind_the_broker, "src/api/mod.rs", "//! x\nuse quorate_raft::Node;\n"),
    (openraft_stays_in_the_engine, "src/replica.rs", "//! x\nuse openraft::Raft;\n"),
    (status_codes_live_at_the_edge, "src/broker.rs", "//! x\nuse axum::http::StatusCode;\n"),
    (nothing_unfinished, "src/api/mod.rs", "//! x\nfn f() { todo!() }\n"),
    (no_unwrap, "src/api/mod.rs", "//! x\nfn f() { g().unwrap(); }\n"),
    (clock_has_one_door, "src/api/mod.rs", "//! x\nlet now = SystemTime::now();\n"),
    (randomness_has_one_door, "src/broker.rs", "//! x\nlet id = rand::random();\n"),
    (parts_import_what_they_may, "src/control/mod.rs", "//! x\nuse crate::api::Settings;\n"),
    (
        parts_import_what_they_may,
        "src/client/mod.rs",
        "//! x\nuse crate::{\n    domain::State,\n};\n",
    ),
    (
        log_fields_come_from_one_list,
        "src/server.rs",
        "//! x\ntracing::info!(nonsense = f(1, 2), \"a\");\n",
    ),
    (files_are_short_and_explained, "src/api/mod.rs", "use std::fmt;\n"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for dir in ["src", "raft", "tests"] {
        collect(&root().join(dir), &mut files);
    }
    let read = |path: PathBuf| {
        let below = path.strip_prefix(root()).expect("below the root").display().to_string();
        Source { path: below, text: fs::read_to_string(&path).expect("a source is text") }
    };
    files.into_iter().map(read).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_rule_refuses_its_bad_sample() {
    for (number, (rule, path, text)) in RULES.iter().enumerate() {
        assert!(!rule(&Source::sample(path, text)).is_empty(), "rule {number} lets {path} pass");
        let good = Source::sample("src/config.rs", "//! What a replica is told.\nfn f() {}\n");
        assert_eq!(rule(&good), Vec::<String>::new(), "rule {number} refuses what is fine");
    }
}

#[test]
fn the_sources_keep_the_house_rules() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|source| RULES.iter().flat_map(move |(rule, ..)| rule(source)))
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_root_holds_what_it_should() {
    let visible = |name: &String| !name.starts_with('.') && !ROOT_IGNORED.contains(&name.as_str());
    let mut found: Vec<String> = fs::read_dir(root())
        .expect("the root")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(visible)
        .collect();
    found.sort();
    assert_eq!(found, ROOT, "the visible root");
}

#[test]
fn scripts_can_be_run_and_stop_at_the_first_error() {
    use std::os::unix::fs::PermissionsExt;
    let scripts = fs::read_dir(root().join("scripts")).expect("scripts");
    let scripts =
        scripts.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    for path in scripts.chain([root().join(".ci/run")]) {
        let mode = fs::metadata(&path).expect("a script").permissions().mode();
        assert!(mode & 0o111 != 0, "{} is not executable", path.display());
        let text = fs::read_to_string(&path).expect("a script is text");
        let is_bash = text.starts_with("#!/usr/bin/env bash");
        assert!(!is_bash || text.contains("set -euo pipefail"), "{}", path.display());
    }
}
