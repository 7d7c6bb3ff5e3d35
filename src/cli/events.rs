//! `quorate ctl events`: the change feed, a line an event.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Outcome,
    client::{self, ClientError},
    ctl::Shape,
    output,
};

/// How long a replica waits for something new, seconds; well below the patience of the client.
const WAIT_S: u64 = 5;
/// Pause after a replica did not answer, before the next one is asked.
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `quorate ctl events`.
#[derive(Debug, Args)]
#[command(after_help = "Output, with --output json:\n  \
    {\"family\":\"undermoon\",\"kind\":\"proxy_registered\",\"object\":\"10.0.0.4:7000\",\
    \"revision\":6,\"time_ms\":1790000000000}\n\n\
    Revisions before the oldest one that a replica keeps are refused: read the state, and go on \
    from the Quorate-Index of that answer plus one.")]
pub(super) struct Arguments {
    /// First revision; 0 for the oldest that is kept. Without it everything that is kept, or with
    /// --follow what comes next.
    #[arg(long)]
    from: Option<u64>,
    /// Go on with what happens from now on, over the loss of replicas, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Only of these families: undermoon, kvrocks, cello, admin.
    #[arg(long, value_delimiter = ',')]
    family: Vec<String>,
    /// Only of these kinds, such as cluster_created.
    #[arg(long, value_delimiter = ',')]
    kind: Vec<String>,
    /// Only of objects that begin so, such as NAMESPACE/ for Kvrocks.
    #[arg(long, default_value = "")]
    object: String,
}

#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<Value>,
    next: u64,
}

pub(super) async fn run(arguments: &Arguments, endpoints: &[String], shape: Shape) -> Outcome {
    if shape == Shape::Table {
        output::say(&row(["REVISION", "TIME MS", "FAMILY", "KIND", "OBJECT"]));
    }
    let mut from = match (arguments.from, arguments.follow) {
        (None, false) => Some(0),
        (from, _) => from,
    };
    let mut failures = 0;
    loop {
        let Some(endpoint) = endpoints.get(failures % endpoints.len().max(1)) else {
            return Err("no endpoint was given".into());
        };
        let path = path(arguments, from);
        let page: Page = match client::call(endpoint, Method::GET, &path, None).await {
            Ok(page) => page,
            Err(error) => {
                failures += 1;
                let is_over = !arguments.follow && failures >= endpoints.len();
                if is_over || !is_passing(&error) {
                    return Err(error.into());
                }
                output::complain(&format!("quorate: {error}; asking another replica"));
                sleep(PAUSE).await;
                continue;
            }
        };
        let is_end = page.events.is_empty() && !arguments.follow;
        page.events.iter().for_each(|event| say(event, shape));
        if is_end {
            return Ok(ExitCode::SUCCESS);
        }
        from = Some(page.next);
    }
}

/// Whether another replica, or the same one later, may answer.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. }
        | ClientError::Lost { .. }
        | ClientError::Strange { .. } => true,
        ClientError::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn path(arguments: &Arguments, from: Option<u64>) -> String {
    let wait = if arguments.follow { WAIT_S } else { 0 };
    let mut path = format!("/quorate/v1/events?wait={wait}");
    if let Some(from) = from {
        path.push_str(&format!("&from={from}"));
    }
    let filters = [
        ("family", arguments.family.join(",")),
        ("kind", arguments.kind.join(",")),
        ("object", arguments.object.clone()),
    ];
    for (name, value) in filters.iter().filter(|(_, value)| !value.is_empty()) {
        path.push_str(&format!("&{name}={}", escaped(value)));
    }
    path
}

/// Whatever could mean something in a query string is written as a number.
fn escaped(value: &str) -> String {
    let escape = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b',' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(escape).collect()
}

fn say(event: &Value, shape: Shape) {
    if shape == Shape::Json {
        return output::say(&event.to_string());
    }
    let text = |member: &str| match &event[member] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells = ["revision", "time_ms", "family", "kind", "object"].map(text);
    output::say(&row(cells.each_ref().map(String::as_str)));
}

/// One after the other, so the widths are not known before.
fn row([revision, time, family, kind, object]: [&str; 5]) -> String {
    format!("{revision:<10}  {time:<13}  {family:<9}  {kind:<20}  {object}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_travel_in_the_query() {
        let arguments = Arguments {
            from: None,
            follow: true,
            family: vec!["kvrocks".to_owned(), "cello".to_owned()],
            kind: Vec::new(),
            object: "ns/a&b".to_owned(),
        };
        let expected = "/quorate/v1/events?wait=5&from=7&family=kvrocks,cello&object=ns/a%26b";
        assert_eq!(path(&arguments, Some(7)), expected);
        assert!(!path(&arguments, None).contains("from"));
    }
}
