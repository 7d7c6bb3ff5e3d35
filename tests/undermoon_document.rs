//! Every promise of the two documents about `/api/v2`, asked of a follower. The promises are the
//! rows of `undermoon/promises.txt`; the profile is `document`, the default.

// A table of promises is as long as it is.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

mod support;
mod undermoon;

use undermoon::{Row, Site};

const PROMISES: &str = include_str!("undermoon/promises.txt");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_of_the_documents_is_kept_by_a_follower() {
    let site = Site::start().await;
    let mut checked = 0;
    for line in lines() {
        match line.strip_prefix("== ") {
            Some("fresh") => {}
            Some(setting) => site.set_up(setting).await,
            None => {
                site.check(&Row::parse(&line)).await;
                checked += 1;
            }
        }
    }
    assert!(checked > 110, "only {checked} promises were checked");
}

/// The table without comments, lines that go on joined.
fn lines() -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in PROMISES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}
