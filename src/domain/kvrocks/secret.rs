//! Passwords of nodes: stored and sent, never printed.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands for a password in what people read.
const HIDDEN: &str = "******";

/// A password. `Debug` and every encoding for people show dots; entries and snapshots, whose
/// encoding is not for people, have it as it is.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_hidden = serializer.is_human_readable() && !self.0.is_empty();
        serializer.serialize_str(if is_hidden { HIDDEN } else { &self.0 })
    }
}

impl Secret {
    /// Takes a password; empty means none.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no password.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret()" } else { "Secret(…)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_people_do_not_read_has_it() {
        let secret = Secret::new("word");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"******\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
        assert!(!format!("{secret:?}").contains("word"));
        let bytes = postcard::to_stdvec(&secret).unwrap();
        assert_eq!(bytes, postcard::to_stdvec("word").unwrap());
        assert_eq!(postcard::from_bytes::<Secret>(&bytes).unwrap(), secret);
    }
}
