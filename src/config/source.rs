//! Where values come from, and which source wins: file, then the original broker's variables, then
//! `QUORATE_*` variables, then flags.

use std::{collections::BTreeMap, env, fmt, fs, path::Path};

use clap::{ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use serde_json::{Map, Value};

use super::{ConfigError, layer::Layer};

/// Options of the original broker that mean nothing here.
const OBSOLETE: [&str; 9] = [
    "auto_update_meta_file",
    "update_meta_file_interval",
    "sync_meta_interval",
    "storage_type",
    "http_storage_address",
    "storage_name",
    "storage_password",
    "refresh_interval",
    "debug",
];
/// Options of the original broker that live on, `address` as `listen`.
const INHERITED: [&str; 13] = [
    "address",
    "failure_ttl",
    "failure_quorum",
    "migration_limit",
    "enable_ordered_proxy",
    "recover_from_meta_file",
    "meta_filename",
    "replica_addresses",
    "compression_strategy",
    "migration_max_migration_time",
    "migration_max_blocking_time",
    "migration_scan_interval",
    "migration_scan_count",
];
/// Variables with our prefix that are not options of a replica.
const FOREIGN_VARIABLES: [&str; 6] = [
    "QUORATE_CONFIG",
    "QUORATE_ENDPOINT",
    "QUORATE_BIN",
    "QUORATE_TEST",
    "QUORATE_TOKEN",
    "QUORATE_TLS_CA",
];

/// Who decided a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// The TOML file.
    File,
    /// A variable `UNDERMOON_*`.
    Undermoon,
    /// A variable `QUORATE_*`.
    Environment,
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Undermoon => "UNDERMOON_* variable",
            Self::Environment => "QUORATE_* variable",
            Self::Flag => "flag",
        })
    }
}

/// All sources merged, not yet judged.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) layer: Layer,
    pub(super) origins: BTreeMap<String, (Value, Origin)>,
    pub(super) warnings: Vec<String>,
}

/// Reads and merges all sources.
pub(super) fn merge(
    file: Option<&Path>,
    flags: &Layer,
    matches: &ArgMatches,
) -> Result<Merged, ConfigError> {
    let mut warnings = Vec::new();
    let mut origins = BTreeMap::new();
    lay(&mut origins, &Layer::defaults(), |_| Origin::Default)?;
    if let Some(path) = file {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let layer = parse_file(&text, &mut warnings)
            .map_err(|reason| ConfigError::File { path: path.to_owned(), reason })?;
        lay(&mut origins, &layer, |_| Origin::File)?;
    }
    let variables: Vec<_> = env::vars().collect();
    lay(&mut origins, &undermoon_layer(&variables, &mut warnings)?, |_| Origin::Undermoon)?;
    lay(&mut origins, flags, |key| match matches.value_source(key) {
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => Origin::Flag,
    })?;
    warn_of_unknown(&variables, &mut warnings)?;
    let values: Map<_, _> =
        origins.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect();
    let layer = serde_json::from_value(Value::Object(values))
        .map_err(|error| ConfigError::Invalid(error.to_string()))?;
    Ok(Merged { layer, origins, warnings })
}

/// Writes what a layer says over what is there.
fn lay(
    origins: &mut BTreeMap<String, (Value, Origin)>,
    layer: &Layer,
    origin: impl Fn(&str) -> Origin,
) -> Result<(), ConfigError> {
    for (key, value) in fields(layer)? {
        if !value.is_null() {
            let origin = origin(&key);
            origins.insert(key, (value, origin));
        }
    }
    Ok(())
}

fn fields(layer: &Layer) -> Result<Map<String, Value>, ConfigError> {
    match serde_json::to_value(layer) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(ConfigError::Invalid(format!("not a table: {other}"))),
        Err(error) => Err(ConfigError::Invalid(error.to_string())),
    }
}

fn parse_file(text: &str, warnings: &mut Vec<String>) -> Result<Layer, String> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    for key in OBSOLETE {
        if table.remove(key).is_some() {
            warnings.push(format!("{key} means nothing here and is ignored"));
        }
    }
    if let Some(address) = table.remove("address") {
        if table.contains_key("listen") {
            return Err("address is the old name of listen; give one of them".to_owned());
        }
        table.insert("listen".to_owned(), address);
    }
    table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// The original broker takes its options from variables of any case.
