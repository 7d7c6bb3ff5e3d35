//! Options about who may talk to a replica.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::{
    ClientLimits, ConfigError, Listener, Secret, given, invalid, is_loopback, layer::Layer,
};
use crate::{
    domain::system::access::{Family, Role},
    seal::KeyRing,
    tls::Files,
};

const FAMILIES: [Family; 4] = [Family::Undermoon, Family::Kvrocks, Family::Cello, Family::Admin];
const ROLES: [Role; 3] = [Role::Read, Role::Operate, Role::Admin];
/// Shortest token that may do everything, characters.
const ADMIN_TOKEN_LENGTH_MIN: usize = 32;

/// Says for each listener what may be done there without a token.
pub(super) fn open(
    listeners: &mut [Listener],
    layer: &Layer,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let wanted = layer.anonymous.as_deref().map(anonymous).transpose()?;
    for listener in listeners {
        let is_local = is_loopback(&listener.address);
        listener.anonymous = wanted.clone().unwrap_or_else(|| by_default(is_local));
        let open: Vec<_> = listener
            .anonymous
            .iter()
            .filter(|(_, role)| **role > Role::Read)
            .map(|(family, _)| family.name())
            .collect();
        if !is_local && !open.is_empty() {
            warnings.push(format!(
                "ANYBODY WHO REACHES {} MAY CHANGE {} WITHOUT A TOKEN: it is not loopback; make \
                 tokens with `quorate ctl token create` and set anonymous, for example to none",
                listener.address,
                open.join(", ")
            ));
        }
    }
    Ok(())
}

/// Existing clients send no token, so they find open what they need.
fn by_default(is_local: bool) -> BTreeMap<Family, Role> {
    let role = |family| match family {
        _ if is_local => Role::Admin,
        Family::Admin => Role::Read,
        Family::Undermoon | Family::Kvrocks | Family::Cello => Role::Operate,
    };
    FAMILIES.into_iter().map(|family| (family, role(family))).collect()
}

fn anonymous(items: &[String]) -> Result<BTreeMap<Family, Role>, ConfigError> {
    if items == ["none"] {
        return Ok(BTreeMap::new());
    }
    let mut found = BTreeMap::new();
    for item in items {
        let pair = item.split_once('=').and_then(|(family, role)| {
            let family = FAMILIES.into_iter().find(|known| known.name() == family)?;
            Some((family, ROLES.into_iter().find(|known| known.name() == role)?))
        });
        let (family, role) = pair.ok_or_else(|| {
            invalid(format!(
                "anonymous is none, or FAMILY=ROLE with undermoon, kvrocks, cello or admin, and \
                 read, operate or admin, not {item}"
            ))
        })?;
        found.insert(family, role);
    }
    Ok(found)
}

/// The token that may do everything, from the configuration or its file.
pub(super) fn admin_token(layer: &Layer) -> Result<Option<Secret>, ConfigError> {
    let token = match (&layer.admin_token, &layer.admin_token_file) {
        (Some(_), Some(_)) => return Err(invalid("give admin_token or admin_token_file")),
        (Some(token), None) => token.trim().to_owned(),
        (None, Some(path)) => fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?
            .trim()
            .to_owned(),
        (None, None) => return Ok(None),
    };
    let is_plain = token.bytes().all(|letter| letter.is_ascii_graphic());
    if token.len() < ADMIN_TOKEN_LENGTH_MIN || !is_plain || token.starts_with("qrt_") {
        return Err(invalid(
            "admin_token has at least 32 characters without spaces, and does not begin with qrt_",
        ));
    }
    Ok(Some(Secret(token)))
}

/// The keys that seal and open secrets.
pub(super) fn keys(layer: &Layer) -> Result<KeyRing, ConfigError> {
    let path = layer.secrets_key_file.as_deref();
    Ok(path.map(KeyRing::load).transpose()?.unwrap_or_default())
}

/// What each client may take.
pub(super) fn client_limits(layer: &Layer) -> Result<ClientLimits, ConfigError> {
    Ok(ClientLimits {
        requests_per_s: given(layer.client_requests_per_s, "client_requests_per_s")?,
        burst: given(layer.client_requests_burst, "client_requests_burst")?,
        in_flight_max: given(layer.client_requests_in_flight_max, "client_requests_in_flight_max")?,
    })
}

/// TLS of the client ports is on if there is a certificate.
pub(super) fn client_port_tls(layer: &Layer) -> Result<Option<Files>, ConfigError> {
    let pair = pair(&layer.tls_cert, &layer.tls_key, "tls_cert and tls_key")?;
    match (pair, layer.tls_client_ca.clone()) {
        (Some((cert, key)), ca) => Ok(Some(Files { cert, key, ca })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid("tls_client_ca needs tls_cert and tls_key")),
    }
}

/// TLS between replicas is on if there is an authority; it is always mutual.
pub(super) fn peer_tls(layer: &Layer) -> Result<Option<Files>, ConfigError> {
    let pair = pair(&layer.peer_tls_cert, &layer.peer_tls_key, "peer_tls_cert and peer_tls_key")?;
    match (pair, layer.peer_tls_ca.clone()) {
        (Some((cert, key)), Some(ca)) => Ok(Some(Files { cert, key, ca: Some(ca) })),
        (None, None) => Ok(None),
        _ => Err(invalid("peer_tls_ca, peer_tls_cert and peer_tls_key need each other")),
    }
}

fn pair(
    cert: &Option<PathBuf>,
    key: &Option<PathBuf>,
    names: &str,
) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    match (cert.clone(), key.clone()) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(invalid(format!("{names} need each other"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(address: &str, wanted: Option<&[&str]>) -> (BTreeMap<Family, Role>, usize) {
        let mut listener = Listener {
            address: address.to_owned(),
            undermoon_profile: super::super::ProfileName::Document,
            kvrocks_profile: super::super::ProfileName::Document,
            pool_doors: super::super::DoorsName::All,
            is_tls: false,
            anonymous: BTreeMap::new(),
        };
        let anonymous = wanted.map(|items| items.iter().map(|item| (*item).to_owned()).collect());
        let layer = Layer { anonymous, ..Layer::default() };
        let mut warnings = Vec::new();
        open(std::slice::from_mut(&mut listener), &layer, &mut warnings).unwrap();
        (listener.anonymous, warnings.len())
    }

    #[test]
    fn loopback_is_open_and_beyond_it_there_is_a_warning() {
        let (anonymous, warnings) = opened("127.0.0.1:1", None);
        assert_eq!((anonymous[&Family::Admin], warnings), (Role::Admin, 0));
        let (anonymous, warnings) = opened("0.0.0.0:1", None);
        assert_eq!((anonymous[&Family::Admin], warnings), (Role::Read, 1));
        assert_eq!(anonymous[&Family::Kvrocks], Role::Operate);
        assert_eq!(opened("0.0.0.0:1", Some(&["none"])), (BTreeMap::new(), 0));
        let (anonymous, warnings) = opened("0.0.0.0:1", Some(&["kvrocks=operate"]));
        assert_eq!((anonymous.len(), warnings), (1, 1));
    }

    #[test]
    fn what_is_no_role_or_no_token_is_an_error() {
        assert!(anonymous(&["kvrocks=root".to_owned()]).is_err());
        assert!(anonymous(&["redis=read".to_owned()]).is_err());
        let layer = |token: &str| Layer { admin_token: Some(token.to_owned()), ..Layer::default() };
        assert!(admin_token(&layer("short")).is_err());
        assert!(admin_token(&layer(&"x".repeat(32))).unwrap().is_some());
    }
}
