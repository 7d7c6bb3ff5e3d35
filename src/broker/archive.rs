//! What a backup says of the state besides its position: for people, and for choosing one.

use serde_json::{Value, json};

use crate::domain::{State, cello, kvrocks, undermoon};

/// Program, feature level and the size of every family, as JSON.
pub(super) fn about(state: &State) -> String {
    let pool = &state.cello;
    let value: Value = json!({
        "program": concat!("quorate ", env!("CARGO_PKG_VERSION")),
        "feature_level": state.system.feature_level,
        "secrets": kvrocks::reseal::count(&state.kvrocks),
        "families": {
            "undermoon": {
                "epoch": undermoon::query::global_epoch(&state.undermoon),
                "clusters": undermoon::query::cluster_names(&state.undermoon, 0, None).len(),
                "proxies": undermoon::query::proxy_addresses(&state.undermoon, 0, None).len(),
            },
            "kvrocks": {
                "namespaces": kvrocks::query::namespaces(&state.kvrocks).len(),
                "clusters": kvrocks::query::clusters(&state.kvrocks).count(),
            },
            "cello": {
                "hosts": cello::query::hosts(pool).count(),
                "clusters": cello::query::clusters(pool).count(),
            },
        },
    });
    value.to_string()
}
