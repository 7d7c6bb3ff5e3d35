//! What the program measures: the tables in the sources, the table in the documentation, and what
//! `/metrics` of real processes shows are one and the same.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use quorate::{
    broker::engine::{METRICS as ENGINE_METRICS, Metric, MetricKind},
    telemetry::{METRICS, Program},
};
use serde_json::json;
use support::{
    cluster::{Cluster, PATIENCE},
    gateway::Gateway,
};
use tempfile::TempDir;
use tokio::time::sleep;

/// The guide has one table for each crate between these two lines.
const BEGIN: &str = "<!-- metrics: written by tests/metrics.rs -->\n";
const END: &str = "<!-- end of metrics -->\n";

/// These have no value without TLS, by their help.
const NEEDS_MORE: [&str; 2] = ["quorate_tls_files_bad", "quorate_tls_expiry_time_seconds"];

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")
}

fn all() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain(ENGINE_METRICS)
}

fn documented(metrics: &[Metric]) -> String {
    let mut table = "| metric | kind | counts | labels | |\n|---|---|---|---|---|\n".to_owned();
    for metric in metrics {
        let labels = metric.labels.iter().map(|label| match label.values {
            [] => format!("`{}`", label.name),
            values => format!("`{}`: {}", label.name, values.join(", ")),
        });
        let labels: Vec<_> = labels.collect();
        let Metric { name, unit, help, kind, .. } = metric;
        let labels = labels.join("; ");
        writeln!(table, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.name()).unwrap();
    }
    table
}

#[test]
fn the_guide_lists_every_metric() {
    let text = fs::read_to_string(guide()).unwrap();
    let begin = text.find(BEGIN).expect("a place for the metrics") + BEGIN.len();
    let end = text.find(END).expect("an end of the metrics");
    let wanted =
        format!("\n{}\nOf the engine:\n\n{}\n", documented(METRICS), documented(ENGINE_METRICS));
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "write") {
        fs::write(guide(), format!("{}{wanted}{}", &text[..begin], &text[end..])).unwrap();
        return;
    }
    assert!(text[begin..end] == wanted, "`QUORATE_GOLDEN=write` brings the guide up to date");
}

/// Names in the running text of the documents, and not only in the table.
#[test]
fn documents_name_no_other_metric() {
    let known: BTreeSet<_> = all().map(|metric| metric.name).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let mut found = 0;
    for path in docs.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        for span in text.split('`').skip(1).step_by(2) {
            let name = span.split('{').next().unwrap();
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if name.starts_with("quorate_") && is_name {
                assert!(known.contains(name), "{}: {name} is no metric", path.display());
                found += 1;
            }
        }
    }
    assert!(found > known.len() / 2, "only {found} names found");
}

#[test]
fn names_are_told_apart_and_say_what_they_are() {
    let mut names = BTreeSet::new();
    for metric in all() {
        assert!(names.insert(metric.name), "{} comes twice", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{metric:?}");
        if !metric.name.starts_with("kvrocks_controller_") {
            let is_counter = metric.kind == MetricKind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{metric:?}");
        }
        if ["seconds", "bytes"].contains(&metric.unit) {
            let base = metric.name.trim_end_matches("_total");
            let is_foreign = metric.name.starts_with("kvrocks_controller_");
            assert!(is_foreign || base.ends_with(metric.unit), "{metric:?}");
        }
    }
}

/// One metric as a process shows it: its kind, its help, and the labels of each of its series.
#[derive(Debug, Default)]
struct Shown {
    kind: String,
    help: String,
    series: Vec<BTreeMap<String, String>>,
}

/// Reads the text format, as far as it is used here; what is not understood fails the test.
fn parse(text: &str) -> BTreeMap<String, Shown> {
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            shown.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            shown.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
                let base = name.strip_suffix(part)?;
                shown.get(base).is_some_and(|shown| shown.kind == "histogram").then_some(base)
            });
            let family = shown.get_mut(base.unwrap_or(name));
            let family = family.unwrap_or_else(|| panic!("without a type: {line}"));
            let labels = labels.strip_suffix('}').unwrap();
            let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
                let (label, value) = pair.split_once('=').unwrap();
                (label.to_owned(), value.trim_matches('"').to_owned())
            });
            family.series.push(pairs.filter(|(label, _)| label != "le").collect());
        }
    }
    shown
}

/// Everything that is shown is in the table, with kind, help and labels.
fn check(program: Program, shown: &BTreeMap<String, Shown>) {
    let table: BTreeMap<_, _> = program.metrics().map(|metric| (metric.name, metric)).collect();
    for (name, shown) in shown {
        let metric = table.get(name.as_str()).unwrap_or_else(|| panic!("{name} is in no table"));
        assert_eq!(shown.kind, metric.kind.name(), "{name}");
        // Backslashes and line ends alone are written differently, and no help has them.
        assert_eq!(shown.help, metric.help, "{name}");
        for series in &shown.series {
            let names: BTreeSet<_> = series.keys().map(String::as_str).collect();
            let wanted: BTreeSet<_> = metric.labels.iter().map(|label| label.name).collect();
            assert_eq!(names, wanted, "labels of {name}");
            for label in metric.labels.iter().filter(|label| !label.values.is_empty()) {
                let value = series[label.name].as_str();
                assert!(label.values.contains(&value), "{name}: {}={value}", label.name);
            }
        }
    }
}

