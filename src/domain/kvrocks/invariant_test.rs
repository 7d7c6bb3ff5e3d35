//! The invariants of spec 8.1, checked by the property tests after every command.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::{
    Command, Rejection, Reply, State,
    command::ClusterKey,
    health::OBSERVERS_MAX,
    model::{Cluster, FailoverCause, Phase, Role, Shard},
    name, nodes_text, query,
    record::Record,
    rules_test::told,
    slots::{self, SlotRange},
    topology::{self, Topology},
};

type Checked = Result<(), TestCaseError>;

pub(super) fn bytes_of(state: &State) -> Vec<u8> {
    let records: Vec<Record> = state.records().collect();
    postcard::to_stdvec(&records).expect("records encode")
}

pub(super) fn through_snapshot(state: &State) -> State {
    let records: Vec<Record> = postcard::from_bytes(&bytes_of(state)).expect("records decode");
    let mut restored = State::default();
    for record in records {
        restored.restore_record(record).expect("each record comes once");
    }
    restored
}

/// Checks what one command did to a state that was right before.
pub(super) fn check_step(
    before: &State,
    after: &State,
    (command, time_ms): (&Command, u64),
    reply: &Result<Reply, Rejection>,
) -> Checked {
    if let Err(rejection) = reply {
        prop_assert_eq!(before, after, "I8: {:?} was refused ({})", command, rejection);
        return Ok(());
    }
    let then: BTreeMap<ClusterKey, &Arc<Cluster>> = query::clusters(before).collect();
    let now: BTreeMap<ClusterKey, &Arc<Cluster>> = query::clusters(after).collect();
    for (key, cluster) in &now {
        match then.get(key) {
            Some(old) if Arc::ptr_eq(old, cluster) => {}
            Some(old) => {
                check_cluster(key, cluster)?;
                check_change(old, cluster, command)?;
            }
            None => {
                check_cluster(key, cluster)?;
                check_arrival(cluster, command)?;
            }
        }
    }
    for key in then.keys().filter(|key| !now.contains_key(*key)) {
        let is_asked = matches!(command, Command::DeleteCluster { cluster } if cluster == key);
        prop_assert!(is_asked, "{:?} vanished by {:?}", key, command);
    }
    for namespace in query::namespaces(before) {
        let is_there = query::has_namespace(after, &namespace);
        let was_used = then.keys().any(|key| key.namespace == namespace);
        prop_assert!(is_there || !was_used, "I9: a namespace with clusters was deleted");
    }
    check_indexes(after)?;
    check_observers(after)?;
    if let Command::FailOver(command) = command {
        check_agreed(before, command, time_ms)?;
    }
    check_reply(after, command, reply.as_ref().expect("it is no refusal"))
}

/// I1 and I2 over all clusters: the indexes are exactly what the clusters have, and as no key can
/// be there twice, their sizes tell that nothing is shared.
fn check_indexes(state: &State) -> Checked {
    let mut nodes = 0;
    for (key, cluster) in query::clusters(state) {
        for (_, node) in cluster.nodes() {
            nodes += 1;
            prop_assert_eq!(state.addresses.get(&node.addr), Some(&key), "I2: {}", node.addr);
            prop_assert_eq!(state.node_ids.get(&node.id), Some(&key), "I1: {}", node.id);
        }
    }
    prop_assert_eq!(state.addresses.len(), nodes, "I2: an index is off");
    prop_assert_eq!(state.node_ids.len(), nodes, "I1: an index is off");
    Ok(())
}

fn check_observers(state: &State) -> Checked {
    prop_assert!(state.observers.len() <= OBSERVERS_MAX, "observers are not bounded");
    for observer in state.observers.values() {
        for (id, node) in &observer.down {
            prop_assert!(state.node_ids.contains_key(id), "a report on {} outlives it", id);
            prop_assert!(node.error.len() <= 256, "an error text is not bounded");
        }
    }
    Ok(())
}

