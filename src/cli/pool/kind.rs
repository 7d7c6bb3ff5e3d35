//! What kind of cluster: plugin, mode, size.

use clap::Args;
use serde_json::{Value, json};

use super::session::cell;

/// The kind of a template, or of a cluster to be made.
#[derive(Debug, Args)]
pub(super) struct Kind {
    /// Consensus plugin.
    #[arg(long)]
    pub(super) plugin: String,
    /// Consensus mode; empty for plugins that have none.
    #[arg(long, default_value = "")]
    pub(super) mode: String,
    /// Number of containers.
    #[arg(long)]
    pub(super) size: u32,
}

impl Kind {
    /// The members of a request.
    pub(super) fn members(&self) -> Value {
        json!({
            "consensus_plugin": self.plugin, "consensus_mode": self.mode, "size": self.size,
        })
    }

    /// Whether a record is of this kind.
    pub(super) fn is_of(&self, record: &Value) -> bool {
        record["consensus_plugin"] == self.plugin.as_str()
            && record["consensus_mode"] == self.mode.as_str()
            && record["size"] == self.size
    }

    /// The kind in one word, as the statistics have it, and the size.
    pub(super) fn word(&self) -> String {
        word(&self.members())
    }
}

/// The kind of a record in one word.
pub(super) fn word(record: &Value) -> String {
    let parts = [&record["consensus_plugin"], &record["consensus_mode"], &record["size"]].map(cell);
    let parts: Vec<_> = parts.into_iter().filter(|part| part != "-").collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_word_with_or_without_mode() {
        let kind = Kind { plugin: "pbft".to_owned(), mode: "batch".to_owned(), size: 4 };
        assert_eq!(kind.word(), "pbft/batch/4");
        assert!(kind.is_of(&kind.members()));
        let without = Kind { plugin: "noops".to_owned(), mode: String::new(), size: 6 };
        assert_eq!(without.word(), "noops/6");
        assert!(!without.is_of(&kind.members()));
    }
}
