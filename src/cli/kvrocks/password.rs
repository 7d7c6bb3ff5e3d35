//! How a password gets in: by flag as the original takes it, or where the list of processes does not
//! show it.

use std::{
    convert::Infallible,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::domain::kvrocks::Secret;

/// The password of nodes.
#[derive(Debug, Args)]
pub(super) struct PasswordArguments {
    /// Password of the nodes. Other users of the machine can read flags: prefer the file or the
    /// variable.
    #[arg(short, long, env = "QUORATE_KVROCKS_PASSWORD", hide_env_values = true)]
    #[arg(value_parser = secret)]
    password: Option<Secret>,
    /// File whose first line is the password, `-` for standard input; wins over `--password`.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

// Clap takes parsers that may fail.
#[allow(clippy::unnecessary_wraps, reason = "the form clap asks for")]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

impl PasswordArguments {
    /// The password, if any was given.
    pub(super) fn read(&self) -> Result<Option<Secret>, String> {
        let Some(path) = &self.password_file else { return Ok(self.password.clone()) };
        let text = if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map(|_| text)
        } else {
            fs::read_to_string(path)
        };
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(Secret::new(text.lines().next().unwrap_or_default())))
    }

    /// The password; empty if none was given.
    pub(super) fn read_or_none(&self) -> Result<Secret, String> {
        Ok(self.read()?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_file_wins_and_only_its_first_line_counts() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"from file\nmore\n").unwrap();
        let password = Some(Secret::new("from flag"));
        let arguments = PasswordArguments { password, password_file: Some(file.path().into()) };
        assert_eq!(arguments.read_or_none().unwrap().readable(), Some("from file"));
        assert!(!format!("{arguments:?}").contains("from flag"));
        let absent = PasswordArguments { password: None, password_file: Some("/none".into()) };
        assert!(absent.read().unwrap_err().starts_with("/none: "));
    }
}
