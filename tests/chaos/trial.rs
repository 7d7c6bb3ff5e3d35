//! One trial: clients at work, a fault done to the replicas some times, the membership changed in
//! the middle of each, everything healed, and the judgement.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    faults::Fault,
    history::Op,
    inject,
    load::{self, Load},
    members,
    plan::Dice,
    site::Site,
    verdict::{self, Verdict},
};
use crate::support::cluster::PATIENCE;

/// Clients that write.
const WRITERS: u64 = 6;
/// Changes that must be acknowledged before a fault, and after it was healed.
const BETWEEN: u64 = 25;

/// How a fault is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The fault.
    pub fault: Fault,
    /// How often it is done.
    pub rounds: u32,
    /// How long it lasts, once it has struck.
    pub lasting: Duration,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Replicas of the site.
    pub replicas: u64,
}

/// What a trial came to.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What was tried.
    pub plan: Plan,
    /// The judgement.
    pub verdict: Verdict,
    /// Nanoseconds from each fault to the first acknowledgement of a change asked for after it.
    pub recoveries: Vec<u64>,
}

/// Tries a fault on a site whose clients have something to change.
pub async fn run(site: &mut Site, plan: Plan) -> Trial {
    let mut dice = Dice::new(plan.seed);
    let urls = urls(site);
    let load = Load::start(WRITERS, &urls, plan.seed);
    let mut recoveries = Vec::new();
    for _ in 0..plan.rounds {
        is_served(site, &load, plan, "before the fault").await;
        let moment = load.history.now();
        let injury = inject::inject(site, plan.fault, &mut dice).await;
        sleep(plan.lasting).await;
        inject::confirm(site, plan.fault, &injury).await;
        is_served(site, &load, plan, "during the fault").await;
        members::change(site, &mut dice).await;
        recoveries.extend(load.history.first_acknowledged_after(moment));
        inject::heal(site, injury).await;
    }
    is_served(site, &load, plan, "after the fault").await;
    let ops: Vec<Op> = load.finish(&urls).await;
    let verdict = verdict::of(site, &ops).await;
    Trial { plan, verdict, recoveries }
}

/// A majority is alive all the time, so changes go on.
async fn is_served(site: &Site, load: &Load, plan: Plan, when: &str) {
    if !load.wait_for(BETWEEN, PATIENCE).await {
        site.cluster.fail(&format!("no changes {when}: {plan:?}"));
    }
}

/// Starts a site, tries one fault, and fails the test if any promise was broken.
pub async fn test(fault: Fault, replicas: u64, rounds: u32) {
    let mut site = Site::start(replicas, &[]).await;
    load::prepare(&site.cluster).await;
    let seed = 1 + fault as u64;
    let lasting = Duration::from_millis(800);
    let trial = run(&mut site, Plan { fault, rounds, lasting, seed, replicas }).await;
    let summary = verdict::summary(&trial.verdict);
    println!("{} with seed {seed}: {summary}", fault.name());
    println!("first acknowledgement after {:?} ms", millis(&trial.recoveries));
    assert!(trial.verdict.acknowledged > 50, "too little was tried: {summary}");
    if !trial.verdict.is_good() {
        site.cluster.fail(&summary);
    }
}

/// Whole milliseconds.
pub fn millis(nanos: &[u64]) -> Vec<u64> {
    nanos.iter().map(|nanos| nanos / 1_000_000).collect()
}

/// Ids and base URLs of all replicas.
pub fn urls(site: &Site) -> Vec<(u64, String)> {
    site.cluster.replicas.iter().map(|replica| (replica.id, replica.url())).collect()
}
