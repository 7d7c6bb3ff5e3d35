//! What a node knows of its cluster: the text of `SETNODES`, the owners of the slots, the node file.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

/// How many slots there are.
pub const SLOTS: u16 = 16384;
/// Characters of a node id.
pub const ID_LEN: usize = 40;

/// Slots from the first to the second, both included.
pub type Range = (u16, u16);

/// One node of the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 40 characters.
    pub id: String,
    /// As given.
    pub host: String,
    /// As given.
    pub port: u16,
    /// Id of its master; `None` for a master.
    pub master: Option<String>,
    /// Slots named with it.
    pub slots: Vec<Range>,
    /// Marked as failed; replicas only.
    pub is_failed: bool,
}

impl Entry {
    /// `host:port`.
    pub fn addr(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The topology of a node, as its commands left it.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Nodes of the last `SETNODES`.
    pub nodes: BTreeMap<String, Arc<Entry>>,
    /// Who owns which slots, ascending and disjoint. An owner that is in no `SETNODES` any more
    /// stays until another one takes the slots.
    pub owners: Vec<(Range, Arc<Entry>)>,
}

/// Reads the text of `SETNODES`.
///
/// # Errors
/// The node's own words.
pub fn parse(text: &str, knows_failed: bool) -> Result<Vec<Entry>, &'static str> {
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err("Invalid cluster nodes info");
    }
    let entries = lines.into_iter().map(parse_line).collect::<Result<Vec<_>, _>>()?;
    if !knows_failed && entries.iter().any(|entry| entry.is_failed) {
        return Err("Invalid cluster node role");
    }
    let mut taken = vec![false; usize::from(SLOTS)];
    for (low, high) in entries.iter().flat_map(|entry| &entry.slots) {
        for slot in *low..=*high {
            if std::mem::replace(&mut taken[usize::from(slot)], true) {
                return Err("Slot distribution is overlapped");
            }
        }
    }
    Ok(entries)
}

fn parse_line(line: &str) -> Result<Entry, &'static str> {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let [id, host, port, role, master, slots @ ..] = words.as_slice() else {
        return Err("Invalid cluster nodes info");
    };
    if id.len() != ID_LEN {
        return Err("Invalid cluster node id");
    }
    let port = port.parse().map_err(|_| "Invalid cluster node port")?;
    let master = match role.to_ascii_lowercase().as_str() {
        "master" if *master == "-" => None,
        "slave" | "replica" | "slave,fail" if master.len() == ID_LEN => Some((*master).to_owned()),
        "master" | "slave" | "replica" | "slave,fail" => return Err("Invalid cluster node id"),
        _ => return Err("Invalid cluster node role"),
    };
    if master.is_some() && !slots.is_empty() {
        return Err("Invalid cluster nodes info");
    }
    let slots = slots.iter().map(|word| parse_slots(word)).collect::<Result<Vec<_>, _>>()?;
    let is_failed = role.eq_ignore_ascii_case("slave,fail");
    Ok(Entry { id: (*id).to_owned(), host: (*host).to_owned(), port, master, slots, is_failed })
}

fn parse_slots(word: &str) -> Result<Range, &'static str> {
    if word.len() == ID_LEN && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("Invalid nodes definition: Missing newline between node entries.");
    }
    let slot = |text: &str| {
        let slot = text.parse::<u16>().ok().filter(|slot| *slot < SLOTS);
        slot.ok_or("Slot is out of range")
    };
    match word.split_once('-') {
        None => slot(word).map(|slot| (slot, slot)),
        Some((low, high)) => {
            let (low, high) = (slot(low)?, slot(high)?);
            if low < high { Ok((low, high)) } else { Err("Slot is out of range") }
        }
    }
}

impl Topology {
    /// Takes new nodes. Slots that nobody is given now stay with the owner they had.
    pub fn replace(&mut self, entries: Vec<Entry>) {
        self.nodes = entries.into_iter().map(|entry| (entry.id.clone(), Arc::new(entry))).collect();
        let entries: Vec<_> = self.nodes.values().cloned().collect();
        for entry in entries {
            for range in &entry.slots {
                self.assign(*range, &entry);
            }
        }
        self.tidy();
    }

    /// Gives slots to a node.
    pub fn give(&mut self, range: Range, entry: &Arc<Entry>) {
        self.assign(range, entry);
        self.tidy();
    }

    /// Sorts the owners and joins ranges of one owner that touch.
    fn tidy(&mut self) {
        self.owners.sort_by_key(|(range, _)| *range);
        self.owners.dedup_by(|((low, high), owner), ((_, last), before)| {
            let touches = *last + 1 == *low && Arc::ptr_eq(owner, before);
            if touches {
                *last = *high;
            }
            touches
        });
    }

