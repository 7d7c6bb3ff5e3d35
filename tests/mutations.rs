//! The patches of `scripts/mutations` still fit the tree, and the tests they name are there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Fewer deliberate bugs show too little.
const PATCHES_MIN: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(root().join("tests/mutations")).expect("the patches");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let named = |path: PathBuf| {
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (stem, path)
    };
    let mut patches: Vec<_> = paths.map(named).collect();
    patches.sort();
    patches
}

/// A line of the head of a patch.
fn value<'a>(patch: &'a str, key: &str) -> &'a str {
    let head = patch.split("\n\n").next().unwrap_or_default();
    let value = head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("the patch does not say `{key}: `: {head}"))
}

/// The file of a module of tests, as `a::b_test::name` or `a::b::tests::name` says it.
fn source(package: &str, catcher: &str) -> String {
    let mut modules: Vec<&str> = catcher.split("::").collect();
    modules.pop();
    if modules.last() == Some(&"tests") {
        modules.pop();
    }
    let sources = match package {
        "quorate" => root().join("src"),
        _ => root().join("raft/src"),
    };
    let path = sources.join(modules.join("/")).display().to_string();
    let places = [format!("{path}.rs"), format!("{path}_test.rs")];
    places.iter().filter_map(|place| fs::read_to_string(place).ok()).collect()
}

#[test]
fn every_mutation_fits_the_tree() {
    let patches = patches();
    assert!(patches.len() >= PATCHES_MIN, "only {} mutations", patches.len());
    for (name, path) in patches {
        let mut git = Command::new("git");
        let applied = git.args(["apply", "--check"]).arg(&path).current_dir(root()).output();
        let applied = applied.expect("git runs");
        let said = String::from_utf8_lossy(&applied.stderr);
        assert!(applied.status.success(), "{name} does not fit the tree any more: {said}");
    }
}

#[test]
fn every_mutation_names_its_catcher_and_is_in_the_table() {
    let table = fs::read_to_string(root().join("docs/mutations.md")).expect("the table");
    for (name, path) in patches() {
        let patch = fs::read_to_string(path).expect("a patch is text");
        let (package, catcher) = (value(&patch, "package"), value(&patch, "catcher"));
        let test = catcher.rsplit("::").next().unwrap_or_default();
        let text = source(package, catcher);
        assert!(text.contains(&format!("fn {test}(")), "{name}: no test {catcher} in {package}");
        let line = format!("| `{name}` | {} | `{catcher}` | caught", value(&patch, "breaks"));
        assert!(table.contains(&line), "docs/mutations.md does not say of {name}: {line}");
    }
}