/// What must hold of one cluster at any time, stated anew rather than asked of `validate`.
fn check_cluster(key: &ClusterKey, cluster: &Cluster) -> Checked {
    prop_assert!(cluster.validate().is_ok(), "{:?}: {:?}", cluster.validate(), cluster);
    prop_assert!(name::is_valid(&key.name) && name::is_valid(&key.namespace));
    prop_assert_eq!(&key.name, &cluster.name);
    let mut owned = Vec::new();
    for shard in &cluster.shards {
        let masters = shard.nodes.iter().filter(|node| node.role == Role::Master).count();
        prop_assert_eq!(masters, 1, "I3: {:?}", shard);
        prop_assert!(shard.nodes.iter().all(|node| node.id.len() == 40), "I1: {:?}", shard);
        let merged = shard.slots.iter().fold(Vec::new(), |list, range| slots::add(&list, *range));
        prop_assert_eq!(&merged, &shard.slots, "I4");
        owned.extend(shard.slots.iter().copied());
    }
    let merged = owned.iter().fold(Vec::new(), |list, range| slots::add(&list, *range));
    prop_assert_eq!(slots::count(&merged), slots::count(&owned), "I5: a slot has two owners");
    check_marks(cluster)?;
    check_bounds(cluster)?;
    check_text(cluster)
}

/// I10, I11, I12, and that a waiting job waits for something.
fn check_marks(cluster: &Cluster) -> Checked {
    let mut taking_part = BTreeSet::new();
    for (index, shard) in cluster.shards.iter().enumerate() {
        let Some(mark) = shard.mark else { continue };
        let target = usize::try_from(mark.target).expect("indexes are small");
        prop_assert!(target < cluster.shards.len() && target != index, "I10: {:?}", mark);
        prop_assert!(shard.slots.iter().any(|have| have.contains(mark.range)), "I11: {:?}", mark);
        prop_assert!(taking_part.insert(index) && taking_part.insert(target), "I12: {:?}", mark);
        let job = cluster.job(mark.job).expect("a mark has a job");
        prop_assert!(job.phase.is_active() && job.range == mark.range, "I10: {:?}", job);
        prop_assert_eq!((job.source, job.target), (Some(index as u64), mark.target), "I10");
        let master = |index: usize| cluster.shards[index].master().map(|node| &node.id);
        prop_assert_eq!(master(index), Some(&job.source_node), "I10");
        prop_assert_eq!(master(target), Some(&job.target_node), "I10");
    }
    Ok(())
}

fn check_bounds(cluster: &Cluster) -> Checked {
    let unfinished = cluster.jobs.iter().filter(|job| !job.phase.is_over()).count();
    prop_assert!(unfinished <= 1_024, "waiting jobs are not bounded");
    prop_assert!(cluster.jobs.len() - unfinished <= 64, "ended jobs are not bounded");
    prop_assert!(cluster.failovers.len() <= 32, "failovers are not bounded");
    prop_assert!(cluster.jobs.iter().all(|job| job.error.len() <= 512), "errors are not bounded");
    let failures = cluster.sync.iter().flat_map(|sync| &sync.failures).flatten();
    for (addr, error) in failures {
        prop_assert!(addr.len() <= 264 && error.len() <= 256, "errors are not bounded");
    }
    Ok(())
}

/// A line of the table that a node keeps.
struct Line<'a> {
    id: &'a str,
    host: &'a str,
    port: &'a str,
    master: Option<&'a str>,
    slots: Vec<&'a str>,
}

/// What a node does with the text of `CLUSTERX SETNODES` (spec 5.2 step 3).
fn node_reads(text: &str) -> Result<Vec<Line<'_>>, String> {
    let mut lines = Vec::new();
    let mut assigned = BTreeSet::new();
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').filter(|field| !field.is_empty()).collect();
        let [id, host, port, role, master, slots @ ..] = &fields[..] else {
            return Err(format!("Invalid cluster nodes info: {line}"));
        };
        let is_id = |id: &str| id.len() == 40;
        let is_replica = *role == "slave";
        if !is_id(id) || (is_replica && !is_id(master)) || (!is_replica && *master != "-") {
            return Err(format!("Invalid cluster node id: {line}"));
        }
        if port.parse::<u16>().is_err() || (is_replica && !slots.is_empty()) {
            return Err(format!("Invalid cluster node port: {line}"));
        }
        for token in slots {
            let (start, stop) = token.split_once('-').unwrap_or((token, token));
            let (start, stop) = (start.parse::<u16>(), stop.parse::<u16>());
            let (Ok(start), Ok(stop)) = (start, stop) else { return Err((*token).to_owned()) };
            if stop > 16383 || start > stop || (start == stop && token.contains('-')) {
                return Err(format!("Slot is out of range: {token}"));
            }
            if assigned.range(start..=stop).next().is_some() {
                return Err(format!("Slot distribution is overlapped: {token}"));
            }
            // Only bounds are kept: ranges of a text neither overlap nor nest.
            assigned.extend([start, stop]);
        }
        let master = is_replica.then_some(*master);
        lines.push(Line { id, host, port, master, slots: slots.to_vec() });
    }
    if lines.is_empty() { Err("Invalid cluster nodes info".to_owned()) } else { Ok(lines) }
}

