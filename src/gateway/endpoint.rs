//! The address of a replica's client port.

use std::{fmt, str::FromStr};

use axum::http::{HeaderValue, uri::Authority};

/// Where a replica serves clients: `HOST:PORT`, in the form in which it is connected to and named
/// as a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: Authority,
}

/// A text that is no address of a replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint is HOST:PORT or http://HOST:PORT, not {0}")]
pub struct BadEndpoint(String);

impl Endpoint {
    /// `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.authority.as_str()
    }

    /// As the value of a `Host` header.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.as_str()).ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = || BadEndpoint(text.to_owned());
        let place = text.trim();
        let place = place.strip_prefix("http://").unwrap_or(place);
        let place = place.strip_suffix('/').unwrap_or(place).to_ascii_lowercase();
        let authority: Authority = place.parse().map_err(|_| bad())?;
        let is_whole = !authority.host().is_empty()
            && authority.port_u16().is_some_and(|port| port != 0)
            && !place.contains('@');
        if is_whole { Ok(Self { authority }) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let found = text.parse::<Endpoint>().ok();
        assert_eq!(found.as_ref().map(Endpoint::as_str), expected, "{text}");
    }

    #[test]
    fn endpoints_have_a_host_and_a_port() {
        check("127.0.0.1:7799", Some("127.0.0.1:7799"));
        check(" http://Replica-1:7799/ ", Some("replica-1:7799"));
        check("[::1]:7799", Some("[::1]:7799"));
        check("replica-1", None);
        check("replica-1:0", None);
        check(":7799", None);
        check("https://replica-1:7799", None);
        check("http://replica-1:7799/api", None);
        check("user@replica-1:7799", None);
        check("", None);
    }
}
