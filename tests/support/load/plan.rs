//! Who asks what, how often, and for how long.

use std::{str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use tokio::time::{Instant, sleep_until};

use crate::{
    Failure, etcd, http,
    report::{Row, Tally},
};

/// What is driven, and with what.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// What speaks at the targets.
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    /// Addresses, `host:port`; clients are spread over them.
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) targets: Vec<String>,
    /// `write|read|gzip:CLIENTS[:PER_SECOND]`; with a rate the loop is open. Repeats.
    #[arg(long = "group", required = true)]
    pub(crate) groups: Vec<Group>,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 2)]
    pub(crate) warm_up: u64,
    /// Path of a read, or key at etcd.
    #[arg(long, default_value = "/api/v3/epoch")]
    pub(crate) read: String,
    /// Path of a write, or key at etcd; `{}` becomes a number below `--keys`.
    #[arg(long, default_value = "/api/v3/failures/p{}:6000/bench")]
    pub(crate) write: String,
    /// Different objects that are written.
    #[arg(long, default_value_t = 200)]
    pub(crate) keys: u64,
    /// Body of a write, or value at etcd.
    #[arg(long, default_value = "")]
    pub(crate) body: String,
}

/// A protocol.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A replica, or whatever speaks HTTP/1.1.
    Http,
    /// etcd, through gRPC.
    Etcd,
}

/// Clients that do the same.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What they do.
    pub(crate) op: Op,
    /// How many there are.
    pub(crate) clients: u64,
    /// Requests per second of all together; `None`: each as fast as it is answered.
    pub(crate) rate: Option<f64>,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A change.
    Write,
    /// A read.
    Read,
    /// A read whose answer may be compressed.
    Gzip,
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not OP:CLIENTS[:PER_SECOND]");
        let mut parts = text.split(':');
        let op = match parts.next() {
            Some("write") => Op::Write,
            Some("read") => Op::Read,
            Some("gzip") => Op::Gzip,
            _ => return Err(wrong()),
        };
        let clients = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        let rate = parts.next().map(|part| part.parse().map_err(|_| wrong())).transpose()?;
        Ok(Self { op, clients, rate })
    }
}

/// A connection of one client.
enum Session {
    Http(http::Session),
    Etcd(etcd::Session),
}

/// Runs all groups at once and tells a row for each.
pub(crate) async fn run(options: Options) -> Result<Vec<Row>, Failure> {
    let begin = Instant::now() + Duration::from_secs(options.warm_up);
    let end = begin + Duration::from_secs(options.seconds);
    let mut groups = Vec::new();
    for group in &options.groups {
        let mut clients = Vec::new();
        for number in 0..group.clients {
            let client = Client {
                options: options.clone(),
                group: group.clone(),
                number,
                session: connect(&options, number).await?,
                span: (begin, end),
            };
            clients.push(tokio::spawn(client.work()));
        }
        groups.push((group, clients));
    }
    let mut rows = Vec::new();
    for (group, clients) in groups {
        let mut all = Tally::new()?;
        for client in clients {
            all.add(&client.await??)?;
        }
        rows.push(all.row(group, options.seconds));
    }
    Ok(rows)
}

async fn connect(options: &Options, number: u64) -> Result<Session, Failure> {
    let count = u64::try_from(options.targets.len())?;
    let target = &options.targets[usize::try_from(number % count)?];
    Ok(match options.kind {
        Kind::Http => Session::Http(http::Session::open(target).await?),
        Kind::Etcd => Session::Etcd(etcd::Session::open(target).await?),
    })
}

struct Client {
    options: Options,
    group: Group,
    number: u64,
    session: Session,
    span: (Instant, Instant),
}

impl Client {
    async fn work(mut self) -> Result<Tally, Failure> {
        let (begin, end) = self.span;
        let mut tally = Tally::new()?;
        let started = Instant::now();
        let mut turn = 0;
        loop {
            // In an open loop a request is late from the moment it should have gone out, not from
            // the moment its client was free to send it.
            let due = self.group.rate.map(|rate| started + self.offset(turn, rate));
            if let Some(due) = due {
                sleep_until(due).await;
            }
            let sent = Instant::now();
            if sent >= end {
                return Ok(tally);
            }
            let answered = self.ask(turn).await;
            turn += 1;
            let from = due.unwrap_or(sent);
            if from < begin {
                answered?;
                continue;
            }
            match answered {
                Ok(bytes) => tally.done(from.elapsed(), bytes)?,
                Err(_) => {
                    tally.failed();
                    self.session = connect(&self.options, self.number).await?;
                }
            }
        }
    }

    /// When a request of this client is due after the start.
    #[allow(clippy::cast_precision_loss)]
    fn offset(&self, turn: u64, rate: f64) -> Duration {
        Duration::from_secs_f64((turn * self.group.clients + self.number) as f64 / rate)
    }

    async fn ask(&mut self, turn: u64) -> Result<u64, Failure> {
        let key = (turn * self.group.clients + self.number) % self.options.keys;
        let (op, options) = (self.group.op, &self.options);
        let write = options.write.replace("{}", &key.to_string());
        match (&mut self.session, op) {
            (Session::Http(session), Op::Write) => session.post(&write, &options.body).await,
            (Session::Http(session), _) => session.get(&options.read, op == Op::Gzip).await,
            (Session::Etcd(session), Op::Write) => session.put(&write, &options.body).await,
            (Session::Etcd(session), _) => session.get(&options.read).await,
        }
    }
}
