//! The requests of a list, each once, and what each kind of them took.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Lines},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use clap::Args;
use tokio::{
    task::LocalSet,
    time::{Instant, sleep},
};

use crate::{
    Failure,
    http::{Session, Wanted},
    report::{Row, Tally},
};

/// What is sent where.
#[derive(Args)]
pub(crate) struct Options {
    /// Addresses, `host:port`; clients are spread over them.
    #[arg(long, required = true, value_delimiter = ',')]
    targets: Vec<String>,
    /// One JSON object a line: `kind`, `method`, `path`, `body`, `is_gzip`.
    #[arg(long)]
    requests: PathBuf,
    /// How many are sent at a time.
    #[arg(long, default_value_t = 1)]
    clients: u64,
    /// Begins the ids of the requests; no other list may have the same.
    #[arg(long)]
    run: String,
    /// How often each is sent at most, until it is answered well.
    #[arg(long, default_value_t = 1)]
    attempts: u32,
}

/// The rest of the list, and what came of the rest.
struct Shared {
    lines: Lines<BufReader<File>>,
    run: String,
    number: u64,
    tallies: BTreeMap<String, Tally>,
    complaints: u32,
}

/// Most failures that are told of one by one.
const COMPLAINTS_MAX: u32 = 5;
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends everything, and tells a row for each kind.
pub(crate) async fn play(options: Options) -> Result<Vec<Row>, Failure> {
    let lines = BufReader::new(File::open(&options.requests)?).lines();
    let run = options.run.clone();
    let shared = Shared { lines, run, number: 0, tallies: BTreeMap::new(), complaints: 0 };
    let shared = Rc::new(RefCell::new(shared));
    let begun = Instant::now();
    let local = LocalSet::new();
    let mut clients = Vec::new();
    let targets = options.targets.iter().cycle();
    for (target, _) in targets.zip(0..options.clients) {
        clients.push(local.spawn_local(work(target.clone(), options.attempts, Rc::clone(&shared))));
    }
    local.await;
    for client in clients {
        client.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let shared = shared.borrow();
    let rows = shared.tallies.iter();
    Ok(rows
        .map(|(kind, tally)| tally.named(kind.clone(), options.clients, None, seconds))
        .collect())
}

async fn work(target: String, attempts: u32, shared: Rc<RefCell<Shared>>) -> Result<(), Failure> {
    let mut session = Session::open(&target).await?;
    loop {
        let Some((line, id)) = shared.borrow_mut().next() else { return Ok(()) };
        let wanted: Wanted = serde_json::from_str(&line?)?;
        let sent = Instant::now();
        let mut answered = session.send(&wanted, &id).await;
        for _ in 1..attempts {
            if answered.is_ok() {
                break;
            }
            sleep(PAUSE).await;
            session = Session::open(&target).await?;
            answered = session.send(&wanted, &id).await;
        }
        let took = sent.elapsed();
        if answered.is_err() {
            session = Session::open(&target).await?;
        }
        let mut shared = shared.borrow_mut();
        if let Err(error) = &answered {
            shared.complain(&wanted, error);
        }
        if !shared.tallies.contains_key(&wanted.kind) {
            shared.tallies.insert(wanted.kind.clone(), Tally::new()?);
        }
        let Some(tally) = shared.tallies.get_mut(&wanted.kind) else { continue };
        match answered {
            Ok(bytes) => tally.done(took, bytes)?,
            Err(_) => tally.failed(),
        }
    }
}

impl Shared {
    /// The next line, and the id of its request.
    fn next(&mut self) -> Option<(std::io::Result<String>, String)> {
        self.number += 1;
        let id = format!("{}-{}", self.run, self.number);
        Some((self.lines.next()?, id))
    }

    #[allow(clippy::print_stderr)]
    fn complain(&mut self, wanted: &Wanted, error: &Failure) {
        self.complaints += 1;
        if self.complaints <= COMPLAINTS_MAX {
            eprintln!("load: {} {} {}: {error}", wanted.method, wanted.path, wanted.body);
        }
    }
}
