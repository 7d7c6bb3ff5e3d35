//! Reads what `CLUSTER NODES` of a node says (spec 3.2, 5.5).

use std::collections::BTreeMap;

use super::{
    model::NODE_ID_LEN,
    slots::{self, SlotError, SlotRange},
    topology::{Topology, TopologyNode, TopologyShard},
};

/// Fields that every line has.
const FIELDS_MIN: usize = 7;
/// Where a master's slots begin.
const SLOTS_AT: usize = 8;

/// Why a text is no topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodesTextError {
    /// A line has too few fields.
    #[error("invalid cluster node info: {0:?}")]
    Line(String),
    /// An id is not 40 characters.
    #[error("invalid node id: {0}")]
    NodeId(String),
    /// The epoch is no number.
    #[error("invalid node epoch: {0:?}")]
    Epoch(String),
    /// Neither master nor replica.
    #[error("invalid node role: {0:?}")]
    Role(String),
    /// A slot token cannot be read.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// A replica names a master that is not there.
    #[error("node {node} follows {master}, which is not in the cluster")]
    UnknownMaster {
        /// The replica.
        node: String,
        /// Whom it names.
        master: String,
    },
    /// No line at all.
    #[error("the node knows no nodes")]
    Empty,
}

struct Line<'a> {
    node: TopologyNode,
    master_id: Option<&'a str>,
    version: u64,
    slots: Vec<SlotRange>,
    migrating: Option<(SlotRange, String)>,
}

/// Reads the text. Shards come by their first slot, those without slots last, then by address.
///
/// # Errors
/// [`NodesTextError`] for a text that does not make a topology.
pub fn parse(text: &str) -> Result<Topology, NodesTextError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(parse_line).collect::<Result<Vec<_>, _>>()?;
    let version = lines.iter().map(|line| line.version).max().ok_or(NodesTextError::Empty)?;
    let mut shards: BTreeMap<String, TopologyShard> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.master_id.is_none()) {
        let shard = TopologyShard {
            master: line.node.clone(),
            replicas: Vec::new(),
            slots: line.slots.clone(),
            migrating: line.migrating.clone(),
        };
        shards.insert(line.node.id.clone(), shard);
    }
    for line in &lines {
        let Some(master) = line.master_id else { continue };
        let shard = shards.get_mut(master).ok_or_else(|| NodesTextError::UnknownMaster {
            node: line.node.id.clone(),
            master: master.to_owned(),
        })?;
        shard.replicas.push(line.node.clone());
    }
    let mut shards: Vec<TopologyShard> = shards.into_values().collect();
    for shard in &mut shards {
        shard.replicas.sort_by(|a, b| a.addr.cmp(&b.addr));
    }
    let place = |shard: &TopologyShard| {
        (shard.slots.first().map_or(u16::MAX, |range| range.start()), shard.master.addr.clone())
    };
    shards.sort_by_key(place);
    Ok(Topology { version, shards })
}

fn parse_line(line: &str) -> Result<Line<'_>, NodesTextError> {
    let fields: Vec<&str> = line.split(' ').collect();
    if fields.len() < FIELDS_MIN {
        return Err(NodesTextError::Line(line.to_owned()));
    }
    let id = fields[0];
    if id.len() != NODE_ID_LEN {
        return Err(NodesTextError::NodeId(id.to_owned()));
    }
    let addr = fields[1].split('@').next().unwrap_or_default();
    let flags: Vec<&str> = fields[2].split(',').collect();
    let has = |word: &str| flags.iter().any(|flag| flag.eq_ignore_ascii_case(word));
    let master_id = match (has("master"), has("slave") || has("replica")) {
        (true, false) => None,
        (false, true) => Some(fields[3]),
        _ => return Err(NodesTextError::Role(fields[2].to_owned())),
    };
    let epoch = |_| NodesTextError::Epoch(fields[6].to_owned());
    let version = fields[6].parse::<u64>().map_err(epoch)?;
    let node = TopologyNode { id: id.to_owned(), addr: addr.to_owned(), is_failed: has("fail") };
    let mut parsed = Line { node, master_id, version, slots: Vec::new(), migrating: None };
    if master_id.is_none() {
        for token in fields.get(SLOTS_AT..).unwrap_or_default() {
            parse_slots(token, &mut parsed)?;
        }
    }
    Ok(parsed)
}

/// A token is a range, a migration `[a->-id]` that is going on, or an import `[a-<-id]`, which
/// the other end tells as well.
fn parse_slots(token: &str, line: &mut Line<'_>) -> Result<(), NodesTextError> {
    if token.is_empty() {
        return Ok(());
    }
    let Some(inside) = token.strip_prefix('[') else {
        line.slots = slots::add(&line.slots, token.parse()?);
        return Ok(());
    };
    let inside = inside.strip_suffix(']').unwrap_or(inside);
    if let Some((range, target)) = inside.split_once("->-") {
        line.migrating = Some((range.parse()?, target.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
#[path = "nodes_text_test.rs"]
mod tests;
