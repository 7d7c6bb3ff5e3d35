//! Single rules, where a history says too little: order, back-off, ports, templates, limits.

use std::sync::Arc;

use super::{
    ClusterType, Command, Rejection, Reply, State, Template,
    command::{Condition, Failure, HostChange, NewCluster, NewHost, Power},
    model::{Cluster, Health, Host, LogType, Phase, TaskKind},
    play_test::{Luck, Play},
    query,
    settings::SettingsChange,
};

const START_MS: u64 = 1_476_952_200_000;

fn new_host(number: u32, capacity: u32) -> NewHost {
    NewHost {
        installation: [9; 16],
        name: format!("h{number}"),
        daemon_url: format!("10.0.{}.{}:2375", number / 250, number % 250),
        is_tls: false,
        service_address: String::new(),
        capacity,
        log_level: String::new(),
        log_type: LogType::Local,
        log_server: String::new(),
        is_schedulable: true,
        is_autofill: true,
    }
}

/// A pool with hosts of these capacities, all clusters made and healthy.
fn pool(capacities: &[u32]) -> (Play, Vec<String>) {
    let mut play = Play::default();
    play.now_ms = START_MS;
    let mut hosts = Vec::new();
    for (number, capacity) in (1..).zip(capacities) {
        let reply = play.apply(Command::AddHost(Box::new(new_host(number, *capacity))));
        let Ok(Reply::Host(host)) = reply else { panic!("{reply:?}") };
        hosts.push(host.id);
    }
    play.settle();
    (play, hosts)
}

fn apply(play: &mut Play, user: &str) -> Result<Cluster, Rejection> {
    let user_id = user.to_owned();
    let condition = Condition::default();
    match play.apply(Command::Apply { user_id, condition, allows_multiple: true })? {
        Reply::Cluster(cluster) => Ok(*cluster),
        other => panic!("{other:?}"),
    }
}

fn release(play: &mut Play, cluster: &Cluster) {
    let cluster_id = cluster.id.clone();
    let reply = play.apply(Command::Release { cluster_id: cluster_id.clone(), user_id: None });
    assert_eq!(reply, Ok(Reply::Clusters(vec![cluster_id])));
}

fn host(play: &Play, id: &str) -> Arc<Host> {
    query::host(&play.state, id).expect("the host is there")
}

fn cluster(play: &Play, id: &str) -> Arc<Cluster> {
    query::cluster(&play.state, id).expect("the cluster is there")
}

/// Everything that is to be done fails so.
fn fail(play: &mut Play, failure: Failure) {
    for effect in query::pending_effects(&play.state) {
        play.act(&effect, Luck::Bad(failure));
    }
}

fn report(play: &mut Play, host_id: &str, is_reachable: bool) {
    let reason = "no route".to_owned();
    let host_id = host_id.to_owned();
    play.apply(Command::ReportHost { host_id, is_reachable, reason }).expect("it is there");
}

fn change(play: &mut Play, change: SettingsChange) {
    play.apply(Command::ChangeSettings(Box::new(change))).expect("the settings are good");
}

#[test]
fn the_oldest_host_gives_first_and_its_oldest_cluster() {
    let (mut play, hosts) = pool(&[2, 2, 1]);
    let unschedulable = HostChange { is_schedulable: Some(false), ..HostChange::default() };
    let change = Box::new(unschedulable);
    play.apply(Command::ChangeHost { host_id: hosts[0].clone(), change }).unwrap();
    assert_eq!(apply(&mut play, "a").unwrap().name, "h2_0");
    assert_eq!(apply(&mut play, "a").unwrap().name, "h2_1");
    report(&mut play, &hosts[2], false);
    let nothing = Rejection::NothingAvailable("a".to_owned());
    assert_eq!(apply(&mut play, "a"), Err(nothing));
    report(&mut play, &hosts[2], true);
    assert_eq!(apply(&mut play, "a").unwrap().name, "h3_0");
}

#[test]
fn a_removal_is_tried_for_ever_with_growing_pauses_and_at_once_when_the_host_is_back() {
    let (mut play, hosts) = pool(&[1]);
    let got = apply(&mut play, "u").unwrap();
    release(&mut play, &got);
    for pause_s in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
        fail(&mut play, Failure::Unreachable);
        let task = cluster(&play, &got.id).task.clone().unwrap();
        assert_eq!(task.not_before_ms - play.now_ms, pause_s * 1_000);
        assert_eq!((task.kind, &*task.last_error), (TaskKind::Destroy, "it broke"));
    }
    report(&mut play, &hosts[0], false);
    report(&mut play, &hosts[0], true);
    let task = cluster(&play, &got.id).task.clone().unwrap();
    assert_eq!((task.not_before_ms, task.failures), (play.now_ms, 9));
    play.settle();
    assert_eq!(query::released(&play.state).count(), 1);
    assert_eq!(query::clusters(&play.state).count(), 1);
}

