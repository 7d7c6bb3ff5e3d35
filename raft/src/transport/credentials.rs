//! Who may talk to whom: cluster, sender, receiver and their disks, and a proof of the token.

use std::fmt;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::WIRE_VERSION;
use crate::{
    ReplicaId,
    storage::identity::{Identity, hex},
};

const WIRE: HeaderName = HeaderName::from_static("quorate-wire");
const CLUSTER: HeaderName = HeaderName::from_static("quorate-cluster");
const FROM: HeaderName = HeaderName::from_static("quorate-from");
const TO: HeaderName = HeaderName::from_static("quorate-to");
const PROOF: HeaderName = HeaderName::from_static("quorate-proof");
/// Block size of SHA-256, for HMAC.
const BLOCK_BYTES: usize = 64;

/// A replica with the disk it runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// The replica.
    pub(crate) id: ReplicaId,
    /// The random bits of its disk; zero where the sender does not know them yet.
    pub(crate) incarnation: [u8; 16],
}

impl Name {
    /// Whoever listens at an address.
    pub(crate) const ANYBODY: Self = Self { id: 0, incarnation: [0; 16] };
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, hex(&self.incarnation))
    }
}

/// Who sent a request that passed the checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The sender.
    pub(crate) from: Name,
    /// Whether the sender meant this disk, and not only this replica.
    pub(crate) is_addressed_to_disk: bool,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A header is missing or does not parse.
    #[error("the request lacks the header {0}, so it is not from a replica")]
    Missing(&'static str),
    /// Another program version.
    #[error("wire version {found}, this replica speaks {WIRE_VERSION}")]
    Wire {
        /// What the sender speaks.
        found: String,
    },
    /// Another cluster.
    #[error("the request is for another cluster; the cluster tokens differ")]
    Cluster,
    /// The sender does not know the cluster's token.
    #[error("the proof of the cluster token does not hold")]
    Proof,
    /// Another replica listens here, or the same one with another disk.
    #[error("the request is for replica {wanted}, this is {here}")]
    Receiver {
        /// Whom the sender meant.
        wanted: String,
        /// Who this is.
        here: String,
    },
}

/// What this replica shows to others, and checks in what others show.
pub(crate) struct Credentials {
    cluster: [u8; 16],
    key: Key,
    here: Name,
}

