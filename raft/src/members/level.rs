//! The feature level: which meanings the log may use, while programs of different age work side by
//! side.
//!
//! Every replica tells the leader the highest level it knows. The level in use is part of the
//! replicated state and is raised by an entry, never beyond what every member knows and never
//! back. A replica that meets more than it knows stops before it has changed anything: see
//! [`crate::LevelUnknown`].

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{About, Ask, LevelRaised, MemberError, Raise, Reply};
use crate::{
    Machine, Proposal, ReplicaId, RequestId,
    entry::encode,
    node::{core::Core, propose::Tried, read::millis},
    rt,
    storage::identity::Identity,
    transport::{CallError, Line, client::Request, header, route, wire},
    types::Peer,
};

/// Pause between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a member may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a member said longer ago counts for nothing: it may run another program by now.
const FRESH: Duration = Duration::from_secs(3);
/// Who raises the level when nobody asks for it.
const OURSELVES: &str = "quorate";

/// What a member said, and when.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// `None` if its program does not know the question.
    about: Option<About>,
    at: Instant,
}

fn refused(why: impl Into<String>) -> MemberError {
    MemberError::Refused(why.into())
}

impl<M: Machine> Core<M> {
    /// What this replica says of its program.
    pub(crate) fn about(&self) -> About {
        About {
            program: self.config.levels.program.clone(),
            level_max: M::level_known_max().min(self.config.levels.known_max),
        }
    }

    /// The level in use, as far as is applied here.
    pub(crate) fn level(&self) -> u64 {
        self.board.latest().machine().feature_level()
    }

    /// Refuses to change members before every program remembers such changes.
    pub(crate) fn check_members_level(&self, level: u64) -> Result<(), MemberError> {
        let needed = self.config.levels.members_min;
        if level >= needed {
            return Ok(());
        }
        Err(refused(format!(
            "the members change from feature level {needed} on, and the cluster uses {level}: raise \
             it once every replica runs a program that knows {needed}"
        )))
    }

    /// What a member has said lately; nothing unless this replica leads.
    pub(crate) fn said(&self, id: ReplicaId) -> Option<About> {
        if !self.leadership().is_leader_here {
            return None;
        }
        if id == self.here() {
            return Some(self.about());
        }
        let reports = self.reports();
        let report = reports.get(&id).filter(|report| report.at.elapsed() <= FRESH)?;
        report.about.clone()
    }

    /// The highest level that every member knows.
    ///
    /// # Errors
    /// [`MemberError::Refused`], naming a member that has not said it.
    pub(crate) fn common_level(&self) -> Result<u64, MemberError> {
        let membership = self.membership.load();
        let mut common = self.about().level_max;
        // Whoever was registered and has not started yet is asked when it joins.
        let started = membership.nodes().filter(|(_, peer)| peer.is_claimed());
        for id in started.map(|(id, _)| *id) {
            match self.said(id) {
                Some(about) => common = common.min(about.level_max),
                None => return Err(self.silence_of(id)),
            }
        }
        Ok(common)
    }

    fn silence_of(&self, id: ReplicaId) -> MemberError {
        let answers = self.reports().get(&id).is_some_and(|report| report.at.elapsed() <= FRESH);
        refused(match answers {
            true => format!(
                "replica {id} runs an older program, which does not say what it knows: upgrade it \
                 first"
            ),
            false => format!(
                "replica {id} has not said lately what its program knows: start it, or remove it \
                 from the cluster"
            ),
        })
    }

    /// Who of the members does not know a level, for people.
    fn ignorant_of(&self, level: u64) -> String {
        let membership = self.membership.load();
        let said =
            |(id, _): (&ReplicaId, &Peer)| self.said(*id).map(|about| (*id, about.level_max));
        let lacking = membership.nodes().filter_map(said).filter(|(_, known)| *known < level);
        let names: Vec<String> =
            lacking.map(|(id, known)| format!("replica {id} knows no more than {known}")).collect();
        names.join(", ")
    }

    /// Asks the leader to raise the level.
    pub(crate) async fn ask_raise(
        self: &Arc<Self>,
        level: Option<u64>,
        actor: &str,
        deadline: Instant,
    ) -> Result<LevelRaised, MemberError> {
        let wish = Raise { level, actor: actor.to_owned() };
        match self.ask_leader(Ask::Raise(wish), deadline).await {
            Ok(Reply::Raised(raised)) => Ok(raised),
            Ok(Reply::Failed(error)) | Err(error) => Err(error),
            Ok(other) => Err(MemberError::Unknown(format!("the leader answered {other:?}"))),
        }
    }