/// What a node answers to `CLUSTER NODES` (spec 5.5), in an order of its own.
fn node_tells(lines: &[Line<'_>], version: u64, myself: (&str, Option<String>)) -> String {
    let tell = |line: &Line<'_>| {
        let Line { id, host, port, .. } = line;
        let bus = port.parse::<u32>().unwrap_or_default() + 10_000;
        let role = if line.master.is_some() { "slave" } else { "master" };
        let (flag, mark) = match &myself {
            (own, mark) if own == id => ("myself,", mark.clone()),
            _ => ("", None),
        };
        let master = line.master.unwrap_or("-");
        let slots = line.slots.iter().map(|slots| format!(" {slots}")).collect::<String>();
        let mark = mark.map(|mark| format!(" {mark}")).unwrap_or_default();
        format!(
            "{id} {host}:{port}@{bus} {flag}{role} {master} 1 2 {version} connected{slots}{mark}"
        )
    };
    lines.iter().rev().map(|line| tell(line) + "\n").collect()
}

/// I13: a node takes the text, and tells the same topology of itself.
fn check_text(cluster: &Cluster) -> Checked {
    let text = topology::render(cluster).map_err(|error| TestCaseError::fail(error.to_string()))?;
    if cluster.shards.is_empty() {
        prop_assert_eq!(text, "");
        return Ok(());
    }
    let lines = node_reads(&text).map_err(TestCaseError::fail)?;
    let marked = cluster.shards.iter().find_map(|shard| Some((shard.mark?, shard.master()?)));
    let target = |index: u64| {
        let shard = &cluster.shards[usize::try_from(index).expect("indexes are small")];
        shard.master().map(|node| node.id.clone()).unwrap_or_default()
    };
    let token = marked.map(|(mark, _)| format!("[{}->-{}]", mark.range, target(mark.target)));
    let myself = marked.map_or(lines[0].id, |(_, master)| master.id.as_str());
    let told_by_node = node_tells(&lines, cluster.version, (myself, token));
    let parsed = nodes_text::parse(&told_by_node);
    let parsed = parsed.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut expected = told(cluster, cluster.version);
    if let Some((mark, master)) = marked {
        let source = expected.shards.iter_mut().find(|shard| shard.master.id == master.id);
        source.expect("the master has a shard").migrating = Some((mark.range, target(mark.target)));
    }
    prop_assert_eq!(sorted(parsed), sorted(expected), "I13: {}", text);
    Ok(())
}

fn sorted(mut topology: Topology) -> Topology {
    for shard in &mut topology.shards {
        shard.replicas.sort_by(|a, b| a.id.cmp(&b.id));
    }
    topology.shards.sort_by(|a, b| a.master.id.cmp(&b.master.id));
    topology
}

fn owned(cluster: &Cluster) -> Vec<SlotRange> {
    let ranges = cluster.shards.iter().flat_map(|shard| &shard.slots);
    ranges.fold(Vec::new(), |list, range| slots::add(&list, *range))
}

fn check_arrival(cluster: &Cluster, command: &Command) -> Checked {
    match command {
        Command::CreateCluster { .. } => {
            prop_assert_eq!(owned(cluster), vec![SlotRange::ALL], "I6: create assigns all slots");
            prop_assert_eq!(cluster.version, 1, "I7");
            let is_plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            prop_assert!(cluster.nodes().all(|(_, node)| is_plain(&node.id)), "I1");
        }
        Command::ImportCluster { topology, .. } => {
            prop_assert_eq!(cluster.version, topology.version, "I7: import keeps the epoch");
        }
        Command::LoadCluster { record, .. } => {
            let name = cluster.name.clone();
            prop_assert_eq!(cluster, &Cluster { name, ..record.as_ref().clone() });
        }
        other => return Err(TestCaseError::fail(format!("a cluster came by {other:?}"))),
    }
    Ok(())
}

/// Attempts that began between two states of a cluster, each of which is a change of its own.
fn begun(old: &Cluster, new: &Cluster) -> u64 {
    let of = |job: &super::model::Job| {
        let before = old.job(job.id).map_or(0, |job| job.attempt);
        u64::from(job.attempt - before)
    };
    new.jobs.iter().map(of).sum()
}