/// Derived from the token; never sent, never logged.
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of a token.
    pub(crate) fn of(token: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"quorate peer key\0");
        hash.update(token.as_bytes());
        Self(hash.finalize().into())
    }

    /// HMAC-SHA-256 over all parts, as if they were one.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = [0x36_u8; BLOCK_BYTES];
        let mut outer = [0x5c_u8; BLOCK_BYTES];
        for (at, byte) in self.0.iter().enumerate() {
            inner[at] ^= byte;
            outer[at] ^= byte;
        }
        let mut hash = Sha256::new();
        hash.update(inner);
        for part in parts {
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut hash = Sha256::new();
        hash.update(outer);
        hash.update(digest);
        hash.finalize().into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("here", &self.here).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials of the replica a disk belongs to.
    pub(crate) fn new(identity: &Identity, token: &str) -> Self {
        Self {
            cluster: identity.cluster,
            key: Key::of(token),
            here: Name { id: identity.replica_id, incarnation: identity.incarnation },
        }
    }

    /// This replica.
    pub(crate) fn here(&self) -> Name {
        self.here
    }

    /// What connections are proven with.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The headers of requests to a replica. They stay the same, so they are made once.
    pub(crate) fn headers(&self, to: Name) -> HeaderMap {
        let proof = hex(&self.proof(self.here, to));
        let text = |text: String| {
            HeaderValue::from_str(&text).expect("digits, letters and colons make a header")
        };
        let mut headers = HeaderMap::new();
        headers.insert(WIRE, HeaderValue::from(u16::from(WIRE_VERSION)));
        headers.insert(CLUSTER, text(hex(&self.cluster)));
        headers.insert(FROM, text(format!("{:?}", self.here)));
        headers.insert(TO, text(format!("{to:?}")));
        let mut proof = text(proof);
        proof.set_sensitive(true);
        headers.insert(PROOF, proof);
        headers
    }

    /// Checks the headers of a request.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let wire = text_of(headers, &WIRE)?;
        if wire.parse() != Ok(WIRE_VERSION) {
            return Err(Refusal::Wire { found: wire.chars().take(16).collect() });
        }
        if text_of(headers, &CLUSTER)? != hex(&self.cluster) {
            return Err(Refusal::Cluster);
        }
        let from = name_of(text_of(headers, &FROM)?).ok_or(Refusal::Missing("quorate-from"))?;
        let to = name_of(text_of(headers, &TO)?).ok_or(Refusal::Missing("quorate-to"))?;
        let proof = hex(&self.proof(from, to));
        if !is_equal(proof.as_bytes(), text_of(headers, &PROOF)?.as_bytes()) {
            return Err(Refusal::Proof);
        }
        let is_addressed_to_disk = to == self.here;
        // Whoever joins knows addresses only, and asks who is there.
        if to == Name::ANYBODY {
            return Ok(Caller { from, is_addressed_to_disk: false });
        }
        if to.id != self.here.id || (!is_addressed_to_disk && to.incarnation != [0; 16]) {
            return Err(Refusal::Receiver {
                wanted: format!("{to:?}"),
                here: format!("{:?}", self.here),
            });
        }
        Ok(Caller { from, is_addressed_to_disk })
    }

    /// Binds both names to the token. It stays the same from request to request; that it cannot be
    /// played again elsewhere is the doing of [`super::proof`], which every connection begins with.
    fn proof(&self, from: Name, to: Name) -> [u8; 32] {
        let ids = [from.id.to_le_bytes(), to.id.to_le_bytes()];
        self.key.mac(&[
            &[WIRE_VERSION],
            &self.cluster,
            &ids[0],
            &from.incarnation,
            &ids[1],
            &to.incarnation,
        ])
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Refusal> {
    let missing = || {
        let known = [WIRE, CLUSTER, FROM, TO, PROOF];
        let texts =
            ["quorate-wire", "quorate-cluster", "quorate-from", "quorate-to", "quorate-proof"];
        let at = known.iter().position(|known| known == name);
        Refusal::Missing(at.map_or("", |at| texts[at]))
    };
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(missing)
}

fn name_of(text: &str) -> Option<Name> {
    let (id, bits) = text.split_once(':')?;
    if bits.len() != 32 || !bits.is_ascii() {
        return None;
    }
    let mut incarnation = [0; 16];
    for (at, byte) in incarnation.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&bits[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(Name { id: id.parse().ok()?, incarnation })
}

/// Compares without telling by its duration where the two differ.
pub(super) fn is_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |difference, (l, r)| difference | (l ^ r)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::identity::cluster_of;

    fn credentials(id: ReplicaId, token: &str) -> Credentials {
        let incarnation = [u8::try_from(id).expect("small"); 16];
        let identity = Identity { cluster: cluster_of(token), replica_id: id, incarnation };
        Credentials::new(&identity, token)
    }

    #[test]
    fn replicas_of_one_cluster_know_each_other() {
        let (one, two) = (credentials(1, "a"), credentials(2, "a"));
        let caller = two.check(&one.headers(two.here())).expect("accepted");
        assert_eq!(caller.from, one.here());
        assert!(caller.is_addressed_to_disk);
        let unknown = Name { id: 2, incarnation: [0; 16] };
        assert!(!two.check(&one.headers(unknown)).expect("accepted").is_addressed_to_disk);
    }

    #[test]
    fn strangers_are_refused() {
        let (one, two) = (credentials(1, "a"), credentials(2, "a"));
        assert!(matches!(two.check(&HeaderMap::new()), Err(Refusal::Missing("quorate-wire"))));
        let other = credentials(1, "b");
        assert_eq!(two.check(&other.headers(two.here())).expect_err("refused"), Refusal::Cluster);
        let mut forged = other.headers(two.here());
        forged.insert(CLUSTER, one.headers(two.here())[CLUSTER].clone());
        assert_eq!(two.check(&forged).expect_err("refused"), Refusal::Proof);
        let mut stolen = one.headers(two.here());
        stolen.insert(FROM, HeaderValue::from_static("3:03030303030303030303030303030303"));
        assert_eq!(two.check(&stolen).expect_err("refused"), Refusal::Proof);
        let mut newer = one.headers(two.here());
        newer.insert(WIRE, HeaderValue::from_static("9"));
        assert!(matches!(two.check(&newer), Err(Refusal::Wire { .. })));
        let replaced = Name { id: 2, incarnation: [9; 16] };
        assert!(matches!(two.check(&one.headers(replaced)), Err(Refusal::Receiver { .. })));
        let third = Name { id: 3, incarnation: [0; 16] };
        assert!(matches!(two.check(&one.headers(third)), Err(Refusal::Receiver { .. })));
    }

    #[test]
    fn the_proof_is_hmac_sha256() {
        // RFC 4231, test case 2 has a key shorter than a block too; here the construction is
        // checked against one computed with the same inputs by hand-written padding.
        let one = credentials(1, "a");
        let mut message = vec![WIRE_VERSION];
        message.extend_from_slice(&one.cluster);
        for id in [1_u64, 2] {
            message.extend_from_slice(&id.to_le_bytes());
            message.extend_from_slice(&[u8::try_from(id).expect("small"); 16]);
        }
        let pad = |byte: u8| {
            let mut block = one.key.0.to_vec();
            block.resize(BLOCK_BYTES, 0);
            block.iter().map(|key| key ^ byte).collect::<Vec<u8>>()
        };
        let inner = Sha256::digest([pad(0x36), message].concat());
        let wanted: [u8; 32] = Sha256::digest([pad(0x5c), inner.to_vec()].concat()).into();
        assert_eq!(one.proof(one.here(), credentials(2, "a").here()), wanted);
    }
}
