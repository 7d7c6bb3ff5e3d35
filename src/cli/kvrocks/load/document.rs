//! Exports of the original's store: the forms they come in, and what their keys mean (spec 6.1).

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Where the original keeps namespaces and clusters.
pub(super) const METADATA: &str = "/kvrocks/metadata";

/// An export that is none of the known forms.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an export: {0}")]
pub(super) struct NotAnExport(String);

/// A cluster as it was stored.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) value: Value,
}

/// What an export holds, by what its keys mean.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Export {
    /// Namespaces by key.
    pub(super) namespaces: BTreeMap<String, String>,
    pub(super) clusters: Vec<Stored>,
    /// Keys of the clusters that an earlier program was migrating.
    pub(super) busy: BTreeSet<String>,
    /// Keys nobody needs, and why.
    pub(super) needless: Vec<(String, &'static str)>,
    /// Keys that mean nothing.
    pub(super) unknown: Vec<String>,
}

/// Reads an export: what `etcdctl get --prefix -w json` prints, what `consul kv export` prints, or
/// a JSON object of keys and values, bare or as this program's own answer.
pub(super) fn parse(bytes: &[u8]) -> Result<Export, NotAnExport> {
    let bad = |text: &str| NotAnExport(text.to_owned());
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| NotAnExport(error.to_string()))?;
    let pairs = match value {
        Value::Array(pairs) => encoded(&pairs, false)?,
        Value::Object(mut members) => match (members.remove("kvs"), members.remove("data")) {
            (Some(Value::Array(pairs)), _) => encoded(&pairs, true)?,
            (Some(_), _) => return Err(bad("kvs is no list")),
            (None, Some(Value::Object(members))) if members.keys().all(|key| is_key(key)) => {
                members.into_iter().collect()
            }
            // What etcdctl prints when there is nothing under the prefix.
            (None, None) if members.contains_key("header") => Vec::new(),
            (None, None) => members.into_iter().collect(),
            (None, Some(_)) => return Err(bad("data has other members than keys")),
        },
        _ => return Err(bad("neither an object nor a list")),
    };
    if let Some((key, _)) = pairs.iter().find(|(key, _)| !is_key(key)) {
        return Err(NotAnExport(format!("{key:?} is no key of the original's store")));
    }
    Ok(sort(pairs))
}

/// Consul has no slash in front.
fn is_key(key: &str) -> bool {
    key.trim_start_matches('/').starts_with("kvrocks/")
}

