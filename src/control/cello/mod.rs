//! The active work of the cluster pool, on the leader alone: what the state wants done on hosts,
//! pings, probes, filling, sweeping.
//!
//! The state says what is to be done ([`query::effects_of`]); a worker a host ([`host`]) does it
//! through a [`Runtime`] and proposes the outcome, fenced by the term and by the log index of the
//! intent. Nothing is remembered but pace: everything ends with the term, in the middle of whatever
//! goes on, and the next leader finds in the state what is left.
//!
//! What is to be done to containers is decided by pure functions, [`plan`] and [`render`].

mod desk;
mod effect;
mod host;
mod plan;
mod probe;
mod render;
#[cfg(test)]
#[path = "site_fixture_test.rs"]
mod site_fixture;
#[cfg(test)]
mod site_test;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use self::{
    desk::{Desk, Leader},
    host::Worker,
};
use crate::{
    broker::Broker,
    client::{runtime::Runtime, service_probe::ServiceProbe},
    domain::cello::{Command, State, query},
};

/// Longest time between two looks at which hosts there are.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a look: a burst of entries is looked at once.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// Pause after a filling that was refused or not taken.
const FILL_PAUSE: Duration = Duration::from_secs(1);

/// Runs for ever, and acts while this replica leads.
pub(super) async fn run(
    broker: Broker,
    runtime: Arc<dyn Runtime>,
    services: Arc<dyn ServiceProbe>,
) {
    let mut leadership = broker.watch_leadership();
    loop {
        let now = *leadership.borrow_and_update();
        if now.is_leader_here {
            let leads = async {
                // An earlier leader's entries must be applied before its work is taken over.
                while !broker.is_founded() {
                    sleep(LOOK_PAUSE).await;
                }
                let office = Arc::new(Leader::new(broker.clone(), now.term));
                let desk = Desk::take_over(office, Arc::clone(&runtime), Arc::clone(&services));
                supervise(Arc::new(desk.await)).await;
            };
            let is_over = leadership.wait_for(|new| !new.is_leader_here || new.term != now.term);
            tokio::select! {
                () = leads => {}
                over = is_over => if over.is_err() { return },
            }
        } else if leadership.changed().await.is_err() {
            return;
        }
    }
}

/// A worker and how it is woken.
struct Tended {
    wake: Arc<Notify>,
    task: AbortHandle,
}

/// Keeps one worker a host. Dropping it ends them all, in the middle of whatever they do.
async fn supervise(desk: Arc<Desk>) {
    let mut applied = desk.office.watch_applied();
    let mut workers = JoinSet::new();
    let mut tended: BTreeMap<String, Tended> = BTreeMap::new();
    let mut last: Option<State> = None;
    let mut pauses: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        applied.mark_unchanged();
        let (now, _) = desk.office.look();
        // Other families write all the time; that must cost nothing here.
        let touched = match &last {
            Some(last) => query::touched_hosts(last, &now),
            None => query::hosts(&now).map(|host| host.id.clone()).collect(),
        };
        assign(&desk, &now, &touched, &mut tended, &mut workers);
        fill(&desk, &now, &mut pauses).await;
        last = Some(now);
        while workers.try_join_next().is_some() {}
        sleep(LOOK_PAUSE).await;
        // Nothing new is as good a reason to look as something new.
        let _ = timeout(LOOK_INTERVAL, applied.changed()).await;
    }
}

/// Begins, wakes and ends workers as hosts come, change and go.
fn assign(
    desk: &Arc<Desk>,
    state: &State,
    touched: &BTreeSet<String>,
    tended: &mut BTreeMap<String, Tended>,
    workers: &mut JoinSet<()>,
) {
    // A worker ends by itself when its host is gone.
    tended.retain(|_, known| !known.task.is_finished());
    for host in query::hosts(state).chain(query::departed(state)) {
        if let Some(known) = tended.get(&host.id) {
            if touched.contains(&host.id) {
                known.wake.notify_one();
            }
            continue;
        }
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(Arc::clone(desk), host.id.clone());
        let task = workers.spawn(worker.run(Arc::clone(&wake)));
        tended.insert(host.id.clone(), Tended { wake, task });
    }
}

/// Has hosts filled that want it.
async fn fill(desk: &Desk, state: &State, pauses: &mut BTreeMap<String, Instant>) {
    let now = Instant::now();
    pauses.retain(|_, until| *until > now);
    for host in query::hosts_to_fill(state, desk.office.now_ms()) {
        if pauses.contains_key(&host.id) {
            continue;
        }
        pauses.insert(host.id.clone(), now + FILL_PAUSE);
        let host_id = host.id.clone();
        desk.report(Command::FillHost { host_id, is_automatic: true }).await;
    }
}
