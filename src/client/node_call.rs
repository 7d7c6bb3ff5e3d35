//! Kvrocks nodes, as far as a request of a client needs them: one command, one text.
//!
//! One connection, `AUTH` if there is a password, one command, one answer. Each call is bounded by
//! the time it is given. Passwords go to the node and nowhere else.

use std::{fmt, io, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Longest answer taken, bytes: a `CLUSTER NODES` of the largest cluster.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest line of a simple answer, bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Where a node is and how it lets one in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeAccess<'a> {
    /// `host:port`.
    pub addr: &'a str,
    /// Its `requirepass`; empty if it has none.
    pub password: &'a str,
}

impl fmt::Debug for NodeAccess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeAccess").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Asks nodes; the fake of the tests answers from a table.
pub trait NodeCall: Send + Sync {
    /// Sends `command` and reads the text it is answered with.
    fn call<'a>(
        &'a self,
        node: NodeAccess<'a>,
        command: &'a [&'a str],
        time: Duration,
    ) -> BoxFuture<'a, Result<String, NodeError>>;

    /// Sends several commands on one connection, each when the one before was answered, and reads
    /// the texts; the first error ends it.
    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>>;
}

/// Why a node's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Nothing answers at the address, or the name does not resolve.
    #[error("{addr} cannot be reached: {source}")]
    Connect {
        /// The node.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("{addr} closed the connection: {source}")]
    Broken {
        /// The node.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took longer than allowed.
    #[error("{addr} did not answer in time")]
    Timeout {
        /// The node.
        addr: String,
    },
    /// The node answered an error; its own text.
    #[error("{text}")]
    Refused {
        /// The node.
        addr: String,
        /// Without the leading minus.
        text: String,
    },
    /// The answer is no text.
    #[error("{addr} answered something that is no text")]
    Protocol {
        /// The node.
        addr: String,
    },
}

impl NodeError {
    /// Whether the node itself spoke.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Protocol { .. })
    }
}

/// The real client.
#[derive(Clone, Copy, Debug, Default)]
pub struct RespNodeCall;

impl NodeCall for RespNodeCall {
    fn call<'a>(
        &'a self,
        node: NodeAccess<'a>,
        command: &'a [&'a str],
        time: Duration,
    ) -> BoxFuture<'a, Result<String, NodeError>> {
        let addr = || node.addr.to_owned();
        Box::pin(async move {
            let exchange = async {
                let mut stream = connect(node).await?;
                send(&mut stream, node.addr, command).await
            };
            timeout(time, exchange).await.map_err(|_| NodeError::Timeout { addr: addr() })?
        })
    }

    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        let late = |_| NodeError::Timeout { addr: node.addr.to_owned() };
        Box::pin(async move {
            let exchange = async {
                let mut stream = connect(node).await?;
                send_all(&mut stream, node.addr, commands).await
            };
            timeout(time, exchange).await.map_err(late)?
        })
    }
}

/// Several commands, one after the other, until one is answered with an error.
pub(super) async fn send_all(
    stream: &mut BufReader<TcpStream>,
    addr: &str,
    commands: &[&[&str]],
) -> Result<Vec<String>, NodeError> {
    let mut answers = Vec::with_capacity(commands.len());
    for command in commands {
        answers.push(send(stream, addr, command).await?);
    }
    Ok(answers)
}

/// Connects and logs on.
pub(super) async fn connect(node: NodeAccess<'_>) -> Result<BufReader<TcpStream>, NodeError> {
    let stream = TcpStream::connect(node.addr)
        .await
        .map_err(|source| NodeError::Connect { addr: node.addr.to_owned(), source })?;
    // Without it answers are only slower.
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    if !node.password.is_empty() {
        send(&mut stream, node.addr, &["AUTH", node.password]).await?;
    }
    Ok(stream)
}

/// One command, one answer.
pub(super) async fn send(
    stream: &mut BufReader<TcpStream>,
    addr: &str,
    words: &[&str],
) -> Result<String, NodeError> {
    let answer = async {
        stream.get_mut().write_all(&encode(words)).await?;
        read(stream).await
    };
    let broken = |source| NodeError::Broken { addr: addr.to_owned(), source };
    match answer.await.map_err(broken)? {
        Answer::Text(text) => Ok(text),
        Answer::Error(text) => Err(NodeError::Refused { addr: addr.to_owned(), text }),
        Answer::Other => Err(NodeError::Protocol { addr: addr.to_owned() }),
    }
}

fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

enum Answer {
    Text(String),
    Error(String),
    Other,
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = Vec::new();
    (&mut *stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let line = String::from_utf8_lossy(line);
    let rest = line.get(1..).unwrap_or_default().to_owned();
    match line.chars().next() {
        Some('+' | ':') => Ok(Answer::Text(rest)),
        Some('-') => Ok(Answer::Error(rest)),
        Some('$') => {
            let Some(length) = rest.parse().ok().filter(|length| *length <= ANSWER_BYTES_MAX)
            else {
                return Ok(Answer::Other);
            };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            Ok(Answer::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(Answer::Other),
    }
}

#[cfg(test)]
#[path = "node_call_test.rs"]
mod tests;
