//! The protocol as far as a node and its clients speak it: RESP2, commands as arrays of bulks.

use std::{fmt::Write, io};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Longest word or reply taken, bytes.
const BULK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Read ahead of a connection, bytes; there may be thousands of them.
const BUFFER_BYTES: usize = 1024;
/// Most words of one command or members of one reply.
const WORDS_MAX: usize = 1024 * 1024;

/// A reply of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+text`
    Simple(String),
    /// `-text`
    Error(String),
    /// `:number`
    Integer(i64),
    /// `$length`
    Bulk(String),
    /// `$-1`
    Nil,
    /// `*count`
    Array(Vec<Reply>),
}

impl Reply {
    /// `+OK`
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// An error with the class most errors have.
    pub fn err(text: impl AsRef<str>) -> Self {
        Self::Error(format!("ERR {}", text.as_ref()))
    }

    /// A bulk string.
    pub fn bulk(text: impl Into<String>) -> Self {
        Self::Bulk(text.into())
    }

    /// The text of a reply that is one; errors keep their minus.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Bulk(text) => text.clone(),
            Self::Error(text) => format!("-{text}"),
            Self::Integer(number) => number.to_string(),
            Self::Nil => "(nil)".to_owned(),
            Self::Array(members) => members.iter().map(Self::text).collect::<Vec<_>>().join(" "),
        }
    }

    fn encode(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Simple(text) => write!(out, "+{text}\r\n"),
            Self::Error(text) => write!(out, "-{text}\r\n"),
            Self::Integer(number) => write!(out, ":{number}\r\n"),
            Self::Bulk(text) => write!(out, "${}\r\n{text}\r\n", text.len()),
            Self::Nil => write!(out, "$-1\r\n"),
            Self::Array(members) => {
                let _ = write!(out, "*{}\r\n", members.len());
                members.iter().for_each(|member| member.encode(out));
                Ok(())
            }
        };
    }
}

/// One connection, of either side.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Wraps a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        // A missing TCP_NODELAY only makes it slower.
        let _ = stream.set_nodelay(true);
        Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream) }
    }

    /// Connects to `host:port`.
    pub async fn connect(addr: &str) -> io::Result<Self> {
        TcpStream::connect(addr).await.map(Self::new)
    }

    /// Reads a command; `None` when the other side has closed.
    pub async fn command(&mut self) -> io::Result<Option<Vec<String>>> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let count = number(&line, '*')?;
        let mut words = Vec::new();
        for _ in 0..count {
            let head = self.line().await?.ok_or_else(bad)?;
            words.push(self.bulk(number(&head, '$')?).await?);
        }
        Ok(Some(words))
    }

    /// Writes a reply.
    pub async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let mut out = String::new();
        reply.encode(&mut out);
        self.stream.write_all(out.as_bytes()).await
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    /// Sends commands without waiting.
    pub async fn send(&mut self, commands: &[Vec<String>]) -> io::Result<()> {
        let mut out = String::new();
        for command in commands {
            Reply::Array(command.iter().map(Reply::bulk).collect()).encode(&mut out);
        }
        self.stream.write_all(out.as_bytes()).await
    }

    /// Sends one command and reads its reply.
    pub async fn ask(&mut self, command: &[&str]) -> io::Result<Reply> {
        let words = command.iter().map(|word| (*word).to_owned()).collect();
        self.send(&[words]).await?;
        self.read().await
    }

    /// Reads a reply.
    pub async fn read(&mut self) -> io::Result<Reply> {
        let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(bad)?;
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse().map_err(|_| bad())?),
            "$" if rest == "-1" => Reply::Nil,
            "$" => Reply::Bulk(self.bulk(number(&line, '$')?).await?),
            "*" => {
                let mut members = Vec::new();
                for _ in 0..number(&line, '*')? {
                    members.push(Box::pin(self.read()).await?);
                }
                Reply::Array(members)
            }
            _ => return Err(bad()),
        })
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn bulk(&mut self, length: usize) -> io::Result<String> {
        if length > BULK_BYTES_MAX {
            return Err(bad());
        }
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(|_| bad())
    }
}

fn number(line: &str, sign: char) -> io::Result<usize> {
    let number = line.strip_prefix(sign).and_then(|rest| rest.parse().ok());
    number.filter(|count| *count <= WORDS_MAX.max(BULK_BYTES_MAX)).ok_or_else(bad)
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not the Redis protocol")
}