    /// Raises the level, as the leader. No member comes meanwhile.
    pub(crate) async fn raise_level(
        self: &Arc<Self>,
        wish: &Raise,
    ) -> Result<LevelRaised, MemberError> {
        let alone = self.changing.clone().try_lock_owned();
        let alone = alone.map_err(|_| MemberError::InProgress)?;
        let (present, term) = (self.level(), self.leadership().term);
        if wish.level == Some(present) {
            return Ok(LevelRaised { level: present, is_new: false });
        }
        if let Some(level) = wish.level.filter(|level| *level < present) {
            return Err(refused(format!(
                "the cluster uses feature level {present}, and a level is never lowered, not even to \
                 {level}"
            )));
        }
        let common = self.common_level()?;
        let level = wish.level.unwrap_or(common).max(present);
        if level == present {
            return Ok(LevelRaised { level, is_new: false });
        }
        if level > common {
            let who = self.ignorant_of(level);
            return Err(refused(format!("not every member knows feature level {level}: {who}")));
        }
        let command = M::raise_to(level).ok_or_else(|| refused("there are no feature levels"))?;
        let request_id = Identity::draw().map_err(|error| refused(error.to_string()))?;
        let entry = encode(&Proposal {
            request_id: RequestId(request_id),
            actor: wish.actor.clone(),
            fence_term: Some(term),
            command,
        });
        let entry = entry.map_err(|error| refused(error.to_string()))?;
        let core = self.clone();
        // Its own task: nobody may join while the entry can still be committed.
        let placed = rt::spawn(async move {
            let tried = core.append(entry).await;
            drop(alone);
            tried
        });
        let tried = placed.await.unwrap_or_else(|error| Tried::Dead(error.to_string()));
        match tried {
            Tried::Done(_) if self.level() >= level => {
                tracing::info!(from = present, to = level, "the feature level is raised");
                Ok(LevelRaised { level, is_new: true })
            }
            Tried::Done(_) => Err(MemberError::InProgress),
            Tried::Refused(reason) => Err(MemberError::NotAccepted(reason.to_owned())),
            Tried::Busy { .. } => Err(MemberError::NotAccepted("the leader is busy".to_owned())),
            Tried::Doubtful(reason) | Tried::Dead(reason) => Err(MemberError::Unknown(reason)),
        }
    }

    /// Asks the members what they know while this replica leads, and raises the level when all of
    /// them know a higher one, if that is wished.
    pub(crate) async fn keep_levels(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
            if !self.leadership().is_leader_here {
                self.reports().clear();
                continue;
            }
            tokio::select! {
                biased;
                () = self.ask_members() => {}
                () = self.stop.cancelled() => return,
            }
            // An unfounded cluster has no level yet; whoever founds it sets the first.
            let present = self.level();
            let is_due = self.config.levels.is_automatic && present > 0;
            if is_due && self.common_level().is_ok_and(|common| common > present) {
                let wish = Raise { level: None, actor: OURSELVES.to_owned() };
                if let Err(error) = self.raise_level(&wish).await {
                    tracing::debug!(%error, "the feature level stays for now");
                }
            }
        }
    }

    async fn ask_members(&self) {
        let membership = self.membership.load_full();
        let others: Vec<ReplicaId> = membership
            .nodes()
            .filter(|(id, peer)| **id != self.here() && peer.is_claimed())
            .map(|(id, _)| *id)
            .collect();
        let asked = others.iter().map(|id| async move { (*id, self.ask_about(*id).await) });
        let answers = futures::future::join_all(asked).await;
        let mut reports = self.reports();
        reports.retain(|id, _| others.contains(id));
        for (id, report) in answers {
            match report {
                Some(report) => drop(reports.insert(id, report)),
                None => drop(reports.remove(&id)),
            }
        }
    }

    async fn ask_about(&self, id: ReplicaId) -> Option<Report> {
        let target = self.target(id)?;
        let body = wire::encode(&Ask::About).ok()?;
        let request = Request::new(route::MEMBERS, body)
            .with(header::HOPS, 0)
            .with(header::PATIENCE_MS, millis(PATIENCE));
        let at = Instant::now();
        match self.peers.call(Line::Calls, &target, request, PATIENCE).await {
            Ok(answer) => match wire::decode(&answer) {
                Ok(Reply::About(about)) => Some(Report { about: Some(about), at }),
                _ => Some(Report { about: None, at }),
            },
            // A program that is there and does not know the question.
            Err(CallError::Refused(refused)) if [400, 404].contains(&refused.status) => {
                Some(Report { about: None, at })
            }
            Err(_) => None,
        }
    }

    fn reports(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
