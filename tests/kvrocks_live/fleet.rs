//! One cluster with nodes of its own, so that scenarios can go on side by side at one site.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    PATIENCE, Site,
    kvrocks_node::{
        Node, Options,
        resp::{Reply, Wire},
        topology::slot_of,
    },
    record::Record,
    writer::{Writer, Written},
};

/// Path of the namespace.
const NAMESPACE: &str = "/api/v1/namespaces/n";

/// A cluster of the record with its nodes, in the order of the request that made it.
pub struct Fleet {
    pub name: String,
    pub nodes: Vec<Node>,
}

impl Fleet {
    /// Starts nodes, makes a cluster of them, and waits until they agree.
    pub async fn create(site: &Site, name: &str, nodes: usize, replicas: usize) -> Self {
        Self::create_with(site, name, nodes, replicas, Options::default()).await
    }

    /// As [`Fleet::create`], with options for the nodes.
    pub async fn create_with(
        site: &Site,
        name: &str,
        nodes: usize,
        replicas: usize,
        options: Options,
    ) -> Self {
        let fleet = Self::start(name, nodes, options).await;
        fleet.enlist(site, replicas).await;
        fleet
    }

    /// Starts nodes of no cluster.
    pub async fn start(name: &str, count: usize, options: Options) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Node::start(0, options.clone()).await.unwrap());
        }
        Self { name: name.to_owned(), nodes }
    }

    /// Makes a cluster of the nodes, and waits until they agree.
    pub async fn enlist(&self, site: &Site, replicas: usize) {
        site.done(Method::POST, &Self::creation(), &self.body(replicas)).await;
        self.agreed(site).await;
    }

    /// Path of the request that makes the cluster.
    pub fn creation() -> String {
        format!("{NAMESPACE}/clusters")
    }

    /// Its body.
    pub fn body(&self, replicas: usize) -> Value {
        let password = self.nodes.first().map(Node::password).unwrap_or_default();
        json!({
            "name": self.name,
            "nodes": self.addrs(),
            "replicas": replicas,
            "password": password,
        })
    }

    /// Addresses of the nodes.
    pub fn addrs(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.addr.clone()).collect()
    }

    /// Path of the cluster.
    pub fn path(&self) -> String {
        format!("{NAMESPACE}/clusters/{}", self.name)
    }

    /// Sends a request about the cluster, like `POST /migrate`; status and body.
    pub async fn ask(&self, site: &Site, request: &str, body: Value) -> (u16, Value) {
        let (method, rest) = request.split_once(' ').expect("METHOD /path");
        let method: Method = method.parse().unwrap();
        site.call(method, &format!("{}{rest}", self.path()), &body).await
    }

    /// As [`Fleet::ask`], for what must succeed.
    pub async fn done(&self, site: &Site, request: &str, body: Value) {
        let (status, answer) = self.ask(site, request, body).await;
        assert!(status < 300, "{}: {request}: {status} {answer}", self.name);
    }

    pub async fn record(&self, site: &Site) -> Record {
        site.record(&self.name).await
    }

    pub async fn failovers(&self, site: &Site) -> Vec<Value> {
        site.failovers(&self.name).await
    }

    pub async fn jobs(&self, site: &Site) -> Vec<Value> {
        site.jobs(&self.name).await
    }

    pub async fn until_job(&self, site: &Site, phase: &str) -> Value {
        site.until_job(&self.name, phase).await
    }

    /// Begins a migration; it must be taken.
    pub async fn migrate(&self, site: &Site, slot: &str, target: usize) {
        self.done(site, "POST /migrate", json!({"slot": slot, "target": target})).await;
    }

    /// The running node at an address.
    pub fn node(&self, addr: &str) -> &Node {
        self.nodes.iter().find(|node| node.addr == addr).expect("a node of the fleet")
    }

    /// The node at an address, to kill it or to start it again.
    pub fn node_mut(&mut self, addr: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.addr == addr).expect("a node of the fleet")
    }

    /// A connection to a running node, logged on.
    pub async fn connect(&self, addr: &str) -> Wire {
        let mut wire = Wire::connect(addr).await.unwrap();
        let password = self.node(addr).password();
        if !password.is_empty() {
            assert_eq!(wire.ask(&["AUTH", &password]).await.unwrap(), Reply::ok());
        }
        wire
    }

    /// Waits until every running node shows what is recorded.
    pub async fn agreed(&self, site: &Site) -> Record {
        let mut agreed = None;
        site.wait(&format!("nodes and record of {} agree", self.name), PATIENCE, async || {
            let record = self.record(site).await;
            let faults = self.faults(&record).await;
            if faults.is_empty() {
                agreed = Some(record);
                return Ok(());
            }
            Err(format!("{faults:#?} {record:?}"))
        })
        .await;
        agreed.expect("a record that the nodes show")
    }

    /// What running nodes show that is not recorded.
    pub async fn faults(&self, record: &Record) -> Vec<String> {
        let mut faults = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            if record.node(&node.addr).is_some() {
                faults.extend(record.faults_of(node).await);
            }
        }
        faults
    }

    /// Waits until the first shard has another master than this one.
    pub async fn until_replaced(&self, site: &Site, old: &str, limit: Duration) -> String {
        let mut found = String::new();
        site.wait(&format!("{old} is replaced"), limit, async || {
            found.clone_from(&self.record(site).await.master(0).addr);
            if found == old { Err("it is still the master".to_owned()) } else { Ok(()) }
        })
        .await;
        found
    }

    /// Commands of a kind that a node has carried out.
    pub fn heard(&self, addr: &str, prefix: &str) -> Vec<String> {
        let heard = self.node(addr).heard();
        heard.into_iter().filter(|command| command.starts_with(prefix)).collect()
    }

    /// Orders to migrate that running nodes have carried out.
    pub fn orders(&self) -> Vec<String> {
        let running = self.nodes.iter().filter(|node| node.is_running());
        let heard = running.flat_map(Node::heard);
        heard.filter(|command| command.starts_with("CLUSTERX MIGRATE")).collect()
    }

    /// Waits until a running node has been probed so many times more by each of so many replicas.
    pub async fn wait_probes(&self, site: &Site, addr: &str, more: u64, observers: u64) {
        let count = || self.heard(addr, "CLUSTER INFO").len() as u64;
        let wanted = count() + more * observers;
        site.wait("probes", PATIENCE, async || {
            if count() >= wanted { Ok(()) } else { Err(format!("{} of {wanted}", count())) }
        })
        .await;
    }

    /// Writes keys until every replica has them and every observer has seen that.
    pub async fn write_and_replicate(&self, site: &Site) -> Vec<Written> {
        let mut writer = Writer::start_once("kept", &self.addrs(), &[]);
        writer.more(150).await;
        let written = writer.written().await;
        let record = self.record(site).await;
        site.wait("replicas have everything", PATIENCE, async || {
            let behind = record.nodes().find(|(shard, node)| {
                let master = self.node(&record.master(*shard).addr);
                self.node(&node.addr).sequence() != master.sequence()
            });
            behind.map_or(Ok(()), |(_, node)| Err(node.addr.clone()))
        })
        .await;
        self.wait_probes(site, &record.master(0).addr, 2, 3).await;
        written
    }

    /// Writes that the master of their slot does not have.
    pub fn missing<'a>(&self, record: &Record, written: &'a [Written]) -> Vec<&'a Written> {
        let shards = 0..record.shards.len();
        let keys: Vec<_> =
            shards.map(|index| self.node(&record.master(index).addr).keys()).collect();
        let is_missing = |write: &&Written| {
            keys[record.owner(slot_of(&write.key))].get(&write.key) != Some(&write.value)
        };
        written.iter().filter(is_missing).collect()
    }
}

/// A word that hashes into a slot.
pub fn tag(slot: u16) -> String {
    let mut words = (0..).map(|number| format!("s{number}"));
    words.find(|word| slot_of(word) == slot).expect("a word for every slot")
}
