//! What a node is started with, and the faults that are switched on and off from outside.

use std::path::PathBuf;

/// What a node is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `requirepass`; empty for none.
    pub password: String,
    /// `masterauth`; empty for none.
    pub master_password: String,
    /// `use-rsid-psync`: histories are compared before a replica goes on from its position.
    pub compares_histories: bool,
    /// Puts `ERR ` before errors that have a class of their own, as old servers do.
    pub has_old_errors: bool,
    /// Says `migrating_slot:` as servers do that know no ranges.
    pub has_old_migrating_name: bool,
    /// Knows `CLIENT PAUSE`.
    pub knows_pause: bool,
    /// Takes `slave,fail` for the role of a replica that is marked as failed.
    pub knows_failed: bool,
    /// A password that lets clients in who may not use `CLUSTER` and `CLUSTERX`; empty for none.
    pub namespace_token: String,
    /// Started without `cluster-enabled`.
    pub is_standalone: bool,
    /// Where it listens; empty for 127.0.0.1.
    pub host: String,
    /// Where the node file is kept; in memory if there is no directory.
    pub dir: Option<PathBuf>,
}

impl Options {
    /// The address it listens on.
    pub fn listens_on(&self) -> &str {
        if self.host.is_empty() { "127.0.0.1" } else { &self.host }
    }
}

/// Faults that are switched on and off from outside.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Takes commands and never answers, like a stopped process. Links stay up.
    pub is_silent: bool,
    /// Answers this much later.
    pub delay_ms: u64,
    /// Restores a full copy: cluster commands answer `LOADING`.
    pub is_loading: bool,
    /// So many next migrations end at once with `fail`.
    pub failing_migrations: u32,
    /// Migrations stay in `start` until this is taken back.
    pub holds_migrations: bool,
    /// Refuses connections and has closed those it had; what it does by itself goes on.
    pub is_refusing: bool,
    /// So many next changes of role fail after the new version is taken.
    pub refused_roles: u32,
    /// So many next `SETNODES` are answered `+OK` and forgotten.
    pub lost_pushes: u32,
    /// So many next orders to migrate are carried out while the connection breaks.
    pub lost_migrate_answers: u32,
    /// Cannot reach any master.
    pub has_no_link: bool,
    /// What happens to single commands to come, in place of what would.
    pub next: Vec<Next>,
}

/// Something else for the next command that begins with some words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// First words of the command, in capitals; empty for any.
    pub words: String,
    /// What happens to it.
    pub instead: Instead,
}

impl Next {
    /// Something else for the next command that begins with these words.
    pub fn new(words: &str, instead: Instead) -> Self {
        Self { words: words.to_ascii_uppercase(), instead }
    }
}

/// What happens to a command in place of what would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Nothing is done, and this is sent back: whole replies as they are on the wire.
    Reply(String),
    /// It is carried out, and the connection breaks before the answer.
    Unanswered,
    /// Nothing is done, and the connection breaks.
    Unheard,
    /// Nothing is done, and the connection stays without an answer.
    Silence,
}

impl Faults {
    /// What happens to this command in place of what would, if anything.
    pub fn take_next(&mut self, words: &[String]) -> Option<Instead> {
        let command = words.join(" ").to_ascii_uppercase();
        let fits = |next: &Next| {
            let rest = command.strip_prefix(&next.words);
            rest.is_some_and(|rest| {
                next.words.is_empty() || rest.is_empty() || rest.starts_with(' ')
            })
        };
        let found = self.next.iter().position(fits)?;
        Some(self.next.remove(found).instead)
    }
}

/// How a migration that goes on is brought to its end from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It may end well now, if it was held.
    Success,
    /// It fails.
    Fail,
    /// It is forgotten, as after a restart.
    Lost,
}
