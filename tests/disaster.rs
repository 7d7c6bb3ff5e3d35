//! The disaster procedures of `docs/operations.md`, carried out as they are printed there, and what
//! backups and offline tools promise.
//!
//! The commands, and the changes of the configuration, are read from the document's code blocks;
//! only paths, addresses and ports are put in their place. So the document cannot rot.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod operations;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use operations::{Guide, Site, quorate};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    compare,
    coordinator::{Coordinator, Operator},
    server_proxy::Fleet,
    writers::{self, Writers},
};
use tokio::time::sleep;

/// Pause between the rounds of a coordinator's loops.
const INTERVAL: Duration = Duration::from_millis(100);
/// How far a recovery moves epochs.
const CLOCK_DISTANCE: u64 = 1_000_000_000_000;
/// How far a recovery moves log indexes.
const INDEX_DISTANCE: u64 = 100_000_000_000;

/// Proxies of a cluster, with a coordinator that keeps them up to date.
struct World {
    fleet: Fleet,
    addresses: Vec<String>,
}

impl World {
    /// Two hosts with two proxies each and a cluster on them, known to every proxy.
    async fn begin(urls: &[String]) -> Self {
        let fleet = Fleet::default();
        let mut operator = Operator::new(urls);
        let mut addresses = Vec::new();
        for number in 0..4 {
            let address = fleet.start().await;
            operator.register(&address, &format!("host{}", number % 2)).await;
            addresses.push(address);
        }
        let create = json!({ "node_number": 8 });
        operator.change(reqwest::Method::POST, "clusters/meta/world", create).await;
        let world = Self { fleet, addresses };
        world.settle(urls).await;
        world
    }

    /// Has a coordinator push what the broker says until every proxy holds it.
    async fn settle(&self, urls: &[String]) {
        let mut coordinator = Coordinator::start("coordinator", urls, INTERVAL);
        let operator = Operator::new(urls);
        let deadline = Instant::now() + PATIENCE;
        'again: loop {
            assert!(Instant::now() < deadline, "the proxies do not take what the broker says");
            assert!(!coordinator.has_died());
            for address in &self.addresses {
                let wanted = operator.read(&format!("proxies/meta/{address}")).await;
                if self.fleet.meta(address) != wanted["proxy"] {
                    sleep(INTERVAL).await;
                    continue 'again;
                }
            }
            return;
        }
    }

    fn epochs(&self) -> Vec<u64> {
        self.addresses.iter().map(|address| self.fleet.epoch(address)).collect()
    }

    /// The proxies take what the recovered cluster says, and its epochs are ahead of all before.
    async fn accepts(&self, urls: &[String], before: &[u64]) {
        self.settle(urls).await;
        for (before, after) in before.iter().zip(self.epochs()) {
            assert!(after >= CLOCK_DISTANCE, "an epoch was {before} and is {after}");
        }
        assert_eq!(self.fleet.violations(), Vec::<String>::new());
    }
}

/// Registers a proxy under a key that no other write has.
async fn write(site: &Site, url: &str, name: &str) {
    let request = writers::register(&site.cluster.client, &format!("{url}/api/v3"), name);
    let answer = request.header("Idempotency-Key", name).send().await.unwrap();
    assert_eq!(answer.status(), 200, "register {name}");
}

