//! Conditions of lists, as a query string.

use super::session::segment;

/// Conditions, all of which must hold.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<(String, String)>);

impl Filter {
    /// Adds a condition, if there is a value.
    pub(super) fn with(mut self, key: &str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (key.to_owned(), value.to_string())));
        self
    }

    /// Adds conditions written as `KEY=VALUE`.
    pub(super) fn with_pairs(mut self, pairs: &[String]) -> Result<Self, String> {
        for pair in pairs {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("a condition is KEY=VALUE, not {pair}"))?;
            self.0.push((key.to_owned(), value.to_owned()));
        }
        Ok(self)
    }

    /// The conditions behind a path.
    pub(super) fn of(&self, path: &str) -> String {
        let pairs =
            self.0.iter().map(|(key, value)| format!("{}={}", segment(key), segment(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_meaning_in_a_query() {
        let filter = Filter::default().with("user_id", Some("a&b=c d")).with("size", None::<u32>);
        assert_eq!(filter.of("/x"), "/x?user_id=a%26b%3Dc%20d");
        let filter = filter.with_pairs(&["health=".to_owned(), "name=a=b".to_owned()]).unwrap();
        assert_eq!(filter.of("/x"), "/x?user_id=a%26b%3Dc%20d&health=&name=a%3Db");
        assert!(Filter::default().with_pairs(&["health".to_owned()]).is_err());
        assert_eq!(Filter::default().of("/x"), "/x");
    }
}
