//! The envelope around a sealed secret: which key opens it, and what nobody reads without that key.
//!
//! Only the shape is known here. Keys are in the replicas' own files and never in the state, so the
//! state can say which key a secret needs and cannot tell the secret. Sealing and opening are in
//! [`crate::seal`].

use std::fmt;

/// First byte of every envelope. No text of UTF-8 has it, so an envelope is never taken for a
/// readable secret, nor the other way round.
pub const MARK: u8 = 0xff;
/// The one format so far: AES-256-GCM over the padded secret.
pub const FORMAT: u8 = 1;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes that the cipher adds to what it seals.
pub const TAG_BYTES: usize = 16;
/// Longest name of a key, bytes.
pub const KEY_ID_BYTES_MAX: usize = 32;

/// A sealed secret: mark, format, length and text of the key's name, nonce, sealed bytes.
///
/// Kept as it came: a later format is carried by programs that cannot open it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed(Vec<u8>);

/// What an envelope of a known format says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Everything before the nonce; bound to the sealed bytes by whoever seals.
    pub head: &'a [u8],
    /// Which key opens it.
    pub key_id: &'a str,
    /// Used once with that key.
    pub nonce: [u8; NONCE_BYTES],
    /// What was sealed, with its tag.
    pub content: &'a [u8],
}

/// What stands before the nonce. A name of a key is no longer than [`KEY_ID_BYTES_MAX`]; what is
/// beyond that is left out.
#[must_use]
pub fn head(key_id: &str) -> Vec<u8> {
    let name = key_id.as_bytes();
    let name = &name[..name.len().min(KEY_ID_BYTES_MAX)];
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let mut head = vec![MARK, FORMAT, length];
    head.extend_from_slice(name);
    head
}

impl Sealed {
    /// Puts an envelope together from a [`head`], a nonce and sealed bytes.
    #[must_use]
    pub fn new(head: &[u8], nonce: [u8; NONCE_BYTES], content: &[u8]) -> Self {
        Self([head, &nonce, content].concat())
    }

    /// Takes stored bytes; `None` if they are no envelope.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.first() == Some(&MARK)).then_some(Self(bytes))
    }

    /// The bytes to store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the envelope says; `None` if its format is not known to this program.
    #[must_use]
    pub fn envelope(&self) -> Option<Envelope<'_>> {
        let length = match self.0.get(..3)? {
            [MARK, FORMAT, length] => usize::from(*length),
            _ => return None,
        };
        let (head, rest) = self.0.split_at_checked(3 + length)?;
        let (nonce, content) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let key_id = std::str::from_utf8(&head[3..]).ok()?;
        let is_good = content.len() >= TAG_BYTES && length <= KEY_ID_BYTES_MAX;
        is_good.then_some(Envelope { head, key_id, nonce: *nonce, content })
    }

    /// Which key opens it; `None` if the format is not known to this program.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.envelope().map(|envelope| envelope.key_id)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key_id().unwrap_or("?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Sealed {
        Sealed::new(&head("2026-11"), [7; NONCE_BYTES], &[9; TAG_BYTES + 32])
    }

    #[test]
    fn an_envelope_says_what_it_was_made_of() {
        let sealed = sealed();
        assert_eq!(sealed.key_id(), Some("2026-11"));
        let envelope = sealed.envelope().unwrap();
        assert_eq!((envelope.nonce, envelope.content.len()), ([7; NONCE_BYTES], TAG_BYTES + 32));
        assert_eq!(envelope.head, head("2026-11"));
        assert_eq!(Sealed::from_bytes(sealed.bytes().to_vec()), Some(sealed.clone()));
        assert_eq!(format!("{sealed:?}"), "Sealed(2026-11)");
    }

    #[test]
    fn what_is_cut_or_of_another_format_is_kept_but_says_nothing() {
        let bytes = sealed().bytes().to_vec();
        let least = bytes.len() - 32;
        for length in 1..bytes.len() {
            let cut = Sealed::from_bytes(bytes[..length].to_vec()).unwrap();
            assert_eq!(cut.envelope().is_some(), length >= least, "{length} bytes");
        }
        let mut later = bytes.clone();
        later[1] = 2;
        assert_eq!(Sealed::from_bytes(later).unwrap().key_id(), None);
        assert_eq!(Sealed::from_bytes(Vec::new()), None);
        assert_eq!(Sealed::from_bytes(b"word".to_vec()), None);
    }
}
