//! How the members hear of each other's digests, and what each of them makes of it.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request as Incoming, State},
    response::{IntoResponse, Response},
};
use futures::future::join_all;
use metrics::{counter, gauge, histogram};
use openraft::storage::RaftLogStorage;
use tokio::time::{Instant, sleep};

use super::{
    Answer, Question, StateDigest,
    standing::{Finding, Record},
    verdict::{Credit, Testimony, Verdict, judge},
};
use crate::{
    Machine, ReplicaId,
    metrics::{
        DIGEST_AGREED_INDEX, DIGEST_DISPUTED, DIGEST_ROUNDS_TOTAL, DIGEST_SECONDS, QUARANTINED,
    },
    node::{
        core::Core,
        peer_api::{Reject, message, patience_of, reply},
        read::millis,
    },
    replicated::Replicated,
    rt,
    storage::{identity::hex, state_digest},
    transport::{CallError, Line, client::Request, header, route, status::STOPPED, wire},
};

/// How long a member may take to apply an index and to digest its state.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two rounds is at least this many times what it took the leader to digest its
/// state, so that a large one costs no more than a few parts in a hundred of one processor.
const PAUSE_FACTOR: u32 = 20;
/// How often a replica that does not lead looks whether it does by now, and the pause between
/// rounds that somebody waits for.
const IDLE: Duration = Duration::from_millis(250);
/// Most rounds that are made in quick succession.
const WISHED_ROUNDS: u32 = 20;

/// Where the leader is in comparing.
#[derive(Debug, Default)]
struct Progress {
    /// Last index at which every member was compared.
    complete: u64,
    /// Whether the next round is about the newest state rather than about one of those that every
    /// replica keeps; changes when a member could not answer.
    prefers_newest: bool,
    /// Rounds that are still made in quick succession, because somebody waits for them.
    wished: u32,
    /// What it took to digest this replica's own state in the last round.
    took: Duration,
}

impl<M: Machine> Core<M> {
    /// Compares the digests of all members while this replica leads, until it stops.
    pub(crate) async fn compare_digests(self: Arc<Self>) {
        let mut progress = Progress::default();
        let mut wishes = self.comparisons.subscribe();
        let mut pause = self.pause_after(&progress);
        loop {
            tokio::select! {
                biased;
                () = sleep(pause) => {}
                changed = wishes.changed() => match changed {
                    Ok(()) => {
                        wishes.borrow_and_update();
                        progress = Progress { wished: WISHED_ROUNDS, ..Progress::default() };
                        progress.prefers_newest = true;
                    }
                    Err(_) => return,
                },
                () = self.stop.cancelled() => return,
            }
            if !self.leadership().is_leader_here {
                progress = Progress::default();
                pause = IDLE;
                continue;
            }
            // Also with an interval of nought, if somebody wishes it.
            if !self.config.digest_interval.is_zero() || progress.wished > 0 {
                tokio::select! {
                    biased;
                    () = self.round_of_digests(&mut progress) => {}
                    () = self.stop.cancelled() => return,
                }
            }
            pause = self.pause_after(&progress);
        }
    }

    fn pause_after(&self, progress: &Progress) -> Duration {
        let interval = match self.config.digest_interval {
            _ if progress.wished > 0 => IDLE,
            interval if interval.is_zero() => PATIENCE,
            interval => interval,
        };
        interval.max(progress.took * PAUSE_FACTOR)
    }

    /// Has the members compared again soon, if this replica leads.
    pub(crate) fn compare_soon(&self) {
        self.comparisons.send_modify(|wishes| *wishes += 1);
    }

    async fn round_of_digests(self: &Arc<Self>, progress: &mut Progress) {
        progress.wished = progress.wished.saturating_sub(1);
        let others = self.others();
        if others.is_empty() {
            return;
        }
        let samples = self.board.samples();
        let newest = self.board.latest().index();
        let multiple = samples.newest_multiple().filter(|_| !progress.prefers_newest);
        let index = multiple.filter(|index| *index > progress.complete).unwrap_or(newest);
        if index <= progress.complete {
            return;
        }
        let begun = Instant::now();
        let Some(own) = self.testify(index, begun + PATIENCE).await else { return };
        progress.took = begun.elapsed();
        let asked = others.iter().map(|id| self.ask_digest(*id, index));
        let heard: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let is_complete = heard.len() == others.len();
        progress.prefers_newest = !is_complete && !progress.prefers_newest;
        if is_complete {
            progress.complete = index;
            progress.wished = 0;
        }
        let testimonies: Vec<_> = heard.into_iter().chain([own]).collect();
        let outcome = self.outcome_of(&testimonies);
        counter!(DIGEST_ROUNDS_TOTAL, "outcome" => outcome).increment(1);
        // The others first: this replica may be about to give up the lead.
        let told = others.iter().map(|id| self.tell_digests(*id, index, &testimonies));
        join_all(told).await;
        self.judge_itself(index, testimonies).await;
    }

