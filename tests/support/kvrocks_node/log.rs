//! What a node was sent, and when.

use std::collections::VecDeque;

use super::{info::now_ms, keys};

/// Commands remembered; the oldest go first.
const HEARD_MAX: usize = 20_000;

/// A command that reached the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Its words; a password is not among them.
    pub words: String,
    /// Whether it was carried out; a node that is silent or loses a command does not.
    pub is_done: bool,
    /// In which run of the process it came, from 1.
    run: u32,
    number: u64,
}

/// The log of a node. It outlives the process.
#[derive(Debug, Default)]
pub struct Log {
    heard: VecDeque<Heard>,
    run: u32,
    count: u64,
}

impl Log {
    /// The process starts.
    pub fn begin(&mut self) {
        self.run += 1;
    }

    /// Notes a command; the number is for [`done`](Self::done).
    pub fn hear(&mut self, words: &[String]) -> u64 {
        let is_secret = words[0].eq_ignore_ascii_case("auth");
        let words = if is_secret { words[0].clone() } else { words.join(" ") };
        let (run, number) = (self.run, self.count);
        self.count += 1;
        self.heard.push_back(Heard { at_ms: now_ms(), words, is_done: false, run, number });
        if self.heard.len() > HEARD_MAX {
            self.heard.pop_front();
        }
        number
    }

    /// The command was carried out.
    pub fn done(&mut self, number: u64) {
        let Some(first) = self.heard.front().map(|heard| heard.number) else { return };
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(heard) = place.and_then(|place| self.heard.get_mut(place)) {
            heard.is_done = true;
        }
    }

    /// Everything, oldest first.
    pub fn all(&self) -> Vec<Heard> {
        self.heard.iter().cloned().collect()
    }

    /// What was carried out in this run, without logging on and without commands on keys.
    pub fn orders(&self) -> Vec<String> {
        let is_order = |heard: &&Heard| {
            let name = heard.words.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let is_other = name == "AUTH" || name == "HELLO" || keys::is_key_command(&name);
            heard.run == self.run && heard.is_done && !is_other
        };
        self.heard.iter().filter(is_order).map(|heard| heard.words.clone()).collect()
    }
}
