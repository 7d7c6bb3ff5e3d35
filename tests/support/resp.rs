//! As much of the Redis protocol as the stand-ins speak.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Time to connect and time for a command, as a coordinator sets them.
pub const LIMIT: Duration = Duration::from_secs(2);
/// Longest text taken.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+text`
    Simple(String),
    /// `-text`
    Error(String),
    /// `:number`
    Integer(u64),
    /// An array of bulk strings.
    Texts(Vec<String>),
}

/// One connection, of either side.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Wraps a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends one command to an address over a connection of its own, and returns the reply.
    pub async fn ask(address: &str, command: &[&str]) -> io::Result<Reply> {
        let exchange = async {
            let mut connection = Self::new(TcpStream::connect(address).await?);
            let texts: Vec<String> = command.iter().map(|text| (*text).to_owned()).collect();
            connection.write(&Reply::Texts(texts)).await?;
            connection.read().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        timeout(LIMIT, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Reads a command or a reply; `None` when the other side has closed.
    pub async fn read(&mut self) -> io::Result<Option<Reply>> {
        let Some(line) = self.line().await? else {
            return Ok(None);
        };
        let (kind, rest) = line.split_at_checked(1).ok_or_else(bad)?;
        Ok(Some(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse().map_err(|_| bad())?),
            "*" => {
                let mut texts = Vec::new();
                for _ in 0..rest.parse::<usize>().map_err(|_| bad())? {
                    texts.push(self.bulk().await?);
                }
                Reply::Texts(texts)
            }
            _ => return Err(bad()),
        }))
    }

    /// Writes a command or a reply.
    pub async fn write(&mut self, reply: &Reply) -> io::Result<()> {
        let bytes = match reply {
            Reply::Simple(text) => format!("+{text}\r\n"),
            Reply::Error(text) => format!("-{text}\r\n"),
            Reply::Integer(number) => format!(":{number}\r\n"),
            Reply::Texts(texts) => {
                let bulks = texts.iter().map(|text| format!("${}\r\n{text}\r\n", text.len()));
                format!("*{}\r\n{}", texts.len(), bulks.collect::<String>())
            }
        };
        self.stream.write_all(bytes.as_bytes()).await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn bulk(&mut self) -> io::Result<String> {
        let head = self.line().await?.ok_or_else(bad)?;
        let length: usize =
            head.strip_prefix('$').and_then(|length| length.parse().ok()).ok_or_else(bad)?;
        if length > TEXT_BYTES_MAX {
            return Err(bad());
        }
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(|_| bad())
    }
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not the Redis protocol")
}
