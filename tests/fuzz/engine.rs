//! Makes inputs out of a corpus, runs a target on them, and keeps the input that broke it.
//!
//! Knows no coverage: it runs in every build, the same inputs for the same seed. What finds new
//! ground is libFuzzer, through `scripts/fuzz`; what that found is in the corpus.

#![allow(unreachable_pub, clippy::print_stderr)]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Inputs are not grown beyond this many bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Most changes of one input.
const CHANGES_MAX: u32 = 4;
/// Numbers at which code changes its mind.
const EDGES: [u64; 12] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xffff,
    16_383,
    16_384,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
/// What a text target may find in the place of one of its words.
const WORDS: [&str; 26] = [
    "",
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "1e400",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "[]",
    "{}",
    "\"\"",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "%00",
    "%2f",
    "%ff",
    "..",
    "a:b:c",
    ":0",
    "[::1]:1",
    "\u{20ac}",
    "__proto__",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];

/// Something that takes whatever it is given, and panics if a promise is broken.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the target and of its corpus.
    pub name: &'static str,
    /// Whether inputs are changed by words and lines, too.
    pub is_text: bool,
    /// Inputs of a run of the tests, besides the corpus.
    pub runs: u64,
    /// Takes an input.
    pub take: fn(&[u8]),
}

/// Runs a target on its corpus and on what follows from it. `QUORATE_FUZZ_SEED` and
/// `QUORATE_FUZZ_RUNS` choose other inputs, and how many.
pub fn run(target: &Target, corpora: &Path) {
    let corpus = corpus(&corpora.join(target.name));
    assert!(!corpus.is_empty(), "{} has no corpus", target.name);
    for input in &corpus {
        attempt(target, input);
    }
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seed = number("QUORATE_FUZZ_SEED").unwrap_or(1);
    let mut mutator =
        Mutator { random: StdRng::seed_from_u64(seed), corpus, is_text: target.is_text };
    for _ in 0..number("QUORATE_FUZZ_RUNS").unwrap_or(target.runs) {
        attempt(target, &mutator.input());
    }
}

/// The files of a directory, in the order of their names.
fn corpus(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// Takes one input; if that panics, the input is kept as a file.
fn attempt(target: &Target, input: &[u8]) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.take)(input))) else { return };
    let path = env::temp_dir().join(format!("quorate-fuzz-{}", target.name));
    fs::write(&path, input).expect("the input can be kept");
    eprintln!("the input is in {}, {} bytes: {input:?}", path.display(), input.len());
    resume_unwind(panic);
}

/// Makes inputs out of others.
struct Mutator {
    random: StdRng,
    corpus: Vec<Vec<u8>>,
    is_text: bool,
}

impl Mutator {
    /// The next input.
    fn input(&mut self) -> Vec<u8> {
        let mut input = self.other();
        for _ in 0..self.random.random_range(1..=CHANGES_MAX) {
            if self.is_text && self.random.random_bool(0.75) {
                self.change_text(&mut input);
            } else {
                self.change_bytes(&mut input);
            }
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn other(&mut self) -> Vec<u8> {
        self.corpus.choose(&mut self.random).expect("a corpus").clone()
    }

    /// A range of an input, most often a short one.
    fn range(&mut self, bytes: usize) -> std::ops::Range<usize> {
        let from = self.random.random_range(0..=bytes);
        let longest = if self.random.random_bool(0.7) { 8 } else { bytes };
        from..bytes.min(from + self.random.random_range(0..=longest))
    }

    fn change_bytes(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        match self.random.random_range(0..8) {
            0 | 1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
            2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.random.random();
                }
            }
            3 => {
                let edge = EDGES.choose(&mut self.random).expect("edges");
                let width = [1, 2, 4, 8].choose(&mut self.random).expect("widths");
                for (byte, new) in input[at..].iter_mut().take(*width).zip(edge.to_le_bytes()) {
                    *byte = new;
                }
            }
            4 => {
                let range = self.range(input.len());
                input.drain(range);
            }
            5 => {
                let range = self.range(input.len());
                let again = input[range].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let other = self.other();
                let range = self.range(other.len());
                input.splice(at..at, other[range].iter().copied());
            }
            _ => input.truncate(at),
        }
    }

    fn change_text(&mut self, input: &mut Vec<u8>) {
        let words = words(input);
        let Some(word) = words.choose(&mut self.random).cloned() else { return };
        match self.random.random_range(0..5) {
            0 | 1 => {
                let new = WORDS.choose(&mut self.random).expect("words");
                input.splice(word, new.bytes());
            }
            2 => {
                let other = self.other();
                let theirs = self::words(&other);
                if let Some(new) = theirs.choose(&mut self.random) {
                    input.splice(word, other[new.clone()].iter().copied());
                }
            }
            3 => {
                let number = match self.random.random_range(0..2) {
                    0 => EDGES.choose(&mut self.random).expect("edges").to_string(),
                    _ => self.random.random_range(0..40_u8).to_string(),
                };
                input.splice(word, number.bytes());
            }
            _ => {
                let other = self.other();
                let line = other.split(|byte| *byte == b'\n').collect::<Vec<_>>();
                let line = line.choose(&mut self.random).expect("a line").to_vec();
                let ends = input.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                let ends: Vec<usize> = ends.map(|(at, _)| at + 1).collect();
                let at = ends.choose(&mut self.random).copied().unwrap_or(0);
                input.splice(at..at, line.into_iter().chain([b'\n']));
            }
        }
    }
}

/// Where the words of a text are.
fn words(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let mut words = Vec::new();
    let mut begin = None;
    for (at, byte) in text.iter().copied().chain([b' ']).enumerate() {
        match (begin, is_word(byte)) {
            (None, true) => begin = Some(at),
            (Some(from), false) => {
                words.push(from..at);
                begin = None;
            }
            _ => {}
        }
    }
    words
}
