//! Requests that a browser sends for somebody else's page are refused.
//!
//! Where no token is needed, being able to reach the port is what gives the right to change things.
//! A page from elsewhere, open in the browser of somebody who can reach it, must not borrow that.
//! Browsers say on whose behalf they ask: in `Sec-Fetch-Site`, and with every change in `Origin`.
//! Nobody else sends these headers, so nothing changes for programs. Reads need no such check: a
//! page from elsewhere never gets to see the answer.

use axum::{
    Json,
    http::{
        HeaderMap, Method, StatusCode,
        header::{HOST, ORIGIN},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::telemetry;

/// Header in which a browser says from where a request was made.
const SITE: &str = "sec-fetch-site";
/// What changes something though it is asked for by GET.
const ACTING_READS: [&str; 3] = ["/v2/cluster_", "/api/cluster_", "/quorate/v1/pool/cluster_"];

/// What a request is answered that may change something and is somebody else's; `None` for all
/// others.
pub(super) fn refusal(head: &Parts) -> Option<Response> {
    let path = head.uri.path();
    if !may_change(&head.method, path) || is_own(&head.headers) {
        return None;
    }
    metrics::counter!(telemetry::ACCESS_REFUSALS_TOTAL, "outcome" => "forbidden").increment(1);
    let message = "a browser asks for this on behalf of a page from elsewhere";
    let body = json!({ "error": { "code": "cross_site", "message": message } });
    Some((StatusCode::FORBIDDEN, Json(body)).into_response())
}

fn may_change(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET => ACTING_READS.iter().any(|prefix| path.starts_with(prefix)),
        Method::HEAD | Method::OPTIONS => false,
        _ => true,
    }
}

/// Whether a request comes from no page, or from a page of this listener.
fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = headers.get(HOST).map(text).unwrap_or_default();
    let origin = text(origin);
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    !authority.is_empty() && authority.eq_ignore_ascii_case(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, headers: &[(&'static str, &'static str)], expected: bool) {
        let method = method.parse().unwrap();
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let passes = !may_change(&method, path) || is_own(&map);
        assert_eq!(passes, expected, "{method} {path} {headers:?}");
    }

    #[test]
    fn programs_pass_and_foreign_pages_do_not() {
        let post = |headers, expected| check("POST", "/api/v3/proxies/meta", headers, expected);
        post(&[], true);
        post(&[(SITE, "same-origin"), ("origin", "http://elsewhere")], true);
        post(&[(SITE, "none")], true);
        post(&[(SITE, "cross-site")], false);
        post(&[(SITE, "same-site")], false);
        post(&[("origin", "http://a:7799"), ("host", "a:7799")], true);
        post(&[("origin", "https://A:7799"), ("host", "a:7799")], true);
        post(&[("origin", "http://a:1"), ("host", "a:7799")], false);
        post(&[("origin", "null"), ("host", "a:7799")], false);
        post(&[("origin", "http://a:7799")], false);
    }

    #[test]
    fn reads_pass_unless_they_act() {
        let foreign = [(SITE, "cross-site")];
        check("GET", "/quorate/v1/status", &foreign, true);
        check("GET", "/v2/clusters", &foreign, true);
        check("GET", "/v2/cluster/1", &foreign, true);
        check("GET", "/v2/cluster_op", &foreign, false);
        check("GET", "/api/cluster_op", &foreign, false);
        check("GET", "/quorate/v1/pool/cluster_apply", &foreign, false);
    }
}
