//! The life of a pool on a real Docker daemon: clusters are made, handed out, stopped, started,
//! given back and replaced, whatever dies or breaks meanwhile.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod cello_live;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cello_live::{Front, LARGE, MANAGED, POOL, PORT_STEP, Pool, SMALL, address, echoes, ids, text};
use futures::future::join_all;
use serde_json::{Value, json};
use support::docker::{Docker, DockerOptions, IMAGE};
use tokio::time::{Instant, sleep};

/// Time for one call to the daemon where nobody dies.
const CALL_TIME_MS: u64 = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_handed_out_powered_released_and_replaced() {
    let mut pool = Pool::start(Docker::start(), &[SMALL, LARGE], CALL_TIME_MS).await;
    pool.docker.docker(&["network", "create", "strange"]);
    let stranger = ["create", "--name", "stranger", "--network", "strange", IMAGE, "/bin/busybox"];
    pool.docker.docker(&stranger);
    pool.register(10).await;
    let clusters = pool.wait_full(10).await;
    let sizes: Vec<_> = clusters.iter().map(|cluster| &cluster["size"]).collect();
    assert_eq!(
        sizes.iter().filter(|size| ***size == 2).count(),
        5,
        "kinds are balanced: {sizes:?}"
    );

    let owned = fifty_users_want_ten_clusters(&pool).await;
    power(&pool, &owned[0]).await;
    release(&pool, &owned[0]).await;
    orphans_are_swept(&pool).await;
    let found = pool.docker.docker(&["ps", "-aq", "--filter", "name=^/stranger$"]);
    assert!(!found.is_empty(), "a stranger's container is gone");
}

/// Exactly ten of them get one each, and it answers; the others are refused.
async fn fifty_users_want_ten_clusters(pool: &Pool) -> Vec<Value> {
    let wishes = (0..50).map(|at| {
        let front = &pool.front;
        async move { front.act(at, "apply", json!({"user_id": format!("u{at}")})).await.unwrap() }
    });
    let answers = join_all(wishes).await;
    let mut owned = Vec::new();
    for (at, (status, answer)) in answers.into_iter().enumerate() {
        let user = format!("u{at}");
        if status == 200 {
            assert_eq!(answer["data"]["user_id"], user);
            owned.push(answer["data"].clone());
        } else {
            assert_eq!(status, 400, "{answer}");
            assert_eq!(answer["error"], format!("No available res for {user}"));
        }
    }
    assert_eq!(owned.len(), 10, "as many clusters are handed out as there are");
    assert_eq!(ids(&owned).len(), 10, "every user has another one");
    for cluster in &owned {
        assert!(echoes(&address(cluster)).await, "nothing answers at {}", address(cluster));
    }
    owned
}

/// What users ask is done to containers before they are answered.
async fn power(pool: &Pool, cluster: &Value) {
    let id = text(cluster, "id");
    let act = async |at, action| {
        let answer = pool.front.act(at, action, json!({"cluster_id": &id})).await.unwrap();
        assert_eq!(answer.0, 200, "{action}: {}", answer.1);
        states(pool, &id)
    };
    let begun = |states: &BTreeMap<String, String>| states.values().cloned().collect::<Vec<_>>();
    let before = states(pool, &id);
    for (at, action) in ["stop", "stop", "start", "start", "restart"].into_iter().enumerate() {
        let after = act(at, action).await;
        let shown = pool.front.cluster(&id).await.unwrap();
        let state = if action == "stop" { "exited" } else { "running" };
        assert!(begun(&after).iter().all(|line| line.starts_with(state)), "{action}: {after:?}");
        assert!(after.keys().eq(before.keys()), "the containers are the same ones");
        assert_eq!(shown["status"], if action == "stop" { "stopped" } else { "running" });
        if action == "stop" {
            assert_eq!(shown["health"], "");
            assert!(!echoes(&address(cluster)).await);
        } else {
            let answers = async || echoes(&address(cluster)).await.then_some(());
            pool.wait("an answer after a start", answers).await;
        }
    }
    assert_ne!(begun(&before), begun(&states(pool, &id)), "they have been started again");
    let is_well = async || (pool.front.cluster(&id).await?["health"] == "OK").then_some(());
    pool.wait("a cluster that is well after a restart", is_well).await;
}

