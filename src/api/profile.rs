//! Whose promises a caller relies on where the documents and the programs differ.

use axum::http::HeaderMap;

use super::limit::Refusal;

/// Header that picks a profile for one request.
pub const PROFILE_HEADER: &str = "quorate-profile";

/// Selects how a family's answers look; the commands underneath are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The documents, to the letter wherever they are explicit.
    #[default]
    Document,
    /// What the released programs answer.
    Program,
}

impl Profile {
    /// The profile the request asks for, else `default`.
    ///
    /// # Errors
    /// [`Refusal::BadHeader`] for a value that is no profile.
    pub(crate) fn of(headers: &HeaderMap, default: Self) -> Result<Self, Refusal> {
        let Some(value) = headers.get(PROFILE_HEADER) else { return Ok(default) };
        match value.as_bytes() {
            b"document" => Ok(Self::Document),
            b"program" => Ok(Self::Program),
            _ => Err(Refusal::BadHeader("Quorate-Profile is document or program".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_wins_over_the_default_and_must_be_known() {
        let mut headers = HeaderMap::new();
        assert_eq!(Profile::of(&headers, Profile::Program).unwrap(), Profile::Program);
        headers.insert(PROFILE_HEADER, HeaderValue::from_static("document"));
        assert_eq!(Profile::of(&headers, Profile::Program).unwrap(), Profile::Document);
        headers.insert(PROFILE_HEADER, HeaderValue::from_static("draft"));
        assert!(Profile::of(&headers, Profile::Program).is_err());
    }
}
