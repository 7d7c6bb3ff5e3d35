//! A run over many trials, on a new site for each.
//!
//! Told what to do by the environment, so that one test is both the short run of every day and,
//! through `scripts/chaos`, a run of hours.

use std::{
    env, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    faults::Fault,
    load,
    plan::Dice,
    report::{self, Conditions},
    site::Site,
    trial::{self, Plan, Trial},
    verdict,
};

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
    let mut trials: Vec<Trial> = Vec::new();
    let mut deck: Vec<Fault> = Vec::new();
    for seed in orders.seed.. {
        let is_over = match orders.minutes {
            Some(minutes) => begun.elapsed() >= Duration::from_secs(60 * minutes),
            None => trials.len() >= SHORT,
        };
        if is_over && !trials.is_empty() {
            break;
        }
        let mut dice = Dice::new(seed);
        // Every fault comes before any comes a second time.
        if deck.is_empty() {
            deck.clone_from(&orders.faults);
        }
        let place = usize::try_from(dice.below(deck.len() as u64)).expect("a place");
        let fault = deck.swap_remove(place);
        let trial = one(fault, seed, orders.rounds, &mut dice).await;
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
        trials.push(trial);
    }
    if let Some(command) = &orders.command {
        write(&trials, orders.seed, command, begun.elapsed());
    }
}

async fn one(fault: Fault, seed: u64, rounds: u32, dice: &mut Dice) -> Trial {
    let needs_five = matches!(fault, Fault::SymmetricPartition | Fault::BridgePartition);
    let replicas = if needs_five || dice.below(6) == 0 { 5 } else { 3 };
    let mut site = Site::start(replicas, &[]).await;
    load::prepare(&site.cluster).await;
    let lasting = Duration::from_millis(500 + dice.below(2_500));
    let plan = Plan { fault, rounds, lasting, seed, replicas };
    let trial = trial::run(&mut site, plan).await;
    if !trial.verdict.is_good() {
        let summary = verdict::summary(&trial.verdict);
        site.cluster.fail(&format!("{plan:?}: {summary}"));
    }
    trial
}

fn write(trials: &[Trial], seed: u64, command: &str, elapsed: Duration) {
    let date = Command::new("date").arg("+%F").output().expect("the date");
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    let conditions = Conditions { seed, command: command.to_owned(), date, elapsed };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let guide = docs.join("chaos.md");
    let document = fs::read_to_string(&guide).expect("the guide");
    let text = report::markdown(trials, &conditions);
    fs::write(&guide, report::insert(&document, &text)).expect("the guide is written");
    fs::write(docs.join("chaos.svg"), report::svg(trials)).expect("the plot is written");
}
