//! `GET /ui` and what is below it: the web console.
//!
//! The files are the same for everybody and hold no data, so they are served without a token; what
//! the page shows it asks for like any other client. The policy lets a browser load nothing from
//! elsewhere, run nothing that is not one of these files, and show the page in no frame.

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::Response,
    routing::get,
};

use super::encoding;
use crate::ui::{self, Asset};

/// What a browser may do on behalf of the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
);
/// The same for all files, whatever they are.
const FIXED: [(HeaderName, HeaderValue); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Asked for again each time, and sent again only if it changed: after an upgrade no browser
    // mixes files of two releases.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (VARY, HeaderValue::from_static("accept-encoding")),
];

/// The console's part of the client port.
pub(super) fn router() -> Router {
    Router::new()
        .route("/ui", get(|headers: HeaderMap| async move { serve("", &headers) }))
        .route("/ui/", get(|headers: HeaderMap| async move { serve("", &headers) }))
        .route("/ui/{*path}", get(file))
}

async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

fn serve(path: &str, asked: &HeaderMap) -> Response {
    let Some(asset) = ui::find(path) else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let tag = asset.tag(encoding::gzip);
    let mut response = match is_known(asked, tag) {
        true => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => content(asset, encoding::takes_gzip(asked)),
    };
    let headers = response.headers_mut();
    headers.extend(FIXED);
    headers.insert(ETAG, HeaderValue::from_static(tag));
    response
}

fn content(asset: &'static Asset, takes_gzip: bool) -> Response {
    let packed = takes_gzip.then(|| asset.gzip(encoding::gzip)).flatten();
    let is_gzip = packed.is_some();
    let mut response = Response::new(packed.map_or_else(|| Body::from(asset.plain), Body::from));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether the browser has the file already.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|text| text.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, headers: &[(HeaderName, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        serve(path, &headers.collect())
    }

    #[test]
    fn a_file_comes_with_the_policy_and_is_not_sent_twice() {
        let first = ask("", &[]);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(first.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("'none'"));
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let again = ask("index.html", &[(IF_NONE_MATCH, &format!("\"x\", W/{tag}"))]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[ETAG], tag.as_str());
        assert_eq!(ask("", &[(IF_NONE_MATCH, "\"x\"")]).status(), StatusCode::OK);
        assert_eq!(ask("../mod.rs", &[]).status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn who_takes_gzip_gets_it() {
        let packed = ask("main.js", &[(axum::http::header::ACCEPT_ENCODING, "gzip")]);
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        assert!(!ask("main.js", &[]).headers().contains_key(CONTENT_ENCODING));
    }
}