#[test]
fn autofill_waits_longer_with_every_creation_given_up_and_a_success_ends_that() {
    let (mut play, hosts) = pool(&[0]);
    let grow = HostChange { capacity: Some(1), ..HostChange::default() };
    play.apply(Command::ChangeHost { host_id: hosts[0].clone(), change: Box::new(grow) }).unwrap();
    let fill = |is_automatic| Command::FillHost { host_id: hosts[0].clone(), is_automatic };
    for pause_s in [5, 10, 20] {
        play.apply(fill(true)).unwrap();
        for _ in 0..3 {
            fail(&mut play, Failure::ImageMissing);
        }
        let given_up = host(&play, &hosts[0]);
        assert_eq!(given_up.fill_not_before_ms - play.now_ms, pause_s * 1_000);
        let effects = query::pending_effects(&play.state);
        assert_eq!(effects[0].task.kind, TaskKind::Destroy);
        play.act(&effects[0], Luck::Good);
        assert_eq!(query::clusters(&play.state).count(), 0, "the place is free");
        assert_eq!(play.apply(fill(true)), Err(Rejection::NotToBeFilled));
        assert_eq!(query::hosts_to_fill(&play.state, play.now_ms).count(), 0);
        play.now_ms += pause_s * 1_000;
        assert_eq!(query::hosts_to_fill(&play.state, play.now_ms).count(), 1);
    }
    play.apply(fill(true)).unwrap();
    play.settle();
    let filled = host(&play, &hosts[0]);
    assert_eq!((filled.creations_given_up, &*filled.last_error), (0, ""));
}

#[test]
fn every_attempt_at_a_creation_is_fenced_and_follows_the_template_of_the_day() {
    let (mut play, _) = pool(&[1]);
    let got = apply(&mut play, "u").unwrap();
    release(&mut play, &got);
    let removal = query::pending_effects(&play.state).remove(0);
    play.act(&removal, Luck::Good);
    let first = query::pending_effects(&play.state).remove(0);
    let new = Template { image: "other:2".to_owned(), ..Template::original(got.kind().clone()) };
    play.apply(Command::PutTemplate(Box::new(new))).unwrap();
    let made_of = |play: &Play| {
        query::clusters(&play.state).next().expect("one cluster").template.image.clone()
    };
    assert_eq!(made_of(&play), "hyperledger/fabric-peer:latest", "the attempt goes on");
    play.act(&first, Luck::Bad(Failure::Other));
    assert_eq!(made_of(&play), "other:2");
    let second = query::pending_effects(&play.state).remove(0);
    assert!(second.task.op > first.task.op);
    assert!(!query::is_current(&play.state, &first) && query::is_current(&play.state, &second));
    let before = play.state.clone();
    play.act(&first, Luck::Good);
    assert_eq!(play.state, before, "what the first attempt says is not heard any more");
    play.act(&second, Luck::Good);
    assert_eq!(query::clusters(&play.state).next().unwrap().phase, Phase::Ready);
}

#[test]
fn containers_that_are_not_those_asked_for_make_no_cluster() {
    let (mut play, _) = pool(&[0]);
    let host_id = query::hosts(&play.state).next().unwrap().id.clone();
    let grow = HostChange { capacity: Some(1), ..HostChange::default() };
    play.apply(Command::ChangeHost { host_id: host_id.clone(), change: Box::new(grow) }).unwrap();
    play.apply(Command::FillHost { host_id, is_automatic: false }).unwrap();
    let good: Vec<_> = {
        let found = query::clusters(&play.state).next().unwrap();
        (0..found.kind().size).map(|index| (found.container_name(index), "x".to_owned())).collect()
    };
    let mut twice = good.clone();
    twice[1] = twice[0].clone();
    let mut foreign = good.clone();
    foreign[0].0 = "foreign".to_owned();
    change(&mut play, SettingsChange { create_attempts_max: Some(9), ..SettingsChange::default() });
    for containers in [good[1..].to_vec(), twice, foreign] {
        let effect = query::pending_effects(&play.state).remove(0);
        let cluster_id = effect.cluster.as_ref().unwrap().id.clone();
        play.apply(Command::ClusterCreated { cluster_id, op: effect.task.op, containers }).unwrap();
        assert_eq!(query::clusters(&play.state).next().unwrap().phase, Phase::Creating);
    }
}

