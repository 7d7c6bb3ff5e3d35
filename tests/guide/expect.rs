//! Whether a command printed what the guide says. Widths of columns do not count, nor empty lines;
//! `...` stands for any part of a line, and for any lines where it is one of its own.

#![allow(unreachable_pub)]

/// What stands for anything.
const ANYTHING: &str = "...";
/// Shortest run of dashes that is a rule of a table.
const RULE: &str = "---";

/// Whether the output is what was expected. If it is rough, numbers and who leads may differ.
pub fn is_expected(expected: &[String], actual: &str, is_rough: bool) -> bool {
    let plain = |line: &str| if is_rough { rough(&plain(line)) } else { plain(line) };
    let keep = |line: &String| !line.is_empty();
    let expected: Vec<String> = expected.iter().map(|line| plain(line)).filter(keep).collect();
    let actual: Vec<String> = actual.lines().map(plain).filter(keep).collect();
    lines_fit(&expected, &actual)
}

/// One blank between words, and no more than three dashes.
fn plain(line: &str) -> String {
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    while line.contains("----") {
        line = line.replace("----", RULE);
    }
    line
}

/// The same word for every number, every long hexadecimal one, and every role.
fn rough(line: &str) -> String {
    let (mut text, mut word) = (String::new(), String::new());
    for letter in line.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        text.push_str(rough_word(&word));
        word.clear();
        text.push(letter);
    }
    text.trim_end().to_owned()
}

fn rough_word(word: &str) -> &str {
    let is_hexadecimal = word.len() >= 24 && word.chars().all(|c| c.is_ascii_hexdigit());
    let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    match word {
        "leader" | "follower" => "role",
        _ if is_hexadecimal || is_number => "0",
        _ => word,
    }
}

fn lines_fit(expected: &[String], actual: &[String]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((first, rest)) if first == ANYTHING => {
            (0..=actual.len()).any(|skipped| lines_fit(rest, &actual[skipped..]))
        }
        Some((first, rest)) => actual
            .split_first()
            .is_some_and(|(line, others)| line_fits(first, line) && lines_fit(rest, others)),
    }
}

fn line_fits(expected: &str, actual: &str) -> bool {
    match expected.split_once(ANYTHING) {
        None => expected == actual,
        Some((before, after)) => {
            let Some(rest) = actual.strip_prefix(before) else { return false };
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| line_fits(after, &rest[at..]))
        }
    }
}