/// Whether every waiting job waits for something: for an earlier job, or for a shard.
fn is_settled(cluster: &Cluster) -> bool {
    let mut unfinished: Vec<SlotRange> = Vec::new();
    cluster.unfinished_jobs().all(|job| {
        let is_behind = unfinished.iter().any(|earlier| earlier.overlaps(job.range));
        unfinished.push(job.range);
        let has_slots = |shard: &Shard| shard.slots.iter().any(|have| have.overlaps(job.range));
        let source = cluster.shards.iter().position(has_slots);
        let target = usize::try_from(job.target).ok();
        let is_held = |index: Option<usize>| index.is_some_and(|index| cluster.is_migrating(index));
        job.phase != Phase::Queued || is_behind || is_held(source) || is_held(target)
    })
}

fn check_change(old: &Cluster, new: &Cluster, command: &Command) -> Checked {
    check_jobs(old, new)?;
    let begun = begun(old, new);
    let expected = match command {
        Command::AddShard { .. }
        | Command::RemoveShard { .. }
        | Command::AddNode { .. }
        | Command::RemoveNode { .. } => old.version + 1,
        Command::FailOver(_) | Command::MoveSlots { .. } | Command::EndMigration { .. } => {
            old.version + 1 + begun
        }
        // Its own beginning is among them; a job that waited for nothing any more begins with it.
        Command::StartMigration { .. }
        | Command::QueueMigrations { .. }
        | Command::CancelMigration { .. }
        | Command::RetryMigration { .. } => old.version + begun,
        Command::AdoptTopology { topology, .. } => topology.version + begun,
        Command::MigrationAccepted { .. }
        | Command::RequestSync { .. }
        | Command::FinishSync { .. }
        | Command::ChangePassword { .. } => old.version,
        other => return Err(TestCaseError::fail(format!("a cluster changed by {other:?}"))),
    };
    prop_assert_eq!(new.version, expected, "I7: {:?}", command);
    let is_adopted = matches!(command, Command::AdoptTopology { .. });
    prop_assert!(is_adopted || owned(old) == owned(new), "I6: {:?}", command);
    if new.version == old.version {
        prop_assert_eq!(topology::render(old), topology::render(new), "a change in one version");
        let marks = |cluster: &Cluster| -> Vec<_> {
            cluster.shards.iter().map(|shard| shard.mark).collect()
        };
        prop_assert_eq!(marks(old), marks(new), "a mark in one version");
    }
    prop_assert!(is_settled(new) || !is_settled(old), "a job waits for nothing: {:?}", new);
    check_masters(old, new, command)?;
    check_nodes(old, new, command)
}

/// A job that is over stays as it is; attempts only grow; nothing unfinished is forgotten.
fn check_jobs(old: &Cluster, new: &Cluster) -> Checked {
    for job in &old.jobs {
        match new.job(job.id) {
            Some(now) if job.phase.is_over() => prop_assert_eq!(now, job, "a job rose again"),
            Some(now) => {
                prop_assert!(now.attempt >= job.attempt, "attempts fell: {:?}", now);
                prop_assert_eq!(now.range, job.range, "a job changed its slots");
                let fresh = now.attempt > job.attempt;
                let is_forward =
                    fresh || job.phase != Phase::Running || now.phase != Phase::Pending;
                prop_assert!(is_forward, "a job went back: {:?}", now);
            }
            None => prop_assert!(
                job.phase.is_over() || new.jobs.len() >= 64,
                "an unfinished job was forgotten: {:?}",
                job
            ),
        }
    }
    prop_assert!(new.next_id >= old.next_id, "numbers are used again");
    let is_fresh = |id: u64| id > old.next_id || old.job(id).is_some();
    prop_assert!(new.jobs.iter().all(|job| is_fresh(job.id)), "a number is used again");
    Ok(())
}

/// I21: a master changes only to a replica of its shard, by a failover or because nodes say so.
fn check_masters(old: &Cluster, new: &Cluster, command: &Command) -> Checked {
    if matches!(command, Command::AdoptTopology { .. }) {
        return Ok(());
    }
    for shard in &new.shards {
        let Some(master) = shard.master() else { continue };
        let was = old.nodes().find(|(_, node)| node.id == master.id);
        let Some((index, was)) = was.filter(|(_, node)| node.role == Role::Slave) else { continue };
        let Command::FailOver(command) = command else {
            return Err(TestCaseError::fail(format!("I21: {was:?} rose by {command:?}")));
        };
        prop_assert_eq!(&command.new_master, &was.id, "I21");
        prop_assert!(old.shards[index].node(&command.old_master).is_some(), "I21");
        prop_assert!(!was.is_failed, "I21: a failed replica rose");
        prop_assert_eq!(old.version, command.base_version, "I21: the choice was stale");
    }
    Ok(())
}

