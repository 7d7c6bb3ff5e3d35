//! `quorate completion`: scripts for shells.

use std::{io::Write, process::ExitCode};

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};

use super::{Outcome, command};

/// Arguments of `quorate completion`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// For which shell.
    #[arg(value_enum)]
    shell: ShellName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let shell = match arguments.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    // At once, so that a reader that goes away early is no fault of the generator.
    let mut script = Vec::new();
    generate(shell, &mut command(), "quorate", &mut script);
    drop(std::io::stdout().lock().write_all(&script));
    Ok(ExitCode::SUCCESS)
}
