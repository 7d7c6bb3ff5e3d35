//! Where parameters come from (spec 2.2): the query string, then a form, then a JSON object; for
//! each key the first of them that has it, be it empty.
//!
//! The document's own examples are read as they are meant: a second `?` inside `action`, and
//! objects without quotes. The lenient grammar is
//!
//! ```text
//! object = "{" [ pair { sep pair } [ sep ] ] "}"      sep = "," or line breaks, repeated
//! pair   = key ":" value                              only the first colon separates
//! key    = bare word or quoted text
//! value  = quoted text, or raw text up to sep or "}"
//! ```
//!
//! A value without quotes is text, whatever it looks like: what a member is depends on its name.

use std::{borrow::Cow, collections::BTreeMap};

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use serde_json::{Map, Value};

/// Most pairs of a lenient object.
const PAIRS_MAX: usize = 32;
/// Longest value in a lenient object, bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// Most members taken from a query string or a form.
const MEMBERS_MAX: usize = 256;

/// What a body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// Nothing.
    Empty,
    /// An object or a form.
    Members,
    /// Something that has no members.
    Other,
}

/// The parameters of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params {
    members: BTreeMap<String, Value>,
    body: BodyKind,
}

impl Params {
    /// Reads query string and body.
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut members = BTreeMap::new();
        let pairs = query.unwrap_or_default();
        let pairs = unfold_action(pairs).unwrap_or(Cow::Borrowed(pairs));
        add(&mut members, decode_pairs(&pairs));
        let (kind, from_body) = read_body(headers, body);
        add(&mut members, from_body);
        unfold_member(&mut members);
        Self { members, body: kind }
    }

    /// What the body came to.
    pub(super) const fn body(&self) -> BodyKind {
        self.body
    }

    /// A member as it was given; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }

    /// Every member.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// A member as text: numbers in decimal. `Err` for what has no text.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, NotText> {
        self.get(key).map(|value| text_of(value).ok_or(NotText)).transpose()
    }

    /// A member as truth (spec 2.4). `Err` for what is neither true nor false.
    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, NotTruth> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let truth = match value {
            Value::Bool(truth) => Some(*truth),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => match &*text.trim().to_ascii_lowercase() {
                "true" | "1" | "yes" | "on" => Some(true),
                "" | "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        truth.map(Some).ok_or(NotTruth)
    }

    /// A member as integer, also from text; `Ok(None)` if absent or empty.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, NotInteger> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| NotInteger),
            Some(value) => value.as_i64().map(Some).ok_or(NotInteger),
        }
    }
}

/// The value has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText;

/// The value is neither true nor false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotTruth;

/// The value is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotInteger;

/// Text as it is, whole numbers in decimal, nothing else. Numbers too large to be read to the last
/// digit have no text: two users would become one.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_f64() => None,
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Adds what is not there yet; of equal keys the first wins.
fn add(members: &mut BTreeMap<String, Value>, new: impl IntoIterator<Item = (String, Value)>) {
    for (key, value) in new.into_iter().take(MEMBERS_MAX) {
        members.entry(key).or_insert(value);
    }
}

/// The document writes `?action=apply?user_id=x`: the pairs behind the second question mark are
/// pairs like any others, but for those that are given in the usual way, which win.
fn unfold_action(query: &str) -> Option<Cow<'_, str>> {
    let at = if query.starts_with("action=") { 0 } else { query.find("&action=")? + 1 };
    let end = query[at..].find('&').map_or(query.len(), |length| at + length);
    let mark = query[at..end].find('?')? + at;
    Some(Cow::Owned(format!("{}{}&{}", &query[..mark], &query[end..], &query[mark + 1..end])))
}

/// The same in an `action` from elsewhere, or with an escaped question mark.
fn unfold_member(members: &mut BTreeMap<String, Value>) {
    let Some(Value::String(action)) = members.get("action") else { return };
    let Some((action, rest)) = action.split_once('?') else { return };
    let (action, rest) = (action.to_owned(), rest.to_owned());
    let pairs = rest.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), Value::String(value.to_owned()))
    });
    add(members, pairs);
    members.insert("action".to_owned(), Value::String(action));
}

