//! Conditions of lists: every member a record has to equal (spec 2.6).

use serde_json::Value;

use super::{
    error::Failure,
    input::{BodyKind, Params, text_of},
};

/// Parameters that say how to read, not what.
const CONTROLS: [&str; 2] = ["consistency", "stale"];

/// Conditions, all of which must hold.
#[derive(Debug)]
pub(super) struct Filter(Vec<(String, String)>);

impl Filter {
    /// Reads the conditions on clusters. `user` stands for `user_id` where that is absent.
    pub(super) fn of_clusters(params: &Params) -> Result<Self, Failure> {
        params.integer("size").map_err(|_| Failure::bad("Invalid cluster_size"))?;
        let mut filter = Self::of(params)?;
        filter.0.retain(|(key, value)| key != "state" && !(key == "size" && value.is_empty()));
        let has_user_id = filter.0.iter().any(|(key, _)| key == "user_id");
        filter.0.retain(|(key, _)| key != "user" || !has_user_id);
        for (key, value) in &mut filter.0 {
            match &**key {
                "user" => "user_id".clone_into(key),
                // `04` and ` 4` are the same number.
                "size" => *value = value.trim().parse::<i64>().unwrap_or(-1).to_string(),
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Reads the conditions.
    pub(super) fn of(params: &Params) -> Result<Self, Failure> {
        if params.body() == BodyKind::Other {
            return Err(Failure::bad("Invalid request"));
        }
        let wanted =
            params.iter().filter(|(key, value)| !CONTROLS.contains(key) && !value.is_null());
        let condition = |(key, value): (&str, &Value)| {
            let text = scalar(value).map(|text| (key.to_owned(), text));
            text.ok_or_else(|| Failure::bad("Invalid request"))
        };
        wanted.map(condition).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a record, as it is answered, is meant. A member it does not have is never met.
    pub(super) fn is_met(&self, record: &Value) -> bool {
        self.0.iter().all(|(key, wanted)| {
            record.get(key).and_then(scalar).is_some_and(|found| found == *wanted)
        })
    }
}

/// What has no members as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(truth) => Some(truth.to_string()),
        value => text_of(value),
    }
}
