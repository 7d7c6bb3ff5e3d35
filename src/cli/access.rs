//! How `quorate ctl` shows itself to replicas: TLS and a token.

use std::{error::Error, path::PathBuf};

use clap::Args;

use super::client::Access;
use crate::{client::https::Http, tls};

/// Options of every verb.
#[derive(Args)]
pub(super) struct Arguments {
    /// Token to show; better in the variable or a file, as others see command lines.
    #[arg(long, global = true, env = "QUORATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File with the token.
    #[arg(long, global = true, env = "QUORATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that vouch for replicas; for https endpoints.
    #[arg(long, global = true, env = "QUORATE_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// PEM file of our certificate, for replicas that want one of their clients.
    #[arg(long, global = true, requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    #[arg(long, global = true, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arguments").field("tls_ca", &self.tls_ca).finish_non_exhaustive()
    }
}

impl Arguments {
    /// Reads the files.
    pub(super) fn prepare(&self) -> Result<Access, Box<dyn Error + Send + Sync>> {
        let identity = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        let tls = self.tls_ca.as_deref().map(|ca| tls::client_config(ca, identity)).transpose()?;
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.trim().to_owned()),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => None,
        };
        let access = Access::new(Http::new(tls), token.as_deref());
        access.ok_or_else(|| "the token has characters that no token has".into())
    }
}

fn read(path: &PathBuf) -> Result<String, Box<dyn Error + Send + Sync>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}
