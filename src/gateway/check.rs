//! Finds out how each replica is, again and again, and which replicas there are.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, Uri, header::HOST},
};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    Settings,
    endpoint::Endpoint,
    head,
    pool::Lease,
    roster::Roster,
    upstream::{Health, Upstream},
};

/// Where a replica says whether clients should be sent to it.
const READY: &str = "/readyz";
/// Where a replica names the members.
const STATUS: &str = "/quorate/v1/status";
/// Most bytes of an answer to a check.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Shortest pause between two checks, however suspicious a replica is.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Between two looks at the members.
const LEARN_INTERVAL: Duration = Duration::from_secs(5);
/// Most members that are believed.
const MEMBERS_MAX: usize = 32;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Starts to look after the replicas of a roster, until the gateway is dropped with its runtime.
pub(super) fn start(settings: &Arc<Settings>, roster: &Arc<Roster>) {
    for upstream in roster.upstreams() {
        tokio::spawn(watch(Arc::clone(settings), Arc::clone(roster), upstream));
    }
    if settings.learns_members {
        tokio::spawn(learn(Arc::clone(settings), Arc::clone(roster)));
    }
}

/// Checks one replica as long as it is in the roster.
async fn watch(settings: Arc<Settings>, roster: Arc<Roster>, upstream: Arc<Upstream>) {
    let mut line = None;
    while roster.has(&upstream) {
        let asked = timeout(settings.check_timeout, check(&upstream, &mut line)).await;
        let asked = asked.unwrap_or_else(|_| Err("no answer in time".into()));
        match asked {
            Ok(Answer { is_good, index, text }) => {
                let health = if is_good { Health::Ready } else { Health::Unready };
                let fault = text.lines().find_map(|line| line.strip_prefix("[-] "));
                let reason = fault.unwrap_or_default().to_owned();
                roster.note(&upstream, health, reason, index);
            }
            Err(error) => {
                line = None;
                roster.note(&upstream, Health::Dead, error.to_string(), None);
            }
        }
        sleep(PAUSE_MIN).await;
        tokio::select! {
            () = sleep(settings.check_interval.saturating_sub(PAUSE_MIN)) => {}
            () = upstream.suspicion.notified() => {}
        }
    }
    upstream.pool.cut();
}

/// Checks have a connection of their own, which is kept: a new one for each would hide whether
/// the replica still serves the old ones.
async fn check(upstream: &Upstream, line: &mut Option<Lease>) -> Result<Answer, Fault> {
    if let Some(mut lease) = line.take()
        && let Ok(answer) = ask(upstream, &mut lease, READY).await
    {
        *line = Some(lease);
        return Ok(answer);
    }
    // The replica may have been started anew since the last check.
    let mut lease = upstream.pool.connect().await?;
    let answer = ask(upstream, &mut lease, READY).await?;
    *line = Some(lease);
    Ok(answer)
}

struct Answer {
    is_good: bool,
    index: Option<u64>,
    text: String,
}

async fn ask(upstream: &Upstream, lease: &mut Lease, path: &'static str) -> Result<Answer, Fault> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_static(path);
    if let Some(host) = upstream.endpoint.host() {
        request.headers_mut().insert(HOST, host);
    }
    lease.sender().ready().await?;
    let response = lease.sender().send_request(request).await?;
    let (is_good, index) = (response.status().is_success(), head::index(response.headers()));
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { is_good, index, text })
}

/// Asks the replica in use for the members.
async fn learn(settings: Arc<Settings>, roster: Arc<Roster>) {
    loop {
        if let Some(upstream) = roster.current()
            && let Ok(Ok(members)) = timeout(settings.check_timeout, members(&upstream)).await
            && !members.is_empty()
        {
            for added in roster.learn(&members, &settings) {
                tokio::spawn(watch(Arc::clone(&settings), Arc::clone(&roster), added));
            }
        }
        sleep(LEARN_INTERVAL).await;
    }
}

async fn members(upstream: &Upstream) -> Result<Vec<Endpoint>, Fault> {
    let mut lease = upstream.pool.connect().await?;
    let answer = ask(upstream, &mut lease, STATUS).await?;
    if !answer.is_good {
        return Ok(Vec::new());
    }
    Ok(endpoints(&serde_json::from_str(&answer.text)?))
}

/// What is no endpoint this gateway can use is left out.
fn endpoints(status: &Value) -> Vec<Endpoint> {
    let peers = status["peers"].as_array().into_iter().flatten();
    let urls = peers.filter_map(|peer| peer["client_url"].as_str());
    urls.filter_map(|url| url.parse().ok()).take(MEMBERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_without_a_usable_address_are_left_out() {
        let status = json!({ "peers": [
            { "id": 1, "client_url": "http://a:7799" },
            { "id": 2, "client_url": "" },
            { "id": 3, "client_url": "https://c:7799" },
            { "id": 4 },
        ]});
        let found: Vec<_> = endpoints(&status).iter().map(Endpoint::to_string).collect();
        assert_eq!(found, ["a:7799"]);
        assert!(endpoints(&json!({ "error": "no" })).is_empty());
    }
}
