//! The record of many trials, as a table and as a plot.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{faults::Fault, trial::Trial};

/// Where the report begins and ends in the documentation.
const BEGIN: &str = "<!-- report -->\n";
const END: &str = "<!-- end of report -->";

/// All trials of one fault.
#[derive(Debug, Default)]
struct Row {
    trials: u64,
    strokes: u64,
    calls: u64,
    acknowledged: u64,
    unknown: u64,
    lost: usize,
    duplicated: usize,
    broken: usize,
    recoveries: Vec<u64>,
}

/// How the trials came about.
pub struct Conditions {
    /// The first seed; each trial has the next one.
    pub seed: u64,
    /// The command.
    pub command: String,
    /// Day, as the system tells it.
    pub date: String,
    /// How long it took.
    pub elapsed: Duration,
}

fn rows(trials: &[Trial]) -> BTreeMap<Fault, Row> {
    let mut rows: BTreeMap<Fault, Row> = BTreeMap::new();
    for trial in trials {
        let row = rows.entry(trial.plan.fault).or_default();
        row.trials += 1;
        row.strokes += u64::from(trial.plan.rounds);
        row.calls += trial.verdict.calls;
        row.acknowledged += trial.verdict.acknowledged;
        row.unknown += trial.verdict.unknown;
        row.lost += trial.verdict.lost.len();
        row.duplicated += trial.verdict.duplicated.len();
        row.broken += trial.verdict.broken.len();
        row.recoveries.extend(trial.recoveries.iter().map(|nanos| nanos / 1_000_000));
    }
    rows.values_mut().for_each(|row| row.recoveries.sort_unstable());
    rows
}

/// The value below which a share of sorted values lies.
fn quantile(sorted: &[u64], per_cent: usize) -> u64 {
    let place = (sorted.len() * per_cent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// The table with everything one has to know about it.
pub fn markdown(trials: &[Trial], conditions: &Conditions) -> String {
    let Conditions { seed, command, date, elapsed } = conditions;
    let last = seed + (trials.len() as u64).saturating_sub(1);
    let mut text = format!(
        "{date}, seeds {seed} to {last}, {} trials in {} minutes of one machine with two cores that \
         others used as well, replicas with default timers:\n\n    {command}\n\n",
        trials.len(),
        elapsed.as_secs() / 60
    );
    text.push_str(
        "| fault | trials | strokes | calls | changes acknowledged | unknown | lost | twice | other \
         faults | first acknowledgement after, ms: p50 | p99 | max |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (fault, row) in rows(trials) {
        let at = |per_cent| quantile(&row.recoveries, per_cent);
        let (p50, p99, max) = (at(50), at(99), at(100));
        let Row { trials, strokes, calls, acknowledged, unknown, lost, duplicated, broken, .. } =
            row;
        writeln!(
            text,
            "| {} | {trials} | {strokes} | {calls} | {acknowledged} | {unknown} | {lost} | \
             {duplicated} | {broken} | {p50} | {p99} | {max} |",
            fault.name()
        )
        .expect("writing to a string does not fail");
    }
    text.push_str("\n![first acknowledgement after each fault](chaos.svg)\n");
    text
}

/// Puts a report into the documentation.
pub fn insert(document: &str, report: &str) -> String {
    let begin = document.find(BEGIN).expect("a place for the report") + BEGIN.len();
    let end = document.find(END).expect("an end of the report");
    format!("{}\n{report}\n{}", &document[..begin], &document[end..])
}

/// A dot for each stroke: fault by fault, milliseconds on a logarithmic scale.
pub fn svg(trials: &[Trial]) -> String {
    const LEFT: u64 = 190;
    const WIDTH: u64 = 640;
    const LINE: u64 = 22;
    let rows = rows(trials);
    let height = 50 + LINE * rows.len() as u64;
    // From 1 ms to 100 s.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let across = |ms: u64| LEFT + ((ms.max(1) as f64).log10() / 5.0 * WIDTH as f64) as u64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n",
        LEFT + WIDTH + 30
    );
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for (ms, label) in
        [(1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1_000, "1 s"), (10_000, "10 s")]
    {
        let x = across(ms);
        add(format!(
            "<line x1=\"{x}\" y1=\"10\" x2=\"{x}\" y2=\"{}\" stroke=\"#ddd\"/><text x=\"{x}\" \
             y=\"{}\" text-anchor=\"middle\">{label}</text>",
            height - 28,
            height - 12
        ));
    }
    for (place, (fault, row)) in rows.iter().enumerate() {
        let y = 24 + LINE * place as u64;
        let name = fault.name();
        let x = LEFT - 10;
        add(format!("<text x=\"{x}\" y=\"{}\" text-anchor=\"end\">{name}</text>", y + 4));
        for ms in &row.recoveries {
            let x = across(*ms);
            let dot = "fill=\"#2b6cb0\" fill-opacity=\"0.45\"";
            add(format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" {dot}/>"));
        }
    }
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::{trial::Plan, verdict::Verdict},
        *,
    };

    fn trial(fault: Fault, recoveries: &[u64]) -> Trial {
        let plan = Plan { fault, rounds: 2, lasting: Duration::ZERO, seed: 7, replicas: 3 };
        let verdict = Verdict { calls: 10, acknowledged: 5, unknown: 1, ..Verdict::default() };
        let recoveries = recoveries.iter().map(|ms| ms * 1_000_000).collect();
        Trial { plan, verdict, recoveries }
    }

    #[test]
    fn trials_of_a_fault_make_one_line() {
        let trials = [
            trial(Fault::Kill9, &[700, 900]),
            trial(Fault::SlowDisk, &[10]),
            trial(Fault::Kill9, &[650]),
        ];
        let conditions = Conditions {
            seed: 7,
            command: "scripts/chaos".to_owned(),
            date: "2026-01-02".to_owned(),
            elapsed: Duration::from_secs(120),
        };
        let text = markdown(&trials, &conditions);
        assert!(text.contains("seeds 7 to 9, 3 trials in 2 minutes"), "{text}");
        assert!(text.contains("| kill-9 | 2 | 4 | 20 | 10 | 2 | 0 | 0 | 0 | 700 | 900 | 900 |"));
        assert!(text.contains("| slow-disk | 1 | 2 | 10 | 5 | 1 | 0 | 0 | 0 | 10 | 10 | 10 |"));
        assert_eq!(svg(&trials).matches("<circle").count(), 4);
        let document = format!("before\n{BEGIN}old{END}\nafter");
        let inserted = insert(&document, &text);
        assert!(inserted.contains("kill-9") && !inserted.contains("old"), "{inserted}");
        assert!(inserted.starts_with("before") && inserted.ends_with("after"));
    }
}
