//! Reads what nodes say of themselves: `CLUSTER INFO` and `INFO replication` (spec 5.4, 5.7).

use crate::domain::kvrocks::{SlotRange, candidate::Reading, model::Role};

/// What `CLUSTER INFO` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Version of the topology the node has.
    pub epoch: i64,
    /// Nodes it knows.
    pub known_nodes: u64,
    /// Slots that have an owner as far as it knows.
    pub slots_assigned: u64,
    /// The last migration away from it.
    pub migrating: Option<Migrating>,
    /// The last migration to it.
    pub importing: Option<Importing>,
}

/// A migration as its source shows it; stays after the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrating {
    /// Slots.
    pub range: SlotRange,
    /// Id of the destination.
    pub destination: String,
    /// `none`, `start`, `success` or `fail`.
    pub state: String,
}

/// A migration as its destination shows it; stays after the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Importing {
    /// Slots.
    pub range: SlotRange,
    /// `none`, `start`, `success` or `error`.
    pub state: String,
}

/// What `INFO replication` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Role by its own word.
    pub role: Role,
    /// `host:port` of its master, if it follows one.
    pub master: Option<String>,
    /// Position in the history of writes.
    pub sequence: u64,
    /// Whether its link to the master is up; masters have none.
    pub is_linked: Option<bool>,
}

impl ClusterInfo {
    /// Reads the text; `None` if it does not tell a version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |name: &str| field(text, name).and_then(|value| value.parse().ok());
        let range = |names: [&str; 2]| {
            let value = names.into_iter().find_map(|name| field(text, name))?;
            // Old servers say -1 when there is nothing.
            value.parse::<SlotRange>().ok()
        };
        let text_of = |name: &str| field(text, name).unwrap_or_default().to_owned();
        let migrating = range(["migrating_slot(s)", "migrating_slot"]).map(|range| Migrating {
            range,
            destination: text_of("destination_node"),
            state: text_of("migrating_state").to_ascii_lowercase(),
        });
        let importing = range(["importing_slot(s)", "importing_slot"])
            .map(|range| Importing { range, state: text_of("import_state").to_ascii_lowercase() });
        Some(Self {
            epoch: field(text, "cluster_current_epoch")?.parse().ok()?,
            known_nodes: number("cluster_known_nodes").unwrap_or(0),
            slots_assigned: number("cluster_slots_assigned").unwrap_or(0),
            migrating,
            importing,
        })
    }
}

impl Replication {
    /// Reads the text; `None` if the node does not tell its role and position, as while it is
    /// loading.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (role, position) = match field(text, "role")? {
            "master" => (Role::Master, "master_repl_offset"),
            "slave" => (Role::Slave, "slave_repl_offset"),
            _ => return None,
        };
        let master = match (role, field(text, "master_host"), field(text, "master_port")) {
            (Role::Slave, Some(host), Some(port)) => Some(format!("{host}:{port}")),
            _ => None,
        };
        if field(text, "loading") == Some("1") {
            return None;
        }
        let number = |name: &str| field(text, name).and_then(|value| value.parse().ok());
        Some(Self {
            role,
            master,
            sequence: number("sequence").or_else(|| number(position))?,
            is_linked: field(text, "master_link_status").map(|status| status == "up"),
        })
    }
}

impl From<Replication> for Reading {
    fn from(said: Replication) -> Self {
        Self { role: said.role, sequence: said.sequence, is_linked: said.is_linked }
    }
}

/// The value of a `name:value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.trim().split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_info_is_read_in_all_its_dialects() {
        let plain = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_known_nodes:4\r\n\
                     cluster_current_epoch:7\r\n";
        let read = |more: &str| ClusterInfo::parse(&format!("{plain}{more}")).unwrap();
        let found = read("");
        assert_eq!((found.epoch, found.known_nodes, found.slots_assigned), (7, 4, 16384));
        assert_eq!((found.migrating, found.importing), (None, None));
        let range = SlotRange::new(5, 10).unwrap();
        let running = Migrating { range, destination: "b".to_owned(), state: "start".to_owned() };
        for text in [
            "migrating_slot(s): 5-10\r\ndestination_node: b\r\nmigrating_state: start\r\n",
            "migrating_slot: 5-10\r\ndestination_node:b\r\nmigrating_state:START\r\n",
        ] {
            assert_eq!(read(text).migrating.as_ref(), Some(&running), "{text}");
        }
        let import = read("importing_slot(s): 5\r\nimport_state: error\r\n").importing.unwrap();
        assert_eq!((import.range.to_string(), import.state), ("5".to_owned(), "error".to_owned()));
        for text in ["migrating_slot(s): -1\r\n", "migrating_slot(s): x\r\n"] {
            assert_eq!(read(text).migrating, None, "{text}");
        }
        assert_eq!(ClusterInfo::parse("cluster_state:ok\r\n"), None);
        assert_eq!(ClusterInfo::parse("cluster_current_epoch:x\r\n"), None);
    }

    #[test]
    fn replication_is_read_from_masters_and_replicas() {
        let replica = "role:slave\r\nmaster_host:h\r\nmaster_port:1\r\nmaster_link_status:up\r\n\
                       slave_repl_offset:9\r\nmaster_repl_offset:4\r\n";
        let found = Replication::parse(replica).unwrap();
        assert_eq!(found.master.as_deref(), Some("h:1"));
        assert_eq!((found.role, found.sequence, found.is_linked), (Role::Slave, 9, Some(true)));
        let found = Replication::parse("role:master\r\nmaster_repl_offset:4\r\n").unwrap();
        assert_eq!((found.role, found.sequence, found.is_linked), (Role::Master, 4, None));
        assert_eq!(found.master, None);
        let sequence = |text: &str| Replication::parse(text).map(|found| found.sequence);
        assert_eq!(sequence(&format!("{replica}sequence:11\r\n")), Some(11));
        for text in [
            "loading:1\r\n",
            "role:master\r\n",
            "role:master\r\nmaster_repl_offset:x\r\n",
            "loading:1\r\nrole:master\r\nmaster_repl_offset:4\r\n",
            "role:sentinel\r\nmaster_repl_offset:4\r\n",
        ] {
            assert_eq!(sequence(text), None, "{text}");
        }
    }
}
