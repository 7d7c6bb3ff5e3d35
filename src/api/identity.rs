//! Which wish of a client a request stands for, so that a retry happens at most once.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sha2::{Digest, Sha256};

use crate::broker::RequestId;

/// The client's own key; equal keys of one family stand for one wish.
pub const KEY_HEADER: &str = "idempotency-key";
/// A key that proxies and tracing set as well. It may be shared by calls that belong together, so
/// it stands for one wish only together with method and path.
pub const TRACE_HEADER: &str = "x-request-id";

const ECHO: HeaderName = HeaderName::from_static("quorate-request-id");

/// The request id behind a client's key, if it sent one.
///
/// A key of 32 hexadecimal digits is an id as `Quorate-Request-Id` echoes it, so an echo can be
/// sent back as the key of a retry. Any other text is hashed together with the family.
pub(crate) fn request_id(
    family: &str,
    (method, uri): (&Method, &Uri),
    headers: &HeaderMap,
) -> Option<RequestId> {
    if let Some(key) = headers.get(KEY_HEADER) {
        return Some(parse(key).unwrap_or_else(|| hash(&[family.as_bytes(), key.as_bytes()])));
    }
    let key = headers.get(TRACE_HEADER)?;
    let call = format!("{method} {uri}");
    Some(hash(&[family.as_bytes(), call.as_bytes(), key.as_bytes()]))
}

/// The id of a further proposal inside the same wish.
pub(crate) fn derived(id: RequestId, step: &str) -> RequestId {
    let derived = hash(&[&id.0, step.as_bytes()]);
    tracing::debug!(request_id = %id, step, %derived, "a further proposal of a request");
    derived
}

/// The id under which a request is told in the log; known once the request is admitted. Shared by
/// whoever admits it and whoever tells; a read has none, and nothing to share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish(Option<Arc<Mutex<Option<RequestId>>>>);

impl Wish {
    /// The wish of a change, whose id is not known yet.
    pub(crate) fn of_change() -> Self {
        Self(Some(Arc::default()))
    }

    /// The id of the request's proposal.
    pub(crate) fn set(&self, id: Option<RequestId>) {
        if let Some(shared) = &self.0 {
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = id;
        }
    }

    /// What was set last.
    pub(crate) fn get(&self) -> Option<RequestId> {
        *self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the client which id its request had.
pub(crate) fn stamp(headers: &mut HeaderMap, id: RequestId) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(ECHO, value);
    }
}

fn hash(parts: &[&[u8]]) -> RequestId {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    RequestId(id)
}

fn parse(key: &HeaderValue) -> Option<RequestId> {
    let text = key.to_str().ok().filter(|text| text.len() == 32)?;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut id = [0; 16];
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(RequestId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &'static str, value: &'static str, call: &str) -> Option<RequestId> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        ask("undermoon", call, &headers)
    }

    fn ask(family: &str, call: &str, headers: &HeaderMap) -> Option<RequestId> {
        let (method, uri) = call.split_once(' ').unwrap();
        request_id(family, (&method.parse().unwrap(), &uri.parse().unwrap()), headers)
    }

    #[test]
    fn a_key_stands_for_one_wish_of_its_family() {
        assert_eq!(id(KEY_HEADER, "a", "POST /x"), id(KEY_HEADER, "a", "POST /y"));
        assert_ne!(id(KEY_HEADER, "a", "POST /x"), id(KEY_HEADER, "b", "POST /x"));
        let mut headers = HeaderMap::new();
        assert_eq!(ask("undermoon", "POST /x", &headers), None);
        headers.insert(KEY_HEADER, HeaderValue::from_static("a"));
        let other = ask("kvrocks", "POST /x", &headers);
        assert_ne!(other, id(KEY_HEADER, "a", "POST /x"));
    }

    #[test]
    fn a_trace_id_is_one_wish_a_call() {
        assert_eq!(id(TRACE_HEADER, "a", "POST /x"), id(TRACE_HEADER, "a", "POST /x"));
        assert_ne!(id(TRACE_HEADER, "a", "POST /x"), id(TRACE_HEADER, "a", "POST /y"));
    }

    #[test]
    fn an_echoed_id_is_taken_as_it_is() {
        let echoed = "00112233445566778899aabbccddeeff";
        let id = id(KEY_HEADER, echoed, "POST /x").unwrap();
        assert_eq!(id.to_string(), echoed);
        assert_ne!(derived(id, "expand"), id);
    }
}
