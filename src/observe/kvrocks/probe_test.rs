//! Tables of what a node answers and what is made of it.

use std::{collections::BTreeMap, io};

use futures::future::BoxFuture;

use super::*;
use crate::domain::{
    Context,
    kvrocks::{
        Command, Secret, State,
        command::{ClusterKey, NewNode},
        query, topology,
    },
};

/// Answers from a table; silent about everything else.
struct Told(BTreeMap<&'static str, Result<String, String>>);

impl Told {
    fn one(&self, addr: &str, command: &[&str]) -> Result<String, NodeError> {
        let addr = addr.to_owned();
        match self.0.get(command.join(" ").as_str()) {
            Some(Ok(text)) => Ok(text.clone()),
            Some(Err(text)) => Err(NodeError::Refused { addr, text: text.clone() }),
            None => Err(NodeError::Broken { addr, source: io::ErrorKind::UnexpectedEof.into() }),
        }
    }
}

impl NodeCall for Told {
    fn call<'a>(
        &'a self,
        node: NodeAccess<'a>,
        command: &'a [&'a str],
        _: Duration,
    ) -> BoxFuture<'a, Result<String, NodeError>> {
        Box::pin(async move { self.one(node.addr, command) })
    }

    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        _: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        Box::pin(
            async move { commands.iter().map(|command| self.one(node.addr, command)).collect() },
        )
    }
}

/// Shards of nodes 1 and 2, 3 and 4.
fn cluster() -> Cluster {
    let mut state = State::default();
    let context = Context { index: 1, term: 1, time_ms: 1, actor: "" };
    let key = ClusterKey { namespace: "n".to_owned(), name: "c".to_owned() };
    let node =
        |number: u64| NewNode { id: format!("{number:040}"), addr: format!("10.0.0.1:{number}") };
    state.apply(&context, Command::CreateNamespace { namespace: "n".to_owned() }).unwrap();
    let command = Command::CreateCluster {
        cluster: key.clone(),
        nodes: (1..=4).map(node).collect(),
        replicas: 2,
        password: Secret::new(String::new()),
    };
    state.apply(&context, command).unwrap();
    query::cluster(&state, &key).unwrap().as_ref().clone()
}

async fn probed(answers: &[(&'static str, Result<&str, &str>)]) -> Probed {
    let own =
        |answer: &Result<&str, &str>| answer.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
    let told = Told(answers.iter().map(|(command, answer)| (*command, own(answer))).collect());
    let cluster = cluster();
    let (_, node) = cluster.nodes().next().unwrap();
    probe(&told, node, Duration::from_secs(1)).await
}

#[tokio::test]
async fn every_answer_means_what_the_specification_says() {
    let info = ("CLUSTER INFO", Ok("cluster_current_epoch:4\r\n"));
    let replication = ("INFO replication", Ok("role:master\r\nmaster_repl_offset:7\r\n"));
    let Probed::Answered { info: found, replication: Some(said) } =
        probed(&[info, replication]).await
    else {
        panic!("the node answered")
    };
    assert_eq!((found.epoch, said.role, said.sequence), (4, Role::Master, 7));
    for text in [
        "CLUSTERDOWN The cluster is not initialized",
        "ERR CLUSTERDOWN The cluster is not initialized",
    ] {
        assert_eq!(probed(&[("CLUSTER INFO", Err(text))]).await, Probed::Uninitialised, "{text}");
    }
    for text in [
        "LOADING kvrocks is restoring the db from backup",
        "ERR LOADING kvrocks is restoring the db from backup",
    ] {
        assert_eq!(probed(&[("CLUSTER INFO", Err(text))]).await, Probed::Loading, "{text}");
    }
    for text in ["NOAUTH Authentication required.", "ERR Invalid password"] {
        let found = probed(&[("CLUSTER INFO", Err(text))]).await;
        assert_eq!(found, Probed::Refused(text.to_owned()));
    }
    let unreadable = probed(&[("CLUSTER INFO", Ok("hello")), replication]).await;
    assert!(matches!(unreadable, Probed::Refused(_)), "{unreadable:?}");
    for answers in [&[][..], &[info][..]] {
        assert!(matches!(probed(answers).await, Probed::Silent(_)));
    }
}

/// `CLUSTER NODES` of a node that has what is recorded.
fn nodes_text(cluster: &Cluster) -> String {
    let text = topology::render(cluster).unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let (host, port, role, master) = (fields[1], fields[2], fields[3], fields[4]);
        let slots = fields[5..].join(" ");
        let version = cluster.version;
        let id = fields[0];
        format!("{id} {host}:{port}@1 {role} {master} 1 1 {version} connected {slots}\n")
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn views_are_compared_with_the_record() {
    let cluster = cluster();
    let right = nodes_text(&cluster);
    let lines: Vec<&str> = right.lines().collect();
    let fault = async |text: String| {
        let told = Told([("CLUSTER NODES", Ok(text))].into());
        let (_, node) = cluster.nodes().next().unwrap();
        compare(&told, node, &cluster, 3, Duration::from_secs(1)).await
    };
    let well = Compared { version: 1, round: 3, fault: None };
    assert_eq!(fault(right.clone()).await, Some(well.clone()));
    for wrong in [
        lines[..3].join("\n"),
        right.replace("0-8191", "0-8190"),
        right.replace("10.0.0.1:3@1", "10.0.0.9:3@1"),
        right.replace("10.0.0.1:4@1", "10.0.0.9:4@1"),
        right.replace(&format!("{:040}", 4), &"x".repeat(40)),
        right
            .replace(&format!("slave {:040}", 3), "slave TWO")
            .replace(&format!("slave {:040}", 1), &format!("slave {:040}", 3))
            .replace("slave TWO", &format!("slave {:040}", 1)),
        "nonsense".to_owned(),
    ] {
        let found = fault(wrong.clone()).await.unwrap();
        assert!(found.fault.is_some(), "{wrong}");
    }
    assert_eq!(fault(right.replace(" 1 connected", " 2 connected")).await, None, "another version");
    let told = Told(BTreeMap::new());
    let (_, node) = cluster.nodes().next().unwrap();
    assert_eq!(compare(&told, node, &cluster, 3, Duration::from_secs(1)).await, None);
}
