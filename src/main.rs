//! The program: parses the command line and hands over to [`quorate::cli`].

use std::{error::Error, process::ExitCode};

use mimalloc::MiMalloc;
use quorate::cli;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run().await {
        Ok(code) => code,
        Err(error) => {
            let mut message = format!("quorate: {error}");
            let mut cause: Option<&dyn Error> = error.source();
            while let Some(error) = cause {
                message.push_str(&format!(": {error}"));
                cause = error.source();
            }
            cli::output::complain(&message);
            cli::exit::Exit::of(&*error).into()
        }
    }
}
