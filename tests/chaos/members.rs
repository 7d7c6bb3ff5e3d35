//! Changes of the membership while something else is going on: a replica is registered, starts,
//! gets its vote, and is removed.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{plan::Dice, site::Site};
use crate::support::{
    cluster::{Cluster, PATIENCE},
    process::free_port,
};

/// Ids of replicas that are registered and never started.
const FIRST_ID: u64 = 100;
/// Time for one change; a replica waits eight seconds for the leader to carry it out.
const CHANGE_TIME: Duration = Duration::from_secs(10);

/// Registers a learner and removes it again: two changes of the membership, in the middle of
/// whatever is happening.
pub async fn change(site: &Site, dice: &mut Dice) {
    let id = FIRST_ID + dice.below(1_000_000);
    let place = format!("127.0.0.1:{}", free_port());
    let body = json!({ "id": id, "peer_addr": place, "client_url": "" });
    until_done(&site.cluster, Method::POST, "", &body, |members| role(members, id).is_some()).await;
    let path = format!("/{id}");
    let is_gone = |members: &Value| role(members, id).is_none();
    until_done(&site.cluster, Method::DELETE, &path, &json!({}), is_gone).await;
}

/// Asks all replicas in turn until one of them shows that the change took place.
async fn until_done(
    cluster: &Cluster,
    method: Method,
    path: &str,
    body: &Value,
    is_done: impl Fn(&Value) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    for replica in cluster.replicas.iter().cycle() {
        let url = format!("{}/quorate/v1/members", replica.url());
        let request = cluster.client.request(method.clone(), format!("{url}{path}")).json(body);
        said = answer(request).await;
        // The leader is asked; a replica that is cut off tells what it knows and says so.
        let known = cluster.ask(replica.id, "/quorate/v1/members").await;
        if known.is_some_and(|members| !members["leader"].is_null() && is_done(&members)) {
            return;
        }
        if Instant::now() > deadline {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    cluster.fail(&format!("{method} {path} is not done: {said}"));
}

async fn answer(request: RequestBuilder) -> String {
    match request.timeout(CHANGE_TIME).send().await {
        Ok(answer) => format!("{} {}", answer.status(), answer.text().await.unwrap_or_default()),
        Err(error) => format!("{error:?}"),
    }
}

fn role(members: &Value, id: u64) -> Option<&str> {
    let members = members["members"].as_array()?;
    let member = members.iter().find(|member| member["id"] == id)?;
    member["role"].as_str()
}

/// Waits until a replica votes.
pub async fn wait_voter(cluster: &Cluster, id: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for replica in &cluster.replicas {
            let members = cluster.ask(replica.id, "/quorate/v1/members").await;
            let found = members.unwrap_or_default();
            let is_settled = found["is_changing"] == false && !found["leader"].is_null();
            if is_settled && role(&found, id).is_some_and(|role| role != "learner") {
                return;
            }
        }
        if Instant::now() > deadline {
            cluster.fail(&format!("replica {id} gets no vote"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Removes a replica that runs, waits until it has ended, and forgets it.
pub async fn remove(site: &mut Site, id: u64) {
    let path = format!("/{id}");
    let is_gone = |members: &Value| role(members, id).is_none();
    until_done(&site.cluster, Method::DELETE, &path, &json!({}), is_gone).await;
    let ended = site.cluster.replica(id).wait_exit(PATIENCE);
    if ended.is_none() {
        site.cluster.fail(&format!("replica {id} was removed and goes on"));
    }
    site.cluster.replicas.retain(|replica| replica.id != id);
}
