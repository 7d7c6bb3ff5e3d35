//! The loops against a daemon in memory: what they bring about, and what is left when leaders die
//! at every step they take (spec 6.5, 7.2).

use std::{collections::BTreeSet, time::Duration};

use tokio::time::sleep;

use super::site_fixture::Site;
use crate::{
    client::runtime::{
        ContainerState, RuntimeError,
        fake::{Death, FakeRuntime},
    },
    domain::cello::{
        Command, Template,
        command::{HostChange, Power},
        model::{ClusterType, Health, Phase, TaskKind},
        query,
        settings::SettingsChange,
        template::{Probe, Pull},
    },
};

fn set_template(site: &Site, change: impl FnOnce(&mut Template)) {
    let kind = ClusterType { plugin: "noops".to_owned(), mode: String::new(), size: 4 };
    let mut template = Template::original(kind);
    change(&mut template);
    for other in Template::defaults().into_iter().filter(|other| other.kind != template.kind) {
        site.propose(Command::RemoveTemplate { kind: other.kind }).unwrap();
    }
    site.propose(Command::PutTemplate(Box::new(template))).unwrap();
}

fn creates(runtime: &FakeRuntime) -> usize {
    runtime.world().changes.iter().filter(|change| change.starts_with("create")).count()
}

#[tokio::test(start_paused = true)]
async fn a_pool_fills_hands_out_and_replaces() {
    let mut site = Site::new();
    site.add_host(3);
    site.settle("the host is full").await;
    let names: Vec<_> = site.clusters().iter().map(|cluster| cluster.name.clone()).collect();
    assert_eq!(names, ["compute2_0", "compute2_1", "compute2_2"]);
    let cluster = site.apply("u1").unwrap();
    for power in [Power::Stop, Power::Start, Power::Restart] {
        site.power(&cluster.id, power);
        site.settle("the power action").await;
        let now = query::cluster(&site.state(), &cluster.id).unwrap();
        assert_eq!((now.is_running, &*now.user_id), (power != Power::Stop, "u1"));
        assert_eq!(now.last_power.clone().unwrap().error, None);
    }
    site.release(&cluster.id);
    site.settle("its replacement").await;
    let clusters = site.clusters();
    assert!(clusters.iter().all(|other| other.id != cluster.id), "a new id");
    let new = clusters.iter().find(|new| new.name == cluster.name).unwrap();
    assert_eq!((new.port_start, &*new.user_id), (cluster.port_start, ""));
}

/// What users and operators do, one thing after the other.
async fn play(site: &mut Site) {
    site.add_host(2);
    site.settle("full").await;
    let mine = site.apply("u1").unwrap();
    site.power(&mine.id, Power::Stop);
    site.settle("stopped").await;
    site.power(&mine.id, Power::Start);
    site.settle("started").await;
    site.release(&mine.id);
    site.settle("replaced").await;
    let host_id = site.host().id;
    site.propose(Command::CleanHost { host_id: host_id.clone() }).unwrap();
    site.settle("clean").await;
    assert!(site.clusters().is_empty());
    site.propose(Command::ResetHost { host_id }).unwrap();
    site.settle("reset").await;
}

/// Spec 6.5: the leader dies before, and after, every single change it makes to the daemon.
#[tokio::test(start_paused = true)]
async fn leaders_die_at_every_step() {
    let mut undisturbed = Site::new();
    play(&mut undisturbed).await;
    let changes = undisturbed.runtime.world().changes.len();
    assert!(changes > 40, "{changes}");
    for at in 0..changes {
        for death in [Death::Before, Death::After] {
            let mut site = Site::new();
            site.runtime.world().death = Some((at, death));
            play(&mut site).await;
            let world = site.runtime.world();
            assert_eq!(world.death, None, "nobody died at {at}, {death:?}");
            assert!(world.containers.is_empty(), "{at}, {death:?}: {:?}", world.containers);
        }
    }
}

/// Every leader dies three changes after it began, until all is done.
#[tokio::test(start_paused = true)]
async fn leaders_that_never_live_long_get_there_too() {
    let mut site = Site::new();
    site.add_host(2);
    for turn in 0..40 {
        let at = site.runtime.world().changes.len() + 3;
        let death = if turn % 2 == 0 { Death::Before } else { Death::After };
        site.runtime.world().death = Some((at, death));
        sleep(Duration::from_secs(20)).await;
        site.until("the leader lives", |_| None).await;
    }
    site.runtime.world().death = None;
    site.settle("full").await;
    let ids: BTreeSet<_> = site.clusters().iter().map(|cluster| cluster.id.clone()).collect();
    assert_eq!(ids.len(), 2);
}