/// State and time of the last start of a cluster's containers, by their ids.
fn states(pool: &Pool, cluster_id: &str) -> BTreeMap<String, String> {
    let filter = format!("label=io.quorate.cluster={cluster_id}");
    let found = pool.docker.docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]);
    let state = |id: &str| {
        let format = "{{.State.Status}} {{.State.StartedAt}}";
        (id.to_owned(), pool.docker.docker(&["inspect", "--format", format, id]))
    };
    found.lines().map(state).collect()
}

/// The next user gets new containers under a new id, at the same place.
async fn release(pool: &Pool, old: &Value) {
    let (id, user) = (text(old, "id"), text(old, "user_id"));
    let old_containers = states(pool, &id);
    assert!(!old_containers.is_empty());
    for _ in 0..2 {
        let (status, answer) =
            pool.front.act(2, "release", json!({"cluster_id": &id})).await.unwrap();
        assert_eq!((status, &answer["data"]), (200, &json!("")), "{answer}");
    }
    let clusters = pool.wait_full(10).await;
    let new = clusters.iter().find(|cluster| cluster["user_id"] == "").unwrap();
    assert_ne!(new["id"], old["id"]);
    for member in ["name", "mapped_ports", "service_url", "size"] {
        assert_eq!(new[member], old[member]);
    }
    let new_containers = states(pool, &text(new, "id"));
    assert_eq!(new_containers.len(), old_containers.len());
    assert!(new_containers.keys().all(|container| !old_containers.contains_key(container)));
    let (_, next) = pool.front.act(0, "apply", json!({"user_id": "next"})).await.unwrap();
    assert_eq!(next["data"]["id"], new["id"], "{next}");
    assert!(echoes(&address(new)).await);
    let (status, _) = pool.front.act(1, "release", json!({"cluster_id": &id})).await.unwrap();
    assert_eq!(status, 200);
    let still = pool.front.cluster(&text(new, "id")).await.unwrap();
    assert_eq!(still["user_id"], "next", "a late release of the old id touches nobody");
    let released = pool.front.given("GET /v2/clusters?state=released", &Value::Null).await;
    let of_user: Vec<_> =
        released.as_array().unwrap().iter().filter(|record| record["user_id"] == *user).collect();
    assert_eq!(of_user.len(), 1);
    assert_eq!(of_user[0]["id"], *id);
}

/// Containers with our labels that no record owns do not stay.
async fn orphans_are_swept(pool: &Pool) {
    let format = "{{.Label \"io.quorate.control-plane\"}}";
    let filter = format!("label={MANAGED}");
    let found = pool.docker.docker(&["ps", "-a", "--filter", &filter, "--format", format]);
    let ours = found.lines().next().unwrap();
    let host = format!("io.quorate.host={}", pool.host_id);
    for (name, installation) in [("orphan", ours), ("foreign", "00000000000000000000000000000000")]
    {
        let installation = format!("io.quorate.control-plane={installation}");
        let mut words = vec!["create", "--name", name, "--network", "strange"];
        for label in [&*host, &*installation, "io.quorate.op=1", "io.quorate.cluster=none"] {
            words.extend(["--label", label]);
        }
        words.extend([IMAGE, "/bin/busybox"]);
        pool.docker.docker(&words);
    }
    let exists = |name: &str| {
        let filter = format!("name=^/{name}$");
        !pool.docker.docker(&["ps", "-aq", "--filter", &filter]).is_empty()
    };
    pool.wait("a sweep", async || (!exists("orphan")).then_some(())).await;
    assert!(exists("foreign"), "another installation's containers are swept");
    pool.wait_full(10).await;
}

