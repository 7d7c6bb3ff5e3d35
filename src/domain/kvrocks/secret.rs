//! Passwords of nodes: stored and sent, never printed.
//!
//! A password is readable or sealed. Which of the two is decided by whoever proposes it; the rules
//! of the state carry both and open neither. Equal passwords are sealed to unequal bytes, so two
//! secrets are equal here only if one is a copy of the other.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::domain::sealed::{MARK, Sealed};

/// What stands for a password in what people read.
const HIDDEN: &str = "******";

/// A password. `Debug` and every encoding for people show dots; entries and snapshots, whose
/// encoding is not for people, have it as it is: the text of a readable one, as ever, and the
/// [envelope](Sealed) of a sealed one, which begins with a byte that no text has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(Form);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Readable(String),
    Sealed(Sealed),
}

impl Secret {
    /// Takes a readable password; empty means none.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Form::Readable(text.into()))
    }

    /// The password itself, if it is not sealed.
    #[must_use]
    pub fn readable(&self) -> Option<&str> {
        match &self.0 {
            Form::Readable(text) => Some(text),
            Form::Sealed(_) => None,
        }
    }

    /// The envelope, if it is sealed.
    #[must_use]
    pub const fn sealed(&self) -> Option<&Sealed> {
        match &self.0 {
            Form::Readable(_) => None,
            Form::Sealed(sealed) => Some(sealed),
        }
    }

    /// Whether there is a password that whoever reads the disk can read.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.readable().is_some_and(|text| !text.is_empty())
    }

    /// Whether there is no password.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readable().is_some_and(str::is_empty)
    }

    /// What stands for it in answers that hide it.
    #[must_use]
    pub fn hidden(&self) -> &'static str {
        if self.is_empty() { "" } else { HIDDEN }
    }
}

impl From<Sealed> for Secret {
    fn from(sealed: Sealed) -> Self {
        Self(Form::Sealed(sealed))
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new(String::new())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            _ if serializer.is_human_readable() => serializer.serialize_str(self.hidden()),
            Form::Readable(text) => serializer.serialize_str(text),
            Form::Sealed(sealed) => serializer.serialize_bytes(sealed.bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            // Nobody hands in an envelope as text.
            return String::deserialize(deserializer).map(Self::new);
        }
        deserializer.deserialize_byte_buf(Stored)
    }
}

/// Reads stored bytes: texts and byte strings are encoded alike, so what was stored as a text is
/// one still.
struct Stored;

impl Visitor<'_> for Stored {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password or an envelope")
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Secret, E> {
        if bytes.first() == Some(&MARK) {
            let sealed = Sealed::from_bytes(bytes);
            return sealed.map(Secret::from).ok_or_else(|| E::custom("no envelope"));
        }
        String::from_utf8(bytes).map(Secret::new).map_err(|_| E::custom("a password is no text"))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Secret, E> {
        self.visit_byte_buf(bytes.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Readable(text) if text.is_empty() => f.write_str("Secret()"),
            Form::Readable(_) => f.write_str("Secret(…)"),
            Form::Sealed(sealed) => write!(f, "Secret({sealed:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::sealed::{NONCE_BYTES, TAG_BYTES, head};

    fn envelope() -> Secret {
        Sealed::new(&head("k1"), [1; NONCE_BYTES], &[2; TAG_BYTES]).into()
    }

    #[test]
    fn only_what_people_do_not_read_has_it() {
        let secret = Secret::new("word");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"******\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
        assert_eq!(serde_json::to_string(&envelope()).unwrap(), "\"******\"");
        assert!(!format!("{secret:?}").contains("word"));
        let bytes = postcard::to_stdvec(&secret).unwrap();
        assert_eq!(bytes, postcard::to_stdvec("word").unwrap());
        assert_eq!(postcard::from_bytes::<Secret>(&bytes).unwrap(), secret);
    }

    #[test]
    fn an_envelope_is_stored_as_it_is_and_shown_by_its_key() {
        let secret = envelope();
        let bytes = postcard::to_stdvec(&secret).unwrap();
        assert_eq!(bytes[1..], *secret.sealed().unwrap().bytes());
        assert_eq!(postcard::from_bytes::<Secret>(&bytes).unwrap(), secret);
        assert!(postcard::from_bytes::<String>(&bytes).is_err(), "no text by mistake");
        assert_eq!(format!("{secret:?}"), "Secret(Sealed(k1))");
        assert!(!secret.is_bare() && !secret.is_empty() && secret.readable().is_none());
        assert!(postcard::from_bytes::<Secret>(&[1, 0x80]).is_err(), "neither text nor envelope");
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_an_envelope(text in any::<String>()) {
            let bytes = postcard::to_stdvec(&text).unwrap();
            let secret: Secret = postcard::from_bytes(&bytes).unwrap();
            prop_assert_eq!(secret.readable(), Some(text.as_str()));
            prop_assert_eq!(postcard::to_stdvec(&secret).unwrap(), bytes);
            let json = serde_json::to_string(&text).unwrap();
            let handed_in: Secret = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(handed_in.readable(), Some(text.as_str()));
        }
    }
}
