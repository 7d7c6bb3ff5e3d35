//! A bucket of an object store that speaks the protocol of Amazon S3.
//!
//! Signing, retries and the upload in parts are those of `object_store`; the connections are ours,
//! so that TLS is the same here as everywhere. An upload is there once its last part was confirmed,
//! and not before. Of one that breaks off the store keeps the parts, unseen, until it is told to
//! drop them, which is done here where that is still possible, and else is for a lifecycle rule.

use std::{fmt, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
    path::Path,
};
use sync_wrapper::SyncStream;
use tokio::sync::Mutex;

use super::{Keep, Stored, busy, name_of, parse_name, superfluous};
use crate::{
    client::https::{self, Http},
    tls::{self, TlsError},
};

/// Time for the head of an answer, and for each piece of one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for a call with all its repetitions.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Most repetitions of a call.
const RETRIES_MAX: usize = 4;
/// Parts of an upload that are on the way at once; each has 5 MiB.
const PARTS_IN_FLIGHT: usize = 2;

/// Which bucket, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// Begins the names of all backups, with a slash behind it; empty for none.
    pub prefix: String,
    /// URL of the store; Amazon's for the region if not given.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// Authorities that vouch for the store; those of the operating system if not given.
    pub authorities: Option<PathBuf>,
    /// Who asks; as the environment of the process says, or the machine, if not given.
    pub keys: Option<BucketKeys>,
}

/// Who asks the store. Never shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketKeys {
    /// Name of the key.
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: String,
}

impl fmt::Debug for BucketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketKeys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The authorities cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The settings do not go together.
    #[error("the bucket for backups cannot be used: {0}")]
    Store(#[from] object_store::Error),
}

/// A bucket of backups.
#[derive(Debug)]
pub struct Bucket {
    store: AmazonS3,
    prefix: String,
    url: String,
    /// One is written at a time.
    turn: Mutex<()>,
}

impl Bucket {
    /// The bucket of a configuration. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn new(config: &BucketConfig) -> Result<Self, BucketError> {
        let tls = match &config.authorities {
            Some(authorities) => tls::client_config(authorities, None)?,
            None => tls::system_client_config()?,
        };
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        // Without keys of its own it is whoever the machine says it is, as every client of Amazon.
        let builder = match &config.keys {
            None => AmazonS3Builder::from_env(),
            Some(keys) => AmazonS3Builder::new()
                .with_access_key_id(&keys.access_key_id)
                .with_secret_access_key(&keys.secret_access_key),
        };
        let mut builder = builder
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_retry(retry)
            .with_http_connector(Connector(Http::new(Some(tls))));
        if let Some(endpoint) = &config.endpoint {
            builder =
                builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let Bucketed { prefix, url } = Bucketed::of(config);
        Ok(Self { store: builder.build()?, prefix, url, turn: Mutex::new(()) })
    }

