//! How current an answer must be, and where the answering replica stood.
//!
//! A GET is served from the local applied state unless it asks for more:
//! `Quorate-Consistency: linearizable` or `?consistency=linearizable` waits for everything that
//! was committed when the request came; `Quorate-Min-Index: N` waits until N is applied here.

use std::{cell::RefCell, time::Duration};

use axum::{
    extract::Query,
    http::{HeaderMap, HeaderName, HeaderValue, Uri},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::limit::Refusal;
use crate::broker::{Broker, Position, ReadError, ReadMode, View};

/// Header that asks for a consistency.
pub const CONSISTENCY_HEADER: &str = "quorate-consistency";
/// Header that asks for a minimum applied index.
pub const MIN_INDEX_HEADER: &str = "quorate-min-index";

const INDEX: HeaderName = HeaderName::from_static("quorate-index");
const TERM: HeaderName = HeaderName::from_static("quorate-term");
const LEADER: HeaderName = HeaderName::from_static("quorate-leader");
const AGE_MS: HeaderName = HeaderName::from_static("quorate-age-ms");

/// What a request asks of its reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consistency {
    is_linearizable: bool,
    min_index: u64,
}

#[derive(Deserialize)]
struct Parameters {
    consistency: Option<String>,
}

impl Consistency {
    /// Reads the request's wishes; `is_linearizable` is the default.
    ///
    /// # Errors
    /// [`Refusal::BadHeader`] for a value that means nothing.
    pub(crate) fn of(
        uri: &Uri,
        headers: &HeaderMap,
        is_linearizable: bool,
    ) -> Result<Self, Refusal> {
        let wish = match headers.get(CONSISTENCY_HEADER) {
            Some(value) => Some(value.to_str().unwrap_or_default().to_owned()),
            None => parameter(uri),
        };
        let is_linearizable = match wish.as_deref() {
            None => is_linearizable,
            Some("local") => false,
            Some("linearizable") => true,
            Some(_) => {
                let message = "the consistency is linearizable or local";
                return Err(Refusal::BadHeader(message.to_owned()));
            }
        };
        let min_index = match headers.get(MIN_INDEX_HEADER) {
            None => 0,
            Some(value) => {
                value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                    Refusal::BadHeader("Quorate-Min-Index is a log index".to_owned())
                })?
            }
        };
        Ok(Self { is_linearizable, min_index })
    }

    /// A view of the state that is as current as asked.
    ///
    /// # Errors
    /// Whatever stood in the way within the deadline.
    pub(crate) async fn view(
        self,
        broker: &Broker,
        staleness_max: Option<Duration>,
        deadline: Instant,
    ) -> Result<View, ReadError> {
        if self.is_linearizable {
            let view = broker.view(ReadMode::Linearizable, deadline).await?;
            if view.position().index >= self.min_index {
                return Ok(view);
            }
        }
        broker.view(ReadMode::Local { staleness_max, min_index: self.min_index }, deadline).await
    }
}

/// A query string that does not parse has no wish; the route that reads it says what is wrong.
fn parameter(uri: &Uri) -> Option<String> {
    uri.query()?;
    Query::<Parameters>::try_from_uri(uri).ok()?.0.consistency
}

/// A number as it was last told on this thread: it is mostly the same from answer to answer.
struct Told {
    number: u64,
    value: HeaderValue,
}

impl Told {
    const fn nothing() -> Self {
        Self { number: 0, value: HeaderValue::from_static("0") }
    }

    fn tell(&mut self, number: u64) -> HeaderValue {
        if self.number != number {
            *self = Self { number, value: HeaderValue::from(number) };
        }
        self.value.clone()
    }
}

thread_local! {
    static TOLD: RefCell<[Told; 4]> = const { RefCell::new([const { Told::nothing() }; 4]) };
}

/// Tells the client where this replica stood.
pub(crate) fn stamp(headers: &mut HeaderMap, position: Position) {
    TOLD.with_borrow_mut(|[index, term, leader, age_ms]| {
        headers.insert(INDEX, index.tell(position.index));
        headers.insert(TERM, term.tell(position.term));
        let none = || HeaderValue::from_static("none");
        headers.insert(LEADER, position.leader.map_or_else(none, |id| leader.tell(id)));
        headers.insert(AGE_MS, age_ms.tell(position.age_ms));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        uri: &str,
        header: Option<(&'static str, &'static str)>,
        expected: Option<(bool, u64)>,
    ) {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let found = Consistency::of(&uri.parse().unwrap(), &headers, false).ok();
        let expected =
            expected.map(|(is_linearizable, min_index)| Consistency { is_linearizable, min_index });
        assert_eq!(found, expected, "{uri} {header:?}");
    }

    #[test]
    fn wishes_come_from_header_or_parameter() {
        check("/x", None, Some((false, 0)));
        check("/x?consistency=linearizable", None, Some((true, 0)));
        check("/x?consistency=eventual", None, None);
        check("/x", Some((CONSISTENCY_HEADER, "linearizable")), Some((true, 0)));
        check("/x", Some((CONSISTENCY_HEADER, "local")), Some((false, 0)));
        check("/x", Some((CONSISTENCY_HEADER, "strong")), None);
        check("/x", Some((MIN_INDEX_HEADER, "17")), Some((false, 17)));
        check("/x", Some((MIN_INDEX_HEADER, "-1")), None);
    }

    #[test]
    fn the_default_holds_where_nothing_is_said() {
        let of = |uri: &str| Consistency::of(&uri.parse().unwrap(), &HeaderMap::new(), true);
        assert!(of("/x").unwrap().is_linearizable);
        assert!(!of("/x?consistency=local").unwrap().is_linearizable);
    }

    #[test]
    fn the_position_travels_in_headers() {
        let mut headers = HeaderMap::new();
        stamp(&mut headers, Position { index: 7, term: 2, leader: None, age_ms: 5 });
        assert_eq!(headers["quorate-index"], "7");
        assert_eq!(headers["quorate-leader"], "none");
        stamp(&mut headers, Position { index: 7, term: 2, leader: Some(3), age_ms: 5 });
        assert_eq!(headers["quorate-leader"], "3");
    }
}
