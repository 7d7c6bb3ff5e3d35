//! The buttons that the pages offer, as their sources name them.

use std::{fs, path::Path};

const ASSETS: &str = "src/ui/assets";
/// What presses them.
const TESTS: [&str; 2] = ["tests/console.rs", "tests/console"];

/// What a test has to say to press a button: its name, up to what varies.
fn name(call: &str) -> &str {
    let quoted = |text: &'static str| {
        let at = call.find(text)? + text.len();
        let quote = call[at..].chars().next()?;
        let rest = &call[at + 1..];
        matches!(quote, '"' | '`').then(|| rest.split([quote, '$']).next().unwrap_or_default())
    };
    let line = call.lines().next().unwrap_or_default();
    let label = line.contains("label: ").then(|| quoted("label: ")).flatten();
    label.or_else(|| quoted("button(")).unwrap_or_default()
}

fn texts(place: &Path) -> String {
    if place.is_file() {
        return fs::read_to_string(place).unwrap();
    }
    fs::read_dir(place).unwrap().map(|entry| texts(&entry.unwrap().path())).collect()
}

/// Every button of every page, and every one that dialogs have besides, is named by a test.
pub fn assert_pressed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = texts(&root.join(ASSETS));
    let tests: String = TESTS.iter().map(|place| texts(&root.join(place))).collect();
    let calls: Vec<usize> = pages.match_indices("button(").map(|(at, _)| at).collect();
    let ends = calls.iter().copied().skip(1).chain([pages.len()]);
    let names: Vec<&str> = calls.iter().zip(ends).map(|(at, end)| name(&pages[*at..end])).collect();
    assert!(names.len() > 40, "only {} buttons were found", names.len());
    let looks = pages.split("look: {").skip(1).filter_map(|look| look.split("verb: \"").nth(1));
    let looks: Vec<&str> = looks.filter_map(|rest| rest.split('"').next()).collect();
    assert!(!looks.is_empty(), "no dialog that tells what would happen was found");
    for name in names.into_iter().chain(looks) {
        // Some change their names, and then both are said.
        let is_pressed = name.is_empty() || tests.contains(&format!("\"{name}"));
        assert!(is_pressed, "no test presses the button {name:?}");
    }
}