/// Leaders that are killed.
const KILLS: usize = 20;
/// Longest life of a leader after its election. It may act on what it finds after the time for one
/// call, so about half of them die in the middle of something.
const LIFE_MS: u64 = 4_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leaders_lose_no_cluster_and_leave_no_container() {
    let seed = std::process::id().into();
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    let mut pool = Pool::start(Docker::start(), &[SMALL, LARGE], 2_000).await;
    pool.register(4).await;
    pool.wait_full(4).await;
    let ledger = Arc::new(Ledger::default());
    let mut workers = Vec::new();
    for name in 0..3 {
        let customer = customer(pool.front.clone(), Arc::clone(&ledger), name);
        workers.push(tokio::spawn(customer));
    }
    workers.push(tokio::spawn(watcher(pool.front.clone(), Arc::clone(&ledger))));
    let until = Instant::now() + Duration::from_secs(240);
    for kill in 0..KILLS {
        assert!(Instant::now() < until, "{kill} leaders in all that time");
        // Which may be the one that has just come back.
        let leader = pool.cluster.wait_leader().await;
        // A random moment is what is tried here.
        sleep(Duration::from_millis(random.below(LIFE_MS))).await;
        let replica = pool.cluster.replica(leader);
        replica.kill();
        replica.start();
    }
    ledger.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let clusters = pool.wait_full(4).await;
    assert!(clusters.iter().all(|cluster| cluster["user_id"] == ""), "{clusters:?}");
    assert!(clusters.iter().all(|cluster| cluster["status"] == "running"), "{clusters:?}");
    for cluster in &clusters {
        assert!(echoes(&address(cluster)).await, "nothing answers at {}", address(cluster));
    }
    let given = ledger.given.load(Ordering::Relaxed);
    eprintln!("{given} clusters came and went");
    assert!(given >= 10, "the pool hardly moved: {given}");
    let holders = ledger.holders.lock().unwrap();
    for (id, users) in &*holders {
        assert_eq!(users.len(), 1, "{id} had {users:?}");
    }
    let present = ids(&clusters);
    assert!(holders.keys().all(|id| !present.contains_key(id)), "an id came back");
}

