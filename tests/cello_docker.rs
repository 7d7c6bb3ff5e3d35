//! The Docker driver against a real daemon.

#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use futures::future::join_all;
use quorate::client::{
    host_ping::HostPing,
    runtime::{
        ContainerSpec, ContainerState, Daemon, Runtime, RuntimeError, Which,
        docker::{DockerRuntime, TlsFiles},
    },
};
use support::docker::{Docker, DockerOptions, IMAGE, serving};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

const TIME: Duration = Duration::from_secs(20);
const LABEL: &str = "test.pool";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spec(name: &str, published: u16) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        hostname: "vp0".to_owned(),
        image: IMAGE.to_owned(),
        command: serving(7050),
        environment: vec!["A=1".to_owned()],
        labels: BTreeMap::from([(LABEL.to_owned(), "1".to_owned())]),
        exposed: vec![7050],
        published: BTreeMap::from([(7050, published)]),
        network: "pool_net".to_owned(),
        restart_policy: "unless-stopped".to_owned(),
        memory_bytes: 64 << 20,
        memory_swap_bytes: 96 << 20,
        cpu_quota_us: 50_000,
        log: ("json-file".to_owned(), BTreeMap::from([("max-size".to_owned(), "1m".to_owned())])),
    }
}

/// Whether a container behind a port answers; the proxy in front of it accepts in any case.
async fn echoes(port: u16) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"hello").await.ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer == *b"hello")
    };
    matches!(timeout(Duration::from_secs(2), exchange).await, Ok(Some(true)))
}

