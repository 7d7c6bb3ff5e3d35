//! What operations cost, in allocations: the same on every machine and under every load, so that
//! what becomes dearer is seen before it is merged; and the same in a state a hundred times as
//! large, so that no work in proportion to the state creeps in.
//!
//! `allocations.txt` has a line an operation: name, allocations at 1x, at 100x. A count may be above
//! it by a tenth, or by four. What is cheaper for good, or dearer for a reason, is written down with
//! `QUORATE_ALLOCATIONS=renew cargo nextest run --release --locked --test allocations`, and looked
//! at as a difference.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "allocations/state.rs"]
mod state;

use std::{collections::BTreeMap, env, fmt::Write, fs, io, path::PathBuf, time::Duration};

use allocation_counter::measure;
use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header::CONTENT_ENCODING},
};
use quorate::{
    api::{self, App},
    broker::{
        Actor, Broker, Call, Foundation, ReadMode,
        engine::{Config, LevelConfig, PeerConfig, SnapshotPolicy, Timers},
    },
    domain::{
        Command,
        cello::{self, command::Condition},
        kvrocks::{self, Secret},
        undermoon::{Action, query},
    },
};
use quorate_raft::{Machine, Proposal, RecordSink, RequestId, entry};
use state::{World, built, create, key, kvrocks_cluster, kvrocks_node, proxy, undermoon};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::Instant};

/// Allocations that a count may differ by, however small it is.
const SLACK: u64 = 4;
/// Bytes of an answer on its way: they are moved about with every request, so what only changes need
/// lies in boxes.
const ANSWER_BYTES_MAX: usize = 2048;
/// How many times as many allocations a state a hundred times as large may cost: its maps are
/// deeper by a level or two, and a change copies one node of each.
const DEEPER: u64 = 3;

/// Allocations of an operation in a state that others share, as the published one is.
fn cost(world: &World, run: impl FnOnce(&mut World)) -> u64 {
    let mut world = world.clone();
    measure(|| run(&mut world)).count_total
}

fn applied(world: &World, command: Command) -> u64 {
    cost(world, |world| drop(world.good(command)))
}

/// What looks at every host that has a free proxy, because the pair with the fewest common chunks
/// is wanted; of these there are a hundred times as many in the larger state.
const OF_FREE_HOSTS: [&str; 2] = ["undermoon: add nodes", "undermoon: create a cluster"];

/// Every operation whose cost must not grow with the state, and those of [`OF_FREE_HOSTS`].
fn operations(world: &World) -> BTreeMap<&'static str, u64> {
    let mut counts = undermoon_commands(world);
    counts.extend(other_commands(world));
    counts.extend(queries(world));
    counts
}

fn undermoon_commands(world: &World) -> BTreeMap<&'static str, u64> {
    let name = || "small".to_owned();
    let proxies = query::cluster(&world.replica.0.undermoon, "small").unwrap().nodes;
    let address = proxies[0].proxy_address.clone();
    let mut more = world.clone();
    more.good(undermoon(Action::AddNodes { name: name(), node_number: 4 }));
    let mut moving = more.clone();
    moving.good(undermoon(Action::Expand { name: name() }));
    let pairs = vec![("migration_scan_count".to_owned(), "7".to_owned())];
    let reporter = "r".to_owned();
    BTreeMap::from([
        ("undermoon: add a proxy", applied(world, proxy("new:6000"))),
        ("undermoon: create a cluster", applied(world, create("new", 8))),
        (
            "undermoon: report a failure",
            applied(world, undermoon(Action::ReportFailure { address: address.clone(), reporter })),
        ),
        ("undermoon: fail over", applied(world, undermoon(Action::Failover { address }))),
        (
            "undermoon: configure",
            applied(world, undermoon(Action::ChangeConfig { name: name(), pairs })),
        ),
        (
            "undermoon: add nodes",
            applied(world, undermoon(Action::AddNodes { name: name(), node_number: 4 })),
        ),
        ("undermoon: begin to scale", applied(&more, undermoon(Action::Expand { name: name() }))),
        ("undermoon: commit a migration", applied(&moving, commit(&moving))),
        ("undermoon: balance", applied(world, undermoon(Action::BalanceMasters { name: name() }))),
        (
            "undermoon: delete a cluster",
            applied(world, undermoon(Action::DeleteCluster { name: name() })),
        ),
    ])
}

fn commit(world: &World) -> Command {
    use quorate::domain::undermoon::view::TagView;
    let cluster = query::cluster(&world.replica.0.undermoon, "small").unwrap();
    let mut ranges = cluster.nodes.iter().flat_map(|node| &node.slots);
    let moving = ranges.find_map(|range| match &range.tag {
        TagView::Migrating(tag) => Some((range.range_list.clone(), tag.epoch)),
        _ => None,
    });
    let (range_list, epoch) = moving.expect("a migration is on its way");
    let cluster_name = "small".to_owned();
    undermoon(Action::CommitMigration { cluster_name, range_list, epoch: Some(epoch) })
}

