//! Seals secrets before they are proposed, and opens them where they are needed.
//!
//! Entries, snapshots and backups hold envelopes ([`crate::domain::sealed`]); the keys to them are
//! in a file of each replica ([`KeyRing::load`]) and nowhere else. A secret is readable on the wire to
//! the node it is for, in the answer to a client who may see it, and in this process in between.
//!
//! AES-256-GCM seals the secret, padded so that its length does not show, and binds it to what it is
//! for and to the name of its key. A nonce is drawn from a key of its own, the id of the request and
//! the secret itself: a request that is repeated is sealed to the same bytes, so the log knows it
//! again, and two requests are not, so that nobody sees which nodes share a password.

mod file;

use std::{collections::BTreeSet, fmt, sync::Arc};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};

pub use self::file::{KeyFileError, add_key};
pub use crate::domain::sealed::Sealed;
use crate::domain::sealed::{self, NONCE_BYTES};

/// Secrets are filled up to a multiple of this, bytes.
const PAD_BYTES: usize = 32;
/// Ends a secret, before the zeros that fill it up.
const PAD_MARK: u8 = 0x80;

/// What a secret is for. One sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Password of a Kvrocks node.
    NodePassword,
}

impl Purpose {
    /// Bound to every secret; never changes.
    const fn text(self) -> &'static str {
        match self {
            Self::NodePassword => "quorate kvrocks node password",
        }
    }
}

/// Why a secret cannot be opened. Says what to do, and nothing of the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// This replica has no such key.
    #[error(
        "it is sealed with the key `{key_id}`, which this replica does not have; put that key into \
         its secrets_key_file, as the other replicas have it, and restart it"
    )]
    UnknownKey {
        /// Its name.
        key_id: String,
    },
    /// The bytes are not what was sealed.
    #[error(
        "it does not open with the key `{key_id}`: either another key has that name here, so \
         compare secrets_key_file with the other replicas', or the sealed bytes were altered, so set \
         the secret anew"
    )]
    Altered {
        /// Name of the key.
        key_id: String,
    },
    /// Sealed by a later program.
    #[error("it is sealed in a way this program does not know; upgrade this replica")]
    UnknownFormat,
}

/// One key and what is derived from it.
struct Key {
    id: String,
    head: Vec<u8>,
    cipher: LessSafeKey,
    nonces: hmac::Key,
}

impl Key {
    fn new(id: &str, material: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, material);
        let derived = hmac::sign(&root, b"quorate seal cipher");
        // Fails for a key of another length alone, and a SHA-256 has 32 bytes.
        let cipher = UnboundKey::new(&AES_256_GCM, derived.as_ref());
        let cipher = LessSafeKey::new(cipher.expect("the key has the length of the cipher's"));
        let nonces = hmac::sign(&root, b"quorate seal nonces");
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref());
        Self { id: id.to_owned(), head: sealed::head(id), cipher, nonces }
    }

    fn seal(&self, purpose: Purpose, request: &[u8; 16], text: &str) -> Sealed {
        let nonce = self.nonce(purpose, request, text);
        let mut content = padded(text);
        let bound = bound(purpose, &self.head);
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed = self.cipher.seal_in_place_append_tag(unique, Aad::from(bound), &mut content);
        sealed.expect("a secret is shorter than what the cipher takes");
        Sealed::new(&self.head, nonce, &content)
    }

    /// Equal for equal arguments alone, as far as a hash can be.
    fn nonce(&self, purpose: Purpose, request: &[u8; 16], text: &str) -> [u8; NONCE_BYTES] {
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(purpose.text().as_bytes());
        context.update(&[0]);
        context.update(request);
        context.update(text.as_bytes());
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&context.sign().as_ref()[..NONCE_BYTES]);
        nonce
    }
}

/// What cannot be exchanged without the secret refusing to open.
fn bound(purpose: Purpose, head: &[u8]) -> Vec<u8> {
    [purpose.text().as_bytes(), &[0], head].concat()
}

fn padded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + PAD_BYTES + AES_256_GCM.tag_len());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(PAD_MARK);
    bytes.resize(bytes.len().next_multiple_of(PAD_BYTES), 0);
    bytes
}

fn unpadded(mut bytes: Vec<u8>) -> Option<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0)?;
    if bytes[end] != PAD_MARK {
        return None;
    }
    bytes.truncate(end);
    String::from_utf8(bytes).ok()
}

/// The keys of this replica; cheap to clone. The first one seals, all of them open. Without any,
/// secrets stay readable.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: Arc<Vec<Key>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl KeyRing {
    /// The names of the keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Name of the key that seals; `None` without any.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.ids().next()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing can be sealed or opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Seals a secret with the key of a number; 0 is the one that seals, the others are for
    /// recognising what was sealed before. `None` if there is no such key.
    #[must_use]
    pub fn seal(
        &self,
        number: usize,
        purpose: Purpose,
        request: &[u8; 16],
        text: &str,
    ) -> Option<Sealed> {
        self.keys.get(number).map(|key| key.seal(purpose, request, text))
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(&self, purpose: Purpose, sealed: &Sealed) -> Result<String, OpenError> {
        let envelope = sealed.envelope().ok_or(OpenError::UnknownFormat)?;
        let key_id = || envelope.key_id.to_owned();
        let key = self.keys.iter().find(|key| key.id == envelope.key_id);
        let key = key.ok_or_else(|| OpenError::UnknownKey { key_id: key_id() })?;
        let altered = || OpenError::Altered { key_id: key_id() };
        let mut content = envelope.content.to_vec();
        let nonce = Nonce::assume_unique_for_key(envelope.nonce);
        let bound = Aad::from(bound(purpose, envelope.head));
        let opened = key.cipher.open_in_place(nonce, bound, &mut content);
        let opened = opened.map_err(|_| altered())?.to_vec();
        unpadded(opened).ok_or_else(altered)
    }

    /// Which of some keys are not here.
    pub fn missing<'a>(&self, ids: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        ids.filter(|id| !self.ids().any(|own| own == *id)).collect()
    }
}

#[cfg(test)]
#[path = "seal/seal_test.rs"]
mod tests;
