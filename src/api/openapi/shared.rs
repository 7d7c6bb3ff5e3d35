//! What the documents of all families have in common.

use serde_json::{Value, json};

use super::book::{Book, For};

/// Parameters that every family takes.
pub(crate) fn parameters(book: &mut Book) {
    let consistency = json!({ "type": "string", "enum": ["local", "linearizable"] });
    let text = "`local` reads what this replica has applied; `linearizable` waits for everything \
                that was committed when the request came.";
    book.parameter(
        For::Reads,
        json!({
            "name": "Quorate-Consistency", "in": "header", "required": false,
            "schema": consistency, "description": text,
        }),
    );
    book.parameter(
        For::Reads,
        json!({
            "name": "Quorate-Min-Index", "in": "header", "required": false,
            "schema": index(),
            "description": "Waits until this log index is applied here.",
        }),
    );
    book.parameter(
        For::Changes,
        json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" },
            "description": "The change happens at most once under one key, however often it is \
                            asked for. The key of another change is refused.",
        }),
    );
}

/// The header that picks a profile, with the one this document is about.
pub(crate) fn profile(book: &mut Book, profile: &str) {
    book.parameter(
        For::All,
        json!({
            "name": "Quorate-Profile", "in": "header", "required": false,
            "schema": { "type": "string", "const": profile },
            "description": "Whose promises the answer keeps; this document describes one of them. \
                            Without the header the listener's configuration decides.",
        }),
    );
}

/// A log index.
pub(crate) fn index() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0 })
}
