//! What a node is at one moment, and the rules by which `CLUSTERX` changes it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    options::{Faults, Options},
    store::Store,
    topology::{self, Entry, ID_LEN, Range, Topology},
};

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

/// How migrations are carried out.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// `migrate-speed`: commands a second.
    pub speed: u64,
    /// `migrate-pipeline-size`: commands sent in one go.
    pub pipeline: usize,
    /// `migrate-sequence-gap`: with fewer writes than this left to send, no more are taken.
    pub gap: usize,
    /// `migrate-type raw-key-value`; the other one loses some kinds of keys.
    pub is_raw: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { speed: 4096, pipeline: 16, gap: 10_000, is_raw: false }
    }
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
    /// What `CONFIG SET` changes of migrations; not kept over a restart.
    pub pace: Pace,
    /// Switched faults.
    pub faults: Faults,
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

    pub fn save_file(&mut self) {
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
    ) -> Result<(), String> {
        let version: i64 = version.parse().map_err(|_| "Invalid version".to_owned())?;
        let is_forced = match option {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("force") => true,
            Some(_) => return Err("Invalid setnodes options".to_owned()),
        };
        if version < 0 || (!is_forced && version < self.version) {
            return Err(BAD_VERSION.to_owned());
        }
        if !is_forced && version == self.version {
            return Ok(());
        }
        let entries = topology::parse(text, self.options.knows_failed)?;
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
        if self.faults.refused_roles > 0 {
            self.faults.refused_roles -= 1;
            return Err(
                "failed to set master-replica replication: a fault was asked for".to_owned()
            );
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
        self.migrated.clear();
        self.imported.clear();
        self.file = None;
        if let Some(dir) = &self.options.dir {
            // It may never have been written.
            let _ = std::fs::remove_file(dir.join("nodes.conf"));
        }
        Ok(())
    }

    /// Whether the id has the right length.
    pub const fn is_id(id: &str) -> bool {
        id.len() == ID_LEN
    }
}