    fn outcome_of(&self, testimonies: &[Testimony]) -> &'static str {
        match judge(&self.voters(), testimonies) {
            Verdict::Majority(digest) => {
                let differs =
                    |one: &Testimony| one.credit != Credit::Quarantined && one.digest != digest;
                if testimonies.iter().any(differs) { "differs" } else { "agreed" }
            }
            Verdict::Disputed => "disputed",
            Verdict::Open => "incomplete",
        }
    }

    fn others(&self) -> Vec<ReplicaId> {
        let membership = self.membership.load();
        let there =
            membership.nodes().filter(|(id, peer)| **id != self.here() && peer.is_claimed());
        there.map(|(id, _)| *id).collect()
    }

    fn voters(&self) -> BTreeSet<ReplicaId> {
        self.membership.load().voter_ids().collect()
    }

    async fn ask_digest(&self, id: ReplicaId, index: u64) -> Option<Testimony> {
        match self.question(id, &Question::Testify { index }, PATIENCE).await {
            // Nobody speaks for anybody else.
            Ok(Answer::Testimony(said)) => said.filter(|said| said.id == id),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(peer = id, %error, "a replica does not tell its digest");
                None
            }
        }
    }

    async fn tell_digests(&self, id: ReplicaId, index: u64, testimonies: &[Testimony]) {
        let verdict = Question::Judge { index, testimonies: testimonies.to_vec() };
        if let Err(error) = self.question(id, &verdict, PATIENCE).await {
            tracing::debug!(peer = id, %error, "a replica does not hear the digests of the others");
        }
    }

    /// Asks a member something about digests.
    pub(super) async fn question(
        &self,
        id: ReplicaId,
        question: &Question,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let unreachable = |reason: &str| CallError::Unreachable(reason.to_owned());
        let target = self.target(id).ok_or_else(|| unreachable("its address is not known"))?;
        let broken = |error: io::Error| CallError::Broken(error.to_string());
        let body = wire::encode(question).map_err(broken)?;
        let request =
            Request::new(route::AGREEMENT, body).with(header::PATIENCE_MS, millis(patience));
        let answer = self.peers.call(Line::Calls, &target, request, patience).await?;
        wire::decode(&answer).map_err(broken)
    }

    /// What this replica comes to at an index; `None` if it is not there in time, or was there
    /// and did not keep the state.
    pub(crate) async fn testify(&self, index: u64, deadline: Instant) -> Option<Testimony> {
        self.board.samples().want(index);
        if !self.wait_applied(index, deadline).await {
            return None;
        }
        let digest = self.digest_at(index).await?;
        Some(Testimony { id: self.here(), digest, credit: self.standing.record().credit() })
    }

    async fn digest_at(&self, index: u64) -> Option<StateDigest> {
        let samples = self.board.samples();
        // One at a time; whoever waited finds what another one has computed.
        let _turn = self.digesting.lock().await;
        if let Some(digest) = samples.digest(index) {
            return Some(digest);
        }
        let (generation, kept) = samples.state(index);
        let latest = || {
            let latest = self.board.latest();
            (latest.index() == index).then(|| Replicated::clone(&latest))
        };
        let state = kept.or_else(latest)?;
        let begun = Instant::now();
        let work = rt::blocking(move || state_digest(&state));
        let digest = match work.await.flatten() {
            Ok(digest) => digest,
            Err(error) => {
                tracing::error!(replica = self.here(), index, %error, "the state cannot be digested");
                return None;
            }
        };
        histogram!(DIGEST_SECONDS).record(begun.elapsed());
        samples.remember(generation, index, digest);
        // Forgotten at once if the state was replaced meanwhile.
        samples.digest(index)
    }

    /// Judges this replica by what all members came to at an index.
    pub(crate) async fn judge_itself(
        self: &Arc<Self>,
        index: u64,
        mut testimonies: Vec<Testimony>,
    ) {
        let here = self.here();
        // Only what this replica computed itself speaks for it.
        let Some(own) = self.board.samples().digest(index) else { return };
        let credit = self.standing.record().credit();
        testimonies.retain(|testimony| testimony.id != here);
        testimonies.push(Testimony { id: here, digest: own, credit });
        let judged = match judge(&self.voters(), &testimonies) {
            Verdict::Majority(majority) if majority == own => self.agrees(index).await,
            Verdict::Majority(majority) => {
                self.differs(Finding { index, own, majority }, &testimonies).await
            }
            Verdict::Disputed => {
                self.disputes(index, &testimonies);
                Ok(())
            }
            Verdict::Open => Ok(()),
        };
        if let Err(error) = judged {
            self.fatal.raise(format!(
                "what this replica is worth could not be written down: {error}. The replica stops. \
                 Look for a full disk or for I/O errors in the kernel's log, mend the disk, and \
                 start the replica again"
            ));
        }
    }

    async fn agrees(&self, index: u64) -> io::Result<()> {
        self.standing.disputed_index.store(0, Ordering::Relaxed);
        gauge!(DIGEST_DISPUTED).set(0.0);
        let agreed = self.standing.agreed_index.fetch_max(index, Ordering::Relaxed).max(index);
        #[allow(clippy::cast_precision_loss)]
        gauge!(DIGEST_AGREED_INDEX).set(agreed as f64);
        match self.standing.record() {
            Record { finding: None, is_unproven: false } => Ok(()),
            // Equal now, and yet its snapshots may not be: only a new state ends it.
            Record { finding: Some(_), is_unproven: false } => Ok(()),
            // An index before that says nothing of a state that is still on its way.
            Record { finding: Some(finding), is_unproven: true } if index > finding.index => {
                self.release(index).await
            }
            Record { finding: Some(_), is_unproven: true } => Ok(()),
            Record { finding: None, is_unproven: true } => {
                self.standing.update(|record| record.is_unproven = false).await.map(drop)
            }
        }
    }

    fn disputes(&self, index: u64, testimonies: &[Testimony]) {
        let before = self.standing.disputed_index.swap(index, Ordering::Relaxed);
        gauge!(DIGEST_DISPUTED).set(1.0);
        if before != index {
            let digests = table(testimonies);
            tracing::error!(
                replica = self.here(),
                index,
                digests,
                "the replicas have come to different states, and none of them has a majority"
            );
        }
    }

    async fn differs(
        self: &Arc<Self>,
        finding: Finding,
        testimonies: &[Testimony],
    ) -> io::Result<()> {
        let before = self.standing.update(|record| {
            record.finding.get_or_insert(finding);
            record.is_unproven = false;
        });
        let before = before.await?;
        let digests = table(testimonies);
        if before.finding.is_none() {
            tracing::error!(
                replica = self.here(),
                index = finding.index,
                digests,
                "the state of this replica differs from that of the majority: it is in quarantine"
            );
        } else if before.is_unproven {
            tracing::error!(
                replica = self.here(),
                index = finding.index,
                digests,
                "the state that was to heal this replica differs from that of the majority, too"
            );
        }
        let right = |one: &&Testimony| one.digest == finding.majority;
        let right: Vec<_> = testimonies.iter().filter(right).map(|one| one.id).collect();
        self.enter_quarantine(&right);
        Ok(())
    }

    /// Gives up everything but the log; `right` are those who may lead instead.
    fn enter_quarantine(&self, right: &[ReplicaId]) {
        gauge!(QUARANTINED).set(1.0);
        let seen = self.leadership();
        let successor = self.most_advanced_of(|id| right.contains(&id));
        self.burden.send_modify(|burden| burden.is_quarantined = true);
        self.after_term(*self.burden.borrow(), seen);
        if let (true, Some(to)) = (seen.is_leader_here, successor) {
            let raft = self.raft.clone();
            self.burden.send_modify(|burden| burden.abandoned_term = seen.term);
            rt::track(&self.tasks, async move { drop(raft.trigger().transfer_leader(to).await) });
        }
    }

    async fn release(&self, index: u64) -> io::Result<()> {
        // Nothing is left of what was wrong: neither the former snapshot nor the entries before the
        // present one, which nobody can tell to be right.
        if let Some(disk) = self.disk.load_full()
            && let Some(newest) = disk.snapshots.forget_older().await?
        {
            disk.log.clone().purge(newest).await?;
        }
        self.standing.update(|record| *record = Record::default()).await?;
        self.burden.send_modify(|burden| burden.is_quarantined = false);
        gauge!(QUARANTINED).set(0.0);
        tracing::info!(
            replica = self.here(),
            index,
            "the state agrees with the majority again: the quarantine is over"
        );
        Ok(())
    }
}