fn encoded(pairs: &[Value], encodes_keys: bool) -> Result<Vec<(String, Value)>, NotAnExport> {
    let decode = |value: &Value| match value {
        Value::Null => Ok(String::new()),
        value => value
            .as_str()
            .and_then(decoded)
            .ok_or_else(|| NotAnExport(format!("{value} is no text in base64"))),
    };
    let pair = |pair: &Value| {
        let key = match (encodes_keys, pair["key"].as_str()) {
            (false, Some(key)) => key.to_owned(),
            _ => decode(&pair["key"])?,
        };
        Ok((key, Value::String(decode(&pair["value"])?)))
    };
    pairs.iter().map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

/// Sorts pairs by what their keys mean.
pub(super) fn sort(pairs: Vec<(String, Value)>) -> Export {
    let mut export = Export::default();
    for (key, value) in pairs {
        let bare = key.trim_start_matches('/').to_owned();
        let key = format!("/{bare}");
        let segments: Vec<&str> = bare.split('/').collect();
        match segments[..] {
            ["kvrocks", "metadata", namespace] if !namespace.is_empty() => {
                export.namespaces.insert(key.clone(), namespace.to_owned());
            }
            ["kvrocks", "metadata", namespace, "cluster", name] => {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                let value = opened(value);
                export.clusters.push(Stored { key: key.clone(), namespace, name, value });
            }
            ["kvrocks", "metadata", namespace, "cluster", name, "migrate", "doing"] => {
                export.busy.insert(format!("{METADATA}/{namespace}/cluster/{name}"));
            }
            ["kvrocks", "metadata", _, "cluster", _, "failover", "queue"] => {
                export.needless.push((key, "failovers to come are found anew"));
            }
            ["kvrocks", "controller", ..] => {
                export.needless.push((key, "the election of the original"));
            }
            _ => export.unknown.push(key),
        }
    }
    export
}

/// The record inside a text, plain or in base64; anything else as it is.
fn opened(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let plain = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    plain(text).or_else(|| plain(&decoded(text)?)).unwrap_or(value)
}

/// Keys and values as `etcdctl get --prefix -w json` prints them.
pub(in crate::cli::kvrocks) fn as_etcd(pairs: &serde_json::Map<String, Value>) -> Value {
    let encode = |text: &str| Value::from(STANDARD.encode(text));
    let kvs: Vec<Value> = pairs
        .iter()
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            serde_json::json!({ "key": encode(key), "value": encode(&text) })
        })
        .collect();
    serde_json::json!({ "count": kvs.len(), "kvs": kvs })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLUSTER: &str = "/kvrocks/metadata/n/cluster/c";

    fn expected() -> Export {
        Export {
            namespaces: BTreeMap::from([("/kvrocks/metadata/n".to_owned(), "n".to_owned())]),
            clusters: vec![Stored {
                key: CLUSTER.to_owned(),
                namespace: "n".to_owned(),
                name: "c".to_owned(),
                value: json!({ "version": 1 }),
            }],
            ..Export::default()
        }
    }

    #[test]
    fn every_form_says_the_same() {
        let map = json!({"/kvrocks/metadata/n":"n", CLUSTER:{"version":1}});
        let texts = json!({"/kvrocks/metadata/n":"n", CLUSTER:"{\"version\":1}"});
        let base64 = json!({"/kvrocks/metadata/n":"bg==", CLUSTER:"eyJ2ZXJzaW9uIjoxfQ=="});
        let consul = json!([
            {"key":"kvrocks/metadata/n","flags":0,"value":"bg=="},
            {"key":"kvrocks/metadata/n/cluster/c","flags":0,"value":"eyJ2ZXJzaW9uIjoxfQ=="},
        ]);
        let own = json!({ "data": map });
        let etcd = as_etcd(map.as_object().unwrap());
        for form in [map, texts, base64, consul, own, etcd] {
            assert_eq!(parse(form.to_string().as_bytes()), Ok(expected()), "{form}");
        }
        let nothing = br#"{"header":{"revision":4}}"#;
        assert_eq!(parse(nothing), Ok(Export::default()));
    }

    #[test]
    fn keys_are_sorted_by_what_they_mean() {
        let pairs = [
            "/kvrocks/metadata/n/cluster/c/migrate/doing",
            "/kvrocks/metadata/n/cluster/c/failover/queue",
            "/kvrocks/controller/leader/694d",
            "/kvrocks/metadata/a/cluster/b/cluster/c",
            "/kvrocks/metadata/",
        ];
        let export = sort(pairs.map(|key| (key.to_owned(), Value::Null)).to_vec());
        assert_eq!(export.busy, BTreeSet::from([CLUSTER.to_owned()]));
        let needless: Vec<_> = export.needless.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(needless, pairs[1..3]);
        assert_eq!(export.unknown, pairs[3..]);
    }

    #[test]
    fn what_is_no_export_is_told() {
        for (text, expected) in [
            ("", "EOF while parsing"),
            ("1", "neither an object nor a list"),
            (r#"{"kvs":1}"#, "kvs is no list"),
            (r#"{"kvs":[{"key":"%"}]}"#, "no text in base64"),
            (r#"{"a":1}"#, "no key of the original's store"),
            (r#"{"data":{"a":1}}"#, "data has other members than keys"),
        ] {
            let found = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
