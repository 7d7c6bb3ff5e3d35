//! TLS between replicas: what both ends of a peer connection are made of.
//!
//! This crate reads no files. Whoever starts a replica makes the two configurations, asks for a
//! certificate of the client in the server's, and replaces both while the replica runs; a
//! connection takes what is there when it is made.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

/// Both ends of peer connections. Clones share what is replaced.
#[derive(Clone)]
pub struct PeerTls(Arc<ArcSwap<Ends>>);

struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerTls")
    }
}

impl PeerTls {
    /// The first configurations.
    #[must_use]
    pub fn new(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Ends { server, client })))
    }

    /// Uses other configurations for connections from now on; those that exist go on.
    pub fn replace(&self, server: Arc<ServerConfig>, client: Arc<ClientConfig>) {
        self.0.store(Arc::new(Ends { server, client }));
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.0.load().server.clone()
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.0.load().client.clone()
    }
}
