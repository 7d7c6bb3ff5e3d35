//! Which replica becomes master: the choice among what the nodes said, without I/O (spec 3.5).

use super::{
    Rejection, failover,
    model::{Role, Shard},
};

/// What a node said of its replication when it was asked for a failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Role by its own word.
    pub role: Role,
    /// Position in the history of writes; comparable between nodes of a shard.
    pub sequence: u64,
    /// Whether the link to its master is up; `None` if it did not say, or is a master.
    pub is_linked: Option<bool>,
}

/// A node and what came of asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub node_id: String,
    /// What it said, or why it could not be asked; without secrets.
    pub reading: Result<Reading, String>,
}

/// What is asked of the new master.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// This node or none.
    pub preferred: Option<&'a str>,
    /// Most entries it may be behind a master that answers; 0 sets no limit.
    pub lag_max: u64,
    /// Last sequence known of a master that does not answer.
    pub master_sequence: Option<u64>,
}

/// How a node was judged, for those who ask why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The node.
    pub node_id: String,
    /// Its sequence, if it said.
    pub sequence: Option<u64>,
    /// Why it cannot be master; `None` if it can.
    pub unfit: Option<String>,
}

/// The outcome of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Present master.
    pub old_master: String,
    /// The one to promote, or why there is none.
    pub new_master: Result<String, Rejection>,
    /// Every replica, in the shard's order.
    pub judged: Vec<Judgement>,
}

/// Chooses the replica that has seen most writes; among equals the later one, as the original.
///
/// # Errors
/// [`Rejection`] if the shard cannot fail over at all, or the preferred node is not in it.
pub fn choose(
    shard: &Shard,
    candidates: &[Candidate],
    wish: Wish<'_>,
) -> Result<Choice, Rejection> {
    let old_master = failover::judge_possible(shard)?;
    if wish.preferred.is_some_and(|id| shard.node(id).is_none()) {
        return Err(Rejection::NodeNotFound);
    }
    let reading = |id: &str| {
        let candidate = candidates.iter().find(|candidate| candidate.node_id == id);
        candidate.map(|candidate| candidate.reading.as_ref())
    };
    let master = reading(old_master).and_then(Result::ok);
    let mut judged = Vec::new();
    let mut best: Option<(u64, &str)> = None;
    for node in shard.nodes.iter().filter(|node| node.id != old_master) {
        let unfit = match reading(&node.id) {
            None => Some("it was not asked".to_owned()),
            Some(_) if node.is_failed => Some("it is marked failed".to_owned()),
            Some(Err(error)) => Some(error.clone()),
            Some(Ok(reading)) => judge(reading, master, wish),
        };
        let sequence = reading(&node.id).and_then(Result::ok).map(|reading| reading.sequence);
        let is_wanted = wish.preferred.is_none_or(|id| id == node.id);
        if let (true, None, Some(sequence)) = (is_wanted, &unfit, sequence)
            && best.is_none_or(|(highest, _)| sequence >= highest)
        {
            best = Some((sequence, &node.id));
        }
        judged.push(Judgement { node_id: node.id.clone(), sequence, unfit });
    }
    let new_master = best.map(|(_, id)| id.to_owned()).ok_or(Rejection::NoNewMaster);
    Ok(Choice { old_master: old_master.to_owned(), new_master, judged })
}

fn judge(reading: &Reading, master: Option<&Reading>, wish: Wish<'_>) -> Option<String> {
    let master_sequence = master.map(|master| master.sequence).or(wish.master_sequence);
    if reading.role != Role::Slave {
        return Some("it calls itself a master".to_owned());
    }
    // A replica of an empty master has nothing to lose; any other one at zero never synced.
    if reading.sequence == 0 && master_sequence != Some(0) {
        return Some("it has no data".to_owned());
    }
    // Once the master is gone every link is down.
    if master.is_some() && reading.is_linked == Some(false) {
        return Some("its link to the master is down".to_owned());
    }
    let lag = master_sequence.map_or(0, |sequence| sequence.saturating_sub(reading.sequence));
    if wish.lag_max > 0 && lag > wish.lag_max {
        return Some(format!("it is {lag} entries behind"));
    }
    None
}

#[cfg(test)]
#[path = "candidate_test.rs"]
mod tests;
