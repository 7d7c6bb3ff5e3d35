//! What the client port offers, as OpenAPI 3.1: one document a family and profile.
//!
//! Served to everybody at `/openapi/NAME.json`, listed at `/openapi/index.json`, to be leafed
//! through at `/openapi/`, and checked in under `docs/openapi`. A family describes its operations in
//! its own `describe` file; the schemas are those of the types its handlers encode and decode.
//! Begin with `book` for how a document is written.

#[cfg(test)]
pub(crate) mod agreement;
pub(crate) mod book;
pub(crate) mod operation;
pub(crate) mod schema;
mod serve;
pub(crate) mod shared;

use std::sync::LazyLock;

use serde_json::Value;

pub(super) use self::serve::router;
use super::{admin, cello, kvrocks, profile::Profile, undermoon};

/// One document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name, in paths and as a file.
    pub name: &'static str,
    /// Its title.
    pub title: String,
    /// The whole of it, indented, with a line break behind it.
    pub text: String,
}

static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let documents = [
        ("undermoon-v2-document", undermoon::describe::v2(Profile::Document)),
        ("undermoon-v2-program", undermoon::describe::v2(Profile::Program)),
        ("undermoon-v3", undermoon::describe::v3()),
        ("kvrocks-v1-document", kvrocks::describe::document(Profile::Document)),
        ("kvrocks-v1-program", kvrocks::describe::document(Profile::Program)),
        ("pool-v2", cello::describe::document()),
        ("admin", admin::describe::document()),
    ];
    documents.into_iter().map(|(name, value)| Document::new(name, &value)).collect()
});

/// Every document, made once.
#[must_use]
pub fn documents() -> &'static [Document] {
    &DOCUMENTS
}

impl Document {
    fn new(name: &'static str, value: &Value) -> Self {
        let title = value["info"]["title"].as_str().unwrap_or_default().to_owned();
        Self { name, title, text: format!("{value:#}\n") }
    }
}
