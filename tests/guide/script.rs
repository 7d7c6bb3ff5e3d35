//! What a guide has its reader do: the files it says to write and the commands it says to run, in
//! the order of the text, with what each command prints.
//!
//! | block | meaning |
//! |---|---|
//! | `console` | commands after `$ `, each followed by what it prints |
//! | `console eventually` | the same, repeated until they print that; for questions alone |
//! | `console roughly` | numbers and who leads may differ |
//! | `console by-hand` | shown and not tried: the test has a list of these |
//! | `json file=NAME` | a file that the reader writes; any language |

#![allow(clippy::unwrap_used, unreachable_pub)]

/// One thing to do, and the line of the guide that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Write {
        name: String,
        text: String,
    },
    Run(Run),
    /// A command that no test can try.
    ByHand(String),
}

/// A command and what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub command: String,
    pub expected: Vec<String>,
    pub is_repeated: bool,
    pub is_rough: bool,
}

/// A code block before its lines are understood.
struct Block<'a> {
    /// Line of the fence.
    line: usize,
    info: &'a str,
    lines: Vec<&'a str>,
}

/// Reads a guide. Panics where it has commands that would be tried by nobody and listed nowhere.
pub fn read(name: &str, text: &str) -> Vec<Step> {
    for (at, line) in outside_of_blocks(text) {
        assert!(!line.starts_with("    "), "{name}:{at}: commands belong in a block of console");
    }
    for block in blocks(name, text) {
        let is_shell = ["sh", "bash", "shell", ""].contains(&block.info);
        assert!(!is_shell, "{name}:{}: commands belong in a block of console", block.line);
    }
    read_consoles(name, text)
}

/// Reads a text that also has commands which are not meant to be run one after another.
pub fn read_consoles(name: &str, text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in blocks(name, text) {
        let at = format!("{name}:{}", block.line);
        let mut words = block.info.split_whitespace();
        let language = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        if let Some(file) = words.iter().find_map(|word| word.strip_prefix("file=")) {
            let text = block.lines.join("\n") + "\n";
            let what = What::Write { name: file.to_owned(), text };
            steps.push(Step { line: block.line, what });
        } else if language == "console" {
            for word in &words {
                let is_known = ["eventually", "roughly", "by-hand"].contains(word);
                assert!(is_known, "{at}: nobody knows the word {word}");
            }
            steps.extend(commands(&at, &block, &words));
        } else {
            assert!(words.is_empty(), "{at}: a block of {language} with {words:?}");
        }
    }
    steps
}

fn blocks<'a>(name: &str, text: &'a str) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'a>> = None;
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(info), None) => open = Some(Block { line: at + 1, info, lines: Vec::new() }),
            (None, Some(mut block)) => {
                block.lines.push(line);
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{name}: a block does not end");
    blocks
}

fn outside_of_blocks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_inside = false;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.filter(move |(_, line)| {
        is_inside ^= line.starts_with("```");
        !is_inside
    })
}

fn commands(at: &str, block: &Block<'_>, words: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for (number, line) in block.lines.iter().enumerate() {
        let begins = line.strip_prefix("$ ");
        if let (Some(command), false) = (begins, goes_on) {
            let run = Run {
                command: command.to_owned(),
                expected: Vec::new(),
                is_repeated: words.contains(&"eventually"),
                is_rough: words.contains(&"roughly"),
            };
            steps.push(Step { line: block.line + 1 + number, what: What::Run(run) });
        }
        let last = steps.last_mut().unwrap_or_else(|| panic!("{at}: output of no command"));
        let What::Run(run) = &mut last.what else { unreachable!("only commands so far") };
        if goes_on {
            run.command.push('\n');
            run.command.push_str(line);
        } else if begins.is_none() {
            run.expected.push((*line).to_owned());
        }
        goes_on = (goes_on || begins.is_some()) && line.ends_with('\\');
    }
    if words.contains(&"by-hand") {
        for step in &mut steps {
            let What::Run(run) = &step.what else { unreachable!("only commands so far") };
            step.what = What::ByHand(run.command.clone());
        }
    }
    steps
}
