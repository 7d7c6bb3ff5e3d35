//! What every part of the work needs: the state, the log, the engine of containers, and the right
//! to act.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    broker::{Actor, Broker, Call, ProposeError, ReadMode},
    client::{runtime::Runtime, service_probe::ServiceProbe},
    domain::{
        self,
        cello::{
            Command, Rejection, Reply, State,
            query::{self, Effect},
        },
    },
};

/// Time for a proposal, and for a confirmation of leadership.
const PROPOSE_TIME: Duration = Duration::from_secs(3);
/// Pause before leadership is confirmed again.
const CONFIRM_PAUSE: Duration = Duration::from_millis(50);

/// What came of a proposal that was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Declined {
    /// The state refused it: what it relied on is no longer so.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// It was not accepted, or nobody knows.
    #[error(transparent)]
    NotApplied(#[from] ProposeError),
    /// The reply belongs to another command.
    #[error("unexpected reply")]
    Unexpected,
}

/// The replicated state as one leader in one term has it.
pub(super) trait Office: Send + Sync {
    /// The applied state and its log index.
    fn look(&self) -> (State, u64);

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Whether this replica, as far as it knows, still leads in the term.
    fn leads(&self) -> bool;

    /// Whether a majority confirms that it leads; the applied state is then as new as the question.
    fn confirm(&self) -> BoxFuture<'_, bool>;

    /// Has a command applied in the term.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, Declined>>;

    /// The applied index, and every growth of it.
    fn watch_applied(&self) -> watch::Receiver<u64>;
}

/// The office of a replica.
pub(super) struct Leader {
    broker: Broker,
    term: u64,
}

impl Leader {
    pub(super) const fn new(broker: Broker, term: u64) -> Self {
        Self { broker, term }
    }
}

impl Office for Leader {
    fn look(&self) -> (State, u64) {
        let view = self.broker.latest();
        (view.cello.clone(), view.position().index)
    }

    fn now_ms(&self) -> u64 {
        self.broker.now_ms()
    }

    fn leads(&self) -> bool {
        let leadership = *self.broker.watch_leadership().borrow();
        leadership.is_leader_here && leadership.term == self.term
    }

    fn confirm(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let deadline = Instant::now() + PROPOSE_TIME;
            let barrier = self.broker.view(ReadMode::Linearizable, deadline).await;
            barrier.is_ok() && self.leads()
        })
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, Declined>> {
        Box::pin(async {
            let call = Call {
                request_id: None,
                actor: Actor::Own("pool-control"),
                deadline: Instant::now() + PROPOSE_TIME,
            };
            let command = domain::Command::Cello(command);
            match self.broker.propose_in_term(&call, command, self.term).await?.reply {
                domain::Reply::Cello(reply) => Ok(reply?),
                _ => Err(Declined::Unexpected),
            }
        })
    }

    fn watch_applied(&self) -> watch::Receiver<u64> {
        self.broker.watch_applied()
    }
}

/// One leader in one term, with what it has to work with.
pub(super) struct Desk {
    pub(super) office: Arc<dyn Office>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) services: Arc<dyn ServiceProbe>,
    begun_at: Instant,
    begun_index: u64,
}

impl Desk {
    /// Waits until everything that earlier leaders had committed is applied here.
    pub(super) async fn take_over(
        office: Arc<dyn Office>,
        runtime: Arc<dyn Runtime>,
        services: Arc<dyn ServiceProbe>,
    ) -> Self {
        while !office.confirm().await {
            sleep(CONFIRM_PAUSE).await;
        }
        let (_, begun_index) = office.look();
        Self { office, runtime, services, begun_at: Instant::now(), begun_index }
    }

    /// Before then a call of an earlier leader may still be on its way to a host (spec 6.4).
    pub(super) fn settled_at(&self, call_time: Duration) -> Instant {
        self.begun_at + call_time
    }

    /// Whether something that the state has only since this leader took over; no earlier leader can
    /// have begun to act on it.
    pub(super) const fn is_own(&self, op: u64) -> bool {
        op > self.begun_index
    }

    /// Whether an effect is still wanted, and still ours to bring about, for all a majority knows.
    pub(super) async fn may_go_on(&self, effect: &Effect) -> bool {
        self.office.confirm().await && query::is_current(&self.office.look().0, effect)
    }

    /// Proposes; what comes of it shows in the state. False if it was not applied.
    pub(super) async fn report(&self, command: Command) -> bool {
        let proposed = self.office.propose(command).await;
        if let Err(error) = &proposed {
            tracing::debug!(%error, "a report of the pool's loops was not taken");
        }
        proposed.is_ok()
    }
}
