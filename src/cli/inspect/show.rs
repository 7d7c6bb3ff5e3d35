//! Entries and records as JSON, and as rows of a table. Passwords are dots: see
//! [`Secret`](crate::domain::kvrocks::Secret).

use std::io;

use quorate_raft::{
    EntryKind, RawEntry, entry,
    offline::{RecordItem, describe_membership},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Family, Filter, Shape};
use crate::{cli::output, domain};

/// Longest detail in a row.
const DETAIL_CHARS_MAX: usize = 100;

/// Something to be shown.
pub(super) struct Item {
    /// What a program reads.
    pub(super) json: Value,
    /// What a person reads.
    pub(super) row: Vec<String>,
    family: Option<Family>,
}

/// Columns of entries.
pub(super) const ENTRY_HEAD: [&str; 6] = ["INDEX", "TERM", "TIME", "FAMILY", "WHAT", "DETAIL"];
/// Columns of records.
pub(super) const RECORD_HEAD: [&str; 3] = ["FAMILY", "WHAT", "DETAIL"];

/// Shows items one by one, as they are found.
pub(super) struct Shower<'a> {
    filter: &'a Filter,
    rows: Vec<Vec<String>>,
}

impl<'a> Shower<'a> {
    /// Begins; a table has a head.
    pub(super) fn begin(filter: &'a Filter, head: &[&str]) -> Self {
        Self { filter, rows: vec![head.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Shows an item if it passes the filter.
    pub(super) fn show(&mut self, item: Item) {
        let is_family = self.filter.family.is_none_or(|wanted| item.family == Some(wanted));
        let is_object = self.filter.object.as_ref().is_none_or(|object| names(&item.json, object));
        if !is_family || !is_object {
            return;
        }
        match self.filter.output {
            Shape::Json => output::say(&item.json.to_string()),
            Shape::Table => self.rows.push(item.row),
        }
    }

    /// Says the table.
    pub(super) fn end(self) {
        if self.filter.output == Shape::Table {
            output::say_table(&self.rows);
        }
    }
}

/// An entry of the log.
pub(super) fn entry(raw: &RawEntry) -> io::Result<Item> {
    let mut json = json!({ "index": raw.index, "term": raw.term, "leader": raw.leader });
    let (what, detail, time, family) = match raw.kind {
        EntryKind::Blank => {
            json["kind"] = "blank".into();
            ("blank".to_owned(), Value::Null, String::new(), None)
        }
        EntryKind::Membership => {
            let members = serde_json::to_value(describe_membership(&raw.payload)?)?;
            json["kind"] = "membership".into();
            json["members"] = members.clone();
            ("membership".to_owned(), members, String::new(), None)
        }
        EntryKind::Command if is_empty(raw) => {
            json["kind"] = "nothing".into();
            ("nothing".to_owned(), Value::Null, String::new(), None)
        }
        EntryKind::Command => {
            let found = command(raw, &mut json)?;
            (found.what, found.detail, found.time, Some(found.family))
        }
    };
    let family_name = family.map_or(String::new(), name_of);
    let row =
        vec![raw.index.to_string(), raw.term.to_string(), time, family_name, what, brief(&detail)];
    Ok(Item { json, row, family })
}

/// Whether an entry has no command: a leader writes such a one when its snapshot must cover more
/// than another replica has, and no replica applies it.
fn is_empty(raw: &RawEntry) -> bool {
    entry::view(&raw.payload).is_ok_and(|view| view.command.is_empty())
}

struct Found {
    family: Family,
    what: String,
    detail: Value,
    time: String,
}

fn command(raw: &RawEntry, json: &mut Value) -> io::Result<Found> {
    let odd = |error: &dyn std::fmt::Display| {
        let message = format!("entry {}: {error}", raw.index);
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    let view = entry::view(&raw.payload).map_err(|error| odd(&error))?;
    let command: domain::Command =
        postcard::from_bytes(view.command).map_err(|error| odd(&error))?;
    let family = match &command {
        domain::Command::System(_) => Family::System,
        domain::Command::Undermoon(_) => Family::Undermoon,
        domain::Command::Kvrocks(_) => Family::Kvrocks,
        domain::Command::Cello(_) => Family::Cello,
        domain::Command::Access(_) => Family::Access,
    };
    let (what, detail) = match &command {
        domain::Command::System(command) => split(command),
        domain::Command::Undermoon(command) => split(&command.action),
        domain::Command::Kvrocks(command) => split(command),
        domain::Command::Cello(command) => split(command),
        domain::Command::Access(command) => split(command),
    }?;
    let detail = redacted(family, detail);
    let time = moment(view.time_ms);
    json["kind"] = "command".into();
    json["time_ms"] = view.time_ms.into();
    json["time"] = time.clone().into();
    json["actor"] = view.actor.into();
    json["request_id"] = view.request_id.to_string().into();
    json["fence_term"] = view.fence_term.into();
    json["family"] = name_of(family).into();
    json["what"] = what.clone().into();
    json["command"] = detail.clone();
    Ok(Found { family, what, detail, time })
}

/// A record of a snapshot.
pub(super) fn record(item: &RecordItem) -> io::Result<Item> {
    let (family, what, detail) = match item {
        RecordItem::Head(head) => (None, "Head".to_owned(), serde_json::to_value(head)?),
        RecordItem::Answered { request_id, index, reply_bytes } => {
            let request_id = request_id.to_string();
            let detail =
                json!({ "request_id": request_id, "index": index, "reply_bytes": reply_bytes });
            (None, "Answered".to_owned(), detail)
        }
        RecordItem::Machine { bytes, .. } => {
            let record: domain::Record = postcard::from_bytes(bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let (family, (what, detail)) = match &record {
                domain::Record::System(state) => {
                    (Family::System, ("State".to_owned(), serde_json::to_value(state)?))
                }
                domain::Record::Undermoon(record) => (Family::Undermoon, split(record)?),
                domain::Record::Kvrocks(record) => (Family::Kvrocks, split(record)?),
                domain::Record::Cello(record) => (Family::Cello, split(record)?),
                domain::Record::Token(token) => {
                    (Family::Access, ("Token".to_owned(), serde_json::to_value(token)?))
                }
                domain::Record::FeatureLevel(level) => {
                    (Family::System, ("FeatureLevel".to_owned(), (*level).into()))
                }
                domain::Record::Audit(records) => {
                    (Family::Access, ("Audit".to_owned(), serde_json::to_value(records)?))
                }
            };
            let detail = redacted(family, detail);
            (Some(family), what, detail)
        }
    };
    let family_name = family.map_or_else(|| "engine".to_owned(), name_of);
    let json = json!({ "family": family_name, "what": what, "record": detail });
    let row = vec![family_name, what, brief(&detail)];
    Ok(Item { json, row, family })
}

/// Tokens without the hash of their secret part.
fn redacted(family: Family, mut detail: Value) -> Value {
    fn hide(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(hide),
            Value::Object(members) => {
                for (name, member) in members {
                    if name == "digest" { *member = "******".into() } else { hide(member) }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    if family == Family::Access {
        hide(&mut detail);
    }
    detail
}

/// The name of the variant, and what is in it.
fn split(value: &impl Serialize) -> io::Result<(String, Value)> {
    Ok(match serde_json::to_value(value)? {
        Value::Object(object) if object.len() == 1 => object.into_iter().next().unwrap_or_default(),
        Value::String(name) => (name, Value::Object(Map::new())),
        other => (String::new(), other),
    })
}

/// Whether a text is somewhere in a value, as a whole.
fn names(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| names(item, text)),
        Value::Object(members) => {
            members.iter().any(|(name, member)| name == text || names(member, text))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn name_of(family: Family) -> String {
    let name = match family {
        Family::System => "system",
        Family::Undermoon => "undermoon",
        Family::Kvrocks => "kvrocks",
        Family::Cello => "cello",
        Family::Access => "access",
    };
    name.to_owned()
}

fn brief(detail: &Value) -> String {
    let text = if detail.is_null() { String::new() } else { detail.to_string() };
    match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Milliseconds since the Unix epoch as `2026-11-21T11:45:00.123Z`.
pub(in crate::cli) fn moment(time_ms: u64) -> String {
    let (seconds, milliseconds) = (time_ms / 1_000, time_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The days of four hundred years are always the same; years begin with March here, so that
    // the leap day is a year's last one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_000_000_000_000, "2001-09-09T01:46:40.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (time_ms, wanted) in cases {
            assert_eq!(moment(time_ms), wanted);
        }
    }

    #[test]
    fn no_password_is_shown() {
        use crate::domain::kvrocks::{self, Secret, command::ClusterKey};
        let key = ClusterKey { namespace: "n".to_owned(), name: "c".to_owned() };
        let password = Secret::new("hunter2");
        let command = domain::Command::Kvrocks(kvrocks::Command::ChangePassword {
            cluster: key,
            node_id: None,
            password,
        });
        let proposal = quorate_raft::Proposal {
            request_id: quorate_raft::RequestId([7; 16]),
            actor: "10.0.0.9".to_owned(),
            fence_term: None,
            command,
        };
        let payload = entry::encode(&proposal).unwrap();
        let raw = RawEntry { index: 5, term: 2, leader: 1, kind: EntryKind::Command, payload };
        let item = super::entry(&raw).unwrap();
        let (json, row) = (item.json.to_string(), item.row.join(" "));
        assert!(json.contains("******") && row.contains("******"), "{json}");
        assert!(!json.contains("hunter2") && !row.contains("hunter2"), "{json}");
        assert!(json.contains("\"family\":\"kvrocks\"") && json.contains("10.0.0.9"), "{json}");
        assert!(names(&item.json, "c") && row.contains("ChangePassword"));
    }

    #[test]
    fn an_object_is_named_as_a_whole() {
        let value = json!({ "AddNode": { "addr": "a:1", "in": ["b:1", { "c:1": 5 }] } });
        for text in ["a:1", "b:1", "c:1", "AddNode"] {
            assert!(names(&value, text), "{text}");
        }
        assert!(!names(&value, "a"));
        assert!(!names(&value, "5"));
    }
}
