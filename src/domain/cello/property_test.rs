//! Generated histories of a pool against the invariants of spec 7.1.

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::{
    ClusterType, Command, Reply, Template,
    command::{Condition, Failure, HostChange, NewCluster, NewHost, Power},
    model::{Health, LogType, Phase, TaskKind},
    play_test::{Luck, Play},
    query,
    settings::SettingsChange,
};

/// Sequences in a run of the tests.
const SEQUENCES: u32 = 10_000;
/// Users in the play: few, so that they meet.
const USERS: [&str; 4] = ["u1", "u2", "u3", "__SYSTEM__x"];

/// What to do next. Numbers pick among what the state has, so that most commands make sense.
#[derive(Clone, Debug)]
enum Step {
    Add { host: u8, capacity: u8, is_autofill: bool },
    Change { pick: u8, capacity: Option<u8>, is_schedulable: Option<bool> },
    Remove { pick: u8, is_forced: bool },
    Fill { pick: u8, is_automatic: bool },
    Clean { pick: u8 },
    ResetHost { pick: u8 },
    Create { pick: u8, kind: u8, block: Option<u8> },
    Delete { pick: u8, is_forced: bool },
    Drop { pick: u8 },
    Apply { user: u8, kind: u8, allows_multiple: bool },
    Release { pick: u8, user: Option<u8> },
    ReleaseUser { user: u8 },
    Power { pick: u8, power: u8 },
    Report { pick: u8, is_reachable: bool },
    Probe { is_good: bool },
    ResetCluster { pick: u8, is_stale: bool },
    Act { pick: u8, luck: u8 },
    ActAll,
    SayAgain { pick: u8 },
    Restart,
    Sweep,
    Template { kind: u8, is_removed: bool },
    Limit { history: u8, attempts: u8 },
    Wait { seconds: u16 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let (pick, kind) = (any::<u8>(), 0..6_u8);
    let (user, flag) = (0..USERS.len() as u8, any::<bool>());
    prop_oneof![
        3 => (0..3_u8, 0..5_u8, flag)
            .prop_map(|(host, capacity, is_autofill)| Step::Add { host, capacity, is_autofill }),
        2 => (pick, prop::option::of(0..6_u8), prop::option::of(flag))
            .prop_map(|(pick, capacity, is_schedulable)| Step::Change { pick, capacity, is_schedulable }),
        1 => (pick, flag).prop_map(|(pick, is_forced)| Step::Remove { pick, is_forced }),
        4 => (pick, flag).prop_map(|(pick, is_automatic)| Step::Fill { pick, is_automatic }),
        1 => pick.prop_map(|pick| Step::Clean { pick }),
        1 => pick.prop_map(|pick| Step::ResetHost { pick }),
        2 => (pick, kind.clone(), prop::option::of(0..5_u8))
            .prop_map(|(pick, kind, block)| Step::Create { pick, kind, block }),
        2 => (pick, prop::bool::weighted(0.3))
            .prop_map(|(pick, is_forced)| Step::Delete { pick, is_forced }),
        1 => pick.prop_map(|pick| Step::Drop { pick }),
        9 => (user.clone(), kind.clone(), flag)
            .prop_map(|(user, kind, allows_multiple)| Step::Apply { user, kind, allows_multiple }),
        5 => (pick, prop::option::weighted(0.3, user.clone()))
            .prop_map(|(pick, user)| Step::Release { pick, user }),
        1 => user.prop_map(|user| Step::ReleaseUser { user }),
        4 => (pick, 0..3_u8).prop_map(|(pick, power)| Step::Power { pick, power }),
        2 => (pick, flag).prop_map(|(pick, is_reachable)| Step::Report { pick, is_reachable }),
        6 => prop::bool::weighted(0.8).prop_map(|is_good| Step::Probe { is_good }),
        2 => (pick, prop::bool::weighted(0.2))
            .prop_map(|(pick, is_stale)| Step::ResetCluster { pick, is_stale }),
        12 => (pick, 0..12_u8).prop_map(|(pick, luck)| Step::Act { pick, luck }),
        5 => Just(Step::ActAll),
        2 => pick.prop_map(|pick| Step::SayAgain { pick }),
        1 => Just(Step::Restart),
        1 => Just(Step::Sweep),
        1 => (kind, flag).prop_map(|(kind, is_removed)| Step::Template { kind, is_removed }),
        1 => (0..4_u8, 1..4_u8).prop_map(|(history, attempts)| Step::Limit { history, attempts }),
        2 => (0..600_u16).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn kind_of(kind: u8) -> ClusterType {
    let (plugin, mode, size) = [
        ("noops", "", 4),
        ("noops", "", 6),
        ("pbft", "batch", 4),
        ("pbft", "batch", 6),
        ("solo", "", 1),
        ("pbft", "classic", 2),
    ][usize::from(kind) % 6];
    ClusterType { plugin: plugin.to_owned(), mode: mode.to_owned(), size }
}

fn condition_of(kind: u8) -> Condition {
    let found = kind_of(kind);
    match kind {
        0 | 1 => Condition::default(),
        2 => Condition { size: Some(4), ..Condition::default() },
        3 => Condition { plugin: Some(found.plugin), ..Condition::default() },
        _ => Condition {
            plugin: Some(found.plugin),
            mode: Some(found.mode).filter(|mode| !mode.is_empty()),
            size: Some(i64::from(found.size)),
        },
    }
}

fn new_host(host: u8, capacity: u8, is_autofill: bool) -> NewHost {
    NewHost {
        installation: [host; 16],
        name: format!("compute{host}"),
        daemon_url: format!("192.168.7.{host}:2375"),
        is_tls: false,
        service_address: String::new(),
        capacity: u32::from(capacity),
        log_level: String::new(),
        log_type: LogType::Local,
        log_server: String::new(),
        is_schedulable: true,
        is_autofill,
    }
}

/// The id of some host, or of none.
fn host_id(play: &Play, pick: u8) -> String {
    let ids: Vec<_> = query::hosts(&play.state).map(|host| host.id.clone()).collect();
    ids.get(usize::from(pick) % (ids.len().max(1))).cloned().unwrap_or_default()
}

/// The id of some cluster, or of none; now and then one that is long gone.
fn cluster_id(play: &Play, pick: u8) -> String {
    let old = query::released(&play.state).map(|cluster| cluster.id.clone());
    let ids: Vec<_> = if pick >= 240 {
        old.collect()
    } else {
        query::clusters(&play.state).map(|cluster| cluster.id.clone()).collect()
    };
    ids.get(usize::from(pick) % (ids.len().max(1))).cloned().unwrap_or_default()
}

fn luck_of(luck: u8) -> Luck {
    match luck {
        0..=4 => Luck::Good,
        5 => Luck::Silent,
        6 => Luck::Bad(Failure::Unreachable),
        7 => Luck::Bad(Failure::PortInUse),
        8 => Luck::Bad(Failure::NameTaken),
        9 => Luck::Bad(Failure::ImageMissing),
        _ => Luck::Bad(Failure::Other),
    }
}

/// The command of a step; `None` if the step is none.
fn command_of(play: &Play, step: &Step) -> Option<Command> {
    Some(match step {
        Step::Add { host, capacity, is_autofill } => {
            Command::AddHost(Box::new(new_host(*host, *capacity, *is_autofill)))
        }
        Step::Change { pick, capacity, is_schedulable } => Command::ChangeHost {
            host_id: host_id(play, *pick),
            change: Box::new(HostChange {
                capacity: capacity.map(u32::from),
                is_schedulable: *is_schedulable,
                daemon_url: pick.is_multiple_of(5).then(|| format!("10.0.0.{}:1", pick % 4)),
                ..HostChange::default()
            }),
        },
        Step::Remove { pick, is_forced } => {
            Command::RemoveHost { host_id: host_id(play, *pick), is_forced: *is_forced }
        }
        Step::Fill { pick, is_automatic } => {
            Command::FillHost { host_id: host_id(play, *pick), is_automatic: *is_automatic }
        }
        Step::Clean { pick } => Command::CleanHost { host_id: host_id(play, *pick) },
        Step::ResetHost { pick } => Command::ResetHost { host_id: host_id(play, *pick) },
        Step::Report { pick, is_reachable } => Command::ReportHost {
            host_id: host_id(play, *pick),
            is_reachable: *is_reachable,
            reason: "no route".to_owned(),
        },
        Step::Template { kind, is_removed: true } => {
            Command::RemoveTemplate { kind: kind_of(*kind) }
        }
        Step::Template { kind, is_removed: false } => {
            Command::PutTemplate(Box::new(Template::original(kind_of(*kind))))
        }
        Step::Limit { history, attempts } => Command::ChangeSettings(Box::new(SettingsChange {
            history_max: Some(u32::from(*history)),
            create_attempts_max: Some(u32::from(*attempts)),
            ..SettingsChange::default()
        })),
        _ => return about_cluster(play, step),
    })
}

/// The command of a step about a cluster.
fn about_cluster(play: &Play, step: &Step) -> Option<Command> {
    Some(match step {
        Step::Create { pick, kind, block } => Command::CreateCluster(Box::new(NewCluster {
            host_id: host_id(play, *pick),
            name: if pick.is_multiple_of(2) { "mine".to_owned() } else { String::new() },
            kind: kind_of(*kind),
            port_start: block.map(|block| 7_050 + 70 * u16::from(block)),
        })),
        Step::Delete { pick, is_forced } => {
            Command::DeleteCluster { cluster_id: cluster_id(play, *pick), is_forced: *is_forced }
        }
        Step::Drop { pick } => Command::DropReleased { cluster_id: cluster_id(play, pick | 240) },
        Step::Apply { user, kind, allows_multiple } => Command::Apply {
            user_id: USERS[usize::from(*user)].to_owned(),
            condition: condition_of(*kind),
            allows_multiple: *allows_multiple,
        },
        Step::Release { pick, user } => Command::Release {
            cluster_id: cluster_id(play, *pick),
            user_id: user.map(|user| USERS[usize::from(user)].to_owned()),
        },
        Step::ReleaseUser { user } => {
            Command::ReleaseUser { user_id: USERS[usize::from(*user)].to_owned() }
        }
        Step::Power { pick, power } => Command::Power {
            cluster_id: cluster_id(play, *pick),
            user_id: None,
            power: [Power::Start, Power::Stop, Power::Restart][usize::from(*power)],
        },
        Step::ResetCluster { pick, is_stale } => {
            let cluster_id = cluster_id(play, *pick);
            let found = query::cluster(&play.state, &cluster_id);
            let seen_op = found.map_or(1, |found| found.op) - u64::from(*is_stale);
            Command::ResetCluster { cluster_id, seen_op, reason: "bad".to_owned() }
        }
        _ => return None,
    })
}

fn take(play: &mut Play, step: &Step) {
    if let Some(command) = command_of(play, step) {
        let due = due_by_rule(play, &command);
        let reply = play.apply(command.clone());
        if let (Some(due), Ok(Reply::Cluster(given))) = (&due, &reply) {
            assert_eq!(Some(&given.id), due.as_ref(), "{command:?} goes to the first that fits");
        }
        check_again(play, &command, reply.ok());
        return;
    }
    match step {
        Step::Probe { is_good } => play.probe(if *is_good { Health::Ok } else { Health::Fail }),
        Step::Act { pick, luck } => {
            let effects = query::pending_effects(&play.state);
            let effect = effects.get(usize::from(*pick) % effects.len().max(1));
            if let Some(effect) = effect {
                play.act(effect, luck_of(*luck));
            }
        }
        Step::ActAll => {
            for effect in query::pending_effects(&play.state) {
                play.act(&effect, Luck::Good);
            }
        }
        Step::SayAgain { pick } => {
            let said = play.outcomes.get(usize::from(*pick) % play.outcomes.len().max(1));
            if let Some(said) = said.cloned().filter(|said| is_stale(play, said)) {
                assert_eq!(play.apply(said), Ok(Reply::Unchanged));
            }
        }
        Step::Restart => play.restart(),
        Step::Sweep => play.sweep(),
        Step::Wait { seconds } => play.now_ms += u64::from(*seconds) * 1_000,
        _ => unreachable!("has a command"),
    }
}

/// Which cluster a user is due (spec 3.1), found by looking at all of them: what the user has, or
/// the first that fits, hosts in the order of their creation. Nothing for another command.
fn due_by_rule(play: &Play, command: &Command) -> Option<Option<String>> {
    let Command::Apply { user_id, condition, allows_multiple } = command else { return None };
    let fits = |kind: &ClusterType| {
        condition.plugin.as_ref().is_none_or(|plugin| kind.plugin == *plugin)
            && condition.mode.as_ref().is_none_or(|mode| kind.mode == *mode)
            && condition.size.is_none_or(|size| i64::from(kind.size) == size)
    };
    let clusters = || query::clusters(&play.state).filter(|cluster| fits(cluster.kind()));
    let owned = clusters().find(|cluster| {
        cluster.phase == Phase::Ready
            && cluster.user_id == *user_id
            && cluster.health == Health::Ok
            && !allows_multiple
    });
    let open = query::hosts(&play.state).filter(|host| host.is_active && host.is_schedulable);
    let free = open.flat_map(|host| {
        clusters().filter(|cluster| cluster.host_id == host.id && cluster.is_available())
    });
    Some(owned.into_iter().chain(free).next().map(|cluster| cluster.id.clone()))
}

/// Whether the task that an outcome names is over. Those that are tried again keep theirs.
fn is_stale(play: &Play, outcome: &Command) -> bool {
    let (id, op) = match outcome {
        Command::ClusterCreated { cluster_id, op, .. }
        | Command::ClusterDestroyed { cluster_id, op }
        | Command::PowerDone { cluster_id, op }
        | Command::OperationFailed { cluster_id, op, .. } => (cluster_id, op),
        Command::HostTaskDone { host_id, op } | Command::HostTaskFailed { host_id, op, .. } => {
            (host_id, op)
        }
        _ => unreachable!("no outcome"),
    };
    query::pending_effects(&play.state).iter().all(|effect| {
        let found = effect.cluster.as_ref().map_or(&effect.host.id, |cluster| &cluster.id);
        found != id || effect.task.op != *op
    })
}

/// Asked again, nothing else comes of it (spec 7.1, 3).
fn check_again(play: &mut Play, command: &Command, reply: Option<Reply>) {
    match (command, reply) {
        (Command::Apply { allows_multiple: false, .. }, Some(reply)) => {
            assert_eq!(play.apply(command.clone()), Ok(reply));
        }
        (Command::Release { .. }, Some(_)) => {
            assert_eq!(play.apply(command.clone()), Ok(Reply::Unchanged));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(Config { cases: SEQUENCES, ..Config::default() })]

    #[test]
    fn every_history_keeps_the_invariants_and_comes_to_rest(
        capacity in 0..5_u8,
        steps in vec(any_step(), 1..40),
    ) {
        let mut play = Play::default();
        play.now_ms = 1_000_000;
        // Most histories begin with something to play with.
        take(&mut play, &Step::Add { host: 0, capacity, is_autofill: true });
        take(&mut play, &Step::ActAll);
        take(&mut play, &Step::Probe { is_good: true });
        for step in &steps {
            take(&mut play, step);
        }
        play.check_restored();
        play.settle();
        prop_assert!(!query::has_pending(&play.state, TaskKind::Destroy));
        play.check_restored();
    }
}
