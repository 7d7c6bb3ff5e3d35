//! Waits for what goes on after its answer.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    POOL,
    session::{Session, SessionError, cell, segment},
};

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// Status of a cluster that is not there.
const NOT_FOUND: u16 = 404;

/// Whether to wait, and how long.
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Wait until it is done, at most so many seconds (300 if not said); a failure if it is not done by then.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    #[arg(require_equals = true)]
    wait: Option<u64>,
}

impl Wait {
    /// Whether the caller wants to wait.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wait.is_some()
    }

    /// Waits until a cluster is made; the cluster then.
    pub(super) async fn until_made(&self, session: &Session, id: &str) -> Result<Value, String> {
        let mut reason = "nobody has tried yet".to_owned();
        let made = self.until(async || match look(session, id).await? {
            None => Err(format!("cluster {id} was given up: {reason}")),
            Some(cluster) if cluster["phase"] == "ready" => Ok(Some(cluster)),
            Some(cluster) => {
                if cluster["phase"] != "creating" {
                    return Err(format!("cluster {id} was given up: {}", error_of(&cluster)));
                }
                reason = error_of(&cluster);
                Ok(None)
            }
        });
        let made = made.await?;
        made.ok_or_else(|| format!("cluster {id} is still being made: {reason}"))
    }

    /// Waits until clusters are gone.
    pub(super) async fn until_gone(&self, session: &Session, ids: &[String]) -> Result<(), String> {
        let mut left = ids.to_vec();
        let mut reason = String::new();
        let gone = self.until(async || {
            while let Some(id) = left.last() {
                match look(session, id).await? {
                    None => drop(left.pop()),
                    Some(cluster) => {
                        reason = format!("cluster {id} is still there: {}", error_of(&cluster));
                        return Ok(None);
                    }
                }
            }
            Ok(Some(()))
        });
        let gone = gone.await?;
        gone.ok_or(reason)
    }

    async fn until<T>(
        &self,
        mut look: impl AsyncFnMut() -> Result<Option<T>, String>,
    ) -> Result<Option<T>, String> {
        let deadline = Instant::now() + Duration::from_secs(self.wait.unwrap_or_default());
        loop {
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(PAUSE).await;
        }
    }
}

/// A cluster, if it is there.
async fn look(session: &Session, id: &str) -> Result<Option<Value>, String> {
    match session.get(&format!("{POOL}/cluster/{}", segment(id))).await {
        Ok(cluster) => Ok(Some(cluster)),
        Err(SessionError::Refused { status: NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// What stood in the way, if anything did.
fn error_of(cluster: &Value) -> String {
    match cell(&cluster["last_error"]) {
        none if none == "-" => "nothing has failed yet".to_owned(),
        error => error,
    }
}
