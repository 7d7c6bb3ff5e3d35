//! Options about who may talk to a replica.

use std::path::PathBuf;

use super::{ConfigError, invalid, layer::Layer};
use crate::tls::Files;

/// TLS of the client ports is on if there is a certificate.
pub(super) fn client_port_tls(layer: &Layer) -> Result<Option<Files>, ConfigError> {
    let pair = pair(&layer.tls_cert, &layer.tls_key, "tls_cert and tls_key")?;
    match (pair, layer.tls_client_ca.clone()) {
        (Some((cert, key)), ca) => Ok(Some(Files { cert, key, ca })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid("tls_client_ca needs tls_cert and tls_key")),
    }
}

/// TLS between replicas is on if there is an authority; it is always mutual.
pub(super) fn peer_tls(layer: &Layer) -> Result<Option<Files>, ConfigError> {
    let pair = pair(&layer.peer_tls_cert, &layer.peer_tls_key, "peer_tls_cert and peer_tls_key")?;
    match (pair, layer.peer_tls_ca.clone()) {
        (Some((cert, key)), Some(ca)) => Ok(Some(Files { cert, key, ca: Some(ca) })),
        (None, None) => Ok(None),
        _ => Err(invalid("peer_tls_ca, peer_tls_cert and peer_tls_key need each other")),
    }
}

fn pair(
    cert: &Option<PathBuf>,
    key: &Option<PathBuf>,
    names: &str,
) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    match (cert.clone(), key.clone()) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(invalid(format!("{names} need each other"))),
    }
}
