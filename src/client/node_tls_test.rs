//! Handshakes with listeners of known and unknown authorities, with and without our certificate.

use std::{fs, time::Duration};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, server::WebPkiClientVerifier},
};

use super::{
    super::{
        node_call::{NodeAccess, NodeCall, NodeError, Password},
        node_pool::NodePool,
    },
    *,
};
use crate::seal::KeyRing;

const SOON: Duration = Duration::from_secs(5);

/// An authority, with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &TempDir, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let file = dir.path().join(name);
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Certificate and key for a name or an address.
    fn vouch(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// The same, in files.
    fn identity(&self, dir: &TempDir, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.vouch(name);
        let files =
            (dir.path().join(format!("{name}.crt")), dir.path().join(format!("{name}.key")));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

/// A node that answers `+OK` to everything, over TLS; it wants a certificate of its clients if
/// there is somebody who vouches for them.
async fn node(vouched: &Authority, name: &str, clients: Option<&Authority>) -> String {
    let (certificate, key) = vouched.vouch(name);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let provider = Arc::new(ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let mut bytes = [0; 256];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    stream.write_all(b"+OK\r\n").await.unwrap();
                }
            });
        }
    });
    addr
}

/// What becomes of a call with these files; `Err` has a part of the error.
async fn check(about: &str, files: &TlsFiles, addr: &str, expected: Result<(), &str>) {
    let pool = NodePool::new(Some(NodeTls::load(files).unwrap()), KeyRing::default());
    let node = NodeAccess { addr, password: Password::Readable("secret") };
    match (pool.call(node, &["PING"], SOON).await, expected) {
        (Ok(text), Ok(())) => assert_eq!(text, "OK", "{about}"),
        (Err(error), Err(part)) => {
            assert!(error.to_string().contains(part), "{about}: {error}");
            assert!(!error.is_answer(), "{about}");
            assert!(!format!("{error:?}").contains("secret"), "{about}");
        }
        (found, _) => panic!("{about}: {found:?}"),
    }
}

#[tokio::test]
async fn only_nodes_that_are_vouched_for_are_spoken_to() {
    let dir = TempDir::new().unwrap();
    let (ours, other) = (Authority::new(&dir, "ours.pem"), Authority::new(&dir, "other.pem"));
    let files = |authority: &Authority| TlsFiles {
        authorities: authority.file.clone(),
        identity: None,
        server_name: None,
    };
    let by_address = node(&ours, "127.0.0.1", None).await;
    let by_name = node(&ours, "nodes.example", None).await;
    let locked = node(&ours, "127.0.0.1", Some(&other)).await;
    let named = TlsFiles { server_name: Some("nodes.example".to_owned()), ..files(&ours) };
    let known = TlsFiles { identity: Some(other.identity(&dir, "we")), ..files(&ours) };
    let unknown = TlsFiles { identity: Some(ours.identity(&dir, "they")), ..files(&ours) };
    check("address in the certificate", &files(&ours), &by_address, Ok(())).await;
    check("unknown authority", &files(&other), &by_address, Err("UnknownIssuer")).await;
    check("certificate of another name", &files(&ours), &by_name, Err("not valid for name")).await;
    check("name as configured", &named, &by_name, Ok(())).await;
    check("configured name missing", &named, &by_address, Err("not valid for name")).await;
    check("our certificate is known", &known, &locked, Ok(())).await;
    check("our certificate is unknown", &unknown, &locked, Err(&locked)).await;
    check("our certificate is missing", &files(&ours), &locked, Err(&locked)).await;
}

#[tokio::test]
async fn connections_in_tls_are_kept_and_plain_nodes_are_no_answer() {
    let dir = TempDir::new().unwrap();
    let ours = Authority::new(&dir, "ours.pem");
    let files = TlsFiles { authorities: ours.file.clone(), identity: None, server_name: None };
    let pool = NodePool::new(Some(NodeTls::load(&files).unwrap()), KeyRing::default());
    let addr = node(&ours, "127.0.0.1", None).await;
    let access = NodeAccess { addr: &addr, password: Password::Readable("") };
    for _ in 0..3 {
        // Session tickets that lie unread are no reason to connect again.
        assert_eq!(pool.exchange(access, &[&["A"], &["B"]], SOON).await.unwrap(), ["OK", "OK"]);
        assert_eq!(format!("{pool:?}"), "NodePool { connections: 1, .. }");
    }
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = plain.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"-ERR Protocol error\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 512]).await;
    });
    let access = NodeAccess { addr: &addr, password: Password::Readable("") };
    let error = pool.call(access, &["PING"], SOON).await.unwrap_err();
    assert!(matches!(error, NodeError::Connect { .. }), "{error:?}");
}

#[test]
fn files_that_cannot_work_are_named() {
    let dir = TempDir::new().unwrap();
    let ours = Authority::new(&dir, "ours.pem");
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let (certificate, key) = ours.identity(&dir, "we");
    let foreign = ours.identity(&dir, "they").1;
    let good = ours.file.clone();
    for (authorities, identity, name, part) in [
        (dir.path().join("absent.pem"), None, None, "absent.pem"),
        (empty.clone(), None, None, "empty.pem"),
        (good.clone(), Some((certificate.clone(), empty)), None, "empty.pem"),
        (good.clone(), Some((certificate.clone(), foreign)), None, "cannot be used"),
        (good.clone(), Some((certificate, key)), Some("a b"), "a b is no name"),
    ] {
        let server_name = name.map(str::to_owned);
        let error = NodeTls::load(&TlsFiles { authorities, identity, server_name }).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn hosts_are_told_from_ports() {
    for (addr, expected) in [
        ("10.0.0.1:6666", "10.0.0.1"),
        ("node-1.example:6666", "node-1.example"),
        ("[::1]:6666", "::1"),
        ("bare", "bare"),
    ] {
        assert_eq!(host(addr), expected);
    }
}
