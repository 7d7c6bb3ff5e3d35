//! A run over many trials, on a new site for each.
//!
//! Told what to do by the environment, so that one test is both the short run of every day and,
//! through `scripts/chaos`, a run of hours.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    faults::Fault,
    load,
    plan::Dice,
    record::{Entry, Record, Run},
    report,
    site::Site,
    trial::{self, Plan, Trial},
    verdict,
};

/// The file that long runs add to, beside the guide.
const RECORD: &str = "chaos-record.jsonl";
/// Faults of the short run.
const SHORT: usize = 4;

/// What a run is told.
struct Orders {
    seed: u64,
    /// None for a run over [`SHORT`] faults.
    minutes: Option<u64>,
    faults: Vec<Fault>,
    rounds: u32,
    command: Option<String>,
}

impl Orders {
    fn given() -> Self {
        let number = |name: &str| env::var(name).ok().map(|text| text.parse().expect("a number"));
        let named =
            |name: &str| Fault::named(name).unwrap_or_else(|| panic!("there is no fault {name}"));
        let names = env::var("QUORATE_CHAOS_FAULTS").unwrap_or_default();
        let faults: Vec<Fault> =
            names.split(',').filter(|name| !name.is_empty()).map(named).collect();
        Self {
            seed: number("QUORATE_CHAOS_SEED").unwrap_or_else(fresh_seed),
            minutes: number("QUORATE_CHAOS_MINUTES"),
            faults: if faults.is_empty() { Fault::ALL.to_vec() } else { faults },
            rounds: number("QUORATE_CHAOS_ROUNDS").map_or(2, |n| u32::try_from(n).expect("few")),
            command: env::var("QUORATE_CHAOS_COMMAND").ok(),
        }
    }
}

fn fresh_seed() -> u64 {
    // Any number will do that is another one each time; it is printed.
    u64::from(std::process::id()) * 1_000 + u64::try_from(fresh_bits()).unwrap_or_default()
}

fn fresh_bits() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    text.bytes().map(u128::from).sum()
}

/// Runs as ordered; panics at the first broken promise, with the seed of the trial.
pub async fn run() {
    let orders = Orders::given();
    let begun = Instant::now();
    println!("chaos with seed {}", orders.seed);
    let record = orders.command.as_ref().map(|command| (docs().join(RECORD), Run::now(command)));
    let mut deck: Vec<Fault> = Vec::new();
    for (trials, seed) in (orders.seed..).enumerate() {
        let is_over = match orders.minutes {
            Some(minutes) => begun.elapsed() >= Duration::from_secs(60 * minutes),
            None => trials >= SHORT,
        };
        if is_over && trials > 0 {
            break;
        }
        let mut dice = Dice::new(seed);
        // Every fault comes before any comes a second time.
        if deck.is_empty() {
            deck.clone_from(&orders.faults);
        }
        let place = usize::try_from(dice.below(deck.len() as u64)).expect("a place");
        let fault = deck.swap_remove(place);
        let (trial_begun, mut site) = (Instant::now(), site(fault, &mut dice).await);
        let trial = one(&mut site, fault, seed, orders.rounds, &mut dice).await;
        if let Some((path, run)) = &record {
            Record::at(path).add(&Entry::of(&trial, run, trial_begun.elapsed()));
        }
        let millis = trial::millis(&trial.recoveries);
        let summary = verdict::summary(&trial.verdict);
        println!(
            "{:>6.1} s seed {seed} {} on {} replicas, first acknowledgements after {millis:?} ms: \
             {}",
            begun.elapsed().as_secs_f32(),
            fault.name(),
            trial.plan.replicas,
            summary.trim_end()
        );
        if !trial.verdict.is_good() {
            site.cluster.fail(&format!("{:?}: {summary}", trial.plan));
        }
    }
    if let Some((path, _)) = &record {
        write(&Record::at(path).entries());
    }
}

async fn site(fault: Fault, dice: &mut Dice) -> Site {
    let needs_five = matches!(fault, Fault::SymmetricPartition | Fault::BridgePartition);
    let site = Site::start(if needs_five || dice.below(6) == 0 { 5 } else { 3 }, &[]).await;
    load::prepare(&site.cluster).await;
    site
}

async fn one(site: &mut Site, fault: Fault, seed: u64, rounds: u32, dice: &mut Dice) -> Trial {
    let lasting = Duration::from_millis(500 + dice.below(2_500));
    let replicas = site.cluster.replicas.len() as u64;
    trial::run(site, Plan { fault, rounds, lasting, seed, replicas }).await
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn write(entries: &[Entry]) {
    let guide = docs().join("chaos.md");
    let document = fs::read_to_string(&guide).expect("the guide");
    let text = report::markdown(entries);
    fs::write(&guide, report::insert(&document, &text)).expect("the guide is written");
    fs::write(docs().join("chaos.svg"), report::svg(entries)).expect("the plot is written");
}
