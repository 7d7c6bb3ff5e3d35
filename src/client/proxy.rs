//! Server proxies, as far as the broker itself talks to them: `UMCTL GETEPOCH` over RESP.
//!
//! One connection, one command, one answer. A full Redis client would greet the proxy with
//! commands it does not know, so the exchange is written out here.

use std::{io, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for an answer once connected.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest answer line in bytes.
const ANSWER_BYTES_MAX: usize = 1024;

const GET_EPOCH: &[u8] = b"*2\r\n$5\r\nUMCTL\r\n$8\r\nGETEPOCH\r\n";

/// Asks server proxies; the fake of the tests can also fail in every way a proxy can.
pub trait ProxyClient: Send + Sync {
    /// The metadata epoch the proxy at `address` has reached.
    fn epoch<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<u64, ProxyError>>;
}

/// Why a proxy's epoch is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Nothing answers at the address, or the name does not resolve.
    #[error("the proxy cannot be reached")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the proxy closed the connection")]
    Broken(#[source] io::Error),
    /// Connecting or answering took longer than a second.
    #[error("the proxy did not answer in time")]
    Timeout,
    /// The answer is no integer.
    #[error("the proxy answered something else than an epoch: {0:?}")]
    Answer(String),
}

/// The real client.
#[derive(Clone, Copy, Debug, Default)]
pub struct RespProxyClient;

impl ProxyClient for RespProxyClient {
    fn epoch<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<u64, ProxyError>> {
        Box::pin(async move {
            let mut stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
                .await
                .map_err(|_| ProxyError::Timeout)?
                .map_err(ProxyError::Connect)?;
            timeout(ANSWER_TIMEOUT, exchange(&mut stream)).await.map_err(|_| ProxyError::Timeout)?
        })
    }
}

async fn exchange(stream: &mut TcpStream) -> Result<u64, ProxyError> {
    stream.write_all(GET_EPOCH).await.map_err(ProxyError::Broken)?;
    let mut line = Vec::with_capacity(32);
    while !line.ends_with(b"\r\n") {
        if line.len() >= ANSWER_BYTES_MAX {
            return Err(ProxyError::Answer(text(&line)));
        }
        line.push(stream.read_u8().await.map_err(ProxyError::Broken)?);
    }
    parse(&line[..line.len() - 2]).ok_or_else(|| ProxyError::Answer(text(&line)))
}

fn parse(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b":")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

/// A stand-in for a fleet of proxies, with faults on request.
#[cfg(test)]
pub(crate) mod fake {
    use std::{
        collections::{BTreeMap, VecDeque},
        sync::{Mutex, PoisonError},
    };

    use super::*;

    /// What a fake proxy does when asked.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Behaviour {
        /// Answers this epoch.
        Epoch(u64),
        /// Refuses the connection.
        Refuses,
        /// Accepts and never answers within the time limit.
        Silent,
        /// Closes the connection instead of answering.
        Hangs,
        /// Answers an error.
        Garbage,
    }

    /// Proxies by address; each call takes the next behaviour, the last one stays.
    #[derive(Default)]
    pub(crate) struct FakeProxies(Mutex<BTreeMap<String, VecDeque<Behaviour>>>);

    impl FakeProxies {
        /// Scripts the proxy at `address`.
        pub(crate) fn with(self, address: &str, script: &[Behaviour]) -> Self {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(address.to_owned(), script.iter().copied().collect());
            self
        }

        fn next(&self, address: &str) -> Behaviour {
            let mut proxies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(script) = proxies.get_mut(address) else { return Behaviour::Refuses };
            if script.len() > 1 {
                return script.pop_front().unwrap_or(Behaviour::Refuses);
            }
            script.front().copied().unwrap_or(Behaviour::Refuses)
        }
    }

    impl ProxyClient for FakeProxies {
        fn epoch<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<u64, ProxyError>> {
            let behaviour = self.next(address);
            Box::pin(async move {
                match behaviour {
                    Behaviour::Epoch(epoch) => Ok(epoch),
                    Behaviour::Refuses => {
                        Err(ProxyError::Connect(io::ErrorKind::ConnectionRefused.into()))
                    }
                    Behaviour::Silent => {
                        tokio::time::sleep(ANSWER_TIMEOUT).await;
                        Err(ProxyError::Timeout)
                    }
                    Behaviour::Hangs => {
                        Err(ProxyError::Broken(io::ErrorKind::UnexpectedEof.into()))
                    }
                    Behaviour::Garbage => Err(ProxyError::Answer("-ERR unknown".to_owned())),
                }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn ask(answer: &'static [u8]) -> Result<u64, ProxyError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; GET_EPOCH.len()];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, GET_EPOCH);
            stream.write_all(answer).await.unwrap();
        });
        let epoch = RespProxyClient.epoch(&address).await;
        server.await.unwrap();
        epoch
    }

    #[tokio::test]
    async fn an_integer_is_the_epoch() {
        assert_eq!(ask(b":42\r\n").await.unwrap(), 42);
        assert_eq!(ask(b":18446744073709551615\r\n").await.unwrap(), u64::MAX);
    }

    #[tokio::test]
    async fn anything_else_is_an_error() {
        assert!(matches!(ask(b"-ERR no\r\n").await, Err(ProxyError::Answer(_))));
        assert!(matches!(ask(b":-1\r\n").await, Err(ProxyError::Answer(_))));
        assert!(matches!(ask(b":4").await, Err(ProxyError::Broken(_))));
        let long: &'static [u8] = Box::leak(vec![b':'; 4096].into_boxed_slice());
        assert!(matches!(ask(long).await, Err(ProxyError::Answer(_))));
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert!(matches!(RespProxyClient.epoch(&address).await, Err(ProxyError::Connect(_))));
        assert!(RespProxyClient.epoch("no port").await.is_err());
    }

    #[tokio::test]
    async fn a_silent_proxy_is_given_up_after_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::time::Instant::now();
        let epoch = RespProxyClient.epoch(&address).await;
        assert!(matches!(epoch, Err(ProxyError::Timeout)));
        assert!(asked.elapsed() < CONNECT_TIMEOUT + ANSWER_TIMEOUT + Duration::from_secs(2));
    }
}
