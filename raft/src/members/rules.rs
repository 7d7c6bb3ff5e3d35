//! Which change of the membership is allowed, and what it is in the words of the log. Pure.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{ChangeMembers, Membership};

use super::{Joiner, LAG_ENTRIES_MAX, MEMBERS_MAX, MemberChange, MemberError, Successor};
use crate::{LevelUnknown, ReplicaId, types::Peer};

/// What the leader knows when it judges a change.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// The leader.
    pub(crate) here: ReplicaId,
    /// The membership in force; committed and not joint.
    pub(crate) membership: Membership<ReplicaId, Peer>,
    /// Removed replicas.
    pub(crate) retired: BTreeSet<ReplicaId>,
    /// Members that have answered the leader lately, and the leader itself.
    pub(crate) live: BTreeSet<ReplicaId>,
    /// Entries that members lack.
    pub(crate) lags: BTreeMap<ReplicaId, u64>,
    /// The feature level in use.
    pub(crate) level: u64,
}

/// What has to be done for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: it is so already.
    Nothing { id: ReplicaId },
    /// An entry of the log, or two for voters.
    Change { id: ReplicaId, changes: ChangeMembers<ReplicaId, Peer> },
    /// Another replica must lead first.
    HandOver,
}

type Judged = Result<Step, MemberError>;

fn refused(why: impl Into<String>) -> MemberError {
    MemberError::Refused(why.into())
}

/// Members written one after another, for people.
fn names(ids: &BTreeSet<ReplicaId>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// More than half of a number of voters.
pub(crate) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Judges a change that somebody asks for.
pub(crate) fn judge(scene: &Scene, change: &MemberChange) -> Judged {
    match change {
        MemberChange::Add { id, peer_addr, client_url } => {
            scene.place(&Place::unclaimed(*id, peer_addr, client_url, None))
        }
        MemberChange::Promote { id } => scene.promote(*id),
        MemberChange::Remove { id } => scene.remove(*id),
        MemberChange::Replace { id, by } => scene.replace(*id, by),
        MemberChange::Update { id, peer_addr, client_url } => {
            scene.update(*id, peer_addr.as_deref(), client_url.as_deref())
        }
    }
}

/// Judges the wish of a replica to be a member.
pub(crate) fn judge_joiner(scene: &Scene, joiner: &Joiner) -> Judged {
    if joiner.incarnation == [0; 16] {
        return Err(MemberError::Invalid("a replica joins with a disk of its own".to_owned()));
    }
    if joiner.level_max < scene.level {
        let (needed, known) = (scene.level, joiner.level_max);
        return Err(refused(LevelUnknown { needed, known }.to_string()));
    }
    let Joiner { id, incarnation, peer_addr, client_url, .. } = joiner;
    scene.place(&Place {
        incarnation: *incarnation,
        ..Place::unclaimed(*id, peer_addr, client_url, None)
    })
}

/// A replica that is, or shall be, a member.
struct Place<'a> {
    id: Option<ReplicaId>,
    incarnation: [u8; 16],
    peer_addr: &'a str,
    client_url: &'a str,
    replaces: Option<ReplicaId>,
}

impl<'a> Place<'a> {
    fn unclaimed(
        id: Option<ReplicaId>,
        peer_addr: &'a str,
        client_url: &'a str,
        replaces: Option<ReplicaId>,
    ) -> Self {
        Self { id, incarnation: [0; 16], peer_addr, client_url, replaces }
    }

    fn is_claimed(&self) -> bool {
        self.incarnation != [0; 16]
    }

    fn peer(&self) -> Peer {
        Peer {
            peer_addr: self.peer_addr.to_owned(),
            client_url: self.client_url.to_owned(),
            incarnation: self.incarnation,
            replaces: self.replaces,
        }
    }
}

fn check_peer_addr(text: &str) -> Result<(), MemberError> {
    let is_good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && c != '/');
        is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_good {
        return Ok(());
    }
    Err(MemberError::Invalid(format!("a peer address is HOST:PORT, not '{text}'")))
}

fn check_client_url(text: &str) -> Result<(), MemberError> {
    let is_good = ["http://", "https://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && c != ',')
        })
    });
    if text.is_empty() || is_good {
        return Ok(());
    }
    Err(MemberError::Invalid(format!("a client URL begins with http:// or https://, not '{text}'")))
}

impl Scene {
    fn peer(&self, id: ReplicaId) -> Option<&Peer> {
        self.membership.get_node(&id)
    }

    fn member(&self, id: ReplicaId) -> Result<&Peer, MemberError> {
        self.peer(id).ok_or(MemberError::NotFound(id))
    }

    fn voters(&self) -> BTreeSet<ReplicaId> {
        self.membership.voter_ids().collect()
    }