/// Spec 7.2, rows 36 and 40: a deposed leader that knows nothing goes on beside the new one.
#[tokio::test(start_paused = true)]
async fn a_deposed_leader_changes_nothing() {
    let mut site = Site::new();
    site.add_host(2);
    site.settle("full").await;
    let old = site.apply("u1").unwrap();
    site.power(&old.id, Power::Stop);
    // The old leader believes for ever that it has to stop what it sees running.
    site.depose();
    site.settle("stopped by the new leader").await;
    site.power(&old.id, Power::Start);
    site.settle("started by the new leader").await;
    site.release(&old.id);
    site.settle("replaced by the new leader").await;
    let before = site.runtime.world().changes.len();
    sleep(Duration::from_secs(600)).await;
    site.settle("still so").await;
    assert_eq!(site.runtime.world().changes.len(), before, "somebody meddles");
}

/// Spec 7.2, rows 40 and 41.
#[tokio::test(start_paused = true)]
async fn sweeps_take_what_is_ours_and_owned_by_nobody() {
    let mut site = Site::new();
    let host = site.add_host(1);
    site.settle("full").await;
    let index = site.index();
    let put = |name: &str, host: &str, cluster: &str, op: u64| {
        let labels = site.labels(host, cluster, op);
        let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        site.put_container(name, &labels);
    };
    put("gone_vp0", &host, "gone", 1);
    put("later_vp0", &host, "later", index + 1_000_000);
    put("left_vp0", "forgotten", "left", 1);
    site.put_container("gone-vp0-chaincode", &[]);
    site.put_container("stranger", &[]);
    site.put_container("stranger2", &[("io.quorate.control-plane", "another")]);
    site.until("swept", |site| {
        let left = ["gone_vp0", "left_vp0", "gone-vp0-chaincode"];
        let left = left.into_iter().find(|name| site.has_container(name));
        left.map(str::to_owned)
    })
    .await;
    for name in ["later_vp0", "stranger", "stranger2"] {
        assert!(site.has_container(name), "{name} is not ours to remove");
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_goes_away_is_waited_for() {
    let mut site = Site::new();
    site.add_host(2);
    site.settle("full").await;
    let mine = site.apply("u1").unwrap();
    site.runtime.set_down(true);
    site.until("inactive", |site| site.host().is_active.then(|| "active".to_owned())).await;
    assert!(site.host().status_reason.contains("down"), "{}", site.host().status_reason);
    site.apply("u2").unwrap_err();
    site.release(&mine.id);
    sleep(Duration::from_secs(3_600)).await;
    let waiting = query::cluster(&site.state(), &mine.id).unwrap();
    assert_eq!(
        (waiting.phase, waiting.task.clone().unwrap().kind),
        (Phase::Deleting, TaskKind::Destroy)
    );
    site.runtime.set_down(false);
    site.settle("all is well again").await;
    assert!(site.host().is_active);
    assert!(query::cluster(&site.state(), &mine.id).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_told_and_waited_for() {
    let mut site = Site::new();
    site.runtime.world().images.clear();
    site.add_host(1);
    site.until("given up", |site| (site.host().creations_given_up == 0).then(String::new)).await;
    assert!(site.host().last_error.starts_with("the image is missing"), "{:?}", site.host());
    sleep(Duration::from_secs(7_200)).await;
    let tries = creates(&site.runtime);
    assert!(tries < 400, "{tries} tries in two hours");
    site.runtime.world().images.insert("hyperledger/fabric-peer:latest".to_owned());
    site.settle("full").await;
    assert_eq!(site.host().last_error, "");
}

#[tokio::test(start_paused = true)]
async fn an_image_is_fetched_as_the_template_says() {
    for (pull, pulls) in [(Pull::Missing, 1), (Pull::Always, 2)] {
        let mut site = Site::new();
        site.runtime.world().images.clear();
        site.runtime.world().registry.insert("hyperledger/fabric-peer:latest".to_owned());
        set_template(&site, |template| template.pull = pull);
        site.add_host(2);
        // One after the other, so that the second finds what the first has fetched.
        let change = SettingsChange { calls_per_host_max: Some(1), ..SettingsChange::default() };
        site.propose(Command::ChangeSettings(Box::new(change))).unwrap();
        site.settle("full").await;
        let world = site.runtime.world();
        let found = world.changes.iter().filter(|change| change.starts_with("pull")).count();
        assert_eq!(found, pulls, "{pull:?}");
    }
}

/// Spec 7.2, row 42.
#[tokio::test(start_paused = true)]
async fn ports_of_strangers_are_left_to_them() {
    let mut site = Site::new();
    site.runtime.world().taken_ports.insert(7_150);
    site.add_host(3);
    site.settle("full").await;
    let ports: BTreeSet<_> = site.clusters().iter().map(|cluster| cluster.port_start).collect();
    assert_eq!(ports, BTreeSet::from([7_050, 7_250, 7_350]));
    assert!(site.host().blocked.contains_key(&7_150));
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_daemon_are_survived() {
    let full = RuntimeError::Other("no space left on device".to_owned());
    let away = RuntimeError::Unreachable("broken off".to_owned());
    let taken = RuntimeError::NameTaken("somebody".to_owned());
    for faults in [
        vec![full.clone(); 2],
        vec![full.clone(); 40],
        vec![away.clone(); 9],
        vec![taken, full, away],
    ] {
        let mut site = Site::new();
        site.runtime.world().faults.extend(faults.clone());
        site.add_host(2);
        site.settle(&format!("{faults:?}")).await;
        site.runtime.world().faults.extend(faults);
        let mine = site.apply("u1").unwrap();
        site.release(&mine.id);
        site.settle("replaced").await;
    }
}

#[tokio::test(start_paused = true)]
async fn containers_that_stop_are_started_before_anybody_despairs() {
    let mut site = Site::new();
    site.add_host(1);
    site.settle("full").await;
    let id = site.clusters()[0].id.clone();
    let name = format!("{id}_vp1");
    let stop = |site: &Site| {
        let mut world = site.runtime.world();
        if let Some((found, _)) = world.containers.get_mut(&name) {
            found.state = ContainerState::Exited;
        }
    };
    stop(&site);
    site.settle("started again").await;
    assert_eq!(site.clusters()[0].id, id);
    // One that never keeps running is replaced.
    for _ in 0..2_000 {
        stop(&site);
        sleep(Duration::from_millis(100)).await;
        if site.clusters()[0].id != id {
            break;
        }
    }
    site.settle("replaced").await;
    assert_ne!(site.clusters()[0].id, id);
}

#[tokio::test(start_paused = true)]
async fn a_sick_cluster_is_replaced_if_free_and_left_alone_if_used() {
    let mut site = Site::new();
    site.add_host(2);
    site.settle("full").await;
    let used = site.apply("u1").unwrap();
    let free = site.clusters().iter().find(|free| free.user_id.is_empty()).unwrap().id.clone();
    for id in [&used.id, &free] {
        site.runtime.world().containers.remove(&format!("{id}_vp2"));
    }
    let used_id = used.id.clone();
    site.until("told and replaced", |site| {
        let used = query::cluster(&site.state(), &used_id).unwrap();
        let is_replaced = query::cluster(&site.state(), &free).is_none();
        (used.health != Health::Fail || !is_replaced).then(|| used.last_error.clone())
    })
    .await;
    sleep(Duration::from_secs(600)).await;
    let used = query::cluster(&site.state(), &used.id).unwrap();
    assert_eq!((&*used.user_id, used.phase), ("u1", Phase::Ready));
    assert_eq!(used.last_error, "3 of 4 containers run");
}

#[tokio::test(start_paused = true)]
async fn services_are_asked_if_the_template_wants_it() {
    let mut site = Site::new();
    set_template(&site, |template| template.probe = Probe::Tcp);
    site.services.silent.lock().unwrap().insert("192.168.7.62:7051".to_owned());
    site.add_host(1);
    site.until("found sick", |site| {
        let clusters = site.clusters();
        let error = clusters.first().map(|cluster| cluster.last_error.clone());
        let error = error.unwrap_or_default();
        (!error.contains("grpc at 192.168.7.62:7051: refused")).then_some(error)
    })
    .await;
    site.services.silent.lock().unwrap().clear();
    site.settle("well").await;

    let mut site = Site::new();
    let (path, pointer) = ("/network/peers".to_owned(), "/peers".to_owned());
    set_template(&site, |template| template.probe = Probe::HttpPeers { path, pointer });
    site.add_host(1);
    sleep(Duration::from_secs(600)).await;
    let cluster = site.clusters().remove(0);
    assert_eq!(cluster.health, Health::Unknown, "nothing answers, which says nothing");
    let peers = serde_json::json!({ "peers": [1, 2, 3, 4] });
    *site.services.peers.lock().unwrap() = Some(peers);
    site.settle("well").await;
    assert_eq!(site.clusters()[0].id, cluster.id);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_host_is_cleaned_up() {
    let mut site = Site::new();
    let host_id = site.add_host(2);
    site.settle("full").await;
    site.put_container("stranger", &[]);
    site.runtime.set_down(true);
    site.propose(Command::RemoveHost { host_id, is_forced: true }).unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(query::departed(&site.state()).count(), 1);
    site.runtime.set_down(false);
    site.until("forgotten for good", |site| {
        (query::departed(&site.state()).count() > 0).then(String::new)
    })
    .await;
    let left: Vec<_> = site.runtime.running().into_keys().collect();
    assert_eq!(left, ["stranger"]);
}

/// The pause that a new leader makes is about calls of the old one, not about its own clusters.
#[tokio::test(start_paused = true)]
async fn a_new_leader_waits_with_what_it_found_alone() {
    let mut site = Site::new();
    let host_id = site.add_host(1);
    site.settle("full").await;
    let old = site.clusters()[0].id.clone();
    site.die();
    site.power(&old, Power::Stop);
    site.lead();
    let capacity = Some(2);
    let change = Box::new(HostChange { capacity, ..HostChange::default() });
    site.propose(Command::ChangeHost { host_id, change }).unwrap();
    sleep(Duration::from_secs(10)).await;
    let stopping = query::cluster(&site.state(), &old).unwrap();
    assert!(stopping.task.is_some(), "a call of the old leader may still be on its way");
    assert_eq!(site.clusters()[1].phase, Phase::Ready, "nobody else knew of this one");
    site.settle("stopped").await;
}
