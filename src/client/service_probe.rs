//! Whether a service of a cluster answers.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Asks services.
pub trait ServiceProbe: fmt::Debug + Send + Sync {
    /// Whether `ADDRESS:PORT` accepts a connection within `time`; the error says why not.
    fn connect<'a>(&'a self, address: &'a str, time: Duration)
    -> BoxFuture<'a, Result<(), String>>;

    /// The JSON that `GET` of a URL answers within `time`. `None` if nothing answers, or with
    /// something else than 200 and JSON.
    fn get<'a>(&'a self, url: &'a str, time: Duration) -> BoxFuture<'a, Option<Value>>;
}

/// Asks over the network.
#[derive(Clone, Debug)]
pub struct NetProbe {
    client: reqwest::Client,
}

impl NetProbe {
    /// A probe that follows no redirects and uses no proxy.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new() -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { client })
    }

    async fn ask(&self, url: &str, time: Duration) -> Option<Value> {
        let mut response = self.client.get(url).timeout(time).send().await.ok()?;
        if response.status() != reqwest::StatusCode::OK {
            return None;
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return None;
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).ok()
    }
}

impl ServiceProbe for NetProbe {
    fn connect<'a>(
        &'a self,
        address: &'a str,
        time: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            match timeout(time, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} ms", time.as_millis())),
            }
        })
    }

    fn get<'a>(&'a self, url: &'a str, time: Duration) -> BoxFuture<'a, Option<Value>> {
        Box::pin(self.ask(url, time))
    }
}