fn read_body(headers: &HeaderMap, body: &[u8]) -> (BodyKind, Vec<(String, Value)>) {
    let trimmed = body.trim_ascii();
    if trimmed.is_empty() {
        return (BodyKind::Empty, Vec::new());
    }
    if trimmed.starts_with(b"{") {
        // Whatever the content type says: common clients call everything a form.
        return match object(trimmed) {
            Some(members) => (BodyKind::Members, members.into_iter().collect()),
            None => (BodyKind::Other, Vec::new()),
        };
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_list = trimmed.starts_with(b"[");
    match &*kind {
        "application/x-www-form-urlencoded" if !is_list => {
            let text = String::from_utf8_lossy(trimmed);
            (BodyKind::Members, decode_pairs(&text))
        }
        "multipart/form-data" => match multipart(content_type, body) {
            Some(members) => (BodyKind::Members, members),
            None => (BodyKind::Other, Vec::new()),
        },
        _ => (BodyKind::Other, Vec::new()),
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Some(members),
        Ok(_) => None,
        Err(_) => lenient(std::str::from_utf8(bytes).ok()?),
    }
}

/// An object without quotes, as the document writes it.
fn lenient(text: &str) -> Option<Map<String, Value>> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut members = Map::new();
    for _ in 0..=PAIRS_MAX {
        rest = rest.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
        if rest.is_empty() {
            return Some(members);
        }
        let (key, after) = lenient_key(rest)?;
        let after = after.trim_start_matches([' ', '\t']).strip_prefix(':')?;
        let (value, after) = lenient_value(after.trim_start_matches([' ', '\t']))?;
        if value.as_str().is_some_and(|text| text.len() > VALUE_BYTES_MAX) {
            return None;
        }
        // Of equal keys the last wins, as in JSON.
        members.insert(key.to_owned(), value);
        rest = after;
    }
    None
}

fn lenient_key(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = quoted(text) {
        return quoted;
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    let key = &text[..end];
    let is_word = key.starts_with(|letter: char| !letter.is_ascii_digit());
    is_word.then_some((key, &text[end..]))
}

fn lenient_value(text: &str) -> Option<(Value, &str)> {
    if let Some(quoted) = quoted(text) {
        let (value, after) = quoted?;
        let after = after.trim_start_matches([' ', '\t']);
        let is_over = after.is_empty() || after.starts_with([',', '\n', '\r']);
        return is_over.then(|| (Value::String(value.to_owned()), after));
    }
    let end = text.find([',', '\n', '\r']).unwrap_or(text.len());
    let raw = text[..end].trim();
    if raw.contains(['{', '}', '[', ']', '"']) {
        return None;
    }
    let value = match raw {
        "None" | "null" => Value::Null,
        raw => Value::String(raw.to_owned()),
    };
    Some((value, &text[end..]))
}

/// Text in quotes and what follows; the inner `None` if it does not end.
#[allow(clippy::option_option)]
fn quoted(text: &str) -> Option<Option<(&str, &str)>> {
    let quote = text.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    Some(text[1..].split_once(quote))
}

/// Pairs of a query string or a form.
fn decode_pairs(text: &str) -> Vec<(String, Value)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), Value::String(decode(value)))
    };
    pairs.map(pair).collect()
}

/// Undoes the escapes of a query string, where a plus stands for a space.
fn decode(text: &str) -> String {
    unescape(&text.replace('+', " "))
}

/// Undoes the escapes of a path; what is no escape stays as it is.
pub(super) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        });
        match (escaped, byte) {
            (Some(escaped), _) => {
                out.push(escaped);
                at += 2;
            }
            (None, byte) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The fields of a multipart form; files are none of them.
fn multipart(content_type: &str, body: &[u8]) -> Option<Vec<(String, Value)>> {
    let boundary = parameter(content_type, "boundary").filter(|text| !text.is_empty())?;
    let text = String::from_utf8_lossy(body);
    let delimiter = format!("--{boundary}");
    let mut parts = text.split(&*delimiter);
    parts.next()?;
    let mut fields = Vec::new();
    for part in parts {
        if part.starts_with("--") {
            return Some(fields);
        }
        let part = part.strip_prefix("\r\n").or_else(|| part.strip_prefix('\n'))?;
        let (head, value) = part.split_once("\r\n\r\n").or_else(|| part.split_once("\n\n"))?;
        let value = value.strip_suffix("\r\n").or_else(|| value.strip_suffix('\n'))?;
        let disposition = head.lines().find(|line| {
            line.get(..20).is_some_and(|name| name.eq_ignore_ascii_case("content-disposition:"))
        })?;
        if let Some(name) = parameter(disposition, "name")
            && parameter(disposition, "filename").is_none()
        {
            fields.push((name, Value::String(value.to_owned())));
        }
    }
    // The last delimiter is missing: the body broke off.
    None
}

/// A parameter of a header's value.
fn parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let is_meant = key.trim().eq_ignore_ascii_case(name);
        is_meant.then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
#[path = "input_test.rs"]
mod tests;
