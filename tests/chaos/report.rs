//! The record of many trials, as tables and as a plot.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{faults::Fault, record::Entry};

/// Where the report begins and ends in the documentation.
const BEGIN: &str = "<!-- report -->\n";
const END: &str = "<!-- end of report -->";

/// All trials of one fault, or of one run.
#[derive(Debug, Default)]
struct Row {
    trials: u64,
    seconds: u64,
    strokes: u64,
    calls: u64,
    acknowledged: u64,
    unknown: u64,
    lost: usize,
    duplicated: usize,
    broken: usize,
    recoveries: Vec<u64>,
}

impl Row {
    fn add(&mut self, entry: &Entry) {
        self.trials += 1;
        self.seconds += entry.seconds;
        self.strokes += u64::from(entry.strokes);
        self.calls += entry.calls;
        self.acknowledged += entry.acknowledged;
        self.unknown += entry.unknown;
        self.lost += entry.lost;
        self.duplicated += entry.duplicated;
        self.broken += entry.broken;
        self.recoveries.extend(&entry.recoveries_ms);
        self.recoveries.sort_unstable();
    }
}

fn rows(entries: &[Entry]) -> BTreeMap<Fault, Row> {
    let mut rows: BTreeMap<Fault, Row> = BTreeMap::new();
    for entry in entries {
        let fault = Fault::named(&entry.fault).expect("a fault of the catalogue");
        rows.entry(fault).or_default().add(entry);
    }
    rows
}

