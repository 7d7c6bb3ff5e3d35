//! Whether a document and the routes of a family agree, for the families' tests.
//!
//! Routes are matched in code, not listed; so the patterns are read from the source of the match.
//! Every pattern, with every method, is given to the router: it must know exactly those that are
//! documented. A pattern that the reading does not see would have to be written in another way than
//! all others, and documented operations that no pattern stands for are faults too.

use std::collections::BTreeSet;

use serde_json::Value;

/// Methods that are tried on every path.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Paths of the slice patterns in a source, such as `["clusters", "meta", name]`; what is a name is
/// a parameter.
pub(crate) fn slice_patterns(source: &str, root: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lists = source.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let lists = lists.filter(|(list, _)| list.starts_with('"'));
    let paths = lists.filter_map(|(list, _)| {
        let mut path = root.to_owned();
        for segment in list.split(',').map(str::trim).filter(|segment| !segment.is_empty()) {
            if segment.starts_with("rest") {
                return None;
            }
            let literal = segment.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            path.push('/');
            match literal {
                Some(text) => path.push_str(text),
                None if segment.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
                    path.push('x');
                }
                None => return None,
            }
        }
        Some(path)
    });
    paths.collect()
}

/// Paths that a source writes as one text beside a method: `("GET", "/settings")`.
pub(crate) fn text_patterns(source: &str, root: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let pairs = METHODS.iter().flat_map(|method| {
        source.split(&format!("(\"{method}\", \"")).skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    let paths =
        pairs.filter_map(|rest| rest.split_once('"').map(|(path, _)| format!("{root}{path}")));
    paths.collect()
}

/// Compares what a document has below a prefix with what a router knows: `is_routed` gets a method
/// and a path without the prefix. Methods in `implied` need not be documented.
///
/// # Panics
/// If they do not agree.
pub(crate) fn check(
    document: &Value,
    prefix: &str,
    patterns: &BTreeSet<String>,
    implied: &[&str],
    is_routed: impl Fn(&str, &str) -> bool,
) {
    let documented = operations(document, prefix);
    assert!(!documented.is_empty() && !patterns.is_empty(), "nothing to compare");
    for (method, path) in &documented {
        assert!(is_routed(method, path), "documented, not routed: {method} {prefix}{path}");
        let bare = bare(path);
        let is_known = patterns.iter().any(|pattern| is_like(pattern, &bare));
        assert!(is_known, "no pattern of the router stands for {path}");
    }
    let documented: BTreeSet<_> =
        documented.into_iter().map(|(method, path)| (method, bare(&path))).collect();
    let paths = patterns.iter().chain(documented.iter().map(|(_, path)| path));
    for path in paths.collect::<BTreeSet<_>>() {
        for method in METHODS.iter().filter(|method| !implied.contains(method)) {
            let is_documented = documented
                .iter()
                .any(|(known, documented)| known == method && is_like(path, documented));
            let routed = is_routed(method, &path.replace("{}", "8"));
            assert!(!routed || is_documented, "routed, not documented: {method} {prefix}{path}");
        }
    }
}

/// Methods and paths below a prefix.
pub(crate) fn operations(document: &Value, prefix: &str) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let below = paths.filter_map(|(path, item)| Some((path.strip_prefix(prefix)?, item)));
    let operations = below.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, _)| (method.to_ascii_uppercase(), path.to_owned()))
    });
    operations.collect()
}

/// A path whose parameters have no names.
pub(crate) fn bare(path: &str) -> String {
    let segments =
        path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether a path is a documented one, segment by segment.
fn is_like(path: &str, documented: &str) -> bool {
    let (path, documented): (Vec<_>, Vec<_>) =
        (path.split('/').collect(), documented.split('/').collect());
    let is_same = |(one, other): (&&str, &&str)| one == other || *other == "{}";
    path.len() == documented.len() && path.iter().zip(&documented).all(is_same)
}
