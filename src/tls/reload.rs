//! Looks at the files again and again, and loads what changed.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{Tls, TlsError};
use crate::telemetry;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How a file looks from outside; different after every way to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Face {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
}

/// Loads files that changed, until the program ends. Ends at once if there is no TLS.
///
/// # Errors
/// If signals cannot be listened to.
pub async fn keep_current(tls: Tls) -> io::Result<()> {
    let paths = tls.paths();
    if paths.is_empty() {
        return Ok(());
    }
    show(&tls);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(faces(&paths));
    loop {
        let is_due = tokio::select! {
            _ = ticks.tick() => watch.is_due(faces(&paths)),
            received = hangup.recv() => {
                if received.is_none() {
                    return Ok(());
                }
                watch.judged(faces(&paths));
                true
            }
        };
        if is_due {
            load(&tls);
        }
    }
}

/// Decides when files that change are worth loading.
#[derive(Debug)]
struct Watch {
    /// As they were when they were last loaded, or tried.
    judged: Vec<Option<Face>>,
    /// As they were at the last look.
    seen: Vec<Option<Face>>,
}

impl Watch {
    fn new(now: Vec<Option<Face>>) -> Self {
        Self { judged: now.clone(), seen: now }
    }

    /// Whether files changed, and stood still since the last look: a certificate and its key are
    /// replaced one after the other.
    fn is_due(&mut self, now: Vec<Option<Face>>) -> bool {
        let stands_still = now == self.seen;
        let is_due = stands_still && now != self.judged;
        if is_due {
            self.judged.clone_from(&now);
        }
        self.seen = now;
        is_due
    }

    fn judged(&mut self, now: Vec<Option<Face>>) {
        self.judged.clone_from(&now);
        self.seen = now;
    }
}

fn load(tls: &Tls) {
    let outcome = match tls.reload() {
        Ok(()) => {
            tracing::info!("certificates loaded again");
            show(tls);
            "ok"
        }
        Err(error) => {
            let reason = chain(&error);
            tracing::error!(reason, "certificates not loaded again, the former ones stay in use");
            metrics::gauge!(telemetry::TLS_FILES_BAD).set(1.0);
            "failed"
        }
    };
    metrics::counter!(telemetry::TLS_RELOADS_TOTAL, "outcome" => outcome).increment(1);
}

/// All is well with the files, and that is when they end.
fn show(tls: &Tls) {
    metrics::gauge!(telemetry::TLS_FILES_BAD).set(0.0);
    for (port, end_s) in tls.expiries() {
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(telemetry::TLS_EXPIRY_TIME_SECONDS, "port" => port).set(end_s as f64);
    }
}

fn faces(paths: &[PathBuf]) -> Vec<Option<Face>> {
    paths.iter().map(|path| face(path)).collect()
}

/// `None` for a file that cannot be looked at.
fn face(path: &Path) -> Option<Face> {
    let found = fs::metadata(path).ok()?;
    Some(Face {
        inode: (found.dev(), found.ino()),
        bytes: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

fn chain(error: &TlsError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: u64) -> Vec<Option<Face>> {
        vec![Some(Face { inode: (1, 1), bytes, modified: (1, 1) }), None]
    }

    #[test]
    fn files_are_due_once_they_stand_still() {
        let mut watch = Watch::new(with(1));
        assert!(!watch.is_due(with(1)));
        assert!(!watch.is_due(with(2)), "it may still change");
        assert!(!watch.is_due(with(3)), "it did");
        assert!(watch.is_due(with(3)));
        assert!(!watch.is_due(with(3)), "loaded once");
        assert!(!watch.is_due(vec![None, None]));
        assert!(watch.is_due(vec![None, None]), "a file that is gone is worth a complaint");
    }

    #[test]
    fn a_replaced_file_has_another_face() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        assert_eq!(face(&path), None);
        fs::write(&path, "one").unwrap();
        let before = face(&path).unwrap();
        assert_eq!(face(&path), Some(before.clone()));
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(face(&path), Some(before));
    }
}
