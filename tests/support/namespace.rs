//! Replicas in network namespaces of their own, so that packets between some of them, or to others,
//! can be dropped while everything else still arrives.
//!
//! The whole test runs in a namespace that nobody else sees: it starts itself again inside one.
//! Root may make one, and so may anybody where user namespaces are allowed. Replica 2 is at
//! 10.77.2.2, the test is beyond 10.77.2.1 and passes on what replicas send each other.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::cluster::Cluster;

/// Set in the process that is inside.
const INSIDE: &str = "QUORATE_TEST_NAMESPACE";
/// What makes a namespace: for root, and for anybody.
const UNSHARE: [&[&str]; 2] =
    [&["unshare", "--net"], &["unshare", "--user", "--map-root-user", "--net"]];
/// Has what `unshare` starts wait for its network; then it becomes the replica.
const WAIT_FOR_NETWORK: &str = r#"
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
    tries=500
    until ip route show default | grep -q via; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "the network namespace gets no network" >&2; exit 1; }
        sleep 0.02
    done
    exec "$@"
"#;

/// Runs a test inside a namespace of its own.
pub fn run(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("packets may pass");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        return runtime.expect("a runtime").block_on(body);
    }
    let unshare = UNSHARE.iter().find(|words| can_make_links(words)).expect(
        "this test needs iproute2, and network namespaces: run it as root, or allow user \
         namespaces (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0)",
    );
    let status = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg(std::env::current_exe().expect("the path of this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare was found before");
    assert!(status.success(), "{test} failed inside its namespace: {status}");
}

fn can_make_links(unshare: &[&str]) -> bool {
    let probe = ["ip", "link", "add", "probe", "type", "veth", "peer", "name", "other"];
    let made = Command::new(unshare[0]).args(&unshare[1..]).args(probe).output();
    made.is_ok_and(|made| made.status.success())
}

/// Runs `ip` where the test is.
pub fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().expect("iproute2");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {words}: {error}");
}

/// Where a replica is.
pub fn host(id: u64) -> String {
    format!("10.77.{id}.2")
}

/// Starts replicas, each in a namespace of its own.
pub async fn start_replicas(count: u64, flags: &[&str]) -> Cluster {
    let mut all = vec!["--cluster-token", "namespaces"];
    all.extend(flags);
    let mut cluster = Cluster::prepare_on(count, host, &all);
    for replica in &mut cluster.replicas {
        let words = ["/usr/bin/unshare", "--net", "/bin/sh", "-c", WAIT_FOR_NETWORK, "replica"];
        replica.set_wrapper(words.map(ToOwned::to_owned).to_vec());
        replica.start();
        connect(replica.id, replica.pid());
    }
    cluster.wait_all_ready().await;
    cluster
}

/// Joins the namespace of a process to this one.
fn connect(id: u64, pid: u32) {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let deadline = Instant::now() + Duration::from_secs(10);
    while namespace(&pid.to_string()) == namespace("self") {
        assert!(Instant::now() < deadline, "replica {id} gets no namespace");
        thread::sleep(Duration::from_millis(2));
    }
    ip(&format!("link add q{id} type veth peer name eth0 netns {pid}"));
    ip(&format!("addr add 10.77.{id}.1/24 dev q{id}"));
    ip(&format!("link set q{id} up"));
    inside(pid, "link set lo up");
    inside(pid, &format!("addr add 10.77.{id}.2/24 dev eth0"));
    inside(pid, "link set eth0 up");
    inside(pid, &format!("route add default via 10.77.{id}.1"));
}

/// Runs `ip` in the namespace of a process.
pub fn inside(pid: u32, words: &str) {
    let words = words.split(' ');
    let enter = ["-t", &pid.to_string(), "-n", "ip"].map(ToOwned::to_owned);
    let done = Command::new("nsenter").args(enter).args(words.clone()).output().expect("nsenter");
    let (words, error) = (words.collect::<Vec<_>>(), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "ip {words:?}: {error}");
}

/// What is dropped on the way between replicas.
#[derive(Debug, Default)]
pub struct Partition {
    ways: Vec<(u64, u64)>,
}

impl Partition {
    /// Drops every packet from one replica to another; what it answers still arrives.
    pub fn cut(&mut self, from: u64, to: u64) {
        filter("-A", from, to);
        self.ways.push((from, to));
    }

    /// Drops every packet between two replicas.
    pub fn cut_both(&mut self, one: u64, other: u64) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// How many packets were dropped.
    pub fn dropped(&self) -> u64 {
        let listed = Command::new("iptables").args(["-L", "FORWARD", "-v", "-x", "-n"]).output();
        let listed = listed.expect("iptables").stdout;
        let counts = String::from_utf8_lossy(&listed).into_owned();
        let drops = counts.lines().filter(|line| line.contains(" DROP "));
        drops.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum()
    }

    /// Lets everything pass again.
    pub fn heal(&mut self) {
        self.ways.drain(..).for_each(|(from, to)| filter("-D", from, to));
    }
}

fn filter(how: &str, from: u64, to: u64) {
    let words = [how, "FORWARD", "-s", &host(from), "-d", &host(to), "-j", "DROP"];
    let done = Command::new("iptables").args(words).output().expect("iptables");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "iptables {words:?}: {error}");
}
