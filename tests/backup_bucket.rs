//! Backups in a bucket of an object store: taken by the leader, listed and brought back through any
//! replica, thinned out; a store that is away or refuses is told, and is tried again.

#![allow(clippy::unwrap_used)]

#[path = "support/bucket.rs"]
mod bucket;
mod support;

use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use bucket::{BUCKET, BucketServer, SECRET_ACCESS_KEY};
use serde_json::Value;
use support::{
    cluster::{Cluster, PATIENCE},
    process::PROGRAM,
    writers,
};
use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

fn flags(server: &BucketServer, secret: &str, more: &[&str]) -> Vec<String> {
    let mut flags = server.flags("one/two", secret);
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    flags
}

async fn start(flags: &[String]) -> Cluster {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Cluster::start(3, &flags).await
}

async fn ctl(cluster: &Cluster, id: u64, words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["ctl", "--endpoint", &cluster.url(id), "-o", "json"]).args(words).env_clear();
    command.output().await.unwrap()
}

async fn done(cluster: &Cluster, id: u64, words: &[&str]) -> Value {
    let output = ctl(cluster, id, words).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn names(cluster: &Cluster, id: u64) -> Vec<String> {
    let listed = done(cluster, id, &["backup", "list"]).await;
    assert_eq!(listed["directory"], format!("s3://{BUCKET}/one/two"));
    let backups = listed["backups"].as_array().unwrap();
    backups.iter().map(|backup| backup["name"].as_str().unwrap().to_owned()).collect()
}

async fn change(cluster: &Cluster, id: u64, proxy: &str) {
    let base = format!("{}/api/v3", cluster.url(id));
    let answer = writers::register(&cluster.client, &base, proxy).send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
}

/// Waits until something is so of what a replica's metrics say.
async fn wait_metric(cluster: &Cluster, id: u64, line: &str, is_so: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let url = format!("{}/metrics", cluster.url(id));
        let shown = cluster.client.get(url).send().await.unwrap().text().await.unwrap();
        let values = shown.lines().filter_map(|shown| shown.strip_prefix(line));
        if values.filter_map(|value| value.trim().parse().ok()).any(&is_so) {
            return;
        }
        assert!(Instant::now() < deadline, "{line}: {shown}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Nothing that a replica wrote, to its disk or to its log, has the secret.
fn has_secret(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => has_secret(&path),
        false => {
            let secret = SECRET_ACCESS_KEY.as_bytes();
            fs::read(&path).unwrap().windows(secret.len()).any(|bytes| bytes == secret)
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_go_to_a_bucket_and_come_back() {
    let server = BucketServer::start().await;
    let more = ["--backup-interval-s", "3600", "--backups-max", "2"];
    let cluster = start(&flags(&server, SECRET_ACCESS_KEY, &more)).await;
    let leader = cluster.wait_leader().await;
    let follower = cluster.wait_follower().await;
    // The schedule takes one as soon as there is none.
    wait_metric(&cluster, leader, "quorate_backups_total{outcome=\"ok\"}", |count| count >= 1.0)
        .await;
    let first = names(&cluster, follower).await;
    assert_eq!(first.len(), 1, "{first:?}");
    for proxy in 0..50 {
        let proxy = format!("10.0.0.{proxy}:7000");
        change(&cluster, follower, &proxy).await;
    }
    let created = done(&cluster, leader, &["backup", "create"]).await;
    let path = created["path"].as_str().unwrap();
    let name = path.strip_prefix(&format!("s3://{BUCKET}/one/two/")).unwrap();
    assert!(server.objects().join("one/two").join(name).is_file(), "{path}");
    let listed = names(&cluster, follower).await;
    assert_eq!((listed.len(), listed[0].as_str()), (2, name), "{listed:?}");

    let place = TempDir::with_prefix("quorate-fetched-").unwrap();
    let to = place.path().display().to_string();
    let fetched = done(&cluster, follower, &["backup", "fetch", name, "--to", &to]).await;
    assert_eq!(fetched["backup"]["end"], created["backup"]["end"]);
    assert_eq!(fetched["bytes"], created["bytes"]);
    let file = place.path().join(name);
    assert_eq!(fetched["file"], file.display().to_string());
    let verified = done(&cluster, follower, &["backup", "verify", file.to_str().unwrap()]).await;
    assert_eq!(verified["backup"]["end"]["digest"], created["backup"]["end"]["digest"]);

    let missing = ctl(&cluster, follower, &["backup", "fetch", "quorate-1-1.qback"]).await;
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && said.contains("no backup quorate-1-1.qback"), "{said}");
    let strange = ctl(&cluster, follower, &["backup", "fetch", "../../x"]).await;
    assert!(!strange.status.success());
    assert!(!has_secret(cluster.dir()), "the secret is on a disk or in a log");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_backups_leave_the_bucket_and_strangers_stay() {
    let server = BucketServer::start().await;
    let inner = server.objects().join("one/two");
    fs::create_dir_all(&inner).unwrap();
    for second in 1..=4 {
        fs::write(inner.join(format!("quorate-{second}-{second}000.qback")), "old").unwrap();
    }
    fs::write(inner.join("notes.txt"), "x").unwrap();
    let more = ["--backup-interval-s", "3600", "--backups-max", "3"];
    let cluster = start(&flags(&server, SECRET_ACCESS_KEY, &more)).await;
    let leader = cluster.wait_leader().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = names(&cluster, leader).await;
        if left.len() == 3 && left[1..] == ["quorate-4-4000.qback", "quorate-3-3000.qback"] {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(inner.join("notes.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_and_tried_again() {
    let server = BucketServer::start().await;
    server.set_away(true);
    let more = ["--backup-interval-s", "1"];
    let cluster = start(&flags(&server, SECRET_ACCESS_KEY, &more)).await;
    let leader = cluster.wait_leader().await;
    let failed = "quorate_backups_total{outcome=\"failed\"}";
    wait_metric(&cluster, leader, failed, |count| count >= 1.0).await;
    // Nobody else waits for it.
    change(&cluster, leader, "10.0.0.1:7000").await;
    server.set_away(false);
    wait_metric(&cluster, leader, "quorate_backups_total{outcome=\"ok\"}", |count| count >= 1.0)
        .await;
    assert!(!names(&cluster, leader).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_and_not_shown() {
    let server = BucketServer::start().await;
    let cluster = start(&flags(&server, "another-secret", &[])).await;
    let leader = cluster.wait_leader().await;
    let refused = ctl(&cluster, leader, &["backup", "create"]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "a store that checks signatures took a wrong one");
    assert!(said.contains(&format!("s3://{BUCKET}/one/two")), "{said}");
    assert!(!said.contains("another-secret"), "{said}");
    assert!(fs::read_dir(server.objects()).unwrap().next().is_none());
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let check = |flags: &[&str]| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["config", "check", "--replica-id", "1", "--cluster-token", "a-token"]);
        command.args(["--peers", "1=127.0.0.1:1/http://127.0.0.1:2", "--data-dir", "/nowhere"]);
        let output = command.args(flags).env_clear().output().unwrap();
        assert!(!output.status.success(), "{flags:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let both = check(&["--backup-dir", "/b", "--backup-bucket", "s3://quorate"]);
    assert!(both.contains("give backup_dir or backup_bucket"), "{both}");
    let alone = check(&["--backup-ca", "/ca.pem"]);
    assert!(alone.contains("need backup_bucket"), "{alone}");
    for wrong in ["quorate", "s3://", "s3:///x", "https://x/y", "s3://no way/x"] {
        let said = check(&["--backup-bucket", wrong]);
        assert!(said.contains("s3://BUCKET/PREFIX"), "{wrong}: {said}");
    }
    let endpoint = check(&["--backup-bucket", "s3://quorate", "--backup-endpoint", "minio:9000"]);
    assert!(endpoint.contains("https://"), "{endpoint}");
    let place = TempDir::with_prefix("quorate-keys-").unwrap();
    let file = place.path().join("credentials");
    fs::write(&file, "only-a-secret").unwrap();
    let file = file.display().to_string();
    let keys = check(&["--backup-bucket", "s3://quorate", "--backup-credentials-file", &file]);
    assert!(keys.contains("ACCESS_KEY_ID:SECRET_ACCESS_KEY"), "{keys}");
    assert!(!keys.contains("only-a-secret"), "{keys}");
}