    /// Cuts the slots out of whatever owns them.
    fn assign(&mut self, (low, high): Range, entry: &Arc<Entry>) {
        let mut owners = Vec::with_capacity(self.owners.len() + 2);
        for ((from, to), owner) in self.owners.drain(..) {
            if from < low {
                owners.push(((from, to.min(low - 1)), Arc::clone(&owner)));
            }
            if to > high {
                owners.push(((from.max(high + 1), to), owner));
            }
        }
        owners.push(((low, high), Arc::clone(entry)));
        self.owners = owners;
    }

    /// Who owns a slot.
    pub fn owner(&self, slot: u16) -> Option<&Arc<Entry>> {
        let found = self.owners.iter().find(|((low, high), _)| (*low..=*high).contains(&slot));
        found.map(|(_, owner)| owner)
    }

    /// Slots of a node by the table of owners, as ranges.
    pub fn slots_of(&self, id: &str) -> Vec<Range> {
        let mut slots: Vec<Range> = Vec::new();
        for ((low, high), _) in self.owners.iter().filter(|(_, owner)| owner.id == id) {
            match slots.last_mut() {
                Some((_, last)) if *last + 1 == *low => *last = *high,
                _ => slots.push((*low, *high)),
            }
        }
        slots
    }

    /// How many slots have an owner.
    pub fn assigned(&self) -> u32 {
        self.owners.iter().map(|((low, high), _)| u32::from(high - low) + 1).sum()
    }

    /// Replicas of a master.
    pub fn replicas_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.nodes.values().filter(move |entry| entry.master.as_deref() == Some(id))
    }

    /// The text of `CLUSTER INFO` without what migrations add.
    pub fn info(&self, version: i64) -> String {
        let masters = self.nodes.values().filter(|entry| entry.master.is_none());
        let size = masters.filter(|entry| !self.slots_of(&entry.id).is_empty()).count();
        format!(
            "cluster_state:ok\r\ncluster_slots_assigned:{0}\r\ncluster_slots_ok:{0}\r\n\
             cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{1}\r\n\
             cluster_size:{size}\r\ncluster_current_epoch:{version}\r\n\
             cluster_my_epoch:{version}\r\n",
            self.assigned(),
            self.nodes.len(),
        )
    }

    /// The text of `CLUSTER NODES`; `moving` follows the slots of the node's own line.
    pub fn nodes_text(&self, my_id: &str, version: i64, now_ms: u64, moving: &str) -> String {
        self.nodes
            .values()
            .map(|entry| {
                let is_mine = entry.id == my_id;
                let mut line = self.node_line(entry, is_mine, version, now_ms);
                if is_mine {
                    line.push_str(moving);
                }
                line + "\n"
            })
            .collect()
    }

    /// A line of `CLUSTER NODES`.
    pub fn node_line(&self, entry: &Entry, is_mine: bool, version: i64, now_ms: u64) -> String {
        let bus = u32::from(entry.port) + 10_000;
        let mine = if is_mine { "myself," } else { "" };
        let (role, master) = match &entry.master {
            None => ("master", "-"),
            Some(master) if entry.is_failed => ("slave,fail", master.as_str()),
            Some(master) => ("slave", master.as_str()),
        };
        let mut line = format!(
            "{} {}@{bus} {mine}{role} {master} {} {now_ms} {version} connected",
            entry.id,
            entry.addr(),
            now_ms.saturating_sub(1),
        );
        if entry.master.is_none() {
            for range in self.slots_of(&entry.id) {
                let _ = write!(line, " {}", show(range));
            }
        }
        line
    }

    /// The node file.
    pub fn file(&self, my_id: &str, version: i64) -> String {
        let mut text = format!("version {version}\nid {my_id}\n");
        for entry in self.nodes.values() {
            let _ = write!(text, "node {} {} {} ", entry.id, entry.host, entry.port);
            match &entry.master {
                Some(master) => {
                    let _ = writeln!(text, "slave {master} ");
                }
                None => {
                    let slots: Vec<_> = self.slots_of(&entry.id).into_iter().map(show).collect();
                    let _ = writeln!(text, "master -  {}", slots.join(" "));
                }
            }
        }
        text
    }
}

/// Version, own id and nodes of a node file.
pub fn parse_file(text: &str) -> Option<(i64, String, Vec<Entry>)> {
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version ")?.parse().ok()?;
    let id = lines.next()?.strip_prefix("id ")?.to_owned();
    let nodes = lines.map(|line| line.strip_prefix("node ").map(parse_line)?.ok());
    Some((version, id, nodes.collect::<Option<_>>()?))
}

/// `5` or `5-10`.
pub fn show((low, high): Range) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

/// The slot of a key, hash tags honoured.
pub fn slot_of(key: &str) -> u16 {
    let tagged = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = match tagged {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    };
    let mut crc: u16 = 0;
    for byte in hashed.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % SLOTS
}
