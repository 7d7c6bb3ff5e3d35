//! Which headers go along, and which belong to one connection only.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        CONNECTION, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::clock;

/// Names one wish of a client, over all attempts to carry it out.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A key that some clients and proxies set instead.
const TRACE: HeaderName = HeaderName::from_static("x-request-id");
/// Where the answering replica stood.
const INDEX: HeaderName = HeaderName::from_static("quorate-index");
/// What the answering replica must have reached.
const MIN_INDEX: HeaderName = HeaderName::from_static("quorate-min-index");
/// For whom the gateway speaks.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers about one connection, besides those that `Connection` names.
const OF_ONE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes out what is about one connection only.
pub(super) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

/// Makes a client's headers those of the forwarded request. The gateway answers an `Expect`
/// itself, by reading the body.
pub(super) fn prepare(headers: &mut HeaderMap, method: &Method, client: Option<IpAddr>) {
    strip(headers);
    headers.remove(EXPECT);
    if let Some(client) = client {
        add_client(headers, client);
    }
    if !is_read(method) && !headers.contains_key(KEY) && !headers.contains_key(TRACE) {
        headers.insert(KEY, new_key());
    }
}

/// Whether a method asks for no change.
pub(super) fn is_read(method: &Method) -> bool {
    method.is_safe()
}

fn add_client(headers: &mut HeaderMap, client: IpAddr) {
    let earlier = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let mut chain: Vec<String> = earlier.map(ToOwned::to_owned).collect();
    chain.push(client.to_string());
    if let Ok(value) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// 32 hexadecimal digits, which replicas take as the request id itself.
fn new_key() -> HeaderValue {
    let digits: String = clock::random_id().iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&digits).unwrap_or_else(|_| HeaderValue::from_static("gateway"))
}

/// Asks for an answer that is not older than `shown`, nor than the client asks itself. What is no
/// index stays as it is: the replica says what is wrong with it.
pub(super) fn require(headers: &mut HeaderMap, shown: u64) {
    let asked = match headers.get(MIN_INDEX) {
        Some(value) => match value.to_str().ok().and_then(|text| text.parse::<u64>().ok()) {
            Some(index) => index,
            None => return,
        },
        None => 0,
    };
    let least = shown.max(asked);
    if least > 0 {
        headers.insert(MIN_INDEX, HeaderValue::from(least));
    }
}

/// The index at which an answer was given.
pub(super) fn index(headers: &HeaderMap) -> Option<u64> {
    headers.get(INDEX)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let mut sent = headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("content-encoding", "gzip"),
            ("accept-encoding", "gzip"),
        ]);
        strip(&mut sent);
        assert_eq!(names(&sent), ["accept-encoding", "content-encoding"]);
    }

    #[test]
    fn a_change_gets_a_key_unless_it_has_one() {
        let prepared = |method: &Method, lines: &[(&'static str, &'static str)]| {
            let mut sent = headers(lines);
            prepare(&mut sent, method, None);
            sent.get(KEY).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(prepared(&Method::GET, &[]), None);
        assert_eq!(prepared(&Method::POST, &[("idempotency-key", "a")]).unwrap(), "a");
        assert_eq!(prepared(&Method::POST, &[("x-request-id", "a")]), None);
        let made = prepared(&Method::DELETE, &[]).unwrap();
        assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        assert_ne!(prepared(&Method::DELETE, &[]).unwrap(), made);
    }

    #[test]
    fn answers_must_have_reached_what_was_shown_and_what_the_client_asks() {
        let required = |lines: &[(&'static str, &'static str)], shown| {
            let mut sent = headers(lines);
            require(&mut sent, shown);
            sent.get(MIN_INDEX).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(required(&[], 0), None);
        assert_eq!(required(&[], 7).unwrap(), "7");
        assert_eq!(required(&[("quorate-min-index", "9")], 7).unwrap(), "9");
        assert_eq!(required(&[("quorate-min-index", "5")], 7).unwrap(), "7");
        assert_eq!(required(&[("quorate-min-index", "-5")], 7).unwrap(), "-5");
    }

    #[test]
    fn the_chain_of_clients_grows() {
        let mut sent = headers(&[("x-forwarded-for", "10.0.0.1")]);
        prepare(&mut sent, &Method::GET, Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(sent[FORWARDED_FOR], "10.0.0.1, 127.0.0.1");
    }
}