async fn proxies(site: &Site, url: &str) -> Vec<String> {
    let request = site.cluster.client.get(format!("{url}/api/v3/metadata"));
    let request = request.header("Quorate-Consistency", "linearizable");
    let answer: Value =
        request.header("Accept-Encoding", "identity").send().await.unwrap().json().await.unwrap();
    answer["all_proxies"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_is_lost() {
    let guide = Guide::read();
    let mut site = Site::start(&guide, 3).await;
    let urls = site.cluster.urls();
    let world = World::begin(&urls).await;
    site.cluster.replica(3).kill();
    write(&site, &urls[0], "meanwhile:1").await;
    site.follow(&guide, "One replica is lost").await;
    site.cluster.wait_all_ready().await;
    compare::digests(&site.cluster).await.unwrap();
    world.settle(&urls).await;
    assert_eq!(world.fleet.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_one_replica_is_lost() {
    let guide = Guide::read();
    let mut site = Site::start(&guide, 3).await;
    let urls = site.cluster.urls();
    let world = World::begin(&urls).await;
    site.cluster.replica(3).kill();
    fs::remove_dir_all(&site.cluster.replica(3).data_dir).unwrap();
    write(&site, &urls[0], "meanwhile:1").await;
    // As it was, it does not start: it would vote without knowing what it promised.
    let refused = site.serve_once(&site.config(3));
    assert!(refused.contains("replace the replica under a new id"), "{refused}");
    fs::remove_dir_all(&site.cluster.replica(3).data_dir).unwrap();
    let printed = site.follow(&guide, "One replica's disk is lost").await;
    assert!(printed.contains("replica 4 has its vote"), "{printed}");
    assert_eq!(voters(&site).await, [1, 2, 4]);
    compare::digests(&site.cluster).await.unwrap();
    world.settle(&urls).await;
    assert_eq!(world.fleet.violations(), Vec::<String>::new());
}

/// The voters, as the first replica lists them.
async fn voters(site: &Site) -> Vec<u64> {
    let found = site.cluster.ask(1, "/quorate/v1/members").await.unwrap();
    let members = found["members"].as_array().unwrap().iter();
    let voters = members.filter(|member| member["role"] != "learner");
    voters.map(|member| member["id"].as_u64().unwrap()).collect()
}

/// Two replicas on empty disks join the recovered one, and the cluster survives the loss of one.
async fn grow(site: &mut Site, guide: &Guide) {
    site.follow(guide, "Grow to three again").await;
    assert_eq!(voters(site).await, [1, 2, 3]);
    compare::digests(&site.cluster).await.unwrap();
    let leader = site.cluster.wait_leader().await;
    site.cluster.replica(leader).kill();
    let next = site.cluster.wait_leader_other_than(leader).await;
    write(site, &site.cluster.url(next), "grown:1").await;
    site.cluster.replica(leader).start();
    site.cluster.wait_all_ready().await;
    compare::digests(&site.cluster).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_majority_is_lost_and_a_disk_survives() {
    let guide = Guide::read();
    let mut site = Site::start(&guide, 3).await;
    let urls = site.cluster.urls();
    let world = World::begin(&urls).await;
    write(&site, &urls[0], "before:1").await;
    let before = world.epochs();
    let index = site.cluster.status(1).await.unwrap()["applied_index"].as_u64().unwrap();
    for id in 1..=3 {
        site.cluster.replica(id).kill();
    }
    let printed = site.follow(&guide, "The majority is lost, a disk survives").await;
    assert!(printed.contains("goes on from"), "{printed}");

    let url = vec![site.cluster.url(1)];
    assert!(proxies(&site, &url[0]).await.contains(&"before:1".to_owned()));
    world.accepts(&url, &before).await;
    write(&site, &url[0], "after:1").await;
    let status = site.cluster.status(1).await.unwrap();
    assert!(status["applied_index"].as_u64().unwrap() > index + INDEX_DISTANCE, "{status}");
    assert_eq!(status["peers"].as_array().unwrap().len(), 1, "{status}");

    // The lost ones come back after all: they and the new cluster are strangers.
    let old_cluster = site.cluster_id_of(2);
    assert_ne!(status["cluster_id"], old_cluster);
    site.cluster.replica(2).start();
    site.cluster.replica(3).start();
    site.cluster.wait_ready(2).await;
    write(&site, &url[0], "later:1").await;
    let status = site.cluster.status(1).await.unwrap();
    assert_eq!(status["role"], "leader");
    assert_eq!(status["peers"].as_array().unwrap().len(), 1, "{status}");
    assert!(!proxies(&site, &site.cluster.url(2)).await.contains(&"later:1".to_owned()));
    // And an old disk does not start under the new token.
    site.cluster.replica(2).kill();
    let mut config = site.config(2);
    config.insert("cluster_token".to_owned(), "another long random secret".into());
    let refused = site.serve_once(&config);
    assert!(refused.contains("belongs to replica 2 of cluster"), "{refused}");
    site.cluster.replica(3).kill();
    grow(&mut site, &guide).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_lost_but_a_backup() {
    let guide = Guide::read();
    let mut site = Site::start(&guide, 3).await;
    let urls = site.cluster.urls();
    let world = World::begin(&urls).await;
    write(&site, &urls[0], "before:1").await;
    let printed = site.follow(&guide, "Backups").await;
    assert!(printed.contains("state digest"), "{printed}");
    // Proxies see epochs that the backup does not know of.
    write(&site, &urls[0], "unsaved:1").await;
    for count in 20..25 {
        let change = json!({ "migration_scan_count": count.to_string() });
        let url = format!("{}/api/v3/clusters/config/world", urls[0]);
        let answer = site.cluster.client.patch(url).json(&change).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    world.settle(&urls).await;
    let before = world.epochs();
    for id in 1..=3 {
        site.cluster.replica(id).kill();
        fs::remove_dir_all(&site.cluster.replica(id).data_dir).unwrap();
    }
    site.follow(&guide, "Everything is lost but a backup").await;
    let url = vec![site.cluster.url(1)];
    let found = proxies(&site, &url[0]).await;
    assert!(found.contains(&"before:1".to_owned()), "{found:?}");
    assert!(!found.contains(&"unsaved:1".to_owned()), "{found:?}");
    world.accepts(&url, &before).await;
    write(&site, &url[0], "after:1").await;
    grow(&mut site, &guide).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_looked_at_as_the_guide_says() {
    let guide = Guide::read();
    let mut site = Site::start(&guide, 1).await;
    let url = site.cluster.url(1);
    write(&site, &url, "seen:1").await;
    let answer = site.cluster.client.post(format!("{url}/quorate/v1/snapshot")).send().await;
    assert!(answer.unwrap().status().is_success());
    let dir = site.cluster.replica(1).data_dir.clone();
    let refused = quorate(&["inspect", "check", "--data-dir", dir.to_str().unwrap()]);
    assert!(refused.one_sentence().contains("is in use by another process; stop it"));
    site.cluster.replica(1).kill();
    let before = operations::files(&dir);
    let printed = site.follow(&guide, "Look at a disk").await;
    assert!(printed.contains("the log leads to the very same state"), "{printed}");
    assert!(printed.contains("RegisterProxy"), "{printed}");
    let dir = dir.to_str().unwrap();
    let lines = quorate(&["inspect", "log", "--data-dir", dir, "--object", "seen:1", "-o", "json"]);
    let lines: Vec<Value> =
        lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["command"]["address"], "seen:1");
    let none = ["inspect", "log", "--data-dir", dir, "--family", "kvrocks", "-o", "json"];
    assert_eq!(quorate(&none).stdout, "");
    assert_eq!(operations::files(Path::new(dir)), before, "looking changed something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_is_the_state_at_its_revision() {
    // There is a snapshot, so the backup does not begin with nothing, and the next one is far away,
    // so it holds a past as well.
    let mut cluster = Cluster::start(3, &["--snapshot-entries-max", "1000"]).await;
    writers::prepare(&cluster.url(1)).await;
    let load = Writers::start(8, &cluster.urls());
    load.wait_for(700, PATIENCE).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = cluster.status(2).await.unwrap();
        let at = |name: &str| status[name].as_u64().unwrap();
        let behind = at("applied_index") - at("snapshot_index");
        if at("snapshot_index") > 0 && (50..400).contains(&behind) {
            break;
        }
        assert!(Instant::now() < deadline, "no snapshot with a few entries behind it: {status}");
        sleep(Duration::from_millis(10)).await;
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("load.qback");
    let file = file.to_str().unwrap();
    let seen = cluster.status(2).await.unwrap()["applied_index"].as_u64().unwrap();
    let url = cluster.url(2);
    let create = ["ctl", "--endpoint", &url, "--output", "json", "backup", "create", "--to", file];
    let made = quorate(&create);
    load.wait_for(100, PATIENCE).await;
    let records = load.finish().await;
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let (base, end) = (&made["backup"]["base"], &made["backup"]["end"]);
    let (first, last) = (base["index"].as_u64().unwrap(), end["index"].as_u64().unwrap());
    assert!(last >= seen && first > 0 && last > first + 10, "{first} to {last}, {seen} was seen");
    let writes: u64 = records.iter().map(|r| r.proxies.len() as u64 + r.changes).sum();
    println!("backup of revisions {first} to {last} during {writes} writes");

    // Another replica's own disk says what the state was there.
    cluster.replica(3).signal(nix::sys::signal::Signal::SIGTERM);
    cluster.replica(3).wait_exit(PATIENCE).unwrap();
    let dir = cluster.replica(3).data_dir.clone();
    let digest_at = |index: u64| {
        let at = index.to_string();
        let dir = dir.to_str().unwrap();
        let said = quorate(&["inspect", "check", "--data-dir", dir, "--at", &at, "-o", "json"]);
        let said: Value = serde_json::from_str(&said.stdout).unwrap();
        (said["at"]["state"].clone(), said["at"]["log_chain"].clone())
    };
    assert_eq!(digest_at(last), (end["digest"].clone(), end["log_chain"].clone()));

    // And what is restored has that digest, at its end and at a revision in between.
    for (number, index) in [last, last - 7].into_iter().enumerate() {
        let target = place.path().join(format!("disk-{number}"));
        let restored = quorate(&[
            "recover",
            "from-backup",
            "--file",
            file,
            "--to-index",
            &index.to_string(),
            "--data-dir",
            target.to_str().unwrap(),
            "--cluster-token",
            "new",
            "--peer",
            "1=127.0.0.1:1",
        ]);
        let digest = restored.row("its digest");
        assert_eq!(digest_at(index).0, digest, "at {index}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recovered_is_refused_and_nothing_changes() {
    let cluster = Cluster::start(1, &[]).await;
    writers::prepare(&cluster.url(1)).await;
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let url = cluster.url(1);
    let whole = path("whole.qback");
    assert!(quorate(&["ctl", "--endpoint", &url, "backup", "create", "--to", &whole]).is_ok);
    let bytes = fs::read(&whole).unwrap();
    let spoiled = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        fs::write(path(name), bytes).unwrap();
        path(name)
    };
    let target = path("disk");
    let refusal = |file: &str, target: &str, token: &str| {
        let said = quorate(&[
            "recover",
            "from-backup",
            "--file",
            file,
            "--data-dir",
            target,
            "--cluster-token",
            token,
            "--peer",
            "1=127.0.0.1:1",
        ]);
        said.one_sentence()
    };
    let half = bytes.len() / 2;
    for (name, change, wanted) in [
        ("cut", (&|b: &mut Vec<u8>| b.truncate(half)) as &dyn Fn(&mut Vec<u8>), "use another copy"),
        ("short", &|b| b.truncate(b.len() - 1), "use another copy"),
        ("altered", &|b| b[half] ^= 1, "use another copy"),
        ("newer", &|b| b[6] = 9, "use the program that wrote it"),
        ("other", &|b| b[0] = b'x', "use another copy"),
    ] {
        let file = spoiled(name, change);
        let said = refusal(&file, &target, "new");
        assert!(said.contains(wanted) && said.contains(name), "{name}: {said}");
        let verified = quorate(&["ctl", "backup", "verify", &file]).one_sentence();
        assert!(verified.contains(wanted), "{name}: {verified}");
        assert!(!Path::new(&target).exists(), "{name}");
    }
    // A cluster without a token given to it has this one.
    let said = refusal(&whole, &target, "quorate");
    assert!(said.contains("choose another token"), "{said}");
    assert!(!Path::new(&target).exists());
    fs::create_dir(&target).unwrap();
    fs::write(path("disk/notes"), "mine").unwrap();
    let said = refusal(&whole, &target, "new");
    assert!(said.contains("is not empty") && said.contains("choose an empty directory"), "{said}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_must_not_be_renewed_is_left_as_it_is() {
    let mut cluster = Cluster::start(1, &[]).await;
    let url = cluster.url(1);
    let dir = cluster.replica(1).data_dir.to_str().unwrap().to_owned();
    let force = |extra: &[&str]| {
        let mut words = vec!["recover", "force-new-cluster", "--data-dir", &dir, "--cluster-token"];
        words.extend(extra);
        quorate(&words).one_sentence()
    };
    let said = force(&["new", "--yes"]);
    assert!(said.contains("is in use by another process; stop it"), "{said}");
    writers::register(&cluster.client, &format!("{url}/api/v3"), "still:1").send().await.unwrap();
    cluster.replica(1).kill();
    let before = operations::files(&PathBuf::from(&dir));
    let said = force(&["new"]);
    assert!(said.contains("there is no terminal to ask at"), "{said}");
    let said = force(&["quorate", "--yes"]);
    assert!(said.contains("choose another token"), "{said}");
    assert_eq!(operations::files(&PathBuf::from(&dir)), before);
    cluster.replica(1).start();
    cluster.wait_ready(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_backs_up_by_itself_and_keeps_the_last_ones() {
    let place = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::prepare(1, &[]);
    let dir = place.path().join("backups").to_str().unwrap().to_owned();
    let mut args = vec!["--data-dir".to_owned()];
    args.push(cluster.replica(1).data_dir.to_str().unwrap().to_owned());
    args.extend(["--listen".to_owned(), cluster.replica(1).client_addr.clone()]);
    args.extend(["--peer-listen".to_owned(), cluster.replica(1).peer_addr.clone()]);
    args.extend(["--backup-dir", &dir, "--backup-interval-s", "1"].map(str::to_owned));
    args.extend(["--backups-max", "2"].map(str::to_owned));
    cluster.replica(1).set_args(args);
    cluster.replica(1).start();
    cluster.wait_ready(1).await;
    let url = cluster.url(1);
    let listed = || {
        let said = quorate(&["ctl", "--endpoint", &url, "--output", "json", "backup", "list"]);
        let said: Value = serde_json::from_str(&said.stdout).unwrap();
        let names = said["backups"].as_array().unwrap().iter();
        names.map(|stored| stored["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    let first = loop {
        let found = listed();
        if let [newest, ..] = &found[..] {
            break newest.clone();
        }
        assert!(Instant::now() < deadline, "no backup was taken");
        sleep(Duration::from_millis(50)).await;
    };
    let verified = quorate(&["ctl", "backup", "verify", &format!("{dir}/{first}")]);
    assert!(verified.is_ok, "{}", verified.stderr);
    while listed().contains(&first) {
        assert!(Instant::now() < deadline, "old backups stay");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(listed().len(), 2);
    // One on demand, into the same directory.
    let made = quorate(&["ctl", "--endpoint", &url, "backup", "create"]);
    assert!(made.is_ok && made.row("file").starts_with(&dir), "{}", made.stdout);
}