#[test]
fn a_host_has_as_many_blocks_as_there_are_ports() {
    let (mut play, hosts) = pool(&[0]);
    let grow = HostChange { capacity: Some(1_000), ..HostChange::default() };
    play.apply(Command::ChangeHost { host_id: hosts[0].clone(), change: Box::new(grow) }).unwrap();
    let fill = |is_automatic| Command::FillHost { host_id: hosts[0].clone(), is_automatic };
    let Ok(Reply::Clusters(made)) = play.apply(fill(true)) else { panic!("filled") };
    assert_eq!(made.len(), 584);
    let last = cluster(&play, &made[583]);
    assert_eq!((last.port_start, &*last.name), (65_350, "h1_583"));
    assert_eq!(play.apply(fill(false)), Err(Rejection::NoPorts));
    // The loop is told to wait, or it would ask for ever.
    assert_eq!(play.apply(fill(true)), Ok(Reply::Clusters(Vec::new())));
    assert_eq!(query::hosts_to_fill(&play.state, play.now_ms).count(), 0);
}

#[test]
fn ports_that_a_stranger_had_are_tried_again_later() {
    let (mut play, hosts) = pool(&[1]);
    let got = apply(&mut play, "u").unwrap();
    release(&mut play, &got);
    let removal = query::pending_effects(&play.state).remove(0);
    play.act(&removal, Luck::Good);
    fail(&mut play, Failure::PortInUse);
    let moved = query::clusters(&play.state).next().unwrap().clone();
    assert_eq!((moved.port_start, &*moved.name), (7_150, "h1_1"));
    assert_eq!(moved.task.as_ref().unwrap().not_before_ms, play.now_ms, "at once, the first time");
    play.settle();
    let grow = HostChange { capacity: Some(3), ..HostChange::default() };
    play.apply(Command::ChangeHost { host_id: hosts[0].clone(), change: Box::new(grow) }).unwrap();
    let create = |name: &str| {
        Command::CreateCluster(Box::new(NewCluster {
            host_id: hosts[0].clone(),
            name: name.to_owned(),
            kind: ClusterType { plugin: "noops".to_owned(), mode: String::new(), size: 4 },
            port_start: None,
        }))
    };
    play.apply(create("soon")).unwrap();
    play.now_ms += query::settings(&play.state).port_blocked_ms;
    play.apply(create("later")).unwrap();
    let ports: Vec<_> =
        query::clusters(&play.state).map(|found| (&*found.name, found.port_start)).collect();
    assert_eq!(ports, [("h1_1", 7_150), ("soon", 7_250), ("later", 7_050)]);
}

#[test]
fn a_cluster_that_is_never_well_is_replaced_ever_more_slowly() {
    let (mut play, _) = pool(&[1]);
    for pause_s in [0, 5, 10] {
        play.probe(Health::Fail);
        let bad = query::clusters(&play.state).next().unwrap().clone();
        let cluster_id = bad.id.clone();
        let reason = "bad".to_owned();
        let reset = Command::ResetCluster { cluster_id, seen_op: bad.op, reason };
        assert_eq!(play.apply(reset), Ok(Reply::Done));
        let removal = query::pending_effects(&play.state).remove(0);
        play.act(&removal, Luck::Good);
        let creation = query::pending_effects(&play.state).remove(0);
        assert_eq!(creation.task.not_before_ms - play.now_ms, pause_s * 1_000);
        assert_eq!(creation.cluster.as_ref().unwrap().port_start, bad.port_start);
        play.act(&creation, Luck::Good);
    }
    play.probe(Health::Ok);
    assert_eq!(query::clusters(&play.state).next().unwrap().resets, 0);
}

#[test]
fn cleaning_also_ends_what_was_to_be_replaced() {
    let (mut play, hosts) = pool(&[3]);
    let (kept, given) = (apply(&mut play, "a").unwrap(), apply(&mut play, "b").unwrap());
    release(&mut play, &given);
    play.apply(Command::CleanHost { host_id: hosts[0].clone() }).unwrap();
    play.settle();
    let left: Vec<_> = query::clusters(&play.state).map(|found| found.id.clone()).collect();
    assert_eq!(left, [kept.id]);
    assert!(!host(&play, &hosts[0]).is_autofill);
}

