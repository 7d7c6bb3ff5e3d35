//! Real disks of a real replica: read, checked, damaged, archived, and founded anew.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::{
    EntryKind, Node, PeerConfig, StartError,
    storage::fixture::copy_as_after_kill,
    testing::{
        harness::{Cluster, current, put},
        register::Registers,
    },
};

/// A replica that has written, taken two snapshots with entries between them, and stopped; its
/// digest as of the end.
async fn stopped(writes: u64) -> (Cluster, PathBuf, crate::Digest) {
    let mut cluster = Cluster::started(1).await;
    for value in 0..writes {
        put(cluster.node(1), &format!("r{}", value % 7), value).await.unwrap();
        if value == writes / 3 || value == writes / 3 * 2 {
            cluster.node(1).snapshot_now().await.unwrap();
        }
    }
    let digest = cluster.node(1).digest().await.unwrap();
    cluster.take(1).shutdown(Duration::from_secs(5)).await;
    let dir = cluster.data_dir(1);
    (cluster, dir, digest)
}

/// Name and content of every file.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

fn peer() -> PeerConfig {
    let peer_addr = "127.0.0.1:7".to_owned();
    PeerConfig { id: 1, peer_addr, client_url: String::new() }
}

fn founding(data_dir: PathBuf) -> Founding {
    let now_ms = 9_999_999_999_999;
    Founding { data_dir, cluster_token: "another".to_owned(), peer: peer(), now_ms }
}