    fn is_voter(&self, id: ReplicaId) -> bool {
        self.membership.voter_ids().any(|voter| voter == id)
    }

    /// An id nobody has or had.
    fn next_id(&self) -> ReplicaId {
        let members = self.membership.nodes().map(|(id, _)| *id);
        members.chain(self.retired.iter().copied()).max().unwrap_or(0) + 1
    }

    /// Refuses what the voters could not decide, or what they could not decide without `lost`.
    fn check_quorum(
        &self,
        voters: &BTreeSet<ReplicaId>,
        lost: Option<ReplicaId>,
        what: &str,
    ) -> Result<(), MemberError> {
        let is_live = |id: &&ReplicaId| self.live.contains(id) && Some(**id) != lost;
        let (live, needed) = (voters.iter().filter(is_live).count(), quorum(voters.len()));
        if live >= needed {
            return Ok(());
        }
        let dead: BTreeSet<_> = voters.difference(&self.live).copied().collect();
        let dead = match dead.is_empty() {
            true => String::new(),
            false => format!("; without an answer: {}", names(&dead)),
        };
        let count = voters.len();
        Err(refused(format!(
            "{what} would leave {live} live of {count} voters, and {needed} are needed{dead}"
        )))
    }

    /// Who has the address of a place, other than `id`.
    fn check_address(&self, peer_addr: &str, id: Option<ReplicaId>) -> Result<(), MemberError> {
        let owner = self.membership.nodes().find(|(_, peer)| peer.peer_addr == peer_addr);
        match owner {
            Some((owner, _)) if Some(*owner) != id => {
                Err(refused(format!("{peer_addr} is the peer address of replica {owner}")))
            }
            _ => Ok(()),
        }
    }

    /// The member that a place is about, if it is one already.
    fn known(&self, place: &Place<'_>) -> Option<(ReplicaId, &Peer)> {
        if let Some(id) = place.id {
            return Some((id, self.peer(id)?));
        }
        let members = || self.membership.nodes().map(|(id, peer)| (*id, peer));
        let same_disk = |peer: &Peer| place.is_claimed() && peer.incarnation == place.incarnation;
        members().find(|(_, peer)| same_disk(peer)).or_else(|| {
            // Whoever was registered without a disk is known by its address.
            let is_free = |peer: &Peer| !peer.is_claimed() || !place.is_claimed();
            members().find(|(_, peer)| peer.peer_addr == place.peer_addr && is_free(peer))
        })
    }

    fn place(&self, place: &Place<'_>) -> Judged {
        check_peer_addr(place.peer_addr)?;
        check_client_url(place.client_url)?;
        if let Some((id, peer)) = self.known(place) {
            return self.settle(place, id, peer);
        }
        match place.id {
            Some(0) => return Err(MemberError::Invalid("ids begin at 1".to_owned())),
            Some(id) if self.retired.contains(&id) => return Err(MemberError::Removed(id)),
            _ => {}
        }
        if let Some((owner, _)) =
            self.membership.nodes().find(|(_, peer)| peer.peer_addr == place.peer_addr)
        {
            // An empty disk where a member was: its replacement must be asked for.
            return Err(refused(format!(
                "{} is the peer address of replica {owner}, which has another disk; replace or \
                 remove replica {owner} first",
                place.peer_addr
            )));
        }
        let leaving = usize::from(place.replaces.is_some());
        if self.membership.nodes().count() >= MEMBERS_MAX + leaving {
            return Err(refused(format!("a cluster has at most {MEMBERS_MAX} members")));
        }
        self.check_quorum(&self.voters(), None, "adding a replica")?;
        let id = place.id.unwrap_or_else(|| self.next_id());
        let nodes = BTreeMap::from([(id, place.peer())]);
        Ok(Step::Change { id, changes: ChangeMembers::AddNodes(nodes) })
    }

    /// A place that a member has already: nothing to do, or its disk and addresses become known.
    fn settle(&self, place: &Place<'_>, id: ReplicaId, peer: &Peer) -> Judged {
        if !place.is_claimed() {
            if peer.peer_addr != place.peer_addr {
                let at = &peer.peer_addr;
                return Err(refused(format!("replica {id} is a member already, at {at}")));
            }
            if place.replaces.is_none() || place.replaces == peer.replaces {
                return Ok(Step::Nothing { id });
            }
            return self.succeed(place.replaces, id, peer);
        }
        if peer.is_claimed() && peer.incarnation != place.incarnation {
            return Err(MemberError::AnotherDisk(id));
        }
        self.check_address(place.peer_addr, Some(id))?;
        self.set(id, Peer { replaces: peer.replaces, ..place.peer() })
    }