/// The value below which a share of sorted values lies.
fn quantile(sorted: &[u64], per_cent: usize) -> u64 {
    let place = (sorted.len() * per_cent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// The tables, with everything one has to know about them.
pub fn markdown(entries: &[Entry]) -> String {
    let mut all = Row::default();
    entries.iter().for_each(|entry| all.add(entry));
    let tried = rows(entries);
    let is_new = |fault: &Fault| !tried.contains_key(fault);
    let never: Vec<_> = Fault::ALL.into_iter().filter(is_new).map(Fault::name).collect();
    let mut text = format!(
        "{} trials, {} strokes and {} calls in {} hours {} minutes; {} changes acknowledged, {} \
         unknown, **{} lost, {} happened twice, {} other promises broken**. Replicas with default \
         timers, on one machine with two cores. Every trial is a line of \
         [chaos-record.jsonl](chaos-record.jsonl), with its seed.",
        all.trials,
        all.strokes,
        all.calls,
        all.seconds / 3_600,
        all.seconds % 3_600 / 60,
        all.acknowledged,
        all.unknown,
        all.lost,
        all.duplicated,
        all.broken
    );
    if !never.is_empty() {
        write!(text, " Not tried yet: {}.", never.join(", ")).expect(WRITES);
    }
    runs(entries, &mut text);
    faults(entries, &mut text);
    text.push_str("\n![first acknowledgement after each fault](chaos.svg)\n");
    text
}

/// Writing to a string does not fail.
const WRITES: &str = "a string grows";

fn runs(entries: &[Entry], text: &mut String) {
    text.push_str(
        "\n\n| run (UTC) | commit | command | seeds | trials | minutes | load |\n\
         |---|---|---|---|---|---|---|\n",
    );
    // Several may run at a time.
    let run = |entry: &Entry| (entry.began.clone(), entry.command.clone());
    let names: BTreeSet<_> = entries.iter().map(run).collect();
    for (began, command) in names {
        let is_of_run = |entry: &&Entry| entry.began == began && entry.command == command;
        let of_run: Vec<_> = entries.iter().filter(is_of_run).collect();
        let (first, last) = (of_run[0], of_run[of_run.len() - 1]);
        let loads = || of_run.iter().filter_map(|entry| entry.load.parse::<f64>().ok());
        writeln!(
            text,
            "| {began} | {} | `{command}` | {} to {} | {} | {} | {:.1} to {:.1} |",
            first.revision,
            first.seed,
            last.seed,
            of_run.len(),
            of_run.iter().map(|entry| entry.seconds).sum::<u64>() / 60,
            loads().fold(f64::INFINITY, f64::min),
            loads().fold(0.0, f64::max),
        )
        .expect(WRITES);
    }
    text.push_str(
        "\nThe load is that of the whole machine over a minute, with the replicas and clients of \
         the trial; above 2 something waits for a core.\n",
    );
}

fn faults(entries: &[Entry], text: &mut String) {
    text.push_str(
        "\n| fault | trials | strokes | calls | changes acknowledged | unknown | lost | twice | other \
         faults | first acknowledgement after, ms: p50 | p99 | max |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (fault, row) in rows(entries) {
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
        .expect(WRITES);
    }
}

/// Puts a report into the documentation.
pub fn insert(document: &str, report: &str) -> String {
    let begin = document.find(BEGIN).expect("a place for the report") + BEGIN.len();
    let end = document.find(END).expect("an end of the report");
    format!("{}\n{report}\n{}", &document[..begin], &document[end..])
}

/// A dot for each stroke: fault by fault, milliseconds on a logarithmic scale.
pub fn svg(entries: &[Entry]) -> String {
    const LEFT: u64 = 190;
    const WIDTH: u64 = 640;
    const LINE: u64 = 22;
    let rows = rows(entries);
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
    use std::fs;

    use super::{super::record::Record, *};

    fn entry(began: &str, seed: u64, fault: Fault, recoveries: &[u64]) -> Entry {
        Entry {
            began: began.to_owned(),
            revision: "abc1234".to_owned(),
            command: "scripts/chaos".to_owned(),
            seed,
            fault: fault.name().to_owned(),
            replicas: 3,
            strokes: 2,
            seconds: 45,
            load: "1.50".to_owned(),
            calls: 10,
            acknowledged: 5,
            unknown: 1,
            lost: 0,
            duplicated: 0,
            broken: 0,
            recoveries_ms: recoveries.to_vec(),
        }
    }

    #[test]
    fn trials_of_several_runs_are_added_up() {
        let path = std::env::temp_dir().join(format!("quorate-record-{}", std::process::id()));
        let record = Record::at(&path);
        assert!(record.entries().is_empty(), "nothing is on record before the first trial");
        record.add(&entry("2026-01-02 10:00", 7, Fault::Kill9, &[700, 900]));
        record.add(&entry("2026-01-02 10:00", 8, Fault::SlowDisk, &[10]));
        record.add(&entry("2026-01-03 10:00", 7, Fault::Kill9, &[650]));
        let entries = record.entries();
        fs::remove_file(&path).expect("the file is there");

        let text = markdown(&entries);
        assert!(text.contains("3 trials, 6 strokes and 30 calls in 0 hours 2 minutes"), "{text}");
        assert!(text.contains("**0 lost, 0 happened twice, 0 other promises broken**"), "{text}");
        assert!(text.contains("Not tried yet: sigstop-and-resume, restart-loop"), "{text}");
        let run = "| 2026-01-02 10:00 | abc1234 | `scripts/chaos` | 7 to 8 | 2 | 1 | 1.5 to 1.5 |";
        assert!(text.contains(run), "{text}");
        assert!(text.contains("| kill-9 | 2 | 4 | 20 | 10 | 2 | 0 | 0 | 0 | 700 | 900 | 900 |"));
        assert!(text.contains("| slow-disk | 1 | 2 | 10 | 5 | 1 | 0 | 0 | 0 | 10 | 10 | 10 |"));
        assert_eq!(svg(&entries).matches("<circle").count(), 4);
        let document = format!("before\n{BEGIN}old{END}\nafter");
        let inserted = insert(&document, &text);
        assert!(inserted.contains("kill-9") && !inserted.contains("old"), "{inserted}");
        assert!(inserted.starts_with("before") && inserted.ends_with("after"));
    }
}
