//! The dashboard, the alert rules and the guide speak of metrics that exist, and the rules do what
//! they say.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use quorate::{
    broker::engine::{METRICS as ENGINE_METRICS, Metric, MetricKind},
    telemetry::METRICS,
};
use serde_json::Value;
use tempfile::TempDir;

const RULES: &str = "deploy/prometheus/quorate.rules.yaml";
const RULE_TESTS: &str = "deploy/prometheus/quorate.rules.test.yaml";
const DASHBOARD: &str = "deploy/grafana/quorate.json";
/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["job", "instance", "le"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where `scripts/setup test` puts programs that are not installed.
fn promtool() -> Command {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_quorate"));
    let target = target.parent().and_then(Path::parent).unwrap();
    let path = target.join("tools/bin/promtool");
    assert!(path.exists(), "{} is missing: run scripts/setup test", path.display());
    Command::new(path)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

/// The names of series: of a histogram, those of its parts.
fn series() -> BTreeMap<String, &'static Metric> {
    let mut series = BTreeMap::new();
    for metric in METRICS.iter().chain(ENGINE_METRICS) {
        if metric.kind == MetricKind::Histogram {
            for part in ["bucket", "sum", "count"] {
                series.insert(format!("{}_{part}", metric.name), metric);
            }
        } else {
            series.insert(metric.name.to_owned(), metric);
        }
    }
    series
}

/// What is wrong with an expression: series that do not exist, labels that they do not have, and
/// values that those never have.
fn faults(expression: &str) -> Vec<String> {
    let known = series();
    let mut faults = Vec::new();
    let mut rest = expression;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(begin) = rest.find(|c: char| c == '"' || is_name(c)) {
        rest = &rest[begin..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = &text[text.find('"').expect("an end of the text") + 1..];
            continue;
        }
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        rest = &rest[name.len()..];
        let is_series = ["quorate_", "process_", "kvrocks_controller_"];
        if !is_series.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let Some(metric) = known.get(name) else {
            faults.push(format!("{name} does not exist"));
            continue;
        };
        let Some(matchers) = rest.strip_prefix('{') else { continue };
        for matcher in matchers[..matchers.find('}').expect("an end of the matchers")].split(',') {
            let label = &matcher[..matcher.find(['=', '!']).expect("a matcher")];
            let wanted = matcher.split('"').nth(1).expect("a value in quotes");
            let has = metric.labels.iter().find(|own| own.name == label);
            let values = has.map_or(&[][..], |own| own.values);
            if has.is_none() && !ADDED.contains(&label) {
                faults.push(format!("{name} has no label {label}"));
            }
            for value in wanted.split('|').filter(|_| !values.is_empty()) {
                if !values.contains(&value) {
                    faults.push(format!("{label} of {name} is never {value}"));
                }
            }
        }
    }
    faults
}

#[test]
fn a_bad_expression_is_seen() {
    let fine = r#"sum by (job) (rate(quorate_requests_total{status="5xx",job="a"}[5m])) > 1"#;
    assert_eq!(faults(fine), Vec::<String>::new());
    for bad in [
        "quorate_requests > 1",
        "quorate_proposal_seconds > 1",
        r#"quorate_requests_total{code="5xx"}"#,
        r#"quorate_requests_total{status="500"}"#,
        r#"1 + quorate_proposals_total{outcome=~"unknown|lost"}"#,
    ] {
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
}

/// The alerts: what follows `- alert:` up to the next one.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let blocks = rules.split("      - alert: ").skip(1);
    blocks.map(|block| block.split_once('\n').unwrap()).collect()
}

#[test]
fn alerts_are_about_what_exists_and_say_what_to_do() {
    let (rules, tests, guide) = (read(RULES), read(RULE_TESTS), read("docs/operations.md"));
    let alerts = alerts(&rules);
    assert!(alerts.len() > 30, "only {} alerts", alerts.len());
    let anchors: BTreeSet<String> =
        guide.lines().filter_map(|line| Some(anchor(line.strip_prefix("### ")?))).collect();
    let mut names = BTreeSet::new();
    for (name, rule) in &alerts {
        assert!(names.insert(*name), "{name} comes twice");
        assert_eq!(faults(rule), Vec::<String>::new(), "{name}");
        for part in ["severity: ", "summary: \"", "description: \""] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        let runbook = rule.split("runbook_url: docs/operations.md#").nth(1);
        let runbook = runbook.and_then(|rest| rest.lines().next());
        let runbook = runbook.unwrap_or_else(|| panic!("{name} has no runbook"));
        assert!(anchors.contains(runbook), "{name}: the guide has no {runbook}");
        assert!(tests.contains(&format!("- name: {name}\n")), "{name} is not tried");
    }
    let begin = guide.find("\n## Alerts\n").unwrap();
    let section = guide[begin + 1..].split("\n## ").next().unwrap();
    let explained: BTreeSet<_> =
        section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(explained, names, "alerts the guide explains");
}

/// The anchor that a heading gets where the guide is read.
fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase();
    let letters = letters.chars().filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c));
    letters.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_inside_the_guides_lead_somewhere() {
    for name in fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name()) {
        let name = name.to_str().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        let text = read(&format!("docs/{name}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, wanted)) = link.split_once('#') else { continue };
            if link.contains("://") {
                continue;
            }
            let target = read(&format!("docs/{}", if file.is_empty() { name } else { file }));
            let headings = target.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
            assert!(anchors.any(|anchor| anchor == wanted), "docs/{name}: {link} leads nowhere");
        }
    }
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    run(promtool().args(["check", "rules"]).arg(root().join(RULES)));
    run(promtool().args(["test", "rules"]).arg(root().join(RULE_TESTS)));
    let config = root().join("deploy/prometheus/prometheus.yaml");
    run(promtool().args(["check", "config"]).arg(config));
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == "expr" => found.push(text.clone()),
                    _ => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_what_exists() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 40, "only {} expressions", found.len());
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in found.iter().enumerate() {
        let plain = expression
            .replace("$__rate_interval", "5m")
            .replace("$job", "quorate")
            .replace("$instance", ".*");
        assert!(!plain.contains('$'), "{plain}: an unknown variable");
        assert_eq!(faults(&plain), Vec::<String>::new(), "{plain}");
        let plain = serde_json::to_string(&plain).unwrap();
        writeln!(rules, "      - {{record: 'dashboard:{number}', expr: {plain}}}").unwrap();
    }
    // Prometheus itself reads every expression, as if it were a rule.
    let dir = TempDir::with_prefix("quorate-rules-").unwrap();
    let path = dir.path().join("dashboard.yaml");
    fs::write(&path, rules).unwrap();
    run(promtool().args(["check", "rules"]).arg(path));

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids of panels");
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let is_row = panel["type"] == "row";
        assert!(is_row || panel["description"].is_string(), "{}", panel["title"]);
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for cell in at("x")..at("x") + at("w") {
            for line in at("y")..at("y") + at("h") {
                assert!(cell < 24 && taken.insert((cell, line)), "{} overlaps", panel["title"]);
            }
        }
    }
}

/// Whoever is on call sees in the dashboard or hears from an alert about everything that matters;
/// what neither speaks of is named here.
#[test]
fn what_is_measured_is_watched() {
    let watched = read(RULES) + &read(DASHBOARD);
    let unwatched: BTreeSet<_> = series()
        .into_iter()
        .filter(|(name, _)| !watched.contains(name.as_str()))
        .map(|(_, metric)| metric.name)
        .filter(|name| {
            !watched.contains(&format!("{name}_bucket"))
                && !watched.contains(&format!("{name}_count"))
        })
        .collect();
    let expected = BTreeSet::from([
        "kvrocks_controller_http_code",
        "kvrocks_controller_http_payload",
        "kvrocks_controller_request_latency",
        "process_threads",
        "process_virtual_memory_bytes",
        "process_virtual_memory_max_bytes",
        "quorate_commit_index",
        "quorate_last_log_index",
        "quorate_raft_apply_batch_entries",
        "quorate_raft_log_batch_bytes",
        "quorate_raft_log_disk_reads_total",
        "quorate_raft_proposals_total",
        "quorate_snapshot_index",
        "quorate_term",
    ]);
    assert_eq!(unwatched, expected);
}
