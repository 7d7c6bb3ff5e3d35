//! A store that speaks the protocol of Amazon S3, keeps objects in a directory, checks every
//! signature, and can be told to be away.

#![allow(unreachable_pub, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Name of the bucket that is there.
pub const BUCKET: &str = "quorate-backups";
/// Who may ask.
pub const ACCESS_KEY_ID: &str = "QUORATETESTKEY";
/// What requests are signed with; no file but the one it is read from may have it.
pub const SECRET_ACCESS_KEY: &str = "a-secret-that-no-log-may-show";

/// A store with one bucket.
pub struct BucketServer {
    dir: TempDir,
    url: String,
    is_away: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl BucketServer {
    /// Serves over TLS, with a certificate of its own.
    pub async fn start() -> Self {
        let dir = TempDir::with_prefix("quorate-bucket-").expect("a directory");
        fs::create_dir_all(dir.path().join("objects").join(BUCKET)).expect("a bucket");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(dir.path().join("ca.pem"), cert.pem()).expect("a file");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("the key fits");
        let objects = FileSystem::new(dir.path().join("objects")).expect("a store");
        let mut service = S3ServiceBuilder::new(objects);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        let is_away = Arc::new(AtomicBool::new(false));
        let away = Arc::clone(&is_away);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if away.load(Ordering::SeqCst) {
                    continue;
                }
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = http1::Builder::new()
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { dir, url, is_away, serving }
    }

    /// Closes every connection without a word, or serves again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// A file with the credentials.
    pub fn credentials(&self, secret: &str) -> PathBuf {
        let path = self.dir.path().join(format!("credentials-{}", secret.len()));
        fs::write(&path, format!("{ACCESS_KEY_ID}:{secret}\n")).expect("a file");
        path
    }

    /// The flags of a replica that keeps its backups here, below a prefix.
    pub fn flags(&self, prefix: &str, secret: &str) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        [
            "--backup-bucket".to_owned(),
            format!("s3://{BUCKET}/{prefix}"),
            "--backup-endpoint".to_owned(),
            self.url.clone(),
            "--backup-ca".to_owned(),
            shown(&self.dir.path().join("ca.pem")),
            "--backup-credentials-file".to_owned(),
            shown(&self.credentials(secret)),
        ]
        .into()
    }

    /// Where the objects of the bucket are.
    pub fn objects(&self) -> PathBuf {
        self.dir.path().join("objects").join(BUCKET)
    }
}
