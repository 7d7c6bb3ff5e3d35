//! The record of a cluster as tests compare it with what nodes show.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kvrocks_node::{Node, resp::Wire};

/// A node as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedNode {
    pub id: String,
    pub addr: String,
    pub is_master: bool,
}

/// A shard as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedShard {
    pub nodes: Vec<RecordedNode>,
    pub slots: Vec<String>,
    pub migrating: Option<String>,
}

impl RecordedShard {
    pub fn master(&self) -> &RecordedNode {
        self.nodes.iter().find(|node| node.is_master).unwrap()
    }

    pub fn replicas(&self) -> impl Iterator<Item = &RecordedNode> {
        self.nodes.iter().filter(|node| !node.is_master)
    }
}

/// A cluster as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub version: i64,
    pub shards: Vec<RecordedShard>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Record {
    pub fn parse(cluster: &Value) -> Self {
        let node = |node: &Value| RecordedNode {
            id: text(&node["id"]),
            addr: text(&node["addr"]),
            is_master: node["role"] == "master",
        };
        let shard = |shard: &Value| RecordedShard {
            nodes: shard["nodes"].as_array().unwrap().iter().map(node).collect(),
            slots: shard["slot_ranges"].as_array().unwrap().iter().map(text).collect(),
            migrating: shard["migrating_slot"].as_str().map(ToOwned::to_owned),
        };
        Self {
            version: cluster["version"].as_i64().unwrap(),
            shards: cluster["shards"].as_array().unwrap().iter().map(shard).collect(),
        }
    }

    /// A node and its shard.
    pub fn node(&self, addr: &str) -> Option<(&RecordedShard, &RecordedNode)> {
        self.shards.iter().find_map(|shard| {
            shard.nodes.iter().find(|node| node.addr == addr).map(|node| (shard, node))
        })
    }

    /// Every node with the index of its shard.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &RecordedNode)> {
        let shards = self.shards.iter().enumerate();
        shards.flat_map(|(index, shard)| shard.nodes.iter().map(move |node| (index, node)))
    }

    /// The master of a shard.
    pub fn master(&self, shard: usize) -> &RecordedNode {
        self.shards[shard].master()
    }

    /// The first replica of a shard.
    pub fn replica(&self, shard: usize) -> &RecordedNode {
        self.shards[shard].replicas().next().expect("a replica")
    }

    /// Index of the shard that has a slot.
    pub fn owner(&self, slot: u16) -> usize {
        let has = |shard: &RecordedShard| {
            shard.slots.iter().any(|range| {
                let (low, high) = range.split_once('-').unwrap_or((range, range));
                (low.parse().unwrap()..=high.parse().unwrap()).contains(&slot)
            })
        };
        self.shards.iter().position(has).expect("an owner")
    }

    /// The text of `SETNODES` for this record.
    pub fn text(&self) -> String {
        let line = |(index, node): (usize, &RecordedNode)| {
            let place = node.addr.replace(':', " ");
            if node.is_master {
                let slots = self.shards[index].slots.join(" ");
                return format!("{} {place} master - {slots}", node.id);
            }
            format!("{} {place} slave {}", node.id, self.master(index).id)
        };
        self.nodes().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What a node shows that is not so.
    pub async fn faults_of(&self, node: &Node) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |what: &str, found: String, wanted: String| {
            if found != wanted {
                faults.push(format!("{}: {what}: {found}, not {wanted}", node.addr));
            }
        };
        let (shard, recorded) = self.node(&node.addr).unwrap();
        let (id, version) = (&["CLUSTERX", "MYID"], &["CLUSTERX", "VERSION"]);
        let said = match ask_all(node, [id, version, &["ROLE"], &["CLUSTER", "NODES"]]).await {
            Ok(said) => said,
            Err(error) => return vec![format!("{}: {error}", node.addr)],
        };
        let [id, version, role, view] = said;
        check("id", id, recorded.id.clone());
        check("version", version, self.version.to_string());
        let role: Vec<&str> = role.split(' ').collect();
        if recorded.is_master {
            check("role", role[0].to_owned(), "master".to_owned());
        } else {
            let wanted = format!("slave {} connected", shard.master().addr.replace(':', " "));
            check("role", role.get(..4).unwrap_or(&role[..1]).join(" "), wanted);
        }
        check("view", format!("{:#?}", shown(&view)), format!("{:#?}", self.view()));
        faults
    }

    /// Id, address, part, master and slots of every node.
    fn view(&self) -> BTreeSet<String> {
        let line = |(index, node): (usize, &RecordedNode)| {
            let (role, master, slots) = match node.is_master {
                true => ("master", "-", self.shards[index].slots.clone()),
                false => ("slave", self.master(index).id.as_str(), Vec::new()),
            };
            let slots: BTreeSet<String> = slots.into_iter().collect();
            format!("{} {} {role} {master} {slots:?}", node.id, node.addr)
        };
        self.nodes().map(line).collect()
    }
}

/// Answers over one connection, logged on.
async fn ask_all<const COUNT: usize>(
    node: &Node,
    commands: [&[&str]; COUNT],
) -> Result<[String; COUNT], String> {
    let mut wire = Wire::connect(&node.addr).await.map_err(|error| error.to_string())?;
    let password = node.password();
    if !password.is_empty() {
        wire.ask(&["AUTH", &password]).await.map_err(|error| error.to_string())?;
    }
    let mut said = [const { String::new() }; COUNT];
    for (said, command) in said.iter_mut().zip(commands) {
        *said = wire.ask(command).await.map_err(|error| error.to_string())?.text();
    }
    Ok(said)
}

/// `CLUSTER NODES`, in the shape of [`Record::view`].
fn shown(nodes: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [id, addr, role, master, ..] = fields[..] else { return line.to_owned() };
        let addr = addr.split('@').next().unwrap_or_default();
        let slots = fields.get(8..).unwrap_or_default().iter();
        let slots: BTreeSet<&str> = slots.copied().filter(|slot| !slot.starts_with('[')).collect();
        format!("{id} {addr} {} {master} {slots:?}", role.trim_start_matches("myself,"))
    };
    nodes.lines().map(line).collect()
}
