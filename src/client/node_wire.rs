//! One connection to a node, spoken with the encoder and the parser of the `redis` crate.
//!
//! The crate's own connections greet a server with `CLIENT SETINFO`, which nodes of some versions
//! refuse, and pass errors on in words of their own. So the connection is ours: `AUTH` if there is
//! a password, then the commands, one at a time.

use std::{
    io,
    net::TcpStream as StdTcpStream,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use combine::stream::Decoder;
use redis::{ServerError, Value, VerbatimFormat};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::unconstrained,
};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{node_call::NodeError, node_tls::NodeTls};

/// Longest answer taken, bytes: several times the `CLUSTER NODES` of the largest cluster.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Answers to a password that are passed on even if the password is part of them.
const HARMLESS: [&str; 4] = [
    "ERR Invalid password",
    "ERR Client sent AUTH, but no password is set",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
];
const REPEATS_SECRET: &str = "ERR refused in words that are not shown: they repeat the password";

/// An open connection that is logged on. Idle, it holds no buffer.
pub(super) struct Wire {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
}

impl Wire {
    /// Connects and logs on.
    pub(super) async fn open(
        addr: &str,
        password: &str,
        tls: Option<&NodeTls>,
    ) -> Result<Self, NodeError> {
        let connect = async {
            let stream = TcpStream::connect(addr).await?;
            // Without it answers are only slower.
            let _ = stream.set_nodelay(true);
            Ok(match tls {
                None => Either::Left(stream),
                Some(tls) => Either::Right(Box::new(tls.connect(addr, stream).await?)),
            })
        };
        let unreachable = |source| NodeError::Connect { addr: addr.to_owned(), source };
        let mut wire = Self { stream: connect.await.map_err(unreachable)? };
        if !password.is_empty() {
            wire.log_on(addr, password).await?;
        }
        Ok(wire)
    }

    /// Says the password. What the node says to it is passed on without the password.
    async fn log_on(&mut self, addr: &str, password: &str) -> Result<(), NodeError> {
        match self.ask(addr, &["AUTH", password]).await {
            Ok(_) => Ok(()),
            Err(NodeError::Refused { addr, text })
                if text.contains(password) && !HARMLESS.contains(&text.as_str()) =>
            {
                Err(NodeError::Refused { addr, text: REPEATS_SECRET.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a command and reads the text it is answered with.
    pub(super) async fn ask(&mut self, addr: &str, words: &[&str]) -> Result<String, NodeError> {
        let addr = || addr.to_owned();
        self.send(words).await.map_err(|source| NodeError::Broken { addr: addr(), source })?;
        let text = match self.read().await {
            Ok(Answer::Text(text)) => return Ok(text),
            Ok(Answer::Error(text)) => text,
            Ok(Answer::Other) => return Err(NodeError::Protocol { addr: addr() }),
            Err(source) => return Err(NodeError::Broken { addr: addr(), source }),
        };
        Err(NodeError::Refused { addr: addr(), text })
    }

    async fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.stream.write_all(&redis::pack_command(&words)).await?;
        self.stream.flush().await
    }

    async fn read(&mut self) -> io::Result<Answer> {
        let mut decoder = Decoder::new();
        let mut bounded = (&mut self.stream).take(ANSWER_BYTES_MAX);
        let parsed = redis::parse_redis_value_async(&mut decoder, &mut bounded).await;
        let is_cut = bounded.limit() == 0;
        match parsed {
            // More than was asked for: nobody knows what answers what.
            Ok(_) if !decoder.buffer().is_empty() => Ok(Answer::Other),
            Ok(value) => Ok(Answer::of(value)),
            Err(error) if is_cut || !error.is_io_error() => Ok(Answer::Other),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Whether it is still open, with nothing to read that nobody asked for.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let socket = match &self.stream {
            Either::Left(stream) => stream,
            Either::Right(stream) => stream.get_ref().0,
        };
        match (peek(socket), &mut self.stream) {
            (Err(error), _) => error.kind() == io::ErrorKind::WouldBlock,
            // What TLS says to itself, such as a session ticket, is not for us.
            (Ok(1..), Either::Right(stream)) => {
                unconstrained(async { is_pending(stream.as_mut()) }).await
            }
            (Ok(_), _) => false,
        }
    }
}

/// Looks into the socket itself: the runtime may not have heard of its end yet.
fn peek(stream: &TcpStream) -> io::Result<usize> {
    let socket = stream.as_fd().try_clone_to_owned()?;
    StdTcpStream::from(socket).peek(&mut [0])
}

fn is_pending(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut byte = [0];
    let mut context = Context::from_waker(Waker::noop());
    let read = Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte));
    matches!(read, Poll::Pending)
}

enum Answer {
    Text(String),
    Error(String),
    Other,
}

impl Answer {
    fn of(value: Value) -> Self {
        match value {
            Value::Okay => Self::Text("OK".to_owned()),
            Value::SimpleString(text) => Self::Text(text),
            Value::Int(number) => Self::Text(number.to_string()),
            Value::BulkString(bytes) => Self::Text(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
            Value::VerbatimString { format: VerbatimFormat::Text, text } => Self::Text(text),
            Value::ServerError(error) => Self::Error(words(&error)),
            _ => Self::Other,
        }
    }
}

/// What the node sent: the parser cuts it at the first blank.
fn words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

#[cfg(test)]
#[path = "node_wire_test.rs"]
mod tests;
