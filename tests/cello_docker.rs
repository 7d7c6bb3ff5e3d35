//! The Docker driver against a real daemon.

#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use quorate::client::{
    host_ping::HostPing,
    runtime::{
        ContainerSpec, ContainerState, Daemon, Runtime, RuntimeError, Which, docker::DockerRuntime,
    },
};
use support::docker::{Docker, IMAGE, serving};
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
        memory_bytes: 0,
        memory_swap_bytes: 0,
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
    for _ in 0..2 {
        runtime.ensure_network(&daemon, "pool_net", &labels, TIME).await.unwrap();
    }
    let networks = host.docker(&["network", "ls", "--filter", "name=pool_net", "-q"]);
    assert_eq!(networks.lines().count(), 1, "one network, however often it is ensured");

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
                 {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Config}}";
    let shown = host.docker(&["inspect", "--format", shown, "ab_vp0"]);
    assert_eq!(shown, "vp0 pool_net 50000 unless-stopped map[max-size:1m]");

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
