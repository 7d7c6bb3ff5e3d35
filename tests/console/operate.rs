//! Members, levels and backups, by the buttons of the page of operations.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    dialogs,
    page::Console,
    support::{
        cluster::Cluster,
        process::{PROGRAM, Replica},
        spoil::{go_wrong, spoiled, wait_quarantine},
    },
};

const MEMBERS: &str = "/quorate/v1/members";

fn role(members: &Value, id: u64) -> &Value {
    let members = members["members"].as_array().unwrap();
    members.iter().find(|one| one["id"] == id).map_or(&Value::Null, |one| &one["role"])
}

/// A fourth replica comes, after its address was mistyped, and takes the place of another one.
pub async fn members(cluster: &mut Cluster, console: &Console) {
    let replica = Replica::new(4, cluster.dir());
    let (peer_addr, url) = (replica.peer_addr.clone(), replica.url());
    let wrong = [("peer_addr", "127.0.0.1:1"), ("client_url", "http://127.0.0.1:2")];
    console.act("#members", "Add member", &wrong).await;
    console.wait_for(MEMBERS, |all| role(all, 4) == "learner").await;
    // Who has never been heard of gets no vote, whoever asks for it.
    console.push("#members", "Promote replica 4").await;
    console.wait_text("#notes .is-fault", "replica 4").await;
    assert_eq!(role(&console.get(MEMBERS).await, 4), "learner");
    let right = [("peer_addr", &*peer_addr), ("client_url", &*url)];
    console.act("#members", "Change the addresses of replica 4", &right).await;
    console.wait_text("#members", &peer_addr).await;
    cluster.join(replica, &[]);
    console.wait_for(MEMBERS, |all| role(all, 4) == "voter").await;
    cluster.wait_ready(4).await;

    let leaves = cluster.wait_leader().await % 3 + 1;
    let replica = Replica::new(5, cluster.dir());
    let typed = format!("replica {leaves}");
    let at = [
        ("peer_addr", replica.peer_addr.clone()),
        ("client_url", replica.url()),
        ("typed", typed.clone()),
    ];
    let at: Vec<(&str, &str)> = at.iter().map(|(name, value)| (*name, value.as_str())).collect();
    console.act("#members", &format!("Replace replica {leaves}"), &at).await;
    console.wait_text("#members", &typed).await;
    cluster.join(replica, &[]);
    // That the other one is gone for ever is an entry of its own, behind the change of members.
    let is_done = |all: &Value| role(all, 5) == "voter" && all["removed"] == json!([leaves]);
    console.wait_for(MEMBERS, is_done).await;
    console.wait_text("#members", &format!("Removed for ever: {leaves}")).await;
}

/// Backups that are handed out are whole.
pub async fn downloads(console: &Console) {
    let kept = console.get("/quorate/v1/backups").await;
    let name = kept["backups"][0]["name"].as_str().unwrap();
    console.push("#backups", &format!("Download {name}")).await;
    console.push("#backups", "Download the present state").await;
    for (begin, end) in [(name, ""), ("quorate", "quorate.qback")] {
        let file = console.downloaded(begin, end).await;
        let words = ["inspect", "backup", "--file"];
        let seen = Command::new(PROGRAM).args(words).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&seen.stderr).into_owned();
        assert!(seen.status.success(), "{}: {said}", file.display());
    }
}

/// The feature level is raised once every replica knows the next one, and not before.
pub async fn level() {
    const LEVEL: &str = "/quorate/v1/feature-level";
    let held = ["--feature-level-auto", "false", "--feature-level-max", "2"];
    let mut cluster = Cluster::start(3, &held).await;
    let console = Console::open(cluster.url(1)).await;
    console.visit("operations").await;
    console.wait_text("#level", "Nothing to raise").await;
    console.wait_there("#level button:disabled", true).await;
    assert_eq!(console.get(LEVEL).await["level"], 2);
    for id in 1..=3 {
        cluster.replica(id).kill();
        cluster.replica(id).change_args(|args| args.truncate(args.len() - 2));
        cluster.replica(id).start();
        cluster.wait_ready(id).await;
    }
    console.wait_text("#level", "All replicas know more").await;
    dialogs::look(&console, &dialogs::LEVEL).await;
    console.act("#level", "Raise the feature level", &[("typed", "3")]).await;
    console.wait_for(LEVEL, |levels| levels["level"] == 3).await;
    console.wait_text("#level", "Nothing to raise").await;
}

/// A replica in quarantine is shown as such, and healed by a button.
pub async fn heal() {
    let (mut cluster, relay) = spoiled([500; 3]).await;
    go_wrong(&cluster, &relay).await;
    wait_quarantine(&cluster, 3, std::time::Instant::now()).await;
    relay.is_bad.store(false, std::sync::atomic::Ordering::SeqCst);
    let console = Console::open(cluster.url(1)).await;
    console.wait_text("#alarms", "Replica 3").await;
    console.visit("operations").await;
    console.wait_text("#members", "quarantine").await;
    console.push("#members", "Heal replica 3").await;
    cluster.wait_ready(3).await;
    let script = "return !document.querySelector('#members').innerText.includes('quarantine')";
    console.wait("nobody is in quarantine", script, &[]).await;
}
