//! TLS to Kvrocks nodes: whom they must be vouched for by, and who we are.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
    },
};

/// What TLS to nodes is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the authorities that vouch for nodes.
    pub authorities: PathBuf,
    /// PEM files of our own certificate and its key, for nodes that want one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name that every certificate must be for; each node's own host if there is none.
    pub server_name: Option<String>,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is no PEM.
    #[error("{} holds nothing that TLS can use", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Certificate, key or authorities do not work.
    #[error("the certificates for Kvrocks nodes cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The name is no host.
    #[error("{0} is no name of a host")]
    Name(String),
}

/// Opens TLS over connections to nodes.
#[derive(Clone)]
pub struct NodeTls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl NodeTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authorities)? {
            roots.add(certificate)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(in_file(key))?;
                builder.with_client_auth_cert(certificates(chain)?, secret)?
            }
        };
        let server_name = files.server_name.as_ref().map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone()))
        });
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            server_name: server_name.transpose()?,
        })
    }

    /// Shakes hands with the node at `addr`.
    pub(super) async fn connect(
        &self,
        addr: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host(addr).to_owned()).map_err(io::Error::other)?,
        };
        self.connector.connect(name, stream).await
    }
}

/// The host of `host:port`, without the brackets of IPv6.
fn host(addr: &str) -> &str {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(in_file(path))?;
    if found.is_empty() {
        return Err(in_file(path)(pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn in_file(path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |source| TlsError::File { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "node_tls_test.rs"]
mod tests;