async fn wait_for_echo(port: u16) {
    let until = Instant::now() + TIME;
    while !echoes(port).await {
        assert!(Instant::now() < until, "nothing answers at port {port}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_come_stop_start_and_go() {
    let host = Docker::start();
    let daemon = Daemon { url: host.url(), is_tls: false };
    let runtime = DockerRuntime::new(None);
    Runtime::ping(&runtime, &daemon, TIME).await.unwrap();
    let labels = BTreeMap::from([(LABEL.to_owned(), "1".to_owned())]);
    networks(&host, &runtime, &daemon, &labels).await;

    let port = free_port();
    let wanted = spec("ab_vp0", port);
    let id = runtime.create(&daemon, &wanted, TIME).await.unwrap();
    let again = runtime.create(&daemon, &wanted, TIME).await;
    assert!(matches!(again, Err(RuntimeError::NameTaken(_))), "{again:?}");
    let found = runtime.inspect(&daemon, "ab_vp0", TIME).await.unwrap().unwrap();
    assert_eq!((&found.id, found.state), (&id, ContainerState::Created));
    for _ in 0..2 {
        runtime.start(&daemon, &id, TIME).await.unwrap();
    }
    wait_for_echo(port).await;
    let shown = "{{.Config.Hostname}} {{.HostConfig.NetworkMode}} {{.HostConfig.CpuQuota}} \
                 {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{index .Config.Env 0}} \
                 {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Config}}";
    let shown = host.docker(&["inspect", "--format", shown, "ab_vp0"]);
    let expected = "vp0 pool_net 50000 67108864 100663296 A=1 unless-stopped map[max-size:1m]";
    assert_eq!(shown, expected);

    let ours = Which::Labelled(vec![(LABEL.to_owned(), "1".to_owned())]);
    host.docker(&["create", "--name", "abc", "--network", "pool_net", IMAGE, "/bin/busybox"]);
    let found = runtime.list(&daemon, &ours, TIME).await.unwrap();
    assert_eq!(found.iter().map(|found| &*found.name).collect::<Vec<_>>(), ["ab_vp0"]);
    assert!(found[0].is_running() && found[0].label(LABEL) == "1");
    let named = runtime.list(&daemon, &Which::Named("ab_".to_owned()), TIME).await.unwrap();
    assert_eq!(named, found);

    for _ in 0..2 {
        runtime.stop(&daemon, &id, 5, TIME).await.unwrap();
    }
    assert_eq!(host.containers(LABEL), ["ab_vp0 exited"]);
    assert!(!echoes(port).await);
    for _ in 0..2 {
        runtime.restart(&daemon, &id, 5, TIME).await.unwrap();
    }
    wait_for_echo(port).await;
    let still_running = host.containers(LABEL);
    assert_eq!(still_running, ["ab_vp0 running"]);
    for _ in 0..2 {
        runtime.remove(&daemon, &id, TIME).await.unwrap();
    }
    assert_eq!(runtime.inspect(&daemon, &id, TIME).await.unwrap(), None);
    let gone = runtime.start(&daemon, &id, TIME).await;
    assert!(matches!(gone, Err(RuntimeError::NotFound(_))), "{gone:?}");
    host.docker(&["rm", "abc"]);
    runtime.remove_networks(&daemon, (LABEL, "1"), TIME).await.unwrap();
    assert_eq!(host.docker(&["network", "ls", "--filter", "name=pool_net", "-q"]), "");
}

/// There is one network of a name, however many want it at a time, and whoever made another.
async fn networks(
    host: &Docker,
    runtime: &DockerRuntime,
    daemon: &Daemon,
    labels: &BTreeMap<String, String>,
) {
    let all = (0..8).map(|_| runtime.ensure_network(daemon, "pool_net", labels, TIME));
    for done in join_all(all).await {
        done.unwrap();
    }
    let networks = || {
        let ids = host.docker(&["network", "ls", "--filter", "name=pool_net", "-q"]);
        ids.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = networks();
    assert_eq!(first.len(), 1, "one network, however often it is ensured");
    // Two that do not know of each other, as two replicas may for a moment.
    let others = [(); 4].map(|()| DockerRuntime::new(None));
    for _ in 0..10 {
        host.docker(&["network", "rm", "pool_net"]);
        let all = others.iter().map(|other| other.ensure_network(daemon, "pool_net", labels, TIME));
        for done in join_all(all).await {
            done.unwrap();
        }
        runtime.ensure_network(daemon, "pool_net", labels, TIME).await.unwrap();
        assert_eq!(networks().len(), 1, "doubles stay");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_apart() {
    let mut host = Docker::start();
    let daemon = Daemon { url: host.url(), is_tls: false };
    let runtime = DockerRuntime::new(None);
    let labels = BTreeMap::from([(LABEL.to_owned(), "1".to_owned())]);
    runtime.ensure_network(&daemon, "pool_net", &labels, TIME).await.unwrap();

    let mut missing = spec("ab_vp1", free_port());
    missing.image = "quorate-test:none".to_owned();
    assert!(runtime.has_image(&daemon, IMAGE, TIME).await.unwrap());
    assert!(!runtime.has_image(&daemon, &missing.image, TIME).await.unwrap());
    let answer = runtime.create(&daemon, &missing, TIME).await;
    assert!(matches!(answer, Err(RuntimeError::ImageMissing(_))), "{answer:?}");

    let stranger = TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = stranger.local_addr().unwrap().port();
    let id = runtime.create(&daemon, &spec("ab_vp2", taken), TIME).await.unwrap();
    let answer = runtime.start(&daemon, &id, TIME).await;
    assert!(matches!(answer, Err(RuntimeError::PortInUse(_))), "{answer:?}");
    let port = free_port();
    let first = runtime.create(&daemon, &spec("ab_vp3", port), TIME).await.unwrap();
    runtime.start(&daemon, &first, TIME).await.unwrap();
    let second = runtime.create(&daemon, &spec("ab_vp4", port), TIME).await.unwrap();
    let answer = runtime.start(&daemon, &second, TIME).await;
    assert!(matches!(answer, Err(RuntimeError::PortInUse(_))), "{answer:?}");
    let answer = runtime.start(&daemon, "ab_none", TIME).await;
    assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "{answer:?}");

    host.down();
    let answer = Runtime::ping(&runtime, &daemon, TIME).await;
    assert!(matches!(answer, Err(RuntimeError::Unreachable(_))), "{answer:?}");
    assert!(HostPing::ping(&runtime, &daemon.url, false, TIME).await.is_err());
    host.up();
    HostPing::ping(&runtime, &daemon.url, false, TIME).await.unwrap();
    let nobody = Daemon { url: format!("tcp://127.0.0.1:{}", free_port()), is_tls: false };
    let answer = Runtime::ping(&runtime, &nobody, TIME).await;
    assert!(matches!(answer, Err(RuntimeError::Unreachable(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_never_answers_costs_no_more_than_the_time_given() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", silent.local_addr().unwrap());
    let runtime = DockerRuntime::new(None);
    let daemon = Daemon { url: url.clone(), is_tls: false };
    let before = Instant::now();
    let answer = Runtime::ping(&runtime, &daemon, Duration::from_millis(300)).await;
    assert!(matches!(answer, Err(RuntimeError::Unreachable(_))), "{answer:?}");
    assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
    let reason = HostPing::ping(&runtime, &url, true, TIME).await.unwrap_err();
    assert!(reason.contains("TLS"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_daemon_costs_no_more_than_the_time_given() {
    let host = Docker::start();
    let runtime = DockerRuntime::new(None);
    for url in [host.url(), host.tcp_url()] {
        let daemon = Daemon { url, is_tls: false };
        Runtime::ping(&runtime, &daemon, TIME).await.unwrap();
        host.freeze();
        let short = Duration::from_millis(300);
        let all = Which::Named(String::new());
        let labels = BTreeMap::new();
        let before = Instant::now();
        for answer in [
            Runtime::ping(&runtime, &daemon, short).await,
            runtime.list(&daemon, &all, short).await.map(drop),
            runtime.create(&daemon, &spec("ab_vp0", 1), short).await.map(drop),
            runtime.stop(&daemon, "ab_vp0", 60, short).await,
            runtime.ensure_network(&daemon, "pool_net", &labels, short).await,
        ] {
            assert!(matches!(answer, Err(RuntimeError::Unreachable(_))), "{answer:?}");
        }
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        host.thaw();
        Runtime::ping(&runtime, &daemon, TIME).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_outlive_their_daemon() {
    let mut host = Docker::start();
    let daemon = Daemon { url: host.tcp_url(), is_tls: false };
    let runtime = DockerRuntime::new(None);
    let labels = BTreeMap::from([(LABEL.to_owned(), "1".to_owned())]);
    runtime.ensure_network(&daemon, "pool_net", &labels, TIME).await.unwrap();
    let (runs, stopped) = (free_port(), free_port());
    for (name, port) in [("ab_vp0", runs), ("ab_vp1", stopped)] {
        let id = runtime.create(&daemon, &spec(name, port), TIME).await.unwrap();
        runtime.start(&daemon, &id, TIME).await.unwrap();
    }
    runtime.stop(&daemon, "ab_vp1", 5, TIME).await.unwrap();
    let before = ids(&runtime, &daemon).await;
    for ends in [Docker::down, Docker::crash] {
        ends(&mut host);
        let answer = runtime.inspect(&daemon, "ab_vp0", TIME).await;
        assert!(matches!(answer, Err(RuntimeError::Unreachable(_))), "{answer:?}");
        host.up();
        // A daemon that was killed may leave it to others to start what ran.
        runtime.start(&daemon, "ab_vp0", TIME).await.unwrap();
        wait_for_echo(runs).await;
        assert_eq!(ids(&runtime, &daemon).await, before);
        assert_eq!(host.containers(LABEL), ["ab_vp0 running", "ab_vp1 exited"]);
    }
}

async fn ids(runtime: &DockerRuntime, daemon: &Daemon) -> Vec<String> {
    let ours = Which::Labelled(vec![(LABEL.to_owned(), "1".to_owned())]);
    let found = runtime.list(daemon, &ours, TIME).await.unwrap();
    let mut ids: Vec<_> = found.into_iter().map(|container| container.id).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_and_replicas_know_each_other_by_their_certificates() {
    let host = Docker::start_with(DockerOptions { is_tls: true, ..DockerOptions::default() });
    let stranger =
        Docker::start_with(DockerOptions { is_tls: true, is_bare: true, ..Default::default() });
    let daemon = Daemon { url: host.tcp_url(), is_tls: true };
    let files = |authority: &Docker, own: &Docker| TlsFiles {
        authorities: authority.certificate("ca.pem"),
        certificate: own.certificate("cert.pem"),
        key: own.certificate("key.pem"),
    };
    let runtime = DockerRuntime::new(Some(files(&host, &host)));
    Runtime::ping(&runtime, &daemon, TIME).await.unwrap();
    assert!(runtime.has_image(&daemon, IMAGE, TIME).await.unwrap());

    for (what, refused) in [
        ("a stranger's daemon", DockerRuntime::new(Some(files(&stranger, &host)))),
        ("a stranger's certificate", DockerRuntime::new(Some(files(&host, &stranger)))),
        ("no certificate", DockerRuntime::new(None)),
    ] {
        let answer = Runtime::ping(&refused, &daemon, TIME).await;
        assert!(matches!(answer, Err(RuntimeError::Unreachable(_))), "{what}: {answer:?}");
    }
    let plain = Daemon { is_tls: false, ..daemon };
    let answer = Runtime::ping(&runtime, &plain, TIME).await;
    assert!(answer.is_err(), "a port that wants TLS is spoken to without");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_in_the_daemon_s_words() {
    let disk_bytes = Some(64 << 20);
    let host = Docker::start_with(DockerOptions { disk_bytes, ..DockerOptions::default() });
    let daemon = Daemon { url: host.url(), is_tls: false };
    let runtime = DockerRuntime::new(None);
    host.fill_disk();
    let answer = runtime.create(&daemon, &spec("ab_vp0", free_port()), TIME).await;
    let Err(RuntimeError::Other(message)) = answer else { panic!("{answer:?}") };
    assert!(message.contains("no space left on device"), "{message}");
    host.clear_disk();
    runtime.create(&daemon, &spec("ab_vp0", free_port()), TIME).await.unwrap();
}
