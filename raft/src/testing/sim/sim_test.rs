//! Runs of the simulation.
//!
//! `QUORATE_SIM_SEED` runs one seed, or as many from there on as `QUORATE_SIM_SCHEDULES` says;
//! with `QUORATE_SIM_TRACE` everything that happens is printed.

#![allow(clippy::print_stdout, reason = "what came of the runs is told")]

use std::{
    collections::BTreeMap,
    panic,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use super::{
    faults::Kind,
    run::{Report, run},
};

/// Seeds that have shown a defect in the tree of their day, with the sentence that says which. They
/// are always run.
const REGRESSIONS: [(u64, &str); 2] = [
    (38, "a joiner gave up because the member that it had asked was removed meanwhile"),
    (89, "the same, with another joiner"),
];
/// First seed of the schedules that are run every time.
const FIRST: u64 = 1;
/// How many there are.
const SCHEDULES: u64 = 2000;
/// Schedules that are run at a time.
const THREADS: usize = 2;
/// Failures that are told at length.
const TOLD_MAX: usize = 3;
/// Begins the line that says what a run was.
const HASH_LINE: &str = "simulated seed";

/// What many runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    turns: u64,
    lasted_ms: u64,
    recovery_ms_max: u64,
    counts: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.turns += report.turns;
        self.lasted_ms += report.lasted_ms;
        self.recovery_ms_max = self.recovery_ms_max.max(report.recovery_ms);
        for (kind, count) in &report.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        if report.broken.is_some() {
            self.failures.push(describe(report));
        }
    }

    fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.turns += other.turns;
        self.lasted_ms += other.lasted_ms;
        self.recovery_ms_max = self.recovery_ms_max.max(other.recovery_ms_max);
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.failures.extend(other.failures);
    }
}

/// Runs a seed; a panic in it is told with the seed.
fn try_run(seed: u64) -> Report {
    let ran = panic::catch_unwind(|| run(seed));
    ran.unwrap_or_else(|panic| {
        println!("seed {seed} panicked; replay with scripts/sim --seed {seed}");
        panic::resume_unwind(panic)
    })
}

fn check(seed: u64) -> Report {
    let report = try_run(seed);
    assert!(report.broken.is_none(), "{}", describe(&report));
    report
}

fn run_all(first: u64, count: u64) -> Sum {
    let next = AtomicU64::new(first);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return sum;
            }
            sum.add(&try_run(seed));
        }
    };
    let mut whole = Sum::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            whole.merge(thread.join().expect("a run panicked; its seed is printed above"));
        }
    });
    whole
}

fn describe(report: &Report) -> String {
    let Report { plan, broken, last, counts, .. } = report;
    let (invariant, what) =
        broken.as_ref().map_or(("", ""), |broken| (broken.invariant, broken.what.as_str()));
    let (seed, last) = (plan.seed, last.join("\n"));
    format!(
        "seed {seed} broke \"{invariant}\": {what}\n\nlast events:\n{last}\n\ncounts: \
         {counts:?}\n{plan:?}\n\nreplay: scripts/sim --seed {seed}"
    )
}

fn tell(sum: &Sum, begun: Instant) {
    let Sum { runs, turns, lasted_ms, recovery_ms_max, counts, failures } = sum;
    println!(
        "{runs} schedules, {} broken, {} s simulated in {:.1} s, {turns} turns; longest recovery \
         {recovery_ms_max} ms; {counts:?}",
        failures.len(),
        lasted_ms / 1000,
        begun.elapsed().as_secs_f64(),
    );
}

fn assert_whole(sum: &Sum) {
    for failure in sum.failures.iter().skip(TOLD_MAX) {
        println!("{}", failure.lines().next().unwrap_or_default());
    }
    let told: Vec<&str> = sum.failures.iter().take(TOLD_MAX).map(String::as_str).collect();
    assert!(told.is_empty(), "{} schedules broke:\n{}", sum.failures.len(), told.join("\n\n"));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn schedules_hold() {
    let seed = number("QUORATE_SIM_SEED");
    let count = number("QUORATE_SIM_SCHEDULES");
    let is_usual = seed.is_none() && count.is_none();
    let count = count.unwrap_or(if seed.is_some() { 1 } else { SCHEDULES });
    let begun = Instant::now();
    let sum = run_all(seed.unwrap_or(FIRST), count);
    tell(&sum, begun);
    assert_whole(&sum);
    if is_usual {
        let happened = |what: &str| sum.counts.get(what).copied().unwrap_or_default();
        for kind in Kind::ALL {
            assert!(happened(kind.name()) >= 100, "too few of {}", kind.name());
        }
        for (what, least) in [
            ("written", 20_000),
            ("unknown", 100),
            ("refused", 100),
            ("answered from memory", 100),
            ("read", 5_000),
            ("read locally", 5_000),
            ("led", 4_000),
            ("snapshot received", 100),
            ("removed", 50),
            ("fenced", 20),
        ] {
            assert!(happened(what) >= least, "{what}: {}, not {least}", happened(what));
        }
    }
}

#[test]
fn seeds_that_showed_defects_hold() {
    for (seed, what) in REGRESSIONS {
        println!("seed {seed}: {what}");
        check(seed);
    }
}

#[test]
fn a_seed_is_one_run_in_this_process() {
    for seed in 100..110 {
        let (first, second) = (try_run(seed), try_run(seed));
        assert_eq!((first.hash, first.turns), (second.hash, second.turns), "seed {seed}");
    }
}

#[test]
fn a_seed_is_one_run_in_any_process() {
    let told = || {
        let program = std::env::current_exe().expect("a path");
        let told = Command::new(program)
            .args(["testing::sim::sim_test::tells_its_hash", "--exact", "--nocapture"])
            .env("QUORATE_SIM_SEED", "7")
            .output()
            .expect("it runs");
        let told = String::from_utf8(told.stdout).expect("text");
        told.lines().find_map(|line| Some(line.split_once(HASH_LINE)?.1.to_owned()))
    };
    let (first, second) = (told(), told());
    assert!(first.is_some());
    assert_eq!(first, second);
    assert_eq!(first, Some(hash_line(&try_run(7))));
}

#[test]
fn tells_its_hash() {
    let report = try_run(number("QUORATE_SIM_SEED").unwrap_or(FIRST));
    println!("{HASH_LINE}{}", hash_line(&report));
}

fn hash_line(report: &Report) -> String {
    format!(" {} {:016x} {}", report.plan.seed, report.hash, report.turns)
}

#[test]
fn other_seeds_are_other_runs() {
    assert_ne!(try_run(100).hash, try_run(101).hash);
}
