//! How two replicas prove to each other that they know the cluster's token, once a connection.
//!
//! ```text
//! caller -> "quorate peer 2\r\n", 32 random bytes
//! callee -> 32 random bytes, HMAC-SHA-256(key, "callee", both random parts)
//! caller -> HMAC-SHA-256(key, "caller", both random parts), or zeros if it doubts the callee
//! ```
//!
//! Each end proves against bytes the other one has just drawn, so what was overheard on one
//! connection proves nothing on another, and neither end talks to somebody who does not know the
//! token. It does not hide or seal what follows: against somebody who can change bytes on the
//! way, replicas need TLS, inside which the same proof is given.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::credentials::{Key, is_equal};

const MAGIC: [u8; 16] = *b"quorate peer 2\r\n";
const RANDOM_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
/// What a caller says that doubts the proof it was given; it proves nothing itself.
const NO_PROOF: [u8; PROOF_BYTES] = [0; PROOF_BYTES];
/// Time for the other end to prove itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for a stranger to read why it is refused.
const FAREWELL: Duration = Duration::from_millis(500);
/// What a stranger is told, whatever it speaks; most speak HTTP.
const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\
    content-type: text/plain\r\ncontent-length: 82\r\n\r\n\
    this port is for replicas of one cluster; clients use the client port of a replica";

/// Why a connection is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Doubt {
    /// Nothing was said at all, as by a check whether the port is open.
    #[error("the caller went away without a word")]
    Silent,
    /// The caller is no replica of this version.
    #[error("the caller does not speak the protocol of this version's replicas")]
    Stranger,
    /// The other end does not know the token.
    #[error("the other end does not know the cluster token; check that the tokens are equal")]
    Token,
    /// The caller had no more time, or was ended.
    #[error("the caller went away before it proved that it knows the cluster token")]
    GaveUp,
    /// The connection broke or the time ran out.
    #[error("the proof of the cluster token did not arrive: {0}")]
    Broken(#[from] io::Error),
}

/// Proves the token to a replica that was called, and has it prove it knows the token too.
///
/// # Errors
/// [`Doubt`].
pub(crate) async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &Key,
) -> Result<(), Doubt> {
    let mine = fresh();
    let mut first = [0; MAGIC.len() + RANDOM_BYTES];
    first[..MAGIC.len()].copy_from_slice(&MAGIC);
    first[MAGIC.len()..].copy_from_slice(&mine);
    stream.write_all(&first).await?;
    stream.flush().await?;
    let mut answer = [0; RANDOM_BYTES + PROOF_BYTES];
    stream.read_exact(&mut answer).await?;
    let (theirs, proof) = answer.split_at(RANDOM_BYTES);
    if !is_equal(&key.mac(&[b"callee", &mine, theirs]), proof) {
        // Without a word the other end could not tell this from a caller that gave up.
        stream.write_all(&NO_PROOF).await?;
        stream.flush().await?;
        return Err(Doubt::Token);
    }
    stream.write_all(&key.mac(&[b"caller", &mine, theirs])).await?;
    stream.flush().await?;
    Ok(())
}

/// Has a caller prove that it knows the token, and proves the same to it.
///
/// # Errors
/// [`Doubt`]; the caller has been told, if it is no replica.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &Key,
) -> Result<(), Doubt> {
    let answered = timeout(PATIENCE, exchange(stream, key)).await;
    let answered =
        answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
    if matches!(answered, Err(Doubt::Stranger)) {
        // Nothing is to be done about a stranger that does not listen.
        let _ = timeout(FAREWELL, refuse(stream)).await;
    }
    answered
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &Key,
) -> Result<(), Doubt> {
    let mut magic = [0; MAGIC.len()];
    if stream.read(&mut magic[..1]).await? == 0 {
        return Err(Doubt::Silent);
    }
    stream.read_exact(&mut magic[1..]).await.map_err(|_| Doubt::Stranger)?;
    if magic != MAGIC {
        return Err(Doubt::Stranger);
    }
    let mut theirs = [0; RANDOM_BYTES];
    stream.read_exact(&mut theirs).await?;
    let mine = fresh();
    let mut answer = [0; RANDOM_BYTES + PROOF_BYTES];
    answer[..RANDOM_BYTES].copy_from_slice(&mine);
    answer[RANDOM_BYTES..].copy_from_slice(&key.mac(&[b"callee", &theirs, &mine]));
    stream.write_all(&answer).await?;
    stream.flush().await?;
    let mut proof = [0; PROOF_BYTES];
    // Callers give up here when they have no more time, so that says nothing about their token.
    stream.read_exact(&mut proof).await.map_err(|_| Doubt::GaveUp)?;
    let wanted = key.mac(&[b"caller", &theirs, &mine]);
    if is_equal(&wanted, &proof) { Ok(()) } else { Err(Doubt::Token) }
}