    fn set(&self, id: ReplicaId, peer: Peer) -> Judged {
        let known = self.member(id)?;
        if *known == peer {
            return Ok(Step::Nothing { id });
        }
        // Nobody may ever find the replica at the new address.
        let is_moving = known.peer_addr != peer.peer_addr && id != self.here;
        let lost = (is_moving && self.is_voter(id)).then_some(id);
        let what = format!("another address for replica {id}, if it does not answer there,");
        self.check_quorum(&self.voters(), lost, &what)?;
        Ok(Step::Change { id, changes: ChangeMembers::SetNodes(BTreeMap::from([(id, peer)])) })
    }

    fn promote(&self, id: ReplicaId) -> Judged {
        let peer = self.member(id)?;
        if self.is_voter(id) {
            return Ok(Step::Nothing { id });
        }
        if !peer.is_claimed() {
            return Err(refused(format!("replica {id} has not started yet")));
        }
        if !self.live.contains(&id) {
            return Err(refused(format!("replica {id} does not answer")));
        }
        match self.lags.get(&id) {
            Some(lag) if *lag <= LAG_ENTRIES_MAX => {}
            Some(lag) => {
                return Err(refused(format!(
                    "replica {id} lacks {lag} entries; it gets its vote when it lacks no more \
                     than {LAG_ENTRIES_MAX}"
                )));
            }
            None => return Err(refused(format!("how much replica {id} lacks is not known yet"))),
        }
        let leaves = peer.replaces.filter(|leaves| self.peer(*leaves).is_some());
        if leaves == Some(self.here) {
            return Ok(Step::HandOver);
        }
        let mut voters = self.voters();
        voters.insert(id);
        let leaves_as_voter = leaves.is_some_and(|leaves| voters.remove(&leaves));
        self.check_quorum(&self.voters(), None, "a change of voters")?;
        self.check_quorum(&voters, None, &format!("the vote of replica {id}"))?;
        let vote = ChangeMembers::ReplaceAllVoters(voters);
        let changes = match leaves.filter(|_| !leaves_as_voter) {
            Some(learner) => {
                let gone = ChangeMembers::RemoveNodes(BTreeSet::from([learner]));
                ChangeMembers::Batch(vec![gone, vote])
            }
            None => vote,
        };
        Ok(Step::Change { id, changes })
    }

    fn remove(&self, id: ReplicaId) -> Judged {
        if self.retired.contains(&id) {
            return Ok(Step::Nothing { id });
        }
        self.member(id)?;
        let mut voters = self.voters();
        self.check_quorum(&voters, None, "a change of members")?;
        if !voters.remove(&id) {
            let changes = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            return Ok(Step::Change { id, changes });
        }
        if voters.is_empty() {
            return Err(refused(format!("replica {id} is the only voter")));
        }
        self.check_quorum(&voters, None, &format!("removing replica {id}"))?;
        if id == self.here {
            return Ok(Step::HandOver);
        }
        Ok(Step::Change { id, changes: ChangeMembers::ReplaceAllVoters(voters) })
    }

    fn replace(&self, id: ReplicaId, by: &Successor) -> Judged {
        let is_gone = self.retired.contains(&id);
        if !is_gone {
            self.member(id)?;
        }
        match by {
            Successor::Member(by) => {
                let peer = self.member(*by)?;
                match is_gone {
                    true => Ok(Step::Nothing { id: *by }),
                    false => self.succeed(Some(id), *by, peer),
                }
            }
            Successor::New { id: by, peer_addr, client_url } => {
                let place = Place::unclaimed(*by, peer_addr, client_url, Some(id));
                match self.known(&place) {
                    Some((by, peer)) if is_gone && peer.peer_addr == *peer_addr => {
                        Ok(Step::Nothing { id: by })
                    }
                    None if is_gone => Err(MemberError::NotFound(id)),
                    _ => self.place(&place),
                }
            }
        }
    }

    /// Names a member as the successor of another one; a voter is one at once.
    fn succeed(&self, leaves: Option<ReplicaId>, by: ReplicaId, peer: &Peer) -> Judged {
        let Some(leaves) = leaves else { return Ok(Step::Nothing { id: by }) };
        if leaves == by {
            return Err(MemberError::Invalid("a replica does not replace itself".to_owned()));
        }
        if self.is_voter(by) {
            return self.remove(leaves);
        }
        self.set(by, Peer { replaces: Some(leaves), ..peer.clone() })
    }

    fn update(&self, id: ReplicaId, peer_addr: Option<&str>, client_url: Option<&str>) -> Judged {
        let mut peer = self.member(id)?.clone();
        if let Some(peer_addr) = peer_addr {
            check_peer_addr(peer_addr)?;
            self.check_address(peer_addr, Some(id))?;
            peer_addr.clone_into(&mut peer.peer_addr);
        }
        if let Some(client_url) = client_url {
            check_client_url(client_url)?;
            client_url.trim_end_matches('/').clone_into(&mut peer.client_url);
        }
        self.set(id, peer)
    }
}
