//! Schemas that descriptions write by hand, where no type of a handler has them: of parameters, and
//! of bodies that are read more leniently than a client should count on.

use serde_json::{Map, Value, json};

/// Any text.
pub(crate) fn text() -> Value {
    json!({ "type": "string" })
}

/// A list of texts.
pub(crate) fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

/// One of these words.
pub(crate) fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// Yes or no.
pub(crate) fn truth() -> Value {
    json!({ "type": "boolean" })
}

/// An integer of 64 bits.
pub(crate) fn integer() -> Value {
    json!({ "type": "integer", "format": "int64" })
}

/// An integer of 64 bits from 0 on: a log index, a time, a count.
pub(crate) fn index() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0 })
}

/// An object with these members, of which some must be there.
pub(crate) fn object(members: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}
