//! Request bodies, read as leniently as the original reads them (spec 2.1, 2.8): keys in any case,
//! unknown keys ignored, absent keys empty, whatever follows the first JSON value ignored. Slots
//! come as numbers or text, truth as booleans or text.

use serde_json::{Map, Value};

use super::error::Failure;
use crate::domain::kvrocks::{SlotRange, slots};

/// The members of a body.
#[derive(Debug)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Reads a body that must be there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        match values.next() {
            None => Err(Failure::BadRequest("EOF".to_owned())),
            Some(Err(error)) => Err(Failure::BadRequest(error.to_string())),
            Some(Ok(Value::Object(members))) => Ok(Self(members)),
            Some(Ok(Value::Null)) => Ok(Self(Map::new())),
            Some(Ok(other)) => Err(unfit("body", &other, "an object")),
        }
    }

    /// Reads a body that may be absent.
    pub(super) fn parse_optional(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(Map::new()));
        }
        Self::parse(bytes)
    }

    /// A member, unless it is absent or null. An exact key wins over one in another case.
    fn get(&self, key: &str) -> Option<&Value> {
        let loose = || {
            let mut members = self.0.iter();
            members.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        };
        self.0.get(key).or_else(loose).filter(|value| !value.is_null())
    }

    /// Whether a member is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A text; empty if absent.
    pub(super) fn text(&self, key: &str) -> Result<String, Failure> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(unfit(key, other, "a string")),
        }
    }

    /// A list of texts; empty if absent.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Failure> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| unfit(key, value, "an array"))?;
        let text = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            other => Err(unfit(key, other, "an array of strings")),
        };
        items.iter().map(text).collect()
    }

    /// An integer, also as text; 0 if absent.
    pub(super) fn integer(&self, key: &str) -> Result<i64, Failure> {
        match self.get(key) {
            None => Ok(0),
            Some(Value::String(text)) => {
                slots::integer(text).map_err(|error| Failure::BadRequest(error.to_string()))
            }
            Some(value) => value.as_i64().ok_or_else(|| unfit(key, value, "an integer")),
        }
    }

    /// Truth, also as the text `true` or `false`; false if absent.
    pub(super) fn truth(&self, key: &str) -> Result<bool, Failure> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") || text.is_empty() => {
                Ok(false)
            }
            Some(other) => Err(unfit(key, other, "a boolean")),
        }
    }

    /// A slot or a range of them: `5`, `"5"` or `"5-10"`.
    pub(super) fn slots(&self, key: &str) -> Result<SlotRange, Failure> {
        match self.get(key) {
            Some(value) => slot_range(key, value),
            // The original takes an absent slot for slot 0; nobody means that.
            None => Err(Failure::BadRequest(format!("{key} should NOT be empty"))),
        }
    }

    /// Several slots or ranges: an array of what [`Body::slots`] takes, or one of them.
    pub(super) fn slot_list(&self, key: &str) -> Result<Vec<SlotRange>, Failure> {
        match self.get(key) {
            Some(Value::Array(items)) => items.iter().map(|item| slot_range(key, item)).collect(),
            _ => Ok(vec![self.slots(key)?]),
        }
    }
}

fn slot_range(key: &str, value: &Value) -> Result<SlotRange, Failure> {
    let range = match value {
        Value::String(text) => text.parse(),
        Value::Number(number) => match number.as_i64() {
            Some(slot) => SlotRange::new(slot, slot),
            None => return Err(unfit(key, value, "a slot")),
        },
        other => return Err(unfit(key, other, "a slot or a range of slots")),
    };
    range.map_err(|error| Failure::BadRequest(error.to_string()))
}

fn unfit(key: &str, value: &Value, wanted: &str) -> Failure {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Failure::BadRequest(format!("json: {key} is {found}, must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes()).unwrap()
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        match result {
            Err(Failure::BadRequest(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bodies_are_read_leniently() {
        let body = body(r#"{"NAME":"a","nodes":null,"other":{}} trailing"#);
        assert_eq!(body.text("name").unwrap(), "a");
        assert!(body.texts("nodes").unwrap().is_empty());
        assert_eq!(body.integer("replicas").unwrap(), 0);
        assert!(Body::parse(b"null").unwrap().0.is_empty());
        assert!(Body::parse_optional(b" \n").unwrap().0.is_empty());
    }

    #[test]
    fn what_is_no_body_is_refused() {
        assert_eq!(refusal(Body::parse(b"")), "EOF");
        assert_eq!(refusal(Body::parse(b"[]")), "json: body is an array, must be an object");
        assert!(refusal(Body::parse(b"{")).starts_with("EOF while parsing"));
        let wrong = body(r#"{"name":1,"nodes":["a",1],"replicas":1.5,"slot_only":3}"#);
        assert_eq!(refusal(wrong.text("name")), "json: name is a number, must be a string");
        assert!(refusal(wrong.texts("nodes")).contains("array of strings"));
        assert!(refusal(wrong.integer("replicas")).contains("an integer"));
        assert!(refusal(wrong.truth("slot_only")).contains("a boolean"));
    }

    #[test]
    fn slots_and_truth_come_in_several_forms() {
        for (text, expected) in [
            (r#"{"slot":123}"#, Ok("123")),
            (r#"{"slot":"123"}"#, Ok("123")),
            (r#"{"slot":"5-10"}"#, Ok("5-10")),
            (r#"{"slot":"20-10"}"#, Err("start slot id greater than stop slot id")),
            (r#"{"slot":16384}"#, Err("slot id was out of range, should be between 0 and 16383")),
            (r#"{"slot":-1}"#, Err("slot id was out of range, should be between 0 and 16383")),
            (r#"{"slot":1.5}"#, Err("json: slot is a number, must be a slot")),
            ("{}", Err("slot should NOT be empty")),
        ] {
            let found = body(text).slots("slot").map(|range| range.to_string());
            match expected {
                Ok(range) => assert_eq!(found.unwrap(), range, "{text}"),
                Err(message) => assert_eq!(refusal(found), message, "{text}"),
            }
        }
        for (text, expected) in [
            (r#"{"slot_only":true}"#, true),
            (r#"{"slot_only":"true"}"#, true),
            (r#"{"slot_only":"false"}"#, false),
            ("{}", false),
        ] {
            assert_eq!(body(text).truth("slot_only").unwrap(), expected, "{text}");
        }
        let list = body(r#"{"slots":["1","2-8",9]}"#).slot_list("slots").unwrap();
        assert_eq!(list.len(), 3);
    }
}
