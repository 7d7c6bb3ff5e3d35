//! Fuzz targets on their corpora and on inputs made from them, the same ones in every run.

#[path = "fuzz/mod.rs"]
mod targets;

use std::{fs, path::PathBuf};

use targets::{TARGETS, engine};

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    engine::run(target, &corpora());
}

/// A test for each target.
macro_rules! tests {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                run($name);
            }
        )*

        /// The targets that have a test here.
        const TESTED: &[&str] = &[$($name),*];
    };
}

tests! {
    undermoon_requests_keep_the_promises: "undermoon";
    kvrocks_requests_keep_the_promises: "kvrocks";
    cello_requests_keep_the_promises: "cello";
    admin_requests_keep_the_promises: "admin";
    entries_apply_the_same_everywhere_or_not_at_all: "entries";
    snapshots_are_refused_or_come_back: "snapshots";
    backups_are_refused_or_come_back: "backups";
    replies_of_nodes_are_text_or_an_error: "replies";
}

/// Targets of the engine; it runs them itself, in `raft/src/testing/frames.rs`.
const OF_THE_ENGINE: [&str; 1] = ["frames"];

#[test]
fn every_target_has_a_test_and_a_corpus() {
    let mut known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(known, TESTED);
    known.extend(OF_THE_ENGINE);
    known.sort_unstable();
    let entries = fs::read_dir(corpora()).expect("the corpora");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut names: Vec<String> = names.map(|name| name.expect("a name")).collect();
    names.sort();
    assert_eq!(names, known);
}
