//! What a node is at one moment, and the rules by which `CLUSTERX` changes it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use super::{
    store::Store,
    topology::{self, Entry, ID_LEN, Range, Topology},
};

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
    /// So many next `SETNODES` are answered `+OK` and forgotten.
    pub lost_pushes: u32,
    /// So many next orders to migrate are carried out while the connection breaks.
    pub lost_migrate_answers: u32,
    /// Cannot reach any master.
    pub has_no_link: bool,
}

/// Where a migration stands, as the source shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// Goes on.
    Start,
    /// Over; the destination has the slots.
    Success,
    /// Over; nothing has moved.
    Fail,
}

/// The source's side of the last migration.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Slots.
    pub range: Range,
    /// Destination.
    pub to: Arc<Entry>,
    /// Where it stands.
    pub state: Moving,
}

/// The destination's side of the last migration.
#[derive(Clone, Debug)]
pub struct Import {
    /// Slots.
    pub range: Range,
    /// `start`, `success` or `error`.
    pub state: &'static str,
    /// Whether writes of the source still get through; every new topology ends that.
    pub is_open: bool,
}

/// A link to a master.
#[derive(Clone, Debug)]
pub struct Link {
    /// `host:port`.
    pub addr: String,
    /// Connected, as far as this node knows.
    pub is_up: bool,
    /// When the master last said anything.
    pub heard: Option<Instant>,
}

/// Everything a running node knows.
#[derive(Debug, Default)]
pub struct Core {
    /// Start options; `password` may change.
    pub options: Options,
    /// Where it listens.
    pub port: u16,
    /// -1 before any topology.
    pub version: i64,
    /// Empty before it is known.
    pub my_id: String,
    /// Nodes and owners.
    pub topology: Topology,
    /// Present while it is a replica.
    pub link: Option<Link>,
    /// Grows whenever the master changes, so that the task of the old link ends.
    pub link_round: u64,
    /// Marks writes of this mastership.
    pub history: String,
    /// Keys.
    pub store: Store,
    /// Last migration away.
    pub migration: Option<Migration>,
    /// Slots given away since the last topology.
    pub migrated: BTreeMap<u16, Arc<Entry>>,
    /// Slots that take no writes; outlives the topology (spec 5.6).
    pub forbidden: Option<Range>,
    /// Last migration to here.
    pub import: Option<Import>,
    /// Slots taken since the last topology.
    pub imported: BTreeMap<u16, ()>,
    /// The next migration stumbles over a cancellation left by a replication.
    pub has_stale_cancel: bool,
    /// Known replicas: address and position, by address.
    pub replicas: BTreeMap<String, u64>,
    /// Writes wait until then.
    pub paused_until: Option<Instant>,
    /// `migrate-speed`, commands a second.
    pub migrate_speed: u64,
    /// Switched faults.
    pub faults: Faults,
    /// Commands that were carried out, oldest first, without those of clients' keys.
    pub heard: Vec<String>,
    /// The node file, when there is no directory.
    pub file: Option<String>,
}

const BAD_VERSION: &str = "Invalid cluster version";

impl Core {
    /// A node as it starts: with its keys, and with its node file if there is one.
    pub fn start(options: Options, port: u16, store: Store, file: Option<String>) -> Self {
        let mut core = Self {
            options,
            port,
            version: -1,
            store,
            history: format!("{port}-start"),
            migrate_speed: 4096,
            file,
            ..Self::default()
        };
        let saved = core.load_file();
        if let Some((version, id, nodes)) = saved.as_deref().and_then(topology::parse_file) {
            core.version = version;
            core.my_id = id;
            core.topology.replace(nodes);
            core.follow_role();
        }
        core
    }

    fn load_file(&self) -> Option<String> {
        match &self.options.dir {
            Some(dir) => std::fs::read_to_string(dir.join("nodes.conf")).ok(),
            None => self.file.clone(),
        }
    }

    fn save_file(&mut self) {
        let text = self.topology.file(&self.my_id, self.version);
        if let Some(dir) = &self.options.dir {
            std::fs::write(dir.join("nodes.conf"), &text).expect("the node file can be written");
        }
        self.file = Some(text);
    }

