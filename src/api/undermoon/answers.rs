//! Answers about clusters, encoded and compressed once for as long as the cluster stays as it is.
//!
//! Every proxy's metadata names every other proxy of its cluster, so making one answer takes time
//! that grows with the cluster, and coordinators ask for all of them again and again.

use bytes::Bytes;
use quick_cache::{Equivalent, Weighter, sync::Cache};

use super::route::Generation;
use crate::{api::encoding, domain::undermoon::query::Origin};

/// Bytes of answers that are kept on each listener; the least used leave first.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many answers are expected, from which the tables are sized.
const ANSWERS_EXPECTED: usize = 4096;
/// Bytes that an answer takes beside its body and name, about.
const OVERHEAD_BYTES: u64 = 128;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Cluster,
    Proxy,
}

/// Which answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted<'a> {
    pub(super) subject: Subject,
    pub(super) generation: Generation,
    pub(super) is_gzip: bool,
    pub(super) name: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    subject: Subject,
    generation: Generation,
    is_gzip: bool,
    name: String,
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.name == key.name
            && self.subject == key.subject
            && self.generation == key.generation
            && self.is_gzip == key.is_gzip
    }
}

#[derive(Clone, Debug)]
struct Kept {
    origin: Origin,
    body: Bytes,
    /// The body is plain all the same if it could not be compressed.
    is_gzip: bool,
}

#[derive(Clone, Debug)]
struct Size;

impl Weighter<Key, Kept> for Size {
    fn weight(&self, key: &Key, kept: &Kept) -> u64 {
        let bytes = key.name.len().saturating_add(kept.body.len());
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(OVERHEAD_BYTES)
    }
}

/// The answers that are kept.
pub(super) struct Answers {
    kept: Cache<Key, Kept, Size>,
}

impl Answers {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { kept: Cache::with_weighter(ANSWERS_EXPECTED, BYTES_MAX, Size) }
    }

    /// The answer that was made from this origin, and whether it is compressed; made now if there
    /// is none.
    ///
    /// # Errors
    /// Whatever `make` fails with.
    pub(super) fn get<E>(
        &self,
        wanted: Wanted<'_>,
        origin: Origin,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(Bytes, bool), E> {
        if let Some(kept) = self.kept.get(&wanted)
            && kept.origin == origin
        {
            return Ok((kept.body, kept.is_gzip));
        }
        let (body, is_gzip) = encoding::pack(make()?, wanted.is_gzip);
        let Wanted { subject, generation, is_gzip: wants_gzip, name } = wanted;
        let key = Key { subject, generation, is_gzip: wants_gzip, name: name.to_owned() };
        self.kept.insert(key, Kept { origin, body: body.clone(), is_gzip });
        Ok((body, is_gzip))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn ask(answers: &Answers, wanted: Wanted<'_>, origin: u64, text: &str) -> (Bytes, bool) {
        let made: Result<_, Infallible> =
            answers.get(wanted, Origin::of_nothing(origin), || Ok(text.into()));
        made.unwrap_or_default()
    }

    #[test]
    fn an_answer_is_made_once_for_its_origin_shape_and_name() {
        let answers = Answers::new();
        let wanted = Wanted {
            subject: Subject::Proxy,
            generation: Generation::V3,
            is_gzip: false,
            name: "a:1",
        };
        assert_eq!(ask(&answers, wanted, 1, "first"), ("first".into(), false));
        assert_eq!(ask(&answers, wanted, 1, "second").0, "first", "made already");
        assert_eq!(ask(&answers, wanted, 2, "third").0, "third", "the cluster changed");
        assert_eq!(ask(&answers, wanted, 2, "fourth").0, "third");
        let others = [
            Wanted { name: "a:2", ..wanted },
            Wanted { generation: Generation::V2, ..wanted },
            Wanted { subject: Subject::Cluster, ..wanted },
        ];
        for other in others {
            assert_eq!(ask(&answers, other, 2, "other").0, "other", "{other:?}");
        }
        let (packed, is_gzip) = ask(&answers, Wanted { is_gzip: true, ..wanted }, 2, "packed");
        assert!(is_gzip && packed.starts_with(&[0x1f, 0x8b]), "the beginning of gzip");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::new();
        let large = "x".repeat(1024 * 1024);
        for number in 0..200 {
            let name = number.to_string();
            let wanted = Wanted {
                subject: Subject::Proxy,
                generation: Generation::V3,
                is_gzip: false,
                name: &name,
            };
            ask(&answers, wanted, 1, &large);
        }
        assert!(answers.kept.weight() <= BYTES_MAX);
        assert!(answers.kept.weight() > 0, "something is kept");
    }
}
