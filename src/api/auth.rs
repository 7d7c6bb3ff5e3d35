//! Who may do what: bearer tokens, and what may be done without one.
//!
//! Decided from the published state, without the log: a token is looked up by its public part, and
//! its keyed hash compared. What a request needs follows from its family, method and path alone,
//! and whatever is not listed needs more rather than less.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};
use ring::hmac;

use super::limit::Refusal;
use crate::domain::system::access::{self, Family, Role, Token, TokenId};

/// What a client without a good token is told to bring.
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");
/// Who asks without a token.
pub(crate) const ANONYMOUS: &str = "anonymous";
/// What every token begins with, so that it is known for one wherever it turns up.
const PREFIX: &str = "qrt_";
/// What looking needs the role admin for: secrets, and who did what.
const GUARDED_READS: [&str; 6] = [
    "/quorate/v1/log",
    "/quorate/v1/tokens",
    "/quorate/v1/audit",
    "/quorate/v1/backup",
    "/quorate/v1/backups",
    "/quorate/v1/kvrocks/export",
];
/// Changes of the admin family that operators may make.
const OPERATED: [&str; 3] =
    ["/quorate/v1/snapshot", "/quorate/v1/leader/transfer", "/quorate/v1/undermoon/settings"];
/// Changes in other families that are still a matter of the cluster: who belongs to it.
const ADMINISTERED: [&str; 1] = ["/api/v1/raft/peers"];
/// Requests that change nothing although their method says so.
const LOOKS: [&str; 2] = ["/api/v2/resources/failures/check", "/api/v3/resources/failures/check"];

/// What may be done without a token on a listener, by family; nothing in those that are absent.
pub type Anonymous = BTreeMap<Family, Role>;

/// What tokens are checked with. One a process, shared by its listeners.
#[derive(Clone)]
pub struct Keeper {
    key: Arc<hmac::Key>,
    bootstrap: Option<[u8; 32]>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// A token as it is shown once, and what is kept of it.
pub(crate) struct Fresh {
    /// The whole of it.
    pub(crate) text: String,
    /// Its public part.
    pub(crate) id: TokenId,
    /// Keyed hash of its secret part.
    pub(crate) digest: [u8; 32],
}

impl Keeper {
    /// Tokens are bound to the cluster by its secret; `bootstrap` may do everything, and is for
    /// making the first token.
    #[must_use]
    pub fn new(cluster_token: &str, bootstrap: Option<&str>) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, cluster_token.as_bytes());
        let derived = hmac::sign(&root, b"quorate tokens of clients");
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()));
        let bootstrap = bootstrap.map(|secret| digest(&key, secret.as_bytes()));
        Self { key, bootstrap }
    }

    /// A token from random bits.
    pub(crate) fn make(&self, id: [u8; 16], secret: [u8; 32]) -> Fresh {
        let mut short = [0; 8];
        short.copy_from_slice(&id[..8]);
        let secret = hex(&secret);
        let text = format!("{PREFIX}{}_{secret}", hex(&short));
        Fresh { text, id: short, digest: digest(&self.key, secret.as_bytes()) }
    }

    /// The token behind a bearer's text, if it is good at a time.
    fn find<'a>(&self, tokens: &'a access::State, text: &str, now_ms: u64) -> Option<Bearer<'a>> {
        if let Some((id, secret)) = split(text) {
            let token = tokens.get(&id)?;
            // The comparison takes equally long wherever the two differ.
            let is_good = hmac::verify(&self.key, secret.as_bytes(), &token.digest).is_ok()
                && token.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms);
            return is_good.then_some(Bearer::Token(token));
        }
        let wanted = self.bootstrap.as_ref()?;
        hmac::verify(&self.key, text.as_bytes(), wanted).ok().map(|()| Bearer::Bootstrap)
    }
}

enum Bearer<'a> {
    Token(&'a Token),
    Bootstrap,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need<'a> {
    family: Family,
    role: Role,
    namespace: Option<&'a str>,
}