fn other_commands(world: &World) -> BTreeMap<&'static str, u64> {
    let new = 900_000;
    let mut with_new = world.clone();
    with_new.good(kvrocks_cluster("new", new, 4));
    let add = Command::Kvrocks(kvrocks::Command::AddNode {
        cluster: key("new"),
        shard: 0,
        node: kvrocks_node(new + 100),
        role: "slave".to_owned(),
        password: Secret::default(),
    });
    let range = "0-9".parse().unwrap();
    let queue = Command::Kvrocks(kvrocks::Command::QueueMigrations {
        cluster: key("new"),
        ranges: vec![range],
        target: 1,
        attempts_max: 2,
    });
    let delete = Command::Kvrocks(kvrocks::Command::DeleteCluster { cluster: key("new") });
    let apply = Command::Cello(cello::Command::Apply {
        user_id: "user".to_owned(),
        condition: Condition::default(),
        allows_multiple: false,
    });
    let mut taken = world.clone();
    taken.good(apply.clone());
    let release = Command::Cello(cello::Command::ReleaseUser { user_id: "user".to_owned() });
    BTreeMap::from([
        ("kvrocks: create a cluster", applied(world, kvrocks_cluster("new", new, 4))),
        ("kvrocks: add a node", applied(&with_new, add)),
        ("kvrocks: queue a migration", applied(&with_new, queue)),
        ("kvrocks: delete a cluster", applied(&with_new, delete)),
        ("pool: apply", applied(world, apply.clone())),
        ("pool: apply again", applied(&taken, apply)),
        ("pool: release", applied(&taken, release)),
    ])
}

fn queries(world: &World) -> BTreeMap<&'static str, u64> {
    let state = &world.replica.0;
    let nodes = query::cluster(&state.undermoon, "small").unwrap().nodes;
    let address = &nodes[0].proxy_address;
    let pool = cello::query::clusters(&state.cello).next().unwrap().id.clone();
    let command = proxy("new:6000");
    let proposal = Proposal {
        request_id: RequestId([7; 16]),
        actor: "guard".to_owned(),
        fence_term: None,
        command,
    };
    BTreeMap::from([
        ("copy of the whole state", measure(|| drop(world.replica.clone())).count_total),
        ("encode a proposal", measure(|| drop(entry::encode(&proposal).unwrap())).count_total),
        (
            "undermoon: view of a proxy",
            measure(|| drop(query::proxy(&state.undermoon, address))).count_total,
        ),
        (
            "undermoon: what a proxy's answer depends on",
            measure(|| drop(query::proxy_origin(&state.undermoon, address))).count_total,
        ),
        (
            "kvrocks: a cluster",
            measure(|| drop(kvrocks::query::cluster(&state.kvrocks, &key("c0")))).count_total,
        ),
        (
            "pool: a cluster",
            measure(|| drop(cello::query::cluster(&state.cello, &pool))).count_total,
        ),
    ])
}

fn place() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/allocations.txt")
}

fn is_renewing() -> bool {
    env::var("QUORATE_ALLOCATIONS").is_ok_and(|mode| mode == "renew")
}

/// Lines of the file: name to the two counts.
fn known() -> BTreeMap<String, (u64, u64)> {
    let text = fs::read_to_string(place()).unwrap_or_default();
    let line = |line: &str| {
        let mut parts = line.split('|').map(str::trim);
        let name = parts.next()?.to_owned();
        let counts = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((name, counts))
    };
    text.lines().filter_map(line).collect()
}

/// Whether an operation costs no more than on record, or hardly.
fn is_within(found: u64, known: u64) -> bool {
    found <= known + (known / 10).max(SLACK)
}

/// Compares counts with the file, or writes them into it.
fn judge(found: &BTreeMap<&'static str, (u64, u64)>) {
    let mut known = known();
    if is_renewing() {
        known.extend(found.iter().map(|(name, counts)| ((*name).to_owned(), *counts)));
        let mut text = String::new();
        for (name, (small, large)) in &known {
            writeln!(text, "{name} | {small} | {large}").unwrap();
        }
        fs::write(place(), text).unwrap();
        return;
    }
    let mut faults = Vec::new();
    for (name, (small, large)) in found {
        match known.get(*name) {
            Some((s, l)) if is_within(*small, *s) && is_within(*large, *l) => {}
            Some((s, l)) => {
                faults.push(format!("{name}: {small} and {large} allocations, were {s} and {l}"));
            }
            None => faults.push(format!("{name}: {small} and {large} allocations, not on record")),
        }
    }
    assert!(
        faults.is_empty(),
        "{}\nif that is as it should be, renew the file: QUORATE_ALLOCATIONS=renew cargo nextest \
         run --release --locked --test allocations",
        faults.join("\n")
    );
}