/// What users have seen.
#[derive(Default)]
struct Ledger {
    is_over: AtomicBool,
    given: AtomicUsize,
    holders: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Ledger {
    fn note(&self, cluster: &Value) {
        let (id, user) = (text(cluster, "id"), text(cluster, "user_id"));
        if !user.is_empty() && !user.starts_with("__SYSTEM__") {
            self.holders.lock().unwrap().entry(id).or_default().insert(user);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Takes clusters, does things to them, gives them back, and minds no refusal.
async fn customer(front: Front, ledger: Arc<Ledger>, name: usize) {
    for round in 0.. {
        if ledger.is_over() {
            return;
        }
        let user = format!("customer-{name}-{round}");
        let cluster = loop {
            let answer = front.act(name + round, "apply", json!({"user_id": &user})).await;
            match answer {
                Some((200, answer)) => break Some(answer["data"].clone()),
                Some((400 | 503, _)) | None if ledger.is_over() => break None,
                Some((400 | 503, _)) | None => sleep(Duration::from_millis(100)).await,
                Some(answer) => panic!("{answer:?}"),
            }
        };
        if let Some(cluster) = cluster {
            assert_eq!(cluster["user_id"], user);
            ledger.note(&cluster);
            let action = ["stop", "restart", "start"][(name + round) % 3];
            let wish = json!({"cluster_id": &cluster["id"], "user_id": &user});
            let answer = front.act(name + round + 1, action, wish).await;
            assert!(matches!(answer, None | Some((200 | 400 | 503, _))), "{action}: {answer:?}");
            ledger.given.fetch_add(1, Ordering::Relaxed);
        }
        // Also for a wish whose answer was lost; nobody waits for the containers to go.
        for at in 0.. {
            let answer = front.act(at, "release", json!({"user_id": &user})).await;
            match answer {
                Some((200, _)) => break,
                Some((503, _)) | None => sleep(Duration::from_millis(100)).await,
                Some(answer) => panic!("{answer:?}"),
            }
        }
    }
}

/// Looks again and again at who has what.
async fn watcher(front: Front, ledger: Arc<Ledger>) {
    while !ledger.is_over() {
        for cluster in front.clusters().await {
            ledger.note(&cluster);
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// Numbers that look random; the same for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_says_what_is_wrong_with_a_host_and_recovers() {
    let disk_bytes = Some(64 << 20);
    let options = DockerOptions { is_bare: true, disk_bytes, ..DockerOptions::default() };
    let mut pool = Pool::start(Docker::start_with(options), &[SMALL], CALL_TIME_MS).await;
    pool.register(2).await;
    image_missing(&pool).await;
    port_taken_by_a_stranger(&pool).await;
    daemon_stopped(&mut pool).await;
    daemon_killed(&mut pool).await;
    daemon_frozen(&pool).await;
    containers_removed_by_hand(&pool).await;
    disk_full(&pool).await;
}

async fn image_missing(pool: &Pool) {
    pool.wait_said("last_error", "image is missing").await;
    let says_so = async || {
        let clusters = pool.front.clusters().await;
        let says_so = |cluster: &Value| text(cluster, "last_error").contains("image is missing");
        clusters.iter().any(says_so).then_some(())
    };
    pool.wait("a cluster that misses its image", says_so).await;
    pool.docker.import_image();
    pool.wait_full(2).await;
    assert_eq!(pool.host().await["last_error"], "", "it is over");
}

/// The third cluster leaves the ports of its block to whoever has them.
async fn port_taken_by_a_stranger(pool: &Pool) {
    let taken = pool.port_start + 2 * PORT_STEP;
    let stranger = TcpListener::bind(("0.0.0.0", taken)).unwrap();
    pool.front.given("PUT /api/host", &json!({"id": pool.host_id, "capacity": 3})).await;
    let clusters = pool.wait_full(3).await;
    let ports: BTreeSet<_> =
        clusters.iter().map(|cluster| cluster["mapped_ports"]["rest"].as_u64().unwrap()).collect();
    let expected = [0, 1, 3].map(|block| u64::from(pool.port_start + block * PORT_STEP));
    assert_eq!(ports, BTreeSet::from(expected));
    assert!(clusters.iter().any(|cluster| cluster["name"] == "compute2_3"));
    let host = pool.host().await;
    let blocked = &host["blocked_ports"][taken.to_string()];
    assert!(text(blocked, "reason").contains("port is in use"), "{host}");
    drop(stranger);
}

/// Nobody is given a cluster of a host that is away; what was asked of it is done when it is back.
async fn daemon_stopped(pool: &mut Pool) {
    let (_, answer) = pool.front.act(0, "apply", json!({"user_id": "early"})).await.unwrap();
    let mine = answer["data"].clone();
    let id = text(&mine, "id");
    pool.docker.down();
    pool.wait_status("inactive").await;
    assert_ne!(pool.host().await["status_reason"], "");
    let (status, answer) = pool.front.act(1, "apply", json!({"user_id": "late"})).await.unwrap();
    assert_eq!((status, &answer["error"]), (400, &json!("No available res for late")));
    let (status, answer) = pool.front.act(2, "stop", json!({"cluster_id": &id})).await.unwrap();
    assert_eq!((status, &answer["error"]), (400, &json!("cluster stop failed")));
    let (status, _) = pool.front.act(0, "release", json!({"user_id": "early"})).await.unwrap();
    assert_eq!(status, 200);
    let waits = pool.front.cluster(&id).await.unwrap();
    assert_eq!(waits["user_id"], "__SYSTEM__DELETINGearly");
    assert_eq!(waits["task"]["action"], "destroy", "{waits}");
    pool.docker.up();
    pool.wait_status("active").await;
    let clusters = pool.wait_full(3).await;
    assert!(!ids(&clusters).contains_key(&id));
    assert_eq!(pool.host().await["status_reason"], "");
    let (status, answer) = pool.front.act(1, "apply", json!({"user_id": "late"})).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(echoes(&address(&answer["data"])).await);
    let (status, _) = pool.front.act(0, "release", json!({"user_id": "late"})).await.unwrap();
    assert_eq!(status, 200);
    pool.wait_full(3).await;
}

/// A daemon that was killed leaves containers stopped that ought to run; nobody loses a cluster.
async fn daemon_killed(pool: &mut Pool) {
    let (_, answer) = pool.front.act(0, "apply", json!({"user_id": "holder"})).await.unwrap();
    let id = text(&answer["data"], "id");
    let before = ids(&pool.wait_full(3).await);
    pool.docker.crash();
    pool.wait_status("inactive").await;
    pool.docker.up();
    pool.wait_status("active").await;
    let clusters = pool.wait_full(3).await;
    assert_eq!(ids(&clusters), before, "the same clusters run again");
    let held = pool.front.cluster(&id).await.unwrap();
    assert_eq!(held["user_id"], "holder");
    assert!(echoes(&address(&held)).await);
}

/// A daemon that takes connections and says nothing is as good as none.
async fn daemon_frozen(pool: &Pool) {
    pool.docker.freeze();
    pool.wait_status("inactive").await;
    pool.wait_said("status_reason", "no answer within").await;
    let (status, _) = pool.front.act(0, "release", json!({"user_id": "holder"})).await.unwrap();
    assert_eq!(status, 200);
    pool.docker.thaw();
    pool.wait_status("active").await;
    let clusters = pool.wait_full(3).await;
    assert!(clusters.iter().all(|cluster| cluster["user_id"] == ""));
}

/// A free cluster makes room for a new one; a user's stays, and is told to be unwell.
async fn containers_removed_by_hand(pool: &Pool) {
    let (_, answer) = pool.front.act(0, "apply", json!({"user_id": "holder"})).await.unwrap();
    let held = text(&answer["data"], "id");
    let clusters = pool.front.clusters().await;
    let free = clusters.iter().find(|cluster| cluster["user_id"] == "").unwrap();
    let free = text(free, "id");
    for id in [&held, &free] {
        pool.docker.docker(&["rm", "-f", &format!("{id}_vp0")]);
    }
    let is_replaced = async || pool.front.cluster(&free).await.is_none().then_some(());
    pool.wait("a replacement of a broken cluster", is_replaced).await;
    let fails = async || (pool.front.cluster(&held).await?["health"] == "FAIL").then_some(());
    pool.wait("a user's cluster that is unwell", fails).await;
    let shown = pool.front.cluster(&held).await.unwrap();
    assert_eq!((&shown["user_id"], &shown["status"]), (&json!("holder"), &json!("running")));
    assert!(text(&shown, "last_error").contains("0 of 1 containers run"), "{shown}");
    let (status, _) = pool.front.act(0, "release", json!({"user_id": "holder"})).await.unwrap();
    assert_eq!(status, 200);
    pool.wait_full(3).await;
}

/// What a full host has stays; what it lacks is made when there is room.
async fn disk_full(pool: &Pool) {
    let before = ids(&pool.wait_full(3).await);
    pool.docker.fill_disk();
    pool.front.given("PUT /api/host", &json!({"id": pool.host_id, "capacity": 4})).await;
    let words = "no space left on device";
    pool.wait_said("last_error", words).await;
    let line = format!("GET {POOL}/tasks");
    let shows = async || {
        let tasks = pool.front.given(&line, &Value::Null).await;
        let mut tasks = tasks.as_array().unwrap().iter();
        tasks.any(|task| text(task, "last_error").contains(words)).then_some(())
    };
    pool.wait("an attempt that is paused", shows).await;
    assert_eq!(pool.host().await["status"], "active", "its daemon answers");
    pool.docker.clear_disk();
    let after = ids(&pool.wait_full(4).await);
    assert!(before.keys().all(|id| after.contains_key(id)));
    assert_eq!(pool.host().await["last_error"], "", "it is over");
}