/// Who came to what, for people.
fn table(testimonies: &[Testimony]) -> String {
    let mut rows: Vec<_> =
        testimonies.iter().map(|one| format!("{}={}", one.id, &hex(&one.digest)[..16])).collect();
    rows.sort();
    rows.join(" ")
}

/// Answers another replica's question about digests.
pub(crate) async fn answer<M: Machine>(
    State(core): State<Arc<Core<M>>>,
    request: Incoming,
) -> Result<Response, Reject> {
    let caller = core.admit(&request)?.from.id;
    let deadline = Instant::now() + patience_of(&request);
    let question: Question = message(request).await?;
    let answer = match question {
        Question::Testify { index } => Answer::Testimony(core.testify(index, deadline).await),
        Question::Judge { index, testimonies } => {
            core.judge_itself(index, testimonies).await;
            Answer::Judged
        }
        Question::Heal => Answer::Healing { is_new: core.begin_healing() },
        Question::SendSnapshot => match core.send_state(caller).await {
            Ok(()) => Answer::Sent,
            Err(reason) => Answer::Refused(reason),
        },
    };
    if !core.is_alive() {
        return Err(Reject::new(STOPPED, "stopping"));
    }
    reply::<Answer>(&answer).map(|response: Response<Body>| response.into_response())
}

impl<M: Machine> Core<M> {
    /// Says at the start what was remembered.
    pub(crate) fn tell_standing(&self) {
        let finding = self.standing.record().finding;
        gauge!(QUARANTINED).set(if finding.is_some() { 1.0 } else { 0.0 });
        gauge!(DIGEST_DISPUTED).set(0.0);
        if let Some(Finding { index, .. }) = finding {
            tracing::error!(
                replica = self.here(),
                index,
                "this replica is in quarantine since before it was started"
            );
        }
    }
}