#[test]
fn no_operation_costs_more_than_on_record_nor_with_a_larger_state() {
    let small = operations(&built(1));
    let large = operations(&built(100));
    let found: BTreeMap<_, _> =
        small.iter().map(|(name, count)| (*name, (*count, large[name]))).collect();
    let grows = |(name, (small, large)): &(&&str, &(u64, u64))| {
        *large > *small * DEEPER + SLACK && !OF_FREE_HOSTS.contains(*name)
    };
    let growing: Vec<_> = found.iter().filter(grows).collect();
    assert!(growing.is_empty(), "the work grows with the state: {growing:?}");
    judge(&found);
}

/// Counts what it is given, so that nothing but the export is measured.
#[derive(Default)]
struct Count(u64);

impl RecordSink for Count {
    fn put(&mut self, _: u8, _: &[u8]) -> io::Result<()> {
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn a_snapshot_costs_as_much_for_each_record_however_many_there_are() {
    let each = [built(1), built(10)].map(|world| {
        let mut records = Count::default();
        let used = measure(|| world.replica.export(&mut records).unwrap());
        (used.count_total / records.0, used.bytes_max)
    });
    let [(small, small_most), (large, large_most)] = each;
    judge(&BTreeMap::from([("a record of a snapshot", (small, large))]));
    assert!(large_most < small_most * 5, "the whole is never held: {small_most}, {large_most}");
}

/// One replica in this process, and its client port.
struct Site {
    runtime: Runtime,
    broker: Broker,
    app: App,
    _dir: TempDir,
}

impl Site {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let dir = TempDir::with_prefix("quorate-guard-").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peer_addr = port.to_string();
        let config = Config {
            replica_id: 1,
            cluster_token: "guard".to_owned(),
            peers: vec![PeerConfig {
                id: 1,
                peer_addr: peer_addr.clone(),
                client_url: String::new(),
            }],
            join: None,
            promote_after: Duration::from_secs(5),
            data_dir: dir.path().join("1"),
            peer_listen: peer_addr,
            peer_tls: None,
            timers: Timers::for_tests(),
            proposals_in_flight_max: 256,
            proposal_bytes_in_flight_max: 16 * 1024 * 1024,
            snapshot: SnapshotPolicy::default(),
            wall_clock_ms: quorate::clock::now_ms,
            levels: LevelConfig::default(),
            digest_interval: Duration::ZERO,
            unsafe_leader_restore: false,
        };
        let started = Broker::start(config, Foundation::default());
        let broker = runtime.block_on(started).unwrap();
        let app = {
            let _inside = runtime.enter();
            App::new(broker.clone(), api::Settings::default())
        };
        Self { runtime, broker, app, _dir: dir }
    }

    fn propose(&self, command: Command) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let call = Call { request_id: None, actor: Actor::Own("guard"), deadline };
        let done = self.runtime.block_on(self.broker.propose(&call, command)).unwrap();
        assert!(!done.reply.is_refusal(), "{:?}", done.reply);
    }

    /// Allocations of this thread for one request that was asked before.
    fn ask(&self, path: &str, is_gzip: bool) -> u64 {
        let ask = || {
            let request = Request::get(path).header("host", "guard");
            let request = if is_gzip { request.header("accept-encoding", "gzip") } else { request };
            let request = request.body(Body::empty()).unwrap();
            let answer = self.app.clone().answer(request);
            let bytes = size_of_val(&answer);
            assert!(bytes <= ANSWER_BYTES_MAX, "{bytes}");
            let response = self.runtime.block_on(answer);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), is_gzip);
            let bytes = self.runtime.block_on(to_bytes(response.into_body(), usize::MAX)).unwrap();
            assert!(bytes.len() > 200, "{bytes:?}");
        };
        (0..5).for_each(|_| ask());
        measure(ask).count_total
    }
}

#[test]
fn an_answer_that_is_kept_costs_the_same_for_every_cluster() {
    let site = Site::start();
    for number in 0..220 {
        site.propose(proxy(&format!("h{}:{}", number % 10, 6000 + number / 10)));
    }
    site.propose(create("small", 8));
    site.propose(create("large", 400));
    let deadline = Instant::now() + Duration::from_secs(30);
    let view = site.runtime.block_on(site.broker.view(ReadMode::Linearizable, deadline)).unwrap();
    let path = |cluster: &str| {
        let nodes = query::cluster(&view.undermoon, cluster).unwrap().nodes;
        format!("/api/v3/proxies/meta/{}", nodes[0].proxy_address)
    };
    let (small, large) = (path("small"), path("large"));
    judge(&BTreeMap::from([
        ("answer about a proxy", (site.ask(&small, false), site.ask(&large, false))),
        ("compressed answer about a proxy", (site.ask(&small, true), site.ask(&large, true))),
    ]));
    site.runtime.block_on(site.broker.shutdown(Duration::from_secs(5)));
}