async fn archived(node: &Node<Registers>, with_history: bool, path: &Path) -> Archive {
    let mut stream = node.archive("{}".to_owned(), with_history).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    fs::write(path, bytes).unwrap();
    stream.archive.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_read_and_checked_without_a_change() {
    let (_cluster, dir, digest) = stopped(60).await;
    let before = files(&dir);
    let disk = OfflineDisk::open(&dir).unwrap();
    let report = disk.check(Registers::default()).unwrap();
    assert_eq!((report.snapshots, report.index), (2, digest.index));
    assert!(report.is_newest_snapshot_confirmed, "{report:?}");
    assert_eq!((&report.log_chain, &report.state), (&digest.log_chain, &digest.state));
    let mut kinds = Vec::new();
    disk.entries(0, u64::MAX, |entry| {
        kinds.push(entry.kind);
        Ok(true)
    })
    .unwrap();
    assert_eq!(kinds.iter().filter(|kind| **kind == EntryKind::Command).count(), 60);
    let facts = disk.facts();
    assert_eq!((facts.replica_id, facts.snapshots.len()), (1, 2));
    let mut records = 0;
    scan_snapshot(&facts.snapshots[0].path, |item| {
        if let RecordItem::Head(head) = &item {
            assert_eq!(head.last, facts.snapshots[0].last);
            assert_eq!(head.members.len(), 1);
        }
        records += 1;
        Ok(true)
    })
    .unwrap();
    assert!(records > 8, "{records} records");
    let middle = facts.snapshots[0].last.unwrap().index - 3;
    assert_eq!(disk.state_at(Registers::default(), Some(middle)).unwrap().index(), middle);
    let beyond = disk.state_at(Registers::default(), Some(digest.index + 1)).err().unwrap();
    assert!(beyond.to_string().contains("cannot be reached"), "{beyond}");
    drop(disk);
    assert_eq!(files(&dir), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_replica_is_left_alone() {
    let cluster = Cluster::started(1).await;
    let refused = OfflineDisk::open(&cluster.data_dir(1)).unwrap_err();
    assert!(matches!(refused, StartError::Locked(_)), "{refused}");
    let in_place = found_in_place(&founding(cluster.data_dir(1)), Registers::default(), |_, _| {});
    assert!(matches!(in_place.unwrap_err(), StartError::Locked(_)));
    cluster.stop().await;
    let elsewhere = TempDir::new().unwrap();
    let refused = OfflineDisk::open(elsewhere.path()).unwrap_err().to_string();
    assert!(refused.contains("is not the data directory of a replica"), "{refused}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found() {
    let (_cluster, dir, _) = stopped(30).await;
    let damaged = |change: &dyn Fn(&Path)| {
        let copy = TempDir::new().unwrap();
        let place = copy.path().join("disk");
        copy_as_after_kill(&dir, &place);
        change(&place);
        let checked = OfflineDisk::open(&place).and_then(|disk| disk.check(Registers::default()));
        checked.unwrap_err().to_string()
    };
    let flip = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let snapshots = OfflineDisk::open(&dir).unwrap().facts().snapshots;
    for snapshot in &snapshots {
        let name = snapshot.path.file_name().unwrap();
        let said = damaged(&|place| flip(&place.join("snap").join(name), 40));
        assert!(said.contains("snapshot"), "{said}");
    }
    assert!(damaged(&|place| flip(&place.join("mark"), 9)).contains("mark"));
    assert!(damaged(&|place| flip(&place.join("identity"), 30)).contains("identity"));
    let said = damaged(&|place| fs::remove_file(place.join("raft/CURRENT")).unwrap());
    assert!(said.contains("no database"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_leads_to_every_state_it_holds() {
    let mut cluster = Cluster::started(1).await;
    let place = TempDir::new().unwrap();
    let path = place.path().join("a");
    for value in 0..10 {
        put(cluster.node(1), "a", value).await.unwrap();
    }
    let at_ten = cluster.node(1).digest().await.unwrap();
    cluster.node(1).snapshot_now().await.unwrap();
    for value in 10..20 {
        put(cluster.node(1), "a", value).await.unwrap();
    }
    let at_twenty = cluster.node(1).digest().await.unwrap();
    let archive = archived(cluster.node(1), true, &path).await;
    assert_eq!(archive, Archive::open(&path).unwrap());
    assert_eq!((&archive.base.digest, &archive.end.digest), (&at_ten.state, &at_twenty.state));
    for (index, value) in [(None, 19), (Some(at_ten.index), 9), (Some(at_ten.index + 4), 13)] {
        let recovered = Archive::recover::<Registers>(&path, index).unwrap();
        assert_eq!(recovered.state.machine().get("a"), Some(value));
    }
    let refused = Archive::recover::<Registers>(&path, Some(at_twenty.index + 1)).unwrap_err();
    assert!(refused.to_string().contains("only"), "{refused}");
    let mut entries = 0;
    scan_archive(&path, |item| {
        entries += u64::from(matches!(item, ArchiveItem::Entry(_)));
        Ok(true)
    })
    .unwrap();
    assert_eq!(entries, at_twenty.index - at_ten.index);
    // The present state alone.
    let archive = archived(cluster.node(1), false, &path).await;
    assert_eq!((&archive.base, &archive.end.digest), (&archive.end, &at_twenty.state));
    cluster.take(1).abort().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_altered_or_newer_archive_is_refused() {
    let cluster = Cluster::started(1).await;
    let place = TempDir::new().unwrap();
    let path = place.path().join("a");
    put(cluster.node(1), "a", 1).await.unwrap();
    cluster.node(1).snapshot_now().await.unwrap();
    put(cluster.node(1), "a", 2).await.unwrap();
    archived(cluster.node(1), true, &path).await;
    cluster.stop().await;
    let whole = fs::read(&path).unwrap();
    let refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Archive::recover::<Registers>(&path, None).unwrap_err().to_string()
    };
    for end in (0..whole.len()).step_by(7) {
        refusal(&whole[..end]);
    }
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 4;
        refusal(&altered);
    }
    let cut = refusal(&whole[..whole.len() - 1]);
    assert!(cut.contains("cut off") && cut.contains("another backup"), "{cut}");
    let mut newer = whole.clone();
    newer[6] = 2;
    let newer = refusal(&newer);
    assert!(newer.contains("format 2") && newer.contains("use the program"), "{newer}");
    fs::write(&path, &whole).unwrap();
    Archive::recover::<Registers>(&path, None).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_goes_on_from_beyond_the_old_one() {
    let (mut cluster, dir, digest) = stopped(20).await;
    let new = TempDir::new().unwrap();
    let state = OfflineDisk::open(&dir).unwrap().state_at(Registers::default(), None).unwrap();
    let old_cluster = OfflineDisk::open(&dir).unwrap().facts().cluster_id;
    let founding = founding(new.path().join("disk"));
    let founded = found_disk(&founding, &old_cluster, &state, |_, _| {}).unwrap();
    assert_eq!((founded.jump.from, &founded.digest_before), (digest.index, &digest.state));
    assert_eq!(founded.position.index, digest.index + INDEX_DISTANCE);
    assert_ne!(founded.cluster_id, old_cluster);
    let used = found_disk(&founding, &old_cluster, &state, |_, _| {}).unwrap_err();
    assert!(used.to_string().contains("is not empty"), "{used}");

    let mut config = cluster.config(1);
    config.data_dir = founding.data_dir.clone();
    let refused = cluster.try_start(config.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::Foreign { .. }), "{refused}");
    config.cluster_token = founding.cluster_token.clone();
    cluster.try_start(config).await.unwrap();
    let node = cluster.node(1);
    assert_eq!(current(node).await.get("r5"), Some(19));
    let applied = put(node, "new", 1).await.unwrap();
    assert!(applied.index > digest.index + INDEX_DISTANCE);
    assert!(applied.term > TERM_DISTANCE);
    assert!(current(node).await.state.time_ms() >= founding.now_ms);
    node.snapshot_now().await.unwrap();
    cluster.take(1).shutdown(Duration::from_secs(5)).await;
    let report = OfflineDisk::open(&founding.data_dir).unwrap().check(Registers::default());
    assert!(report.unwrap().is_newest_snapshot_confirmed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_token_is_refused_and_nothing_is_written() {
    let (cluster, dir, _) = stopped(3).await;
    let before = files(&dir);
    let mut founding = founding(dir.clone());
    founding.cluster_token = cluster.config(1).cluster_token;
    let refused = found_in_place(&founding, Registers::default(), |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("choose another token"), "{refused}");
    assert_eq!(files(&dir), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_renewed_in_place_wherever_that_is_cut_off() {
    let (mut cluster, dir, digest) = stopped(20).await;
    let (_, aside) =
        found_in_place(&founding(dir.clone()), Registers::default(), |_, _| {}).unwrap();
    // The old disk is whole where it was put, so every state of the swap can be made from the two.
    let old = OfflineDisk::open(&aside).unwrap().check(Registers::default()).unwrap();
    assert_eq!(old.state, digest.state);
    let parts = ["identity", "recv", "snap", "mark", "raft"];
    for cut in 0..=parts.len() * 2 {
        let copy = TempDir::new().unwrap();
        let (place, put_aside) = (copy.path().join("disk"), "before-recovery-9999999999999");
        let recovery = place.join("recovery");
        copy_as_after_kill(&aside, &place);
        copy_as_after_kill(&dir, &recovery);
        fs::remove_dir_all(recovery.join(put_aside)).unwrap();
        fs::write(recovery.join("put-aside"), put_aside).unwrap();
        fs::create_dir_all(place.join(put_aside)).unwrap();
        let away = parts.iter().map(|part| (place.join(part), place.join(put_aside).join(part)));
        let back = parts.iter().rev().map(|part| (recovery.join(part), place.join(part)));
        for (from, to) in away.chain(back).take(cut) {
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        let founding = founding(place.clone());
        let again = found_in_place(&founding, Registers::default(), |_, _| {}).unwrap_err();
        assert!(again.to_string().contains("is complete now"), "cut {cut}: {again}");
        let disk = OfflineDisk::open(&place).unwrap();
        let found = disk.check(Registers::default()).unwrap();
        assert_eq!(found.index, digest.index + INDEX_DISTANCE, "cut {cut}");
        assert!(!recovery.exists());
    }
    let mut config = cluster.config(1);
    "another".clone_into(&mut config.cluster_token);
    cluster.try_start(config).await.unwrap();
    put(cluster.node(1), "new", 1).await.unwrap();
    cluster.stop().await;
}
