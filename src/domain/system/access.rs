//! Tokens: who may do what. A token itself is never here, only its keyed hash.
//!
//! Whoever proposes a token draws it, shows it once, and proposes the hash. Whether a request may
//! pass is decided at the edge, from the published state and without the log.

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Context, event::Subject};

/// Most tokens at a time.
pub const TOKENS_MAX: usize = 10_000;
/// Longest name of a token, bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest name of a namespace that a token can be limited to, bytes.
pub const NAMESPACE_BYTES_MAX: usize = 256;

/// Names a token, in public.
pub type TokenId = [u8; 8];

/// How much may be done; each includes those before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Change what a family keeps.
    Operate,
    /// Everything, tokens and replicas included.
    Admin,
}

/// What a token may be limited to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The Redis proxy broker.
    Undermoon,
    /// The Kvrocks controller.
    Kvrocks,
    /// The cluster pool.
    Cello,
    /// The replicas themselves.
    Admin,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl Family {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undermoon => "undermoon",
            Self::Kvrocks => "kvrocks",
            Self::Cello => "cello",
            Self::Admin => "admin",
        }
    }
}

/// A token as it is kept. Encoded with `postcard`: fields are never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its public part.
    pub id: TokenId,
    /// Keyed hash of its secret part.
    pub digest: [u8; 32],
    /// What for; for people.
    pub name: String,
    /// How much it may.
    pub role: Role,
    /// The one family it is for; all if absent.
    pub family: Option<Family>,
    /// The one namespace of that family it is for; all if absent.
    pub namespace: Option<String>,
    /// When it was made, entry time in milliseconds.
    pub created_ms: u64,
    /// When it ends, milliseconds since the Unix epoch; never if absent.
    pub expires_ms: Option<u64>,
    /// Who made it, as the entry names it.
    pub created_by: String,
}

/// A change of what tokens there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a token. Time and maker come from the entry.
    CreateToken(Box<Token>),
    /// Ends a token at once.
    RevokeToken {
        /// Which.
        id: TokenId,
    },
}

impl Command {
    /// What happened if this was carried out.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let (kind, id) = match self {
            Self::CreateToken(token) => ("token_created", &token.id),
            Self::RevokeToken { id } => ("token_revoked", id),
        };
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Subject::of(kind, &id)
    }
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Carried out.
    Done,
}

/// Why a [`Command`] was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The id is taken.
    #[error("a token of this id exists already")]
    Exists,
    /// The id is unknown.
    #[error("no token has this id")]
    NotFound,
    /// No more tokens fit.
    #[error("there are {TOKENS_MAX} tokens already; revoke some first")]
    TooMany,
    /// A member does not fit.
    #[error("{0}")]
    Invalid(String),
    /// Older replicas would not understand.
    #[error("tokens need feature level 2: upgrade all replicas, then raise the feature level")]
    FeatureLevel,
}

/// The tokens. Cloning is O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    tokens: OrdMap<TokenId, Token>,
}

impl State {
    /// Applies one command.
    ///
    /// # Errors
    /// [`Rejection`]; nothing changed.
    pub fn apply(&mut self, context: &Context<'_>, command: Command) -> Result<Reply, Rejection> {
        match command {
            Command::CreateToken(token) => self.create(context, *token),
            Command::RevokeToken { id } => {
                self.tokens.remove(&id).map(|_| Reply::Done).ok_or(Rejection::NotFound)
            }
        }
    }

    fn create(&mut self, context: &Context<'_>, token: Token) -> Result<Reply, Rejection> {
        let invalid = |reason: &str| Err(Rejection::Invalid(reason.to_owned()));
        if token.name.len() > NAME_BYTES_MAX {
            return invalid("the name of a token has at most 128 bytes");
        }
        if let Some(namespace) = &token.namespace {
            if token.family != Some(Family::Kvrocks) {
                return invalid("only a token for kvrocks can be limited to a namespace");
            }
            if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX {
                return invalid("the namespace of a token has 1 to 256 bytes");
            }
        }
        if token.expires_ms.is_some_and(|expires_ms| expires_ms <= context.time_ms) {
            return invalid("the token would have ended already");
        }
        if self.tokens.contains_key(&token.id) {
            return Err(Rejection::Exists);
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Rejection::TooMany);
        }
        let created_by = context.actor.to_owned();
        let token = Token { created_ms: context.time_ms, created_by, ..token };
        self.tokens.insert(token.id, token);
        Ok(Reply::Done)
    }

    /// The token of an id.
    #[must_use]
    pub fn get(&self, id: &TokenId) -> Option<&Token> {
        self.tokens.get(id)
    }

    /// All tokens, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// Puts back what a snapshot holds; false if the id is there already.
    #[must_use]
    pub fn restore(&mut self, token: Token) -> bool {
        self.tokens.insert(token.id, token).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(time_ms: u64) -> Context<'static> {
        Context { index: 1, term: 1, time_ms, actor: "root@127.0.0.1" }
    }

    fn token(id: u8) -> Token {
        Token {
            id: [id; 8],
            digest: [id; 32],
            name: "a front end".to_owned(),
            role: Role::Operate,
            family: Some(Family::Kvrocks),
            namespace: Some("shop".to_owned()),
            created_ms: 0,
            expires_ms: None,
            created_by: String::new(),
        }
    }

    fn create(state: &mut State, token: Token) -> Result<Reply, Rejection> {
        state.apply(&context(7), Command::CreateToken(Box::new(token)))
    }

    #[test]
    fn a_token_lives_from_its_making_to_its_revocation() {
        let mut state = State::default();
        create(&mut state, token(1)).unwrap();
        let kept = state.get(&[1; 8]).unwrap();
        assert_eq!((kept.created_ms, &*kept.created_by), (7, "root@127.0.0.1"));
        assert_eq!(create(&mut state, token(1)), Err(Rejection::Exists));
        let revoke = Command::RevokeToken { id: [1; 8] };
        state.apply(&context(8), revoke.clone()).unwrap();
        assert_eq!(state.get(&[1; 8]), None);
        assert_eq!(state.apply(&context(9), revoke), Err(Rejection::NotFound));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut state = State::default();
        let refused = |state: &mut State, token: Token| {
            assert!(matches!(create(state, token), Err(Rejection::Invalid(_))));
        };
        refused(&mut state, Token { expires_ms: Some(7), ..token(1) });
        refused(&mut state, Token { family: None, ..token(1) });
        refused(&mut state, Token { namespace: Some(String::new()), ..token(1) });
        refused(&mut state, Token { name: "x".repeat(129), ..token(1) });
        assert_eq!(state.iter().count(), 0);
    }

    #[test]
    fn roles_include_those_before_them() {
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
    }
}
