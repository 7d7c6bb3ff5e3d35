//! The limit of reads: a handler that does nothing but return bytes.

use axum::{
    Router,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::IntoResponse,
};
use bytes::Bytes;
use clap::Args;
use tokio::net::TcpListener;

use crate::Failure;

/// What is answered.
#[derive(Args)]
pub(crate) struct Options {
    /// Whose answer it is.
    #[arg(long)]
    from: String,
    /// Ask for it compressed.
    #[arg(long)]
    gzip: bool,
}

/// Serves until it is killed; says its address first.
pub(crate) async fn serve(options: Options) -> Result<(), Failure> {
    let mut request = reqwest::Client::new().get(&options.from);
    if options.gzip {
        request = request.header("accept-encoding", "gzip");
    }
    let answer = request.send().await?.error_for_status()?;
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = answer.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if options.gzip && !headers.contains_key(CONTENT_ENCODING) {
        return Err("the answer was not compressed".into());
    }
    let bytes = answer.bytes().await?;
    let app = Router::new().fallback(move || answer_with(headers.clone(), bytes.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn answer_with(headers: HeaderMap, bytes: Bytes) -> impl IntoResponse {
    (StatusCode::OK, headers, bytes)
}
