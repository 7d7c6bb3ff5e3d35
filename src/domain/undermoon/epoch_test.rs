//! Scenarios of epochs, restored documents and settings.

use super::{
    Action, Rejection,
    document::Document,
    epoch::EPOCH_MAX,
    play_test::{Play, add, create, delete_free, expand, register},
    query,
    settings::SettingsChange,
};

/// Changes one thing of a document.
type Damage = fn(&mut Document);

fn restore(document: &Document) -> Action {
    Action::Restore { document: Box::new(document.clone()) }
}

fn set_epoch(epoch: u64) -> Action {
    Action::SetEpoch { epoch }
}

fn migrating() -> Play {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(add(4));
    play.take(expand());
    play
}

#[test]
fn scenario_63_and_64_what_restore_takes() {
    let mut play = migrating();
    let document = query::document(&play.state);
    play.step(restore(&document), Ok(()), 0);
    let mut lower = document.clone();
    lower.global_epoch = 9;
    lower.clusters.clear();
    lower.all_proxies.values_mut().for_each(|proxy| proxy.cluster = None);
    let mut ahead = play.clone();
    ahead.take(set_epoch(20));
    ahead.step(restore(&lower), Err(Rejection::EpochSmallerThanCurrent), 0);

    let mut empty = Play::new();
    empty.take(restore(&document));
    assert_eq!(query::document(&empty.state), document);
    assert_eq!(empty.state.free, play.state.free);
    assert_eq!(empty.state.links, play.state.links);
    for address in query::proxy_addresses(&play.state, 0, None) {
        let restored = query::proxy(&empty.state, &address);
        assert_eq!(restored, query::proxy(&play.state, &address));
    }
}

#[test]
fn a_restore_never_shows_other_content_at_an_epoch_already_shown() {
    let mut play = migrating();
    let document = query::document(&play.state);
    let cases: [(&str, Damage); 4] = [
        ("another limit of blocking", |document| {
            for cluster in document.clusters.values_mut() {
                cluster.config.migration_config.max_blocking_time += 1;
            }
        }),
        ("a member set free", |document| {
            document.clusters.clear();
            document.all_proxies.values_mut().for_each(|proxy| proxy.cluster = None);
        }),
        ("other nodes of a free proxy", |document| {
            let free = document.all_proxies.values_mut().filter(|proxy| proxy.cluster.is_none());
            free.for_each(|proxy| proxy.node_addresses.swap(0, 1));
        }),
        ("another way of moving", |document| {
            for cluster in document.clusters.values_mut() {
                let chunk = &mut cluster.chunks[0];
                chunk.role_position = super::document::RolePosition::FirstChunkMaster;
            }
        }),
    ];
    for (what, change) in cases {
        let mut changed = document.clone();
        change(&mut changed);
        assert_eq!(changed.validate(), Ok(()), "{what}");
        let refused = play.ask(restore(&changed));
        assert_eq!(refused, Err(Rejection::EpochSmallerThanCurrent), "{what}");
        // With epochs of its own the same content is welcome.
        changed.global_epoch += 1;
        changed.clusters.values_mut().for_each(|cluster| cluster.epoch += 1);
        let mut other = play.clone();
        other.step(restore(&changed), Ok(()), 1);
    }
    // What no proxy is shown may differ.
    let mut quiet = document;
    quiet.failures.insert("p1:1".to_owned(), [("r".to_owned(), 1)].into());
    play.step(restore(&quiet), Ok(()), 0);
}

#[test]
fn a_document_that_breaks_an_invariant_is_refused() {
    let document = query::document(&migrating().state);
    let cases: [(&str, Damage); 16] = [
        ("chunk index out of range", |d| entry(d).meta.dst_chunk_index = 9),
        ("part out of range", |d| entry(d).meta.src_chunk_part = 2),
        ("one end only", |d| drop(chunk(d, 0).migrating_slots[0].pop())),
        ("other ranges at the ends", |d| entry(d).range_list = vec![(4096, 8190)]),
        ("direction turned", |d| entry(d).is_migrating = false),
        ("task beyond its cluster", |d| entry(d).meta.epoch += 1),
        ("slot twice", |d| chunk(d, 0).stable_slots[0] = Some(vec![(0, 4096)])),
        ("slot missing", |d| chunk(d, 0).stable_slots[0] = Some(vec![(1, 4095)])),
        ("not compact", |d| chunk(d, 0).stable_slots[0] = Some(vec![(0, 5), (6, 4095)])),
        ("backwards", |d| chunk(d, 0).stable_slots[0] = Some(vec![(4095, 0)])),
        ("beyond the last slot", |d| chunk(d, 0).stable_slots[1] = Some(vec![(8192, 16384)])),
        ("cluster beyond the state", |d| cluster(d).epoch = 10),
        ("another name inside", |d| cluster(d).name = "d".to_owned()),
        ("host not the registered one", |d| chunk(d, 0).hosts[0] = "elsewhere".to_owned()),
        ("failed but unknown", |d| d.failed_proxies.extend(["no:1".to_owned()])),
        ("no room for epochs", |d| d.global_epoch = u64::MAX),
    ];
    assert_eq!(document.validate(), Ok(()));
    for (what, damage) in cases {
        let mut damaged = document.clone();
        damage(&mut damaged);
        let refused = matches!(damaged.validate(), Err(Rejection::InvalidMetadata(_)));
        assert!(refused, "{what}");
        let mut play = Play::new();
        assert!(play.ask(restore(&damaged)).is_err(), "{what}");
        assert_eq!(query::document(&play.state), Document::default(), "{what}");
    }
}

