//! `migrate slot`: begins a migration at once or says why not.

use clap::{ArgAction, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::{Done, rehearsal, scope::Scope, session::Session, unsupported};
use crate::domain::kvrocks::SlotRange;

/// What can be migrated.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// A slot or a range of slots of one shard.
    Slot {
        /// `5` or `5-10`.
        #[arg(allow_hyphen_values = true)]
        slots: String,
        /// Index of the shard that will have them.
        #[arg(long, allow_negative_numbers = true)]
        target: Option<i64>,
        /// Change the owner only; no data moves.
        #[arg(long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
        #[arg(default_value_t = false, default_missing_value = "true")]
        slot_only: bool,
        /// Only tell what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let (slots, target, is_slot_only, is_rehearsal) = match resource {
        Resource::Slot { slots, target, slot_only, dry_run } => {
            (slots, *target, *slot_only, *dry_run)
        }
        Resource::Other(words) => return unsupported(words),
    };
    let path = format!("{}/migrate", scope.cluster()?);
    judge_slots(slots)?;
    let target = target.ok_or("target is required, please specify with --target")?;
    let body = json!({ "slot": slots, "target": target, "slot_only": is_slot_only });
    if is_rehearsal {
        return rehearsal::run(session, Method::POST, &path, Some(body)).await;
    }
    let data = session.change(Method::POST, &path, Some(body)).await?;
    session.report(data, &format!("migrate slot[{slots}] task is submitted successfully."))
}

/// Refuses what is no slot and no range, before anybody is asked.
pub(super) fn judge_slots(slots: &str) -> Result<(), String> {
    let refused = |error| format!("invalid slot number: {slots}, error: {error}");
    slots.parse::<SlotRange>().map(drop).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_slots_are_told_before_anybody_is_asked() {
        assert_eq!(judge_slots("5-10"), Ok(()));
        let refused = judge_slots("20-10").unwrap_err();
        let text = "invalid slot number: 20-10, error: start slot id greater than stop slot id";
        assert_eq!(refused, text);
    }
}
