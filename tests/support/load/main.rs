//! Load for `scripts/bench`, and the raw limits it is compared with.
//!
//! `run` drives replicas over HTTP or etcd over gRPC, in closed or open loops; `serve` answers with
//! the same bytes from a bare handler; `sync` measures the disk; `play` sends the requests of a list
//! and tells of each kind; `docker` stands in for Docker daemons. One thread does all of `run` and of
//! `play`, so that the generator takes at most one processor from what it measures. Results are one
//! JSON value on standard output.

#![allow(clippy::print_stdout)]

mod docker;
mod etcd;
mod http;
mod plan;
mod play;
mod report;
mod serve;
mod sync;

use std::error::Error;

use clap::Parser;
use mimalloc::MiMalloc;

// As the program that is measured beside the bare handler.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Whatever went wrong, for a person.
type Failure = Box<dyn Error + Send + Sync>;

/// Load, and raw limits.
#[derive(Parser)]
enum Command {
    /// Drive a server and tell rates and latencies.
    Run(plan::Options),
    /// Answer every GET with the bytes that another server gave.
    Serve(serve::Options),
    /// Append and sync, again and again.
    Sync(sync::Options),
    /// Send the requests of a list.
    Play(play::Options),
    /// Stand in for Docker daemons.
    Docker(docker::Options),
}

fn main() -> Result<(), Failure> {
    match Command::parse() {
        Command::Run(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let rows = runtime.block_on(plan::run(options))?;
            println!("{}", serde_json::to_string(&rows)?);
        }
        Command::Serve(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve::serve(options))?;
        }
        Command::Play(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let rows = runtime.block_on(play::play(options))?;
            println!("{}", serde_json::to_string(&rows)?);
        }
        Command::Docker(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(docker::serve(options))?;
        }
        Command::Sync(options) => println!("{}", serde_json::to_string(&sync::measure(&options)?)?),
    }
    Ok(())
}
