//! Compressed answers: gzip where the client says it takes it.

use std::io::Write;

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Response,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
    },
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Whether the client takes gzip. A client that names no encoding gets none: the answer would be
/// legal, but unreadable for a person with curl.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for choice in value.to_str().unwrap_or_default().split(',') {
            let (coding, weight) = split_weight(choice);
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
                return weight > 0.0;
            }
            if coding == "*" {
                any = Some(weight > 0.0);
            }
        }
    }
    any.unwrap_or(false)
}

fn split_weight(choice: &str) -> (&str, f32) {
    let mut parts = choice.split(';').map(str::trim);
    let coding = parts.next().unwrap_or_default();
    let weight = parts
        .find_map(|part| part.strip_prefix("q="))
        .map_or(1.0, |text| text.trim().parse().unwrap_or(0.0));
    (coding, weight)
}

/// A JSON answer from its encoded bytes, compressed if `is_gzip`.
pub(crate) fn json(bytes: Vec<u8>, is_gzip: bool) -> Response<Body> {
    let (bytes, is_gzip) = pack(bytes, is_gzip);
    packed_json(bytes, is_gzip)
}

/// Compresses bytes if that is wanted; the flag says whether they are.
pub(crate) fn pack(bytes: Vec<u8>, is_gzip: bool) -> (Bytes, bool) {
    let compressed = if is_gzip { gzip(&bytes) } else { None };
    let is_gzip = compressed.is_some();
    (compressed.unwrap_or(bytes).into(), is_gzip)
}

/// A JSON answer from bytes that are compressed already, or are not.
pub(crate) fn packed_json(bytes: Bytes, is_gzip: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Writing to memory does not fail; if it ever does, the plain bytes are as good an answer.
pub(crate) fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn check(accepted: Option<&'static str>, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(accepted) = accepted {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        }
        assert_eq!(takes_gzip(&headers), expected, "{accepted:?}");
    }

    #[test]
    fn gzip_is_sent_only_to_clients_that_name_it() {
        check(None, false);
        check(Some("identity"), false);
        check(Some("gzip"), true);
        check(Some("deflate, GZIP;q=0.5"), true);
        check(Some("gzip;q=0, *"), false);
        check(Some("*"), true);
        check(Some("*;q=0"), false);
    }

    #[test]
    fn compressed_bytes_decode_to_the_plain_ones() {
        let plain = vec![b'a'; 10_000];
        let packed = gzip(&plain).unwrap();
        assert!(packed.len() < plain.len() / 10);
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }
}
