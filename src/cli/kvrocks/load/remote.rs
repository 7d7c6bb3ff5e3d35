//! Reads everything a running controller of the original has, over its own interface.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value};

use super::{super::session::items, document::METADATA};
use crate::cli::{
    client::{self, ClientError, Request},
    kvrocks::scope::{namespace_path, segment},
};

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys and values as the controller's store has them.
pub(super) async fn read(url: &str) -> Result<Map<String, Value>, ClientError> {
    let mut pairs = Map::new();
    let namespaces = get(url, "/api/v1/namespaces", "namespaces").await?;
    for namespace in items(&namespaces).iter().filter_map(Value::as_str) {
        pairs.insert(format!("{METADATA}/{namespace}"), namespace.into());
        let path = format!("{}/clusters", namespace_path(namespace));
        let clusters = get(url, &path, "clusters").await?;
        for name in items(&clusters).iter().filter_map(Value::as_str) {
            let cluster = get(url, &format!("{path}/{}", segment(name)), "cluster").await?;
            pairs.insert(format!("{METADATA}/{namespace}/cluster/{name}"), cluster);
        }
    }
    Ok(pairs)
}

async fn get(url: &str, path: &str, key: &str) -> Result<Value, ClientError> {
    // The original does not know the header; this program shows what the original would.
    let headers = [("quorate-profile", "program")];
    let request =
        Request { method: Method::GET, path, headers: &headers, body: None, patience: PATIENCE };
    let text = client::send_elsewhere(url, request).await?;
    let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
    let found = answer.get_mut("data").and_then(|data| data.get_mut(key)).map(Value::take);
    found.ok_or_else(|| ClientError::Unreachable {
        endpoint: url.to_owned(),
        reason: format!("{path} has no {key}: not a controller"),
    })
}
