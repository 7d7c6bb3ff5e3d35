//! Consent to what cannot be undone: given beforehand with `--yes`, or by whoever sits at the
//! terminal. Where there is none, nothing is done.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;

use super::output;

/// The flag of every verb that destroys something.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

impl Consent {
    /// Asks whether `what` is meant, which says what will happen.
    ///
    /// # Errors
    /// If it is not, or if there is nobody to ask.
    pub(super) fn to(&self, what: &str) -> Result<(), String> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(format!(
                "{what}; there is no terminal to ask at, say --yes if that is meant"
            ));
        }
        output::complain(&format!("{what}. Go on? [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| error.to_string())?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err("not confirmed; nothing was changed".to_owned()),
        }
    }
}