#[test]
fn members_and_registrations_must_agree() {
    let document = query::document(&migrating().state);
    let member = document.clusters["c"].chunks[0].proxy_addresses[0].clone();
    let spare = document.all_proxies.values().find(|proxy| proxy.cluster.is_none());
    let spare = spare.expect("one is left").proxy_address.clone();
    let refuse = |damage: &dyn Fn(&mut Document)| {
        let mut damaged = document.clone();
        damage(&mut damaged);
        assert!(matches!(damaged.validate(), Err(Rejection::InvalidMetadata(_))));
    };
    let proxy_of = |address: &str| {
        let address = address.to_owned();
        move |document: &mut Document| document.all_proxies.remove(&address).expect("registered")
    };
    refuse(&|document| drop(proxy_of(&member)(document)));
    refuse(&|document| {
        let mut proxy = proxy_of(&member)(document);
        proxy.cluster = None;
        document.all_proxies.insert(member.clone(), proxy);
    });
    refuse(&|document| {
        let mut proxy = proxy_of(&spare)(document);
        proxy.cluster = Some("c".to_owned());
        document.all_proxies.insert(spare.clone(), proxy);
    });
    refuse(&|document| {
        let mut proxy = proxy_of(&spare)(document);
        proxy.cluster = Some("gone".to_owned());
        document.all_proxies.insert(spare.clone(), proxy);
    });
    refuse(&|document| {
        let proxy = proxy_of(&spare)(document);
        document.all_proxies.insert("other:1".to_owned(), proxy);
    });
    refuse(&|document| {
        let first = document.clusters["c"].chunks[0].clone();
        cluster(document).chunks.push(first);
    });
}

fn cluster(document: &mut Document) -> &mut super::document::ClusterStore {
    document.clusters.get_mut("c").expect("the cluster exists")
}

fn chunk(document: &mut Document, index: usize) -> &mut super::document::ChunkStore {
    &mut cluster(document).chunks[index]
}

/// The outgoing entry of the first part.
fn entry(document: &mut Document) -> &mut super::document::MigrationEntry {
    &mut chunk(document, 0).migrating_slots[0][0]
}

#[test]
fn scenario_65_and_66_epochs_are_forced_forward_only() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(register("p7:1", "h7"));
    play.step(set_epoch(8), Err(Rejection::EpochSmallerThanCurrent), 0);
    play.step(set_epoch(108), Ok(()), 100);
    assert_eq!(play.epochs(), (108, 108));
    play.take(Action::RecoverEpoch { epoch_seen: 200 });
    assert_eq!(play.epochs(), (202, 202));
    play.step(Action::RecoverEpoch { epoch_seen: 200 }, Ok(()), 1);
    assert_eq!(play.epochs(), (203, 203));
}

#[test]
fn epochs_never_run_out() {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    for epoch in [EPOCH_MAX + 1, u64::MAX] {
        assert!(matches!(play.ask(set_epoch(epoch)), Err(Rejection::InvalidSetting(_))));
    }
    play.take(Action::RecoverEpoch { epoch_seen: u64::MAX });
    assert_eq!(play.epochs(), (EPOCH_MAX, EPOCH_MAX));
    play.step(Action::RecoverEpoch { epoch_seen: u64::MAX }, Ok(()), 1);
    play.step(add(4), Ok(()), 1);
    play.step(delete_free(), Ok(()), 1);
}

#[test]
fn settings_that_cannot_be_are_refused_whole() {
    let mut play = Play::new().with_proxies(4);
    let before = query::settings(&play.state).clone();
    let mut broken = before.cluster_config;
    broken.migration_config.scan_count = 0;
    let change = SettingsChange {
        failure_quorum: Some(7),
        cluster_config: Some(broken),
        ..SettingsChange::default()
    };
    assert!(play.ask(Action::ChangeSettings(change)).is_err());
    assert_eq!(*query::settings(&play.state), before);
    let mode = |wanted: bool| {
        Action::ChangeSettings(SettingsChange {
            enable_ordered_proxy: Some(wanted),
            ..SettingsChange::default()
        })
    };
    play.step(mode(true), Ok(()), 0);
    assert!(query::is_ordered(&play.state));
    play.step(mode(false), Ok(()), 0);
    play.take(create("c", 4));
    assert!(play.ask(mode(true)).is_err());
    play.step(mode(false), Ok(()), 0);
}
