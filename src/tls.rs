//! TLS of the client ports and between replicas: certificates from files, read again while the
//! program runs.
//!
//! A file that changed is loaded once it has stood still from one look to the next, or at once on
//! SIGHUP. What cannot be used is told and changes nothing: the certificates before it stay. New
//! connections use what was loaded last; those that exist go on with what they began with.

mod reload;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};

pub use self::reload::keep_current;
use crate::broker::engine::PeerTls;

/// What this program offers and asks for inside TLS.
const PROTOCOL: &[u8] = b"http/1.1";

/// A certificate with its key, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM file of the certificate and those between it and its authority.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// PEM file of the authorities that vouch for the other end. Without it, clients need no
    /// certificate.
    pub ca: Option<PathBuf>,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds nothing of the kind.
    #[error("{} holds no {wanted} that TLS can use", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// Certificate, key or authorities do not work.
    #[error("the certificate {} cannot be used with its key and authorities", .path.display())]
    Unusable {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The operating system trusts nobody, or does not tell.
    #[error("no authorities that this machine trusts are to be found; name a file of some")]
    System,
    /// The authorities do not work.
    #[error("the authorities in {} cannot be used", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
}

/// TLS of the client ports; clones share what is replaced.
#[derive(Clone)]
pub struct ClientPortTls(Arc<ArcSwap<ServerConfig>>);

impl fmt::Debug for ClientPortTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientPortTls")
    }
}

impl ClientPortTls {
    /// What the next connection is accepted with.
    #[must_use]
    pub fn present(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// All TLS of a replica that is loaded from files.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Of the client ports.
    pub clients: Option<ClientPortTls>,
    /// Between replicas.
    pub peers: Option<PeerTls>,
    client_files: Option<Files>,
    peer_files: Option<Files>,
}

impl Tls {
    /// Reads all files for the first time.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(clients: Option<Files>, peers: Option<Files>) -> Result<Self, TlsError> {
        let port = clients.as_ref().map(server_config).transpose()?;
        let ends = peers.as_ref().map(peer_configs).transpose()?;
        Ok(Self {
            clients: port.map(|config| ClientPortTls(Arc::new(ArcSwap::new(config)))),
            peers: ends.map(|(server, client)| PeerTls::new(server, client)),
            client_files: clients,
            peer_files: peers,
        })
    }

    /// Reads all files again; nothing is replaced if one of them cannot be used.
    fn reload(&self) -> Result<(), TlsError> {
        let port = self.client_files.as_ref().map(server_config).transpose()?;
        let ends = self.peer_files.as_ref().map(peer_configs).transpose()?;
        if let (Some(clients), Some(config)) = (&self.clients, port) {
            clients.0.store(config);
        }
        if let (Some(peers), Some((server, client))) = (&self.peers, ends) {
            peers.replace(server, client);
        }
        Ok(())
    }

    /// When the first certificate of each port ends, seconds since the Unix epoch, by the port's
    /// name.
    fn expiries(&self) -> Vec<(&'static str, i64)> {
        let ports = [("clients", &self.client_files), ("peers", &self.peer_files)];
        ports
            .into_iter()
            .filter_map(|(port, files)| Some((port, expiry(files.as_ref()?)?)))
            .collect()
    }

    fn paths(&self) -> Vec<PathBuf> {
        let files = self.client_files.iter().chain(&self.peer_files);
        files
            .flat_map(|files| [Some(&files.cert), Some(&files.key), files.ca.as_ref()])
            .flatten()
            .cloned()
            .collect()
    }
}

/// What a client needs to trust a replica, and to show itself if there is an identity.
///
/// # Errors
/// [`TlsError`], naming the file.
pub fn client_config(
    authorities: &Path,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Unusable { path, source }
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable(authorities))?
        .with_root_certificates(roots(authorities)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(unusable(cert))?,
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// What a client needs to trust whoever this machine trusts.
///
/// # Errors
/// [`TlsError::System`].
pub fn system_client_config() -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    // Some of them are of kinds that nobody can read; the others serve.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::System);
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::System)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

fn server_config(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable { path: files.cert.clone(), source };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
            let verifier = verifier
                .build()
                .map_err(|source| TlsError::Authorities { path: ca.clone(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(&files.cert)?, private_key(&files.key)?)
        .map_err(unusable)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// A replica shows the same certificate to those it calls and to those that call it.
fn peer_configs(files: &Files) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), TlsError> {
    let authorities = files.ca.as_deref().unwrap_or(&files.cert);
    let server = server_config(&Files { ca: Some(authorities.to_owned()), ..files.clone() })?;
    let client = client_config(authorities, Some((&files.cert, &files.key)))?;
    Ok((server, client))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let path = path.to_owned();
        roots.add(certificate).map_err(|source| TlsError::Unusable { path, source })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wanted = "certificate";
    let bad = |source| TlsError::File { path: path.to_owned(), wanted, source };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(bad)?;
    if found.is_empty() {
        return Err(bad(pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// When the first of all certificates in the files ends, seconds since the Unix epoch; `None` if
/// there is none that tells.
fn expiry(files: &Files) -> Option<i64> {
    let paths = [Some(&files.cert), files.ca.as_ref()];
    let found = paths.into_iter().flatten().filter_map(|path| certificates(path).ok()).flatten();
    let ends = found.filter_map(|found| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&found).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    ends.min()
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wanted = "private key";
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        wanted,
        source,
    })
}

#[cfg(test)]
#[path = "tls/tls_test.rs"]
mod tests;