/// Nodes keep what belongs to them whatever happens to their shard.
fn check_nodes(old: &Cluster, new: &Cluster, command: &Command) -> Checked {
    for (_, node) in new.nodes() {
        let Some((_, was)) = old.nodes().find(|(_, was)| was.id == node.id) else { continue };
        prop_assert_eq!(was.created_at, node.created_at);
        if !matches!(command, Command::ChangePassword { .. } | Command::ResealPasswords { .. }) {
            prop_assert_eq!(&was.password, &node.password, "a password changed: {:?}", command);
        }
    }
    Ok(())
}

/// An automatic failover had a majority of those observers that saw the network.
fn check_agreed(before: &State, command: &super::command::FailOver, time_ms: u64) -> Checked {
    if command.cause == FailoverCause::Manual {
        return Ok(());
    }
    let settings = query::settings(before);
    prop_assert!(settings.is_failover_automatic, "failovers are off");
    let ttl_ms = settings.ping_interval_ms * settings.observer_ttl_intervals;
    let mut votes = Vec::new();
    for (_, observer) in query::observers(before) {
        let is_fresh = time_ms <= observer.time_ms + ttl_ms;
        let is_blind = observer.failed >= observer.probed;
        let is_unsafe = observer.probed > settings.min_alive_size
            && observer.failed * 100 > observer.probed * settings.failure_share_max_percent;
        if is_fresh && !is_blind && !is_unsafe {
            votes.push(observer.down.contains_key(&command.old_master));
        }
    }
    let down = votes.iter().filter(|vote| **vote).count();
    prop_assert!(down * 2 > votes.len(), "{} of {} agreed", down, votes.len());
    Ok(())
}

/// What was answered is what is there.
fn check_reply(after: &State, command: &Command, reply: &Reply) -> Checked {
    let found = |key: &ClusterKey| after.find(key).expect("the cluster is there");
    match (command, reply) {
        (
            Command::CreateCluster { cluster: key, .. }
            | Command::ImportCluster { cluster: key, .. }
            | Command::LoadCluster { cluster: key, .. }
            | Command::MoveSlots { cluster: key, .. },
            Reply::Cluster(cluster),
        ) => prop_assert_eq!(cluster.as_ref(), found(key).as_ref()),
        (Command::AddShard { cluster: key, .. }, Reply::Shard(shard)) => {
            prop_assert_eq!(Some(shard.as_ref()), found(key).shards.last());
        }
        (Command::AddNode { cluster: key, shard, .. }, Reply::NodeAdded { id }) => {
            let is_there = found(key).shard(*shard).is_some_and(|shard| shard.node(id).is_some());
            prop_assert!(is_there);
        }
        (Command::FailOver(command), Reply::FailedOver { new_master, version }) => {
            let cluster = found(&command.cluster);
            let master = cluster.shard(command.shard).and_then(|shard| shard.master());
            prop_assert_eq!(master.map(|node| &node.id), Some(new_master));
            prop_assert!(*version <= cluster.version);
        }
        (Command::StartMigration { cluster: key, .. }, Reply::MigrationBegun { job, cluster }) => {
            prop_assert_eq!(cluster.as_ref(), found(key).as_ref());
            prop_assert!(cluster.job(*job).is_some_and(|job| job.phase == Phase::Pending));
        }
        (
            Command::QueueMigrations { cluster: key, .. }
            | Command::RetryMigration { cluster: key, .. },
            Reply::Queued { jobs },
        ) => prop_assert!(jobs.iter().all(|job| found(key).job(*job).is_some())),
        (Command::RequestSync { cluster: key, .. }, Reply::SyncRequested { sync }) => {
            prop_assert_eq!(found(key).sync.as_ref().map(|sync| sync.id), Some(*sync));
        }
        (_, Reply::Done) => {}
        (command, reply) => {
            return Err(TestCaseError::fail(format!("{command:?} answered {reply:?}")));
        }
    }
    Ok(())
}
