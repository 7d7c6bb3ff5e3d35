//! What counts as a cluster name and as a proxy address (spec 1.1).

use super::Profile;

/// Longest name the programs take, bytes.
const NAME_BYTES_MAX: usize = 31;
/// Longest name the seed documents promise, bytes.
const DOCUMENT_NAME_BYTES_MAX: usize = 30;

/// Whether `name` is a cluster name under the rules of `profile`.
#[must_use]
pub fn is_valid(name: &str, profile: Profile) -> bool {
    let bytes_max = match profile {
        Profile::Document => DOCUMENT_NAME_BYTES_MAX,
        Profile::Program => NAME_BYTES_MAX,
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'-' | b'_');
    !name.is_empty() && name.len() <= bytes_max && name.bytes().all(is_allowed)
}

/// Whether `address` is taken as a proxy address: exactly one colon, nothing else is judged.
#[must_use]
pub fn is_proxy_address(address: &str) -> bool {
    address.bytes().filter(|byte| *byte == b':').count() == 1
}

/// The failure domain of a proxy that names none: the text before the colon.
#[must_use]
pub fn default_host(address: &str) -> &str {
    address.split(':').next().unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_each_profile() {
        for (name, program, document) in [
            ("a@b-_Z9", true, true),
            ("a.b", false, false),
            ("", false, false),
            ("é", false, false),
            (&"n".repeat(30), true, true),
            (&"n".repeat(31), true, false),
            (&"n".repeat(32), false, false),
        ] {
            assert_eq!(is_valid(name, Profile::Program), program, "{name}");
            assert_eq!(is_valid(name, Profile::Document), document, "{name}");
        }
    }

    #[test]
    fn an_address_has_one_colon() {
        for (address, wanted) in [("a:1", true), (":", true), ("nohost", false), ("a:b:c", false)] {
            assert_eq!(is_proxy_address(address), wanted, "{address}");
        }
    }
}