async fn scrape(url: &str) -> BTreeMap<String, Shown> {
    let answer = reqwest::get(format!("{url}/metrics")).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
    parse(&answer.text().await.unwrap())
}

async fn post(cluster: &Cluster, id: u64, path: &str, body: serde_json::Value) -> u16 {
    let url = format!("{}{path}", cluster.url(id));
    cluster.client.post(url).json(&body).send().await.unwrap().status().as_u16()
}

/// A bit of everything, through a follower.
async fn use_it(cluster: &Cluster, id: u64) {
    let proxy =
        json!({ "proxy_address": "10.0.0.1:7000", "nodes": ["10.0.0.1:6001", "10.0.0.1:6002"] });
    assert_eq!(post(cluster, id, "/api/v3/proxies/meta", proxy).await, 200);
    assert_eq!(post(cluster, id, "/api/v3/failures/10.0.0.1:7000/reporter", json!({})).await, 200);
    assert_eq!(post(cluster, id, "/api/v1/namespaces", json!({ "namespace": "shop" })).await, 201);
    let kvrocks = json!({ "name": "cart", "nodes": ["127.0.0.1:1"], "replicas": 1 });
    let path = "/api/v1/namespaces/shop/clusters";
    assert_eq!(post(cluster, id, path, kvrocks).await, 201);
    let host = json!({ "name": "h1", "daemon_url": "tcp://127.0.0.1:1", "capacity": 2 });
    post(cluster, id, "/quorate/v1/pool/hosts", host).await;
    assert_eq!(post(cluster, id, "/quorate/v1/tokens", json!({ "role": "read" })).await, 201);
    assert_eq!(post(cluster, id, "/quorate/v1/snapshot", json!({})).await, 200);
    assert_eq!(post(cluster, id, "/no/such/path", json!({})).await, 404);
    let wrong = cluster.client.get(format!("{}/quorate/v1/members", cluster.url(id)));
    assert_eq!(wrong.bearer_auth("wrong").send().await.unwrap().status(), 401);
    assert!(cluster.ask(id, "/quorate/v1/events?wait=0").await.is_some());
    // The head of the answer is enough.
    let stream = cluster.client.get(format!("{}/quorate/v1/events", cluster.url(id)));
    assert_eq!(stream.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn replicas_and_gateways_show_what_the_tables_say() {
    let backups = TempDir::with_prefix("quorate-backups-").unwrap();
    let backup_dir = backups.path().display().to_string();
    let flags = ["--backup-dir", &backup_dir, "--backup-interval-s", "3600"];
    let cluster = Cluster::start(3, &flags).await;
    let leader = cluster.wait_leader().await;
    let follower = cluster.wait_follower().await;
    use_it(&cluster, follower).await;
    let mut left: BTreeSet<_> = Program::Replica.metrics().map(|metric| metric.name).collect();
    for name in NEEDS_MORE {
        assert!(left.remove(name), "{name} is in no table");
    }
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() {
        assert!(Instant::now() < deadline, "nobody shows {left:?}");
        for id in 1..=3 {
            let shown = scrape(&cluster.url(id)).await;
            check(Program::Replica, &shown);
            left.retain(|name| !shown.contains_key(*name));
        }
        sleep(Duration::from_millis(100)).await;
    }
    let shown = scrape(&cluster.url(leader)).await;
    let others: Vec<_> = (1..=3).filter(|id| *id != leader).map(|id| id.to_string()).collect();
    let lags = &shown["quorate_peer_lag_entries"].series;
    let lags: BTreeSet<_> = lags.iter().map(|labels| labels["replica"].clone()).collect();
    assert_eq!(lags, others.into_iter().collect());

    let endpoints: Vec<_> = cluster.replicas.iter().map(|one| one.client_addr.clone()).collect();
    let gateway = Gateway::start(&endpoints, &[]).await;
    let asked = reqwest::get(format!("{}/api/v3/metadata", gateway.url())).await.unwrap();
    assert!(asked.status().is_success());
    let shown = scrape(&format!("http://{}", gateway.desk)).await;
    check(Program::Gateway, &shown);
    let names: BTreeSet<_> = shown.keys().map(String::as_str).collect();
    assert_eq!(names, Program::Gateway.metrics().map(|metric| metric.name).collect());
}

#[tokio::test]
async fn a_deposed_leader_no_longer_tells_how_far_the_others_are() {
    let cluster = Cluster::start(3, &[]).await;
    let leader = cluster.wait_leader().await;
    let lags = || async {
        let text = reqwest::get(format!("{}/metrics", cluster.url(leader))).await.unwrap();
        let text = text.text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with("quorate_peer_lag_entries{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).collect()
    };
    let wait = |holds: fn(&Vec<f64>) -> bool| async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: Vec<f64> = lags().await;
            if holds(&found) {
                return;
            }
            assert!(Instant::now() < deadline, "{found:?}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    wait(|lags| lags.len() == 2 && lags.iter().all(|lag| *lag < 1_000.0)).await;
    assert_eq!(post(&cluster, leader, "/quorate/v1/leader/transfer", json!({})).await, 200);
    wait(|lags| lags.len() == 2 && lags.iter().all(|lag| lag.is_nan())).await;
}
