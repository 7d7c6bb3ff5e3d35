//! What counts as a name, an address and a node id (spec 1.2, 1.5).

use std::collections::BTreeSet;

use super::{Rejection, command::NewNode, model::NODE_ID_LEN};

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest host, bytes.
const HOST_BYTES_MAX: usize = 255;

/// Whether `name` may name a namespace or a cluster.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // Path segments of only dots never arrive as they were sent.
    let is_dots = matches!(name, "." | "..");
    !name.is_empty() && !is_dots && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_allowed)
}

/// Judges the name of a new namespace.
pub(super) fn judge_namespace(name: &str) -> Result<(), Rejection> {
    match name {
        "" => Err(Rejection::NamespaceEmpty),
        name if is_valid(name) => Ok(()),
        _ => Err(Rejection::InvalidName),
    }
}

/// Judges the name of a new cluster.
pub(super) fn judge_cluster(name: &str) -> Result<(), Rejection> {
    match name {
        "" => Err(Rejection::ClusterNameEmpty),
        name if is_valid(name) => Ok(()),
        _ => Err(Rejection::InvalidName),
    }
}

/// Whether `addr` is `host:port` with exactly one colon, so that it survives the topology text.
#[must_use]
pub fn is_address(addr: &str) -> bool {
    let Some((host, port)) = addr.split_once(':') else { return false };
    let is_host = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b',' | b'"');
    let is_port = port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(is_host) && is_port
}

/// Judges addresses that come together: each well formed, none twice.
pub(super) fn judge_addresses<'a>(
    addresses: impl Iterator<Item = &'a str>,
) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    for addr in addresses {
        if !is_address(addr) {
            return Err(Rejection::InvalidAddress(addr.to_owned()));
        }
        if !seen.insert(addr) {
            return Err(Rejection::AddressRepeated(addr.to_owned()));
        }
    }
    Ok(())
}

/// Whether `id` may be the id of a node: 40 characters that survive the topology text.
#[must_use]
pub fn is_node_id(id: &str) -> bool {
    id.len() == NODE_ID_LEN && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Judges ids made for new nodes.
pub(super) fn judge_new_ids(nodes: &[NewNode]) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    for node in nodes {
        let is_plain = node.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_node_id(&node.id) || !is_plain || !seen.insert(&node.id) {
            return Err(Rejection::InvalidNodeId(node.id.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for (name, expected) in [
            ("a", true),
            ("A.b_c-9", true),
            (&*"n".repeat(128), true),
            (&*"n".repeat(129), false),
            ("", false),
            ("..", false),
            ("a/cluster/b", false),
            ("a b", false),
            ("é", false),
            ("a\n", false),
        ] {
            assert_eq!(is_valid(name), expected, "{name}");
        }
    }

    #[test]
    fn addresses_have_one_host_and_one_port() {
        for (addr, expected) in [
            ("127.0.0.1:6666", true),
            ("kv-0.kv.svc:1", true),
            ("h:65535", true),
            ("h:65536", false),
            ("h:0", false),
            ("h:", false),
            ("h", false),
            (":6666", false),
            ("h:+6", false),
            ("h:6666@16666", false),
            ("[::1]:6666", false),
            ("::1:6666", false),
            ("a b:1", false),
            ("a/b:1", false),
            ("a\nb:1", false),
            ("", false),
        ] {
            assert_eq!(is_address(addr), expected, "{addr}");
        }
    }
}