fn undermoon_layer(
    variables: &[(String, String)],
    warnings: &mut Vec<String>,
) -> Result<Layer, ConfigError> {
    let mut arguments = vec!["environment".to_owned()];
    let mut keys = Vec::new();
    for (name, value) in variables {
        let name = name.to_ascii_lowercase();
        let Some(key) = name.strip_prefix("undermoon_") else { continue };
        if OBSOLETE.contains(&key) {
            warnings.push(format!("UNDERMOON_{} is ignored", key.to_ascii_uppercase()));
        } else if INHERITED.contains(&key) {
            let key = if key == "address" { "listen" } else { key };
            arguments.push(format!("--{}={value}", key.replace('_', "-")));
            keys.push(key.to_owned());
        }
    }
    let command = Layer::augment_args(Command::new("environment"));
    let matches = command
        .try_get_matches_from(arguments)
        .map_err(|error| ConfigError::Invalid(format!("UNDERMOON_* variables: {error}")))?;
    let layer = Layer::from_arg_matches(&matches)
        .map_err(|error| ConfigError::Invalid(error.to_string()))?;
    let mut fields = fields(&layer)?;
    fields.retain(|key, _| keys.contains(key));
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| ConfigError::Invalid(error.to_string()))
}

/// A variable with a slip in its name would otherwise be ignored in silence.
fn warn_of_unknown(
    variables: &[(String, String)],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let known = fields(&Layer::default())?;
    for (name, _) in variables {
        let Some(key) = name.strip_prefix("QUORATE_") else { continue };
        let is_foreign = FOREIGN_VARIABLES.iter().any(|foreign| name.starts_with(foreign));
        if !is_foreign && !known.contains_key(&key.to_ascii_lowercase()) {
            warnings.push(format!("the variable {name} is no option"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, Value), &str>) {
        match (parse_file(text, &mut Vec::new()), expected) {
            (Ok(layer), Ok((key, value))) => {
                assert_eq!(fields(&layer).unwrap()[key], value, "{text}");
            }
            (Err(message), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn a_file_has_known_keys_of_the_right_type() {
        check("failure_ttl = 7", Ok(("failure_ttl", 7.into())));
        check("address = \"broker:7799\"", Ok(("listen", Value::from(vec!["broker:7799"]))));
        check(
            "replica_addresses = \"a:1, b:2\"",
            Ok(("replica_addresses", vec!["a:1", "b:2"].into())),
        );
        check("failure_tll = 7", Err("failure_tll"));
        check("failure_ttl = \"soon\"", Err("soon"));
        check("address = \"a:1\"\nlisten = [\"b:1\"]", Err("old name"));
        check("failure_ttl = ", Err("failure_ttl"));
    }

    #[test]
    fn obsolete_keys_are_ignored_with_a_warning() {
        let mut warnings = Vec::new();
        let layer = parse_file("debug = true\nstorage_type = \"http\"", &mut warnings).unwrap();
        assert!(fields(&layer).unwrap().values().all(Value::is_null));
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn the_original_variables_count_in_any_case() {
        let variables = [
            ("undermoon_FAILURE_TTL".to_owned(), "9".to_owned()),
            ("UNDERMOON_ENABLE_ORDERED_PROXY".to_owned(), "on".to_owned()),
            ("UNDERMOON_DEBUG".to_owned(), "1".to_owned()),
        ];
        let mut warnings = Vec::new();
        let layer = undermoon_layer(&variables, &mut warnings).unwrap();
        assert_eq!((layer.failure_ttl, layer.enable_ordered_proxy), (Some(9), Some(true)));
        assert_eq!(layer.failure_quorum, None);
        assert_eq!(warnings.len(), 1);
        let bad = [("UNDERMOON_FAILURE_TTL".to_owned(), "soon".to_owned())];
        assert!(undermoon_layer(&bad, &mut warnings).is_err());
    }

    #[test]
    fn misspelt_variables_are_reported() {
        let variables = [
            ("QUORATE_FAILURE_TLL".to_owned(), "9".to_owned()),
            ("QUORATE_FAILURE_TTL".to_owned(), "9".to_owned()),
            ("QUORATE_CONFIG".to_owned(), "x".to_owned()),
        ];
        let mut warnings = Vec::new();
        warn_of_unknown(&variables, &mut warnings).unwrap();
        assert_eq!(warnings, ["the variable QUORATE_FAILURE_TLL is no option"]);
    }
}