    /// This node's own entry.
    pub fn myself(&self) -> Option<&Arc<Entry>> {
        self.topology.nodes.get(&self.my_id)
    }

    /// Whether it follows a master.
    pub const fn is_replica(&self) -> bool {
        self.link.is_some()
    }

    /// `CLUSTERX SETNODEID`.
    pub fn set_node_id(&mut self, id: &str) {
        id.clone_into(&mut self.my_id);
        if self.version >= 0 {
            self.follow_role();
        }
        self.save_file();
    }

    /// `CLUSTERX SETNODES`.
    pub fn set_nodes(
        &mut self,
        text: &str,
        version: &str,
        option: Option<&str>,
    ) -> Result<(), &'static str> {
        let version: i64 = version.parse().map_err(|_| "Invalid version")?;
        let is_forced = match option {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("force") => true,
            Some(_) => return Err("Invalid setnodes options"),
        };
        if version < 0 || (!is_forced && version < self.version) {
            return Err(BAD_VERSION);
        }
        if !is_forced && version == self.version {
            return Ok(());
        }
        let entries = topology::parse(text)?;
        self.version = version;
        self.topology.replace(entries);
        if self.my_id.is_empty() || is_forced {
            let here =
                self.topology.nodes.values().find(|entry| {
                    entry.port == self.port && entry.host == self.options.listens_on()
                });
            if let Some(here) = here {
                self.my_id = here.id.clone();
            }
        }
        self.follow_role();
        self.settle_slots();
        self.save_file();
        Ok(())
    }

    /// Becomes what the topology says; without an entry of its own it stays what it is.
    fn follow_role(&mut self) {
        let Some(me) = self.myself().cloned() else { return };
        match &me.master {
            None => {
                if self.link.take().is_some() {
                    self.link_round += 1;
                    self.has_stale_cancel = true;
                    self.history = format!("{}-v{}", self.port, self.version);
                    // With `use-rsid-psync` a promotion is an entry of the history.
                    if self.options.compares_histories {
                        self.store.put(&self.history, "", None);
                    }
                }
            }
            Some(master) => {
                let Some(master) = self.topology.nodes.get(master) else { return };
                let addr = master.addr();
                if self.link.as_ref().is_none_or(|link| link.addr != addr) {
                    self.link = Some(Link { addr, is_up: false, heard: None });
                    self.link_round += 1;
                    self.replicas.clear();
                }
            }
        }
    }

    /// Keys of slots that went to somebody else go; what was remembered of migrations goes too,
    /// except the shown lines and the forbidden writes.
    fn settle_slots(&mut self) {
        let gone: Vec<u16> = self
            .migrated
            .keys()
            .copied()
            .filter(|slot| self.topology.owner(*slot).is_some_and(|owner| owner.id != self.my_id))
            .collect();
        for slot in gone {
            self.store.clear(&self.history.clone(), (slot, slot));
        }
        self.migrated.clear();
        self.imported.clear();
        if let Some(import) = &mut self.import {
            import.is_open = false;
        }
    }

    /// `CLUSTER RESET`.
    pub fn reset(&mut self) -> Result<(), &'static str> {
        if self.migration.as_ref().is_some_and(|job| job.state == Moving::Start) {
            return Err("Can't reset cluster while migrating slot");
        }
        if self.import.as_ref().is_some_and(|import| import.state == "start") {
            return Err("Can't reset cluster while importing slot");
        }
        if !self.store.keys.is_empty() {
            return Err("Can't reset cluster while database is not empty");
        }
        if self.link.take().is_some() {
            self.link_round += 1;
        }
        self.version = -1;
        self.my_id.clear();
        self.topology = Topology::default();
        self.file = None;
        if let Some(dir) = &self.options.dir {
            // It may never have been written.
            let _ = std::fs::remove_file(dir.join("nodes.conf"));
        }
        Ok(())
    }

    /// Judges `CLUSTERX MIGRATE` and, if nothing is wrong, marks the migration as begun.
    pub fn begin_migration(&mut self, range: Range, to: &str) -> Result<Arc<Entry>, &'static str> {
        let to = self.topology.nodes.get(to).cloned();
        let to = to.ok_or("Can't find the destination node id")?;
        let hull = (self.migrated.keys().next(), self.migrated.keys().next_back());
        let overlaps = |(low, high): Range| range.0 <= high && low <= range.1;
        if let (Some(low), Some(high)) = hull
            && overlaps((*low, *high))
        {
            return Err("Can't migrate slot which has been migrated");
        }
        let is_mine = |slot| {
            let owner = self.topology.owner(slot);
            owner.zip(self.myself()).is_some_and(|(owner, me)| Arc::ptr_eq(owner, me))
        };
        if !(range.0..=range.1).all(is_mine) {
            return Err("Can't migrate slot which doesn't belong to me");
        }
        if self.is_replica() {
            return Err("Slave can't migrate slot");
        }
        if to.master.is_some() {
            return Err("Can't migrate slot to a slave");
        }
        if to.id == self.my_id {
            return Err("Can't migrate slot to myself");
        }
        if self.migration.as_ref().is_some_and(|job| job.state == Moving::Start) {
            return Err("There is already a migrating job");
        }
        if self.forbidden.is_some_and(overlaps) {
            return Err("Can't migrate slot which has been migrated");
        }
        self.forbidden = None;
        self.migration = Some(Migration { range, to: Arc::clone(&to), state: Moving::Start });
        Ok(to)
    }

    /// Ends the migration that goes on.
    pub fn end_migration(&mut self, is_moved: bool) {
        let Some(migration) = &mut self.migration else { return };
        if migration.state != Moving::Start {
            return;
        }
        migration.state = if is_moved { Moving::Success } else { Moving::Fail };
        if is_moved {
            let (low, high) = migration.range;
            let to = Arc::clone(&migration.to);
            self.migrated.extend((low..=high).map(|slot| (slot, Arc::clone(&to))));
        } else {
            self.forbidden = None;
        }
    }

    /// `CLUSTER IMPORT`, which only nodes send: 0 begins, 1 ends well, 2 gives up.
    pub fn import(&mut self, range: Range, state: &str) -> Result<(), &'static str> {
        if self.is_replica() {
            return Err("Slave can't import slot");
        }
        let shown = self.import.as_mut().filter(|import| import.range == range);
        match state {
            "0" => {
                let is_mine = |slot| {
                    let owner = self.topology.owner(slot);
                    owner.zip(self.myself()).is_some_and(|(owner, me)| Arc::ptr_eq(owner, me))
                };
                if (range.0..=range.1).any(is_mine) {
                    return Err("Can't import slot which belongs to me");
                }
                if self.import.as_ref().is_some_and(|import| import.state == "start") {
                    return Err("only one importing job is allowed");
                }
                self.store.clear(&self.history.clone(), range);
                self.import = Some(Import { range, state: "start", is_open: true });
                // What comes back may be written again.
                if self.forbidden == Some(range) {
                    self.forbidden = None;
                    self.migration = None;
                }
                Ok(())
            }
            "1" => {
                let shown = shown.ok_or("mismatch slot")?;
                shown.state = "success";
                if shown.is_open {
                    self.imported.extend((range.0..=range.1).map(|slot| (slot, ())));
                }
                Ok(())
            }
            "2" => {
                shown.ok_or("mismatch slot")?.state = "error";
                self.store.clear(&self.history.clone(), range);
                Ok(())
            }
            _ => Err("Invalid import state"),
        }
    }

    /// The source is gone.
    pub fn break_import(&mut self, range: Range) {
        let is_running = |import: &&mut Import| import.range == range && import.state == "start";
        if let Some(import) = self.import.as_mut().filter(is_running) {
            import.state = "error";
            self.store.clear(&self.history.clone(), range);
        }
    }

    /// Whether the id has the right length.
    pub const fn is_id(id: &str) -> bool {
        id.len() == ID_LEN
    }
}
