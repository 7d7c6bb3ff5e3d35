//! `quorate gateway`: one address that is always alive, to run beside a client.

use std::{
    process::{self, ExitCode},
    time::{Duration, Instant},
};

use clap::Args;

use super::{Outcome, exit::Exit, output, serve::Signals};
use crate::{
    config::layer::LogFormat,
    gateway::{Endpoint, Gateway, Settings},
    server::{self, Limits, Server},
    telemetry,
};

/// Arguments of `quorate gateway`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the client connects, HOST:PORT. Repeats.
    #[arg(long, env = "QUORATE_GATEWAY_LISTEN", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:7799")]
    listen: Vec<String>,
    /// Replicas: HOST:PORT or http://HOST:PORT. Repeat the flag or separate by commas.
    #[arg(long, env = "QUORATE_GATEWAY_ENDPOINTS", value_delimiter = ',', required = true)]
    endpoints: Vec<Endpoint>,
    /// Where the gateway tells of itself, HOST:PORT: /gateway/healthz and /metrics. Nowhere if not
    /// given.
    #[arg(long, env = "QUORATE_GATEWAY_ADMIN_LISTEN")]
    admin_listen: Option<String>,
    /// Whether to use replicas that the known ones name as members, too.
    #[arg(long, env = "QUORATE_GATEWAY_LEARN_MEMBERS", default_value_t = true)]
    #[arg(action = clap::ArgAction::Set)]
    learn_members: bool,
    /// Pause between two checks of a replica, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_CHECK_INTERVAL_MS", default_value_t = 250, value_parser = time())]
    check_interval_ms: u64,
    /// Time for a replica to say whether it is ready, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_CHECK_TIMEOUT_MS", default_value_t = 500, value_parser = time())]
    check_timeout_ms: u64,
    /// Time for a connection to a replica to be made, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_CONNECT_TIMEOUT_MS", default_value_t = 500, value_parser = time())]
    connect_timeout_ms: u64,
    /// Time for an ordinary request, over all attempts, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_REQUEST_TIMEOUT_MS", default_value_t = 10_000, value_parser = time())]
    request_timeout_ms: u64,
    /// Time for requests that wait for effects or carry a whole state, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_LONG_REQUEST_TIMEOUT_MS", default_value_t = 65_000, value_parser = time())]
    long_request_timeout_ms: u64,
    /// How long a request waits while no replica can be reached, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_WAIT_TIMEOUT_MS", default_value_t = 2_000, value_parser = time())]
    wait_timeout_ms: u64,
    /// Longest pause inside a body, in either direction, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_IDLE_TIMEOUT_MS", default_value_t = 30_000, value_parser = time())]
    idle_timeout_ms: u64,
    /// Most bytes of a request body.
    #[arg(long, env = "QUORATE_GATEWAY_BODY_BYTES_MAX", default_value_t = 128 * 1024 * 1024)]
    body_bytes_max: u64,
    /// Most bytes of a request body that are kept so that it can be sent again; a larger one is
    /// sent as it comes, and once.
    #[arg(long, env = "QUORATE_GATEWAY_REPLAY_BYTES_MAX", default_value_t = 128 * 1024)]
    replay_bytes_max: usize,
    /// Most requests at a time; more are refused at once.
    #[arg(long, env = "QUORATE_GATEWAY_REQUESTS_IN_FLIGHT_MAX", default_value_t = 512)]
    requests_in_flight_max: usize,
    /// Most open client connections; more wait to be accepted.
    #[arg(long, env = "QUORATE_GATEWAY_CONNECTIONS_MAX", default_value_t = 1024)]
    connections_max: usize,
    /// Time for the head of a request to arrive, idle time before it included, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_HEAD_TIMEOUT_MS", default_value_t = 95_000, value_parser = time())]
    head_timeout_ms: u64,
    /// Time for a client to take anything of its answer before it is cut off, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_WRITE_TIMEOUT_MS", default_value_t = 20_000, value_parser = time())]
    write_timeout_ms: u64,
    /// Time to finish accepted requests when stopping, milliseconds.
    #[arg(long, env = "QUORATE_GATEWAY_STOP_TIMEOUT_MS", default_value_t = 5_000, value_parser = time())]
    stop_timeout_ms: u64,
    /// What is logged: a level, or a filter.
    #[arg(long, env = "QUORATE_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// Shape of log lines.
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Stop when standard input ends, so that the gateway does not outlive who started it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// From a millisecond to a day.
fn time() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=86_400_000)
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    telemetry::start_logging(&arguments.log_level, arguments.log_format)?;
    telemetry::start_metrics(telemetry::Program::Gateway)?;
    let mut signals = Signals::new(arguments.stop_with_stdin)?;
    let limits = Limits {
        connections_max: arguments.connections_max,
        head_timeout: Duration::from_millis(arguments.head_timeout_ms),
        write_timeout: Duration::from_millis(arguments.write_timeout_ms),
    };
    let (server, desk) = (Server::new(limits), Server::new(limits));
    let mut ports = Vec::new();
    for address in &arguments.listen {
        ports.push(server::bind(address).await?);
    }
    let desk_port = match &arguments.admin_listen {
        Some(address) => Some(server::bind(address).await?),
        None => None,
    };
    let gateway = Gateway::start(settings(arguments));
    for port in ports {
        tracing::info!(address = %port.local_addr()?, "clients are served");
        server.serve(port, gateway.router());
    }
    if let Some(port) = desk_port {
        tracing::info!(address = %port.local_addr()?, "health and metrics are served");
        desk.serve(port, gateway.desk());
    }
    let reason = signals.next().await;
    tracing::info!(reason, "stopping");
    tokio::spawn(async move {
        signals.next().await;
        output::complain("quorate: stopped at once by a second signal");
        process::exit(Exit::Interrupted.code().into());
    });
    stop(arguments, &server, &desk).await;
    Ok(ExitCode::SUCCESS)
}

/// Takes nothing more, and answers what was taken.
async fn stop(arguments: &Arguments, server: &Server, desk: &Server) {
    let started = Instant::now();
    let patience = Duration::from_millis(arguments.stop_timeout_ms);
    if !server.stop(patience).await {
        tracing::warn!("requests were cut off");
    }
    desk.stop(Duration::from_millis(100)).await;
    tracing::info!(elapsed_ms = telemetry::millis(started.elapsed()), "stopped");
}

fn settings(arguments: &Arguments) -> Settings {
    let milliseconds = Duration::from_millis;
    Settings {
        endpoints: arguments.endpoints.clone(),
        learns_members: arguments.learn_members,
        check_interval: milliseconds(arguments.check_interval_ms),
        check_timeout: milliseconds(arguments.check_timeout_ms),
        connect_timeout: milliseconds(arguments.connect_timeout_ms),
        request_timeout: milliseconds(arguments.request_timeout_ms),
        long_request_timeout: milliseconds(arguments.long_request_timeout_ms),
        wait_timeout: milliseconds(arguments.wait_timeout_ms),
        idle_timeout: milliseconds(arguments.idle_timeout_ms),
        body_bytes_max: arguments.body_bytes_max,
        replay_bytes_max: arguments.replay_bytes_max,
        requests_in_flight_max: arguments.requests_in_flight_max,
    }
}
