//! The web console in a real browser: what its pages show, and that every button does what it says.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub)]

#[path = "console/access.rs"]
mod access;
#[path = "support/browser.rs"]
mod browser;
#[path = "console/buttons.rs"]
mod buttons;
mod cello_live;
#[path = "console/dialogs.rs"]
mod dialogs;
#[path = "console/gestures.rs"]
mod gestures;
mod kvrocks_live;
#[path = "console/look.rs"]
mod look;
#[path = "console/operate.rs"]
mod operate;
#[path = "console/page.rs"]
mod page;
#[path = "console/scale.rs"]
mod scale;
mod support;

use std::path::Path;

use cello_live::{Pool, SMALL};
use kvrocks_live::{
    Site,
    kvrocks_node::{Node, Options},
};
use page::{Console, PAGES, register_proxies, register_proxies_of};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use support::{cluster::Cluster, docker::Docker};

/// Elections that a busy machine does not begin by itself, for tests in which nobody dies.
const CALM: [&str; 2] = ["--election-min-ms=2000", "--election-max-ms=4000"];
const ADMIN_TOKEN: &str = "an-administrator-of-the-first-hour";

/// Three replicas with a place for backups.
async fn calm(backups: &Path) -> Cluster {
    let backups = format!("--backup-dir={}", backups.display());
    Cluster::start(3, &[CALM[0], CALM[1], &backups]).await
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn every_button_is_pressed_by_some_test() {
    buttons::assert_pressed();
}

#[test]
fn every_dialog_is_looked_at_by_some_test() {
    dialogs::assert_looked_at();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_at_three_widths_and_are_accessible() {
    let backups = tempfile::TempDir::with_prefix("quorate-console-").unwrap();
    look::look(Site::of(calm(backups.path()).await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialogs_fit_at_three_widths_and_are_accessible() {
    let backups = tempfile::TempDir::with_prefix("quorate-console-").unwrap();
    dialogs::of_clusters(Site::of(calm(backups.path()).await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_chosen_by_pointer_and_keys_and_the_theme_is_turned() {
    let mut site = Site::start().await;
    let console = Console::open(site.cluster.url(site.cluster.wait_follower().await)).await;
    gestures::choose_slots(&mut site, &console).await;
    gestures::turn_theme(&console).await;
    console.is_content().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_loads_and_says_how_old_it_is() {
    let backups = tempfile::TempDir::with_prefix("quorate-console-").unwrap();
    let cluster = calm(backups.path()).await;
    let console = Console::open(cluster.url(cluster.wait_follower().await)).await;
    for (name, panel) in PAGES {
        console.visit(name).await;
        console.wait_there(panel, true).await;
        console.wait_text(".age", "s old").await;
        console.wait_text("#connection", "live").await;
    }
    // By the keyboard alone: the first key press finds the way past the head.
    console.reload().await;
    console.wait_text("#connection", "live").await;
    console.press('\u{E004}').await;
    console.press('\u{E007}').await;
    console
        .wait("the focus is in the page", "return document.activeElement.id === 'main'", &[])
        .await;
    // A dialog gives the focus back to where it came from.
    console.visit("undermoon").await;
    console.push(".page-head", "Create cluster").await;
    let script = "return document.activeElement.name === 'name'";
    console.wait("the focus is in the first field", script, &[]).await;
    console.press('\u{E00C}').await;
    console.wait_there("dialog", false).await;
    let script = "return document.activeElement.textContent === 'Create cluster'";
    console.wait("the focus is back on the button", script, &[]).await;
    console.is_content().await;
    files_are_guarded(&console.url).await;
}

/// What the console is served with; and that no other page can act through a reader's browser.
async fn files_are_guarded(url: &str) {
    let client = Client::builder().no_proxy().build().unwrap();
    let page = client.get(format!("{url}/ui")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for rule in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(rule), "{policy}");
    }
    let tag = page.headers()["etag"].clone();
    let again = client.get(format!("{url}/ui/")).header("If-None-Match", tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let packed = client.get(format!("{url}/ui/main.js")).header("Accept-Encoding", "gzip");
    assert_eq!(packed.send().await.unwrap().headers()["content-encoding"], "gzip");
    let body = json!({"proxy_address": "10.9.9.9:1", "nodes": ["10.9.9.9:2", "10.9.9.9:3"]});
    for (name, value) in [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://elsewhere")] {
        let post = client.post(format!("{url}/api/v3/proxies/meta")).header(name, value);
        assert_eq!(
            post.json(&body).send().await.unwrap().status(),
            StatusCode::FORBIDDEN,
            "{name}"
        );
    }
    let proxies = client.get(format!("{url}/api/v3/proxies/addresses")).send().await.unwrap();
    assert_eq!(proxies.json::<Value>().await.unwrap()["addresses"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undermoon_is_operated() {
    let cluster = Cluster::start(3, &CALM).await;
    let console = Console::open(cluster.url(cluster.wait_follower().await)).await;
    console.visit("undermoon").await;
    let new =
        [("address", "10.0.0.1:7001"), ("first", "10.0.0.1:6001"), ("second", "10.0.0.1:6101")];
    console.act(".page-head", "Add proxy", &new).await;
    let proxies = console.get("/api/v3/proxies/addresses").await;
    assert_eq!(names(&proxies["addresses"]), ["10.0.0.1:7001"]);
    console.wait_text("#proxies", "10.0.0.1:7001").await;
    console.act("#proxies", "Remove 10.0.0.1:7001", &[("typed", "10.0.0.1:7001")]).await;
    // What others do appears by itself.
    register_proxies(&console, 4, 2).await;
    console.wait_text("#proxies", "10.0.0.4:7002").await;
    console.push(".page-head", "Create cluster").await;
    console.fill_in(&[("name", "two words")]).await;
    console.click("dialog button[type=submit]").await;
    console.wait_text("dialog .fault", "1 to 30 letters").await;
    console.submit(&[("name", "sessions"), ("nodes", "4")]).await;
    console.wait_text("#cluster", "Cluster sessions").await;
    console.is_content().await;
    console.wait_text("figcaption", "every slot has an owner").await;
    console.act("#cluster", "Config", &[("scan_count", "33")]).await;
    let shown = console.get("/api/v3/clusters/meta/sessions").await;
    assert_eq!(shown["cluster"]["config"]["migration_config"]["scan_count"], 33);
    fail_over(&console).await;
    scale(&console).await;
    console.push("#cluster", "Delete cluster sessions").await;
    console.fill_in(&[("typed", "session")]).await;
    let script = "return document.querySelector('dialog [type=submit]').disabled";
    assert_eq!(console.run(script, &[]).await, json!(true), "half a name is no consent");
    console.submit(&[("typed", "sessions")]).await;
    assert!(names(&console.get("/api/v3/clusters/names").await["names"]).is_empty());
    console.wait_text("#clusters", "There is no cluster yet").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undermoon_is_scaled_until_the_slots_have_moved() {
    scale::to_and_fro(Cluster::start(3, &CALM).await).await;
}

async fn scale(console: &Console) {
    console.act("#cluster", "Scale", &[("way", "add"), ("nodes", "8")]).await;
    let info = console.get("/api/v3/clusters/info/sessions").await;
    assert_eq!((&info["node_number"], &info["is_migrating"]), (&json!(8), &json!(false)));
    console.act("#cluster", "Delete free nodes", &[]).await;
    let info = console.get("/api/v3/clusters/info/sessions").await;
    assert_eq!(info["node_number"], 4);
    console.act("#cluster", "Scale", &[("way", "add"), ("nodes", "8")]).await;
    console.act("#cluster", "Scale", &[("way", "expand")]).await;
    let info = console.get("/api/v3/clusters/info/sessions").await;
    assert_eq!(info["is_migrating"], true);
    console.wait_text("figcaption", "slots on their way").await;
    console.click("#cluster summary").await;
    console.wait_text("#cluster details table", "moving to").await;
}

async fn fail_over(console: &Console) {
    let shown = console.get("/api/v3/clusters/meta/sessions").await;
    let address = shown["cluster"]["nodes"][0]["proxy_address"].as_str().unwrap().to_owned();
    let name = format!("Fail over {address}");
    console.act("#proxies", &name, &[("typed", &address)]).await;
    let failed = console.get("/api/v3/proxies/failed/addresses").await;
    assert_eq!(names(&failed["addresses"]), [address.as_str()]);
    console.wait_text("#proxies", "failed").await;
    console.act("#proxies", &format!("Clear what is said against {address}"), &[]).await;
    let failed = console.get("/api/v3/proxies/failed/addresses").await;
    assert!(names(&failed["addresses"]).is_empty());
    let tilted = console.get("/api/v3/metadata").await;
    let is_normal = |value: &Value| {
        let chunks = value["clusters"]["sessions"]["chunks"].as_array().unwrap();
        chunks.iter().all(|chunk| chunk["role_position"] == "Normal")
    };
    assert!(!is_normal(&tilted), "{tilted}");
    console.act("#cluster", "Balance", &[]).await;
    assert!(is_normal(&console.get("/api/v3/metadata").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kvrocks_is_operated() {
    let mut site = Site::start().await;
    let options = Options { knows_pause: true, ..Options::default() };
    let nodes = site.add_nodes(5, &options).await;
    let console = Console::open(site.cluster.url(site.cluster.wait_follower().await)).await;
    console.visit("kvrocks").await;
    console.act(".page-head", "Create namespace", &[("name", "shop")]).await;
    console.act("#namespaces", "Delete namespace shop", &[("typed", "shop")]).await;
    assert_eq!(console.get("/api/v1/namespaces").await["data"]["namespaces"], json!(["n"]));
    let members = nodes[..2].join(" ");
    let new = [("name", "orders"), ("nodes", &members), ("replicas", "2")];
    console.act(".page-head", "Create cluster", &new).await;
    console.wait_text("#cluster", "Cluster orders").await;
    console.act("#cluster", "Add shard", &[("nodes", &nodes[2])]).await;
    console.act("#cluster", "Add a node to shard 1", &[("addr", &nodes[3])]).await;
    site.agreed("orders").await;
    console.wait_text("#cluster", "4 of 4").await;
    migrate(&console).await;
    cancel_and_retry(&console, site.node(&nodes[0])).await;
    let pushes = |site: &Site| {
        let heard = site.nodes[&nodes[3]].heard();
        heard.iter().filter(|words| words.starts_with("CLUSTERX SETNODES")).count()
    };
    let before = pushes(&site);
    console.push("#cluster", "Push the topology to all nodes").await;
    console.wait_text("#notes", "All nodes have the recorded topology").await;
    assert!(pushes(&site) > before, "nothing was pushed");
    rehearse_and_fail_over(&console, site.node(&nodes[1])).await;
    site.agreed("orders").await;
    console.act("#cluster", &format!("Remove node {}", nodes[3]), &[("typed", &nodes[3])]).await;
    let path = "/api/v1/namespaces/n/clusters/orders";
    let shown = console.get(path).await;
    assert_eq!(shown["data"]["cluster"]["shards"][1]["nodes"].as_array().unwrap().len(), 1);
    site.agreed("orders").await;
    console.act("#cluster", "Remove shard 1", &[("typed", "shard 1")]).await;
    let shown = console.get(path).await;
    assert_eq!(shown["data"]["cluster"]["shards"].as_array().unwrap().len(), 1);
    site.agreed("orders").await;
    console.act("#cluster", "Delete cluster orders", &[("typed", "orders")]).await;
    assert_eq!(console.get("/api/v1/namespaces/n/clusters").await["data"]["clusters"], json!([]));
    let known = [("name", "again"), ("nodes", &*nodes[1])];
    console.act(".page-head", "Import cluster", &known).await;
    let shown = console.get("/api/v1/namespaces/n/clusters/again").await;
    assert_eq!(shown["data"]["cluster"]["shards"].as_array().unwrap().len(), 1);
    console.wait_text("#cluster", "Cluster again").await;
}

/// A migration that waits behind another one is cancelled, and tried again later.
async fn cancel_and_retry(console: &Console, source: &Node) {
    let jobs = "/api/v1/namespaces/n/clusters/orders/migrations";
    let is = |id: u64, state: &'static str| {
        move |answer: &Value| {
            let jobs = answer["data"]["migrations"].as_array().unwrap();
            jobs.iter().any(|job| job["id"] == id && job["state"] == state)
        }
    };
    source.fault(|faults| faults.holds_migrations = true);
    for slots in ["0-9", "10-19"] {
        console.act("#cluster", "Migrate slots", &[("slots", slots), ("target", "1")]).await;
    }
    console.push("#migrations", "Cancel migration 4").await;
    console.wait_for(jobs, is(4, "cancelled")).await;
    source.fault(|faults| faults.holds_migrations = false);
    console.wait_for(jobs, is(3, "succeeded")).await;
    // Another attempt is another migration.
    console.push("#migrations", "Retry migration 4").await;
    console.wait_for(jobs, is(5, "succeeded")).await;
    console.act("#cluster", "Migrate slots", &[("slots", "0-19"), ("target", "0")]).await;
    console.wait_for(jobs, is(6, "succeeded")).await;
    console.wait_text("[data-shard='1'] .chips", "no slots").await;
}

/// By the form, and by dragging a range onto a shard.
async fn migrate(console: &Console) {
    let jobs = "/api/v1/namespaces/n/clusters/orders/migrations";
    console.act("#cluster", "Migrate slots", &[("slots", "100-199"), ("target", "1")]).await;
    let over = |count: usize| {
        move |answer: &Value| {
            let jobs = answer["data"]["migrations"].as_array().unwrap();
            jobs.len() == count && jobs.iter().all(|job| job["state"] == "succeeded")
        }
    };
    console.wait_for(jobs, over(1)).await;
    console.wait_text("[data-shard='1'] .chips", "100-199").await;
    console.wait_text("#migrations", "succeeded").await;
    console.drag("[data-shard='1'] .chip", "[data-shard='0'] h4").await;
    let script = "
        const form = document.querySelector('dialog form');
        return form && [form.elements.slots.value, form.elements.target.value].join(' ');";
    assert_eq!(console.wait("the dialog", script, &[]).await, json!("100-199 0"));
    console.submit(&[]).await;
    console.wait_for(jobs, over(2)).await;
    console.wait_text("[data-shard='1'] .chips", "no slots").await;
}

async fn rehearse_and_fail_over(console: &Console, replica: &Node) {
    let path = "/api/v1/namespaces/n/clusters/orders";
    let before = console.get(path).await;
    console.push("#cluster", "Fail over shard 0").await;
    let accepted = format!("The new master would be {}", replica.addr);
    console.wait_text("dialog .verdict", &accepted).await;
    // The nodes are asked anew each time.
    replica.fault(|faults| faults.is_loading = true);
    console.push("dialog", "Rehearse again").await;
    console.wait_text("dialog .verdict", "It would be refused").await;
    replica.fault(|faults| faults.is_loading = false);
    console.push("dialog", "Rehearse again").await;
    console.wait_text("dialog .verdict", &accepted).await;
    assert_eq!(console.get(path).await, before, "a rehearsal changes nothing");
    console.submit(&[("typed", "shard 0")]).await;
    let shown = console.get(path).await;
    let nodes = shown["data"]["cluster"]["shards"][0]["nodes"].as_array().unwrap();
    let master = nodes.iter().find(|node| node["role"] == "master").unwrap();
    assert_eq!(master["addr"], replica.addr);
    console.wait_text("#failovers", "manual").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_is_operated() {
    let pool = Pool::start(Docker::start(), &[SMALL], 4_000).await;
    let console = Console::open(pool.cluster.url(pool.cluster.wait_follower().await)).await;
    console.visit("pool").await;
    let daemon = pool.docker.tcp_url();
    let host =
        [("name", "compute1"), ("daemon_url", &*daemon), ("capacity", "2"), ("autofill", "true")];
    console.act(".page-head", "Add host", &host).await;
    let clusters = "/quorate/v1/pool/clusters";
    let are = |count: usize, member: &'static str, value: &'static str| {
        move |answer: &Value| {
            let all = answer["data"].as_array().unwrap();
            all.iter().filter(|one| one[member] == value).count() == count
        }
    };
    console.wait_for(clusters, are(2, "health", "OK")).await;
    console.act(".page-head", "Apply for a cluster", &[("user", "ann")]).await;
    let given = console.wait_for(clusters, are(1, "user_id", "ann")).await;
    let mut given = given["data"].as_array().unwrap().iter();
    let name = given.find(|one| one["user_id"] == "ann").unwrap()["name"].as_str().unwrap();
    console.wait_text("#clusters", "ann").await;
    look::views(&console, &[("pool", "#hosts")]).await;
    console.resize(1280, 900).await;
    dialogs::look(&console, &dialogs::POOL).await;
    let restart = format!("Restart cluster {name}");
    console.push("#clusters", &restart).await;
    console.wait_text("#notes", &format!("{name} is restarted")).await;
    console.wait_for(clusters, are(2, "health", "OK")).await;
    let release = format!("Release cluster {name}");
    console.act("#clusters", &release, &[("typed", name)]).await;
    console.wait_for(clusters, are(0, "user_id", "ann")).await;
    console
        .act("#hosts", "Change host compute1", &[("autofill", "false"), ("capacity", "3")])
        .await;
    let hosts = console.get("/quorate/v1/pool/hosts").await;
    assert_eq!(
        (&hosts["data"][0]["capacity"], &hosts["data"][0]["autofill"]),
        (&json!(3), &json!("false"))
    );
    console.push("#hosts", "Fill host compute1").await;
    let all = console.wait_for(clusters, are(3, "health", "OK")).await;
    let name = all["data"][0]["name"].as_str().unwrap();
    console.act("#clusters", &format!("Delete cluster {name}"), &[("typed", name)]).await;
    let gone = |answer: &Value| answer["data"].as_array().unwrap().len() == 2;
    console.wait_for(clusters, gone).await;
    templates(&console).await;
    console.act("#hosts", "Clean host compute1", &[("typed", "compute1")]).await;
    console.wait_for(clusters, |answer| answer["data"] == json!([])).await;
    console.act("#hosts", "Remove host compute1", &[("typed", "compute1")]).await;
    assert_eq!(console.get("/quorate/v1/pool/hosts").await["data"], json!([]));
    console.is_content().await;
}

async fn templates(console: &Console) {
    let templates = "/quorate/v1/pool/templates";
    let text = |image: &str| {
        let service = json!({"name": "rest", "offset": 0, "container_port": 80});
        let one =
            json!({"consensus_plugin": "web", "size": 2, "image": image, "services": [service]});
        one.to_string()
    };
    console.act("#templates", "Put template", &[("text", &text("web:1"))]).await;
    console.act("#templates", "Edit template web/2", &[("text", &text("web:2"))]).await;
    let kept = console.get(templates).await;
    let images: Vec<_> = kept["data"].as_array().unwrap().iter().map(|one| &one["image"]).collect();
    assert!(images.contains(&&json!("web:2")) && !images.contains(&&json!("web:1")), "{kept}");
    for kind in ["web/2", "noops/1"] {
        console.act("#templates", &format!("Remove template {kind}"), &[("typed", kind)]).await;
    }
    assert_eq!(console.get(templates).await["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_operated_and_its_events_are_found() {
    let backups = tempfile::TempDir::with_prefix("quorate-console-").unwrap();
    let cluster = calm(backups.path()).await;
    let follower = cluster.wait_follower().await;
    let console = Console::open(cluster.url(follower)).await;
    console.visit("operations").await;
    let script = "
        const checks = [...document.querySelectorAll('#readiness li')];
        return checks.length > 6 && checks.every((one) => one.querySelector('small').textContent);";
    console.wait("every check of readiness is explained", script, &[]).await;
    // Leadership goes where it is wanted, through whichever replica is asked.
    let name = format!("Make replica {follower} the leader");
    console.act("#members", &name, &[]).await;
    let status = console.get("/quorate/v1/status").await;
    assert_eq!(status["leader"], json!(follower));
    console.wait_text("#leadership", &format!("replica {follower}")).await;
    console.act("#leadership", "Transfer leadership", &[]).await;
    console.wait_for("/quorate/v1/status", |status| status["leader"] != json!(follower)).await;
    console.push("#log", "Take a snapshot").await;
    console.wait_for("/quorate/v1/status", |status| status["snapshot_index"] != 0).await;
    console.push("#backups", "Take a backup").await;
    console.wait_text("#backups table", ".qback").await;
    let kept = console.get("/quorate/v1/backups").await;
    assert_eq!(kept["backups"].as_array().unwrap().len(), 1);
    operate::downloads(&console).await;
    let new = [("peer_addr", "127.0.0.1:1"), ("client_url", "http://127.0.0.1:2")];
    console.act("#members", "Add member", &new).await;
    console
        .wait_for("/quorate/v1/members", |all| all["members"].as_array().unwrap().len() == 4)
        .await;
    console.wait_text("#members", "learner").await;
    console.act("#members", "Remove replica 4", &[("typed", "replica 4")]).await;
    console.wait_for("/quorate/v1/members", |all| all["removed"] == json!([4])).await;
    console.wait_text("#members", "Removed for ever: 4").await;
    events(&console).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_move_and_take_the_places_of_others() {
    let mut cluster = Cluster::start(3, &CALM).await;
    let console = Console::open(cluster.url(cluster.wait_leader().await)).await;
    console.visit("operations").await;
    operate::members(&mut cluster, &console).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feature_level_is_raised_once_all_know_it() {
    operate::level().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_in_quarantine_is_healed() {
    operate::heal().await;
}

async fn events(console: &Console) {
    console.visit("events").await;
    register_proxies(console, 1, 2).await;
    console.wait_text("#events", "10.0.0.1:7002").await;
    console.wait_text("#audit", "register proxy").await;
    console.fill("#filter-text", "10.0.0.1:7001").await;
    let script = "return !document.querySelector('#events').innerText.includes('10.0.0.1:7002')";
    console.wait("the filter takes out the rest", script, &[]).await;
    console.wait_text("#events", "10.0.0.1:7001").await;
    console.fill("#filter-text", "").await;
    console.fill("#filter-family", "kvrocks").await;
    console.wait_text("#events", "No event matches").await;
    console.fill("#filter-family", "").await;
    // What happens while the list is held comes when it goes on.
    console.push(".filters", "Hold the list of events").await;
    let revision = "
        const said = document.querySelector('#events p.quiet').textContent;
        return Number(said.split('up to revision ')[1].replace(/\\D/g, '')) > arguments[0];";
    let before = console.get("/quorate/v1/status").await["applied_index"].clone();
    register_proxies_of(console, 2..=26, 2).await;
    let after = json!(before.as_u64().unwrap() + 49);
    console.wait("the feed has gone on", revision, &[after]).await;
    let script = "return document.querySelector('#events').innerText.includes('10.0.0.25:7002')";
    assert_eq!(console.run(script, &[]).await, json!(false), "the list is held");
    console.push(".filters", "Let the list of events go on").await;
    console.wait_text("#events", "10.0.0.25:7002").await;
    let rows = "return document.querySelectorAll('#events tbody tr').length";
    assert_eq!(console.run(rows, &[]).await, json!(40));
    console.push("#events", "Show more of the events").await;
    let more = "return document.querySelectorAll('#events tbody tr').length > 50";
    console.wait("more events", more, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_follows_the_death_of_leaders_and_tells_of_its_own_replica() {
    let mut cluster = Cluster::start(3, &[]).await;
    let leader = cluster.wait_leader().await;
    let here = cluster.wait_follower().await;
    let console = Console::open(cluster.url(here)).await;
    console.visit("overview").await;
    console.wait_text(".figures", &format!("replica {leader}")).await;
    cluster.replica(leader).kill();
    let next = cluster.wait_leader_other_than(leader).await;
    console.wait_text(".figures", &format!("replica {next}")).await;
    console.wait_text("#alarms", &format!("Replica {leader}")).await;
    console.wait_text("#leaders", &format!("replica {next}")).await;
    // A change made now arrives by itself.
    console.visit("undermoon").await;
    register_proxies(&console, 1, 1).await;
    console.wait_text("#proxies", "10.0.0.1:7001").await;
    cluster.replica(here).kill();
    console.wait_text("#silent", "has not answered").await;
    console.wait_text("#connection", "no answer").await;
    console.wait_there("#silent a", true).await;
    // What was seen stays, and is marked.
    console.wait_text("#proxies", "10.0.0.1:7001").await;
    console.wait_there(".age.is-old", true).await;
    cluster.replica(here).start();
    cluster.wait_ready(here).await;
    console.wait_text("#connection", "live").await;
    console.wait_there("#silent", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_for_where_one_is_needed() {
    let flags = ["--anonymous", "none", "--admin-token", ADMIN_TOKEN];
    let cluster = Cluster::start(3, &flags).await;
    let console = Console::open(cluster.url(cluster.wait_follower().await)).await;
    console.wait_text("dialog h2", "Log in").await;
    console.fill_in(&[("token", "guessed")]).await;
    console.click("dialog button[type=submit]").await;
    console.wait_text("dialog .fault", "unknown, revoked or expired").await;
    console.submit(&[("token", ADMIN_TOKEN)]).await;
    console.wait_text("#replicas", "leader").await;
    console.wait_text("#connection", "live").await;
    console.visit("events").await;
    console.wait_text("#audit", "that match").await;
    // It is in this tab alone, and goes when it is told to.
    let kept =
        console.run("return [document.cookie, Object.values(localStorage).join()]", &[]).await;
    assert!(!kept.to_string().contains(ADMIN_TOKEN), "{kept}");
    access::log_out_in_the_midst(&console).await;
}
