//! What the documents of all families have in common.

use serde_json::json;

use super::{
    book::{Book, For},
    schema::{index, words},
};

/// Parameters that every family takes.
pub(crate) fn parameters(book: &mut Book) {
    let text = "`local` reads what this replica has applied; `linearizable` waits for everything \
                that was committed when the request came.";
    book.parameter(
        For::Reads,
        json!({
            "name": "Quorate-Consistency", "in": "header", "required": false,
            "schema": words(&["local", "linearizable"]), "description": text,
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