impl<'a> Need<'a> {
    fn of(family: Family, method: &Method, path: &'a str) -> Self {
        let is_look = *method == Method::GET || *method == Method::HEAD || LOOKS.contains(&path);
        let role = match family {
            _ if is_look && is_under(path, &GUARDED_READS) => Role::Admin,
            _ if is_look => Role::Read,
            Family::Admin if is_under(path, &OPERATED) => Role::Operate,
            Family::Admin => Role::Admin,
            _ if is_under(path, &ADMINISTERED) => Role::Admin,
            Family::Undermoon | Family::Kvrocks | Family::Cello => Role::Operate,
        };
        Self { family, role, namespace: namespace_of(path) }
    }
}

/// Who makes a request, and what it may: its name for the audit trail, or why it may not.
///
/// # Errors
/// [`Refusal::Unauthenticated`] without a token that is good, [`Refusal::Forbidden`] with one that
/// does not suffice.
pub(super) fn judge(
    (keeper, anonymous): (&Keeper, &Anonymous),
    tokens: &access::State,
    (family, method, path): (Family, &Method, &str),
    headers: &HeaderMap,
    now_ms: u64,
) -> Result<Cow<'static, str>, Refusal> {
    let need = Need::of(family, method, path);
    let Some(text) = bearer(headers)? else {
        let may = anonymous.get(&family).is_some_and(|role| *role >= need.role);
        return may.then_some(Cow::Borrowed(ANONYMOUS)).ok_or(Refusal::Unauthenticated(
            "this needs a token: send it as `Authorization: Bearer TOKEN`",
        ));
    };
    match keeper.find(tokens, text, now_ms) {
        None => Err(Refusal::Unauthenticated("the token is unknown, revoked or expired")),
        Some(Bearer::Bootstrap) => Ok(Cow::Borrowed("bootstrap")),
        Some(Bearer::Token(token)) => {
            check(token, need)?;
            Ok(Cow::Owned(format!("token:{}", hex(&token.id))))
        }
    }
}

fn check(token: &Token, need: Need<'_>) -> Result<(), Refusal> {
    if token.family.is_some_and(|family| family != need.family) {
        return Err(Refusal::Forbidden("the token is for another family"));
    }
    if let Some(namespace) = &token.namespace
        && need.namespace != Some(namespace)
    {
        return Err(Refusal::Forbidden("the token is for one namespace, and this is not in it"));
    }
    if token.role < need.role {
        return Err(Refusal::Forbidden("the role of the token does not suffice"));
    }
    Ok(())
}

/// The bearer's text; `None` if the request claims nothing.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        // Something in front of an existing client may speak of itself; it is nobody here.
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("basic") => Ok(None),
        _ => Err(Refusal::Unauthenticated("the header Authorization is not `Bearer TOKEN`")),
    }
}

fn split(text: &str) -> Option<(TokenId, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Some((parse_id(id)?, secret))
}

/// Reads the public part of a token, as it is listed.
pub(crate) fn parse_id(text: &str) -> Option<TokenId> {
    if text.len() != 16 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some(u64::from_str_radix(text, 16).ok()?.to_be_bytes())
}

/// The namespace a path is in; none for an escaped one, which may be another than it seems.
fn namespace_of(path: &str) -> Option<&str> {
    let rest = path
        .strip_prefix("/api/v1/namespaces/")
        .or_else(|| path.strip_prefix("/quorate/v1/kvrocks/status/"))?;
    let namespace = rest.split('/').next()?;
    (!namespace.is_empty() && !namespace.contains('%')).then_some(namespace)
}

fn is_under(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn digest(key: &hmac::Key, secret: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(key, secret);
    let mut digest = [0; 32];
    digest.copy_from_slice(tag.as_ref());
    digest
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
#[path = "auth_test.rs"]
mod tests;