/// Bytes nobody can foresee.
fn fresh() -> [u8; RANDOM_BYTES] {
    #[allow(clippy::disallowed_methods, reason = "a proof is worth what its random bytes are")]
    rand::random()
}

/// Says why, and reads what still comes: a connection closed over unread bytes takes the answer
/// with it.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    async fn meet(caller: &str, callee: &str) -> (Result<(), Doubt>, Result<(), Doubt>) {
        let (mut here, mut there) = duplex(1024);
        let (caller, callee) = (Key::of(caller), Key::of(callee));
        let calling = async move { call(&mut here, &caller).await };
        tokio::join!(calling, answer(&mut there, &callee))
    }

    #[tokio::test]
    async fn equal_tokens_meet_and_others_do_not() {
        let (called, answered) = meet("a", "a").await;
        assert!(called.is_ok() && answered.is_ok(), "{called:?} {answered:?}");
        let (called, answered) = meet("a", "b").await;
        assert!(matches!(called, Err(Doubt::Token)), "{called:?}");
        assert!(matches!(answered, Err(Doubt::Token)), "{answered:?}");
    }

    /// Plays what a caller sent on another connection.
    async fn replay(overheard: &[u8], key: &Key) -> Result<(), Doubt> {
        let (mut here, mut there) = duplex(1024);
        let playing = async {
            here.write_all(overheard).await.expect("room");
            let mut answer = [0; RANDOM_BYTES + PROOF_BYTES];
            let _ = here.read_exact(&mut answer).await;
            drop(here);
        };
        tokio::join!(playing, answer(&mut there, key)).1
    }

    /// Hands bytes on between two ends and keeps what the first of them said.
    async fn overhear(mut left: DuplexStream, mut right: DuplexStream) -> Vec<u8> {
        let mut said = vec![0; MAGIC.len() + RANDOM_BYTES];
        left.read_exact(&mut said).await.expect("a first part");
        right.write_all(&said).await.expect("room");
        let mut answer = [0; RANDOM_BYTES + PROOF_BYTES];
        right.read_exact(&mut answer).await.expect("an answer");
        left.write_all(&answer).await.expect("room");
        let mut proof = [0; PROOF_BYTES];
        left.read_exact(&mut proof).await.expect("a proof");
        right.write_all(&proof).await.expect("room");
        said.extend_from_slice(&proof);
        said
    }

    #[tokio::test]
    async fn what_was_overheard_proves_nothing() {
        let key = Key::of("a");
        let (mut caller, left) = duplex(1024);
        let (right, mut callee) = duplex(1024);
        let (called, answered, said) =
            tokio::join!(call(&mut caller, &key), answer(&mut callee, &key), overhear(left, right));
        assert!(called.is_ok() && answered.is_ok(), "the line was honest");
        assert!(matches!(replay(&said, &key).await, Err(Doubt::Token)));
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_is_not_taken_for_one_with_another_token() {
        let key = Key::of("a");
        let (mut here, mut there) = duplex(1024);
        let giving_up = async {
            let mut first = [0; MAGIC.len() + RANDOM_BYTES];
            first[..MAGIC.len()].copy_from_slice(&MAGIC);
            here.write_all(&first).await.expect("room");
            let mut answer = [0; RANDOM_BYTES + PROOF_BYTES];
            here.read_exact(&mut answer).await.expect("an answer");
            drop(here);
        };
        let ((), answered) = tokio::join!(giving_up, answer(&mut there, &key));
        assert!(matches!(answered, Err(Doubt::GaveUp)), "{answered:?}");
    }

    #[tokio::test]
    async fn strangers_are_told_and_silence_is_no_attack() {
        let key = Key::of("a");
        let (mut here, mut there) = duplex(1024);
        let asking = async {
            here.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("room");
            let mut answer = String::new();
            here.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let (told, answered) = tokio::join!(asking, async {
            let answered = answer(&mut there, &key).await;
            drop(there);
            answered
        });
        assert!(matches!(answered, Err(Doubt::Stranger)), "{answered:?}");
        let (head, body) = told.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        let (here, mut there) = duplex(1024);
        drop(here);
        assert!(matches!(answer(&mut there, &key).await, Err(Doubt::Silent)));
    }
}