    /// `s3://` with the bucket and what begins the names in it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    pub(super) async fn store(
        &self,
        (index, created_ms): (u64, u64),
        mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> io::Result<Stored> {
        let Ok(_turn) = self.turn.try_lock() else { return Err(busy()) };
        let name = name_of(index, created_ms);
        let upload = self.store.put_multipart(&self.path(&name)).await;
        let mut writer = WriteMultipart::new(upload.map_err(|error| self.about(&error))?);
        let mut bytes = 0;
        let written: io::Result<()> = async {
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                bytes += chunk.len() as u64;
                writer
                    .wait_for_capacity(PARTS_IN_FLIGHT)
                    .await
                    .map_err(|error| self.about(&error))?;
                writer.put(chunk);
            }
            Ok(())
        }
        .await;
        if let Err(error) = written {
            // The error that matters is the first one.
            drop(writer.abort().await);
            return Err(error);
        }
        writer.finish().await.map_err(|error| self.about(&error))?;
        Ok(Stored { created_ms, index, name, bytes })
    }

    pub(super) async fn list(&self) -> io::Result<Vec<Stored>> {
        let prefix = self.prefix.strip_suffix('/').map(Path::from);
        let objects = self.store.list_with_delimiter(prefix.as_ref()).await;
        let objects = objects.map_err(|error| self.about(&error))?.objects;
        let mut found: Vec<Stored> = objects
            .into_iter()
            .filter_map(|object| {
                let name = object.location.filename()?.to_owned();
                let (index, created_ms) = parse_name(&name)?;
                Some(Stored { created_ms, index, name, bytes: object.size })
            })
            .collect();
        found.sort_by(|one, other| other.cmp(one));
        Ok(found)
    }

    pub(super) async fn open(
        &self,
        name: &str,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        parse_name(name).ok_or(io::ErrorKind::NotFound)?;
        let found = self.store.get(&self.path(name)).await.map_err(|error| self.about(&error))?;
        Ok(found.into_stream().map_err(io::Error::other).boxed())
    }

    pub(super) async fn thin_out(&self, keep: Keep, now_ms: u64) -> io::Result<usize> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(0) };
        let mut removed = 0;
        for stored in superfluous(&self.list().await?, keep, now_ms) {
            let deleted = self.store.delete(&self.path(&stored.name)).await;
            deleted.map_err(|error| self.about(&error))?;
            removed += 1;
        }
        Ok(removed)
    }

    fn about(&self, error: &object_store::Error) -> io::Error {
        let kind = match error {
            object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, format!("{}: {error}", self.url))
    }
}

/// A bucket, as it is named.
struct Bucketed {
    prefix: String,
    url: String,
}

impl Bucketed {
    fn of(config: &BucketConfig) -> Self {
        let inner = config.prefix.trim_matches('/');
        if inner.is_empty() {
            return Self { prefix: String::new(), url: format!("s3://{}", config.bucket) };
        }
        Self { prefix: format!("{inner}/"), url: format!("s3://{}/{inner}", config.bucket) }
    }
}

/// Has the store asked through connections of ours.
#[derive(Debug)]
struct Connector(Http);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.clone())))
    }
}

#[derive(Debug)]
struct Service(Http);

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = hyper::Request::from_parts(head, Full::new(body));
        let (head, parts) = self.0.open(request, PATIENCE).await.map_err(failed)?;
        let broken = |error| HttpError::new(HttpErrorKind::Interrupted, error);
        let frames = SyncStream::new(parts.map_ok(Frame::data).map_err(broken));
        let body = StreamBody::new(frames);
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

/// The kind decides whether the call is repeated.
fn failed(error: https::HttpError) -> HttpError {
    let kind = match &error {
        https::HttpError::Unsent(_) => HttpErrorKind::Connect,
        https::HttpError::Broken(_) => HttpErrorKind::Interrupted,
        https::HttpError::Late(_) => HttpErrorKind::Timeout,
        https::HttpError::Large(_) => HttpErrorKind::Decode,
    };
    HttpError::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(prefix: &str) -> BucketConfig {
        BucketConfig {
            bucket: "backups".to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            authorities: None,
            keys: Some(BucketKeys {
                access_key_id: "AKIA".to_owned(),
                secret_access_key: "hush".to_owned(),
            }),
        }
    }

    #[test]
    fn names_begin_with_the_prefix() {
        let named = |prefix| {
            let Bucketed { prefix, url } = Bucketed::of(&config(prefix));
            (prefix, url)
        };
        let own = |(one, other): (&str, &str)| (one.to_owned(), other.to_owned());
        assert_eq!(named(""), own(("", "s3://backups")));
        assert_eq!(named("quorate/"), own(("quorate/", "s3://backups/quorate")));
        assert_eq!(named("a/b"), own(("a/b/", "s3://backups/a/b")));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", config(""));
        assert!(shown.contains("AKIA") && !shown.contains("hush"), "{shown}");
    }
}