#[test]
fn one_action_at_a_time_and_a_release_overrides_it() {
    let (mut play, _) = pool(&[1]);
    let got = apply(&mut play, "u").unwrap();
    let power = |power| {
        let cluster_id = got.id.clone();
        Command::Power { cluster_id, user_id: Some("u".to_owned()), power }
    };
    assert_eq!(play.apply(power(Power::Start)), Ok(Reply::Power { op: None }));
    let Ok(Reply::Power { op: Some(op) }) = play.apply(power(Power::Stop)) else { panic!("begun") };
    assert_eq!(play.apply(power(Power::Stop)), Ok(Reply::Power { op: Some(op) }), "joined");
    let busy = Err(Rejection::ClusterBusy("stop".to_owned()));
    assert_eq!(play.apply(power(Power::Restart)), busy);
    assert_eq!(query::power_outcome(&play.state, &got.id, op), query::Progress::Waiting);
    let stop = query::pending_effects(&play.state).remove(0);
    release(&mut play, &got);
    assert_eq!(query::power_outcome(&play.state, &got.id, op), query::Progress::Superseded);
    let before = play.state.clone();
    play.act(&stop, Luck::Good);
    assert_eq!(play.state, before);
    play.settle();
}

#[test]
fn a_repeated_start_after_a_lost_answer_is_harmless() {
    let (mut play, _) = pool(&[1]);
    let got = apply(&mut play, "u").unwrap();
    let power = |power| Command::Power { cluster_id: got.id.clone(), user_id: None, power };
    for wish in [Power::Stop, Power::Stop, Power::Start, Power::Start, Power::Restart] {
        play.apply(power(wish)).unwrap();
        for effect in query::pending_effects(&play.state) {
            play.act(&effect, Luck::Silent);
            assert!(query::is_current(&play.state, &effect), "a new leader finds it");
            play.act(&effect, Luck::Good);
        }
    }
    assert!(cluster(&play, &got.id).is_running);
}

#[test]
fn forgotten_hosts_are_cleaned_up_for_a_week_and_not_all_at_once() {
    let (mut play, hosts) = pool(&[1]);
    play.apply(Command::RemoveHost { host_id: hosts[0].clone(), is_forced: true }).unwrap();
    fail(&mut play, Failure::Unreachable);
    assert_eq!(query::departed(&play.state).count(), 1);
    assert!(query::departed(&play.state).all(|host| host.is_active), "somebody has to try");
    play.now_ms += super::model::CLEAN_UP_MS;
    fail(&mut play, Failure::Unreachable);
    assert_eq!(query::departed(&play.state).count(), 0);
    for number in 0..70 {
        let reply = play.apply(Command::AddHost(Box::new(new_host(number, 0))));
        let Ok(Reply::Host(host)) = reply else { panic!("{reply:?}") };
        play.apply(Command::RemoveHost { host_id: host.id, is_forced: false }).unwrap();
    }
    assert_eq!(query::departed(&play.state).count(), 64);
}

#[test]
fn a_template_that_outgrew_the_ports_of_a_cluster_is_not_given_to_it() {
    let (mut play, _) = pool(&[1]);
    let got = apply(&mut play, "u").unwrap();
    change(&mut play, SettingsChange { port_step: Some(200), ..SettingsChange::default() });
    let mut wide = Template::original(got.kind().clone());
    wide.services[9].offset = 150;
    play.apply(Command::PutTemplate(Box::new(wide))).unwrap();
    let narrow = SettingsChange { port_step: Some(100), ..SettingsChange::default() };
    let refused = play.apply(Command::ChangeSettings(Box::new(narrow)));
    assert!(matches!(refused, Err(Rejection::InvalidSetting(_))), "{refused:?}");
    release(&mut play, &got);
    play.settle();
    let new = query::clusters(&play.state).next().unwrap();
    assert_eq!((new.port_start, new.port_count), (got.port_start, got.port_count));
    assert_eq!(new.template, got.template);
}

#[test]
fn ids_follow_from_installation_and_log_index_alone() {
    let ids = |installation: u8, index: u64| -> Vec<String> {
        let (mut play, mut first) = (Play::default(), new_host(1, 3));
        (play.index, play.now_ms) = (index, START_MS);
        first.installation = [installation; 16];
        play.apply(Command::AddHost(Box::new(first))).unwrap();
        query::clusters(&play.state).map(|found| found.id.clone()).collect()
    };
    assert_eq!(ids(1, 5), ids(1, 5));
    let (a, b, c) = (ids(1, 5), ids(2, 5), ids(1, 6));
    assert!(a.iter().all(|id| !b.contains(id) && !c.contains(id)));
    assert_eq!(query::installation(&State::default()), None);
    let (play, _) = pool(&[0, 0]);
    assert_eq!(query::installation(&play.state), Some("09".repeat(16)));
}
