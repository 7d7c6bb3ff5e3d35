//! Serves the documents and the page that shows them. Nothing here is secret, nothing changes while
//! the program runs, and nothing needs the log.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, VARY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    routing::get,
};
use bytes::Bytes;
use serde_json::json;

use super::documents;
use crate::api::encoding;

/// The page takes everything from here, and nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const JSON: &str = "application/json";

/// A file with its bytes as they are sent.
struct File {
    name: String,
    media_type: &'static str,
    plain: Bytes,
    packed: Bytes,
}

impl File {
    fn new(name: &str, media_type: &'static str, text: &str) -> Self {
        let plain = Bytes::copy_from_slice(text.as_bytes());
        let (packed, is_gzip) = encoding::pack(plain.to_vec(), true);
        // Whatever could not be packed is sent as it is.
        let packed = if is_gzip { packed } else { Bytes::new() };
        Self { name: name.to_owned(), media_type, plain, packed }
    }
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let listed = documents().iter().map(|document| {
        json!({
            "name": document.name,
            "title": document.title,
            "url": format!("/openapi/{}.json", document.name),
        })
    });
    let index = json!({ "documents": listed.collect::<Vec<_>>() });
    let of = |document: &super::Document| {
        File::new(&format!("{}.json", document.name), JSON, &document.text)
    };
    let mut files: Vec<File> = documents().iter().map(of).collect();
    files.push(File::new("index.json", JSON, &format!("{index:#}\n")));
    let page = |name, media_type, text| File::new(name, media_type, text);
    files.extend([
        page("index.html", "text/html; charset=utf-8", include_str!("page/index.html")),
        page("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
        page("page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ]);
    files
});

/// `GET /openapi/{file}`.
pub(in crate::api) fn router() -> Router {
    Router::new()
        .route("/openapi", get(async || redirect()))
        .route("/openapi/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route(
            "/openapi/{file}",
            get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)),
        )
}

fn redirect() -> Response<Body> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/openapi/"));
    response
}

fn file(name: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        let mut response = Response::new(Body::from("there is no such document\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let is_packed = encoding::takes_gzip(headers) && !file.packed.is_empty();
    let bytes = if is_packed { file.packed.clone() } else { file.plain.clone() };
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Another release has another surface at the same place.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
