//! A Kvrocks node as far as a control plane can tell: its words, its versions, its replication and
//! its migrations, with the hazards real nodes have, and faults that can be switched on.
//!
//! Begin at [`Node`]. The rules of `CLUSTERX` are in `core` and `slots`, the replies in `command`,
//! `cluster`, `info` and `keys`; `migrate` and `replicate` speak to other stand-ins. A stand-in
//! keeps its keys when it is killed; its node file can be kept or taken away before it is started
//! again. Thousands of them fit into one process: a stand-in has two tasks and, for each of its
//! connections, one more.

#![allow(dead_code, unreachable_pub, missing_docs)]

mod cluster;
mod command;
mod core;
mod info;
mod keys;
mod log;
mod migrate;
mod options;
mod replicate;
pub mod resp;
mod slots;
mod standin;
mod store;
pub mod topology;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    command::{Session, Step},
    core::Core,
    log::Log,
    resp::{Reply, Wire},
    store::Store,
};
pub use self::{
    log::Heard,
    options::{Faults, Finish, Instead, Next, Options},
};

/// Pause between two looks at a switch.
const LOOK: Duration = Duration::from_millis(10);

/// What the tasks of one run share.
pub struct Shared {
    core: Mutex<Core>,
    log: Arc<Mutex<Log>>,
    changes: watch::Sender<u64>,
    is_refusing: watch::Sender<bool>,
    restart: watch::Sender<Option<bool>>,
    stop: CancellationToken,
}

impl Shared {
    fn new(core: Core, log: Arc<Mutex<Log>>) -> Self {
        Self {
            is_refusing: watch::Sender::new(core.faults.is_refusing),
            core: Mutex::new(core),
            log,
            changes: watch::Sender::new(0),
            restart: watch::Sender::new(None),
            stop: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has changed that other tasks look at.
    fn tell(&self) {
        let is_refusing = self.lock().faults.is_refusing;
        self.is_refusing
            .send_if_modified(|known| std::mem::replace(known, is_refusing) != is_refusing);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Resolves when clients are refused.
    async fn refused(&self) {
        // The sender lives as long as this.
        let _ = self.is_refusing.subscribe().wait_for(|is_refusing| *is_refusing).await;
    }

    async fn wait_while_silent(&self) {
        while self.lock().faults.is_silent {
            sleep(LOOK).await;
        }
    }
}

struct Run {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// A node that runs or not; it ends with its value.
pub struct Node {
    /// `host:port`.
    pub addr: String,
    port: u16,
    options: Options,
    store: Store,
    file: Option<String>,
    log: Arc<Mutex<Log>>,
    run: Option<Run>,
}

impl Node {
    /// Starts a new node on a port; 0 lets the system pick.
    pub async fn start(port: u16, options: Options) -> io::Result<Self> {
        let host = options.listens_on();
        let listener = TcpListener::bind((host, port)).await?;
        let port = listener.local_addr()?.port();
        let addr = format!("{host}:{port}");
        let (store, log) = (Store::default(), Arc::default());
        let mut node = Self { addr, port, options, store, file: None, log, run: None };
        node.launch(listener);
        Ok(node)
    }

    fn launch(&mut self, listener: TcpListener) {
        let store = std::mem::take(&mut self.store);
        let core = Core::start(self.options.clone(), self.port, store, self.file.clone());
        let shared = Arc::new(Shared::new(core, Arc::clone(&self.log)));
        shared.log().begin();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        self.run = Some(Run { shared, accepting });
    }

    /// Ends the process at once; keys and node file stay.
    pub async fn kill(&mut self) {
        let Some(run) = self.run.take() else { return };
        run.shared.stop.cancel();
        // It ends by itself once stopped.
        let _ = run.accepting.await;
        let mut core = run.shared.lock();
        self.store = std::mem::take(&mut core.store);
        self.file = core.file.take();
        self.options = core.options.clone();
    }

    /// Starts the process again, with its node file or without it.
    pub async fn restart(&mut self, keeps_node_file: bool) -> io::Result<()> {
        self.kill().await;
        if !keeps_node_file {
            self.file = None;
            if let Some(dir) = &self.options.dir {
                // There may be none.
                let _ = std::fs::remove_file(dir.join("nodes.conf"));
            }
        }
        let listener = TcpListener::bind((self.options.listens_on(), self.port)).await?;
        self.launch(listener);
        Ok(())
    }

    /// Loses its keys, as if its disk were new; the node must not run.
    pub fn lose_keys(&mut self) {
        assert!(!self.is_running(), "a running node keeps its keys");
        self.store = Store::default();
    }

    /// Whether it runs; `SHUTDOWN` ends it too.
    pub fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.shared.stop.is_cancelled())
    }

    /// Switches faults; the node must run. They end with the process.
    pub fn fault(&self, switch: impl FnOnce(&mut Faults)) {
        let shared = &self.running().shared;
        switch(&mut shared.lock().faults);
        shared.tell();
    }

    /// Does something else with the next command that begins with these words.
    pub fn next(&self, words: &str, instead: Instead) {
        self.fault(|faults| faults.next.push(Next::new(words, instead)));
    }

    /// Brings a migration that goes on to its end.
    pub fn finish(&self, how: Finish) {
        self.running().shared.lock().finish(how);
    }

    /// Sets the position of its last write, as if writes to nothing had led there.
    pub fn set_sequence(&self, seq: u64) {
        self.running().shared.lock().store.jump(seq);
    }

    /// Resolves when somebody asked for a restart over a connection: with the node file or not.
    pub async fn restart_wished(&self) -> bool {
        let mut wishes = self.running().shared.restart.subscribe();
        let wish = wishes.wait_for(Option::is_some).await;
        wish.ok().and_then(|wish| *wish).unwrap_or_default()
    }

    /// Commands it carried out since it started, without those on keys and those that log on.
    pub fn heard(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).orders()
    }

    /// Every command that reached it, also before it was started again, oldest first.
    pub fn log(&self) -> Vec<Heard> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Position of its last write.
    pub fn sequence(&self) -> u64 {
        self.running().shared.lock().store.seq
    }

    /// Everything it has.
    pub fn keys(&self) -> std::collections::BTreeMap<String, String> {
        self.running().shared.lock().store.keys.clone()
    }

    /// Changes what it was started with while it runs, as `CONFIG SET` does.
    pub fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.running().shared.lock().options);
    }

    /// Its `requirepass`, as it is now.
    pub fn password(&self) -> String {
        match &self.run {
            Some(run) => run.shared.lock().options.password.clone(),
            None => self.options.password.clone(),
        }
    }

    /// Sends one command over a connection of its own.
    pub async fn ask(&self, command: &[&str]) -> Reply {
        let mut wire = Wire::connect(&self.addr).await.expect("the node runs");
        wire.ask(command).await.expect("the node answers")
    }

    fn running(&self) -> &Run {
        self.run.as_ref().expect("the node runs")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            run.shared.stop.cancel();
        }
    }
}

/// Runs the node until it stops.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let following = replicate::follow(Arc::clone(&shared));
    tokio::spawn(stop.clone().run_until_cancelled_owned(following));
    stop.run_until_cancelled(admit_all(listener, shared)).await;
}

async fn admit_all(mut listener: TcpListener, shared: Arc<Shared>) {
    let addr = listener.local_addr().expect("a bound listener has an address");
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(converse(stream, Arc::clone(&shared)));
            },
            () = shared.refused() => {
                drop(listener);
                let mut refusing = shared.is_refusing.subscribe();
                // The sender lives as long as the node.
                let _ = refusing.wait_for(|is_refusing| !*is_refusing).await;
                listener = loop {
                    match TcpListener::bind(addr).await {
                        Ok(listener) => break listener,
                        Err(_) => sleep(LOOK).await,
                    }
                };
            }
        }
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    let mut session = Session::default();
    tokio::select! {
        // A broken connection is the other side's business.
        _ = serve(&mut wire, &mut session, &shared) => {}
        () = shared.refused() => {}
        () = shared.stop.cancelled() => return,
    }
    if let Some(range) = session.importing {
        shared.lock().break_import(range);
    }
}

async fn serve(wire: &mut Wire, session: &mut Session, shared: &Arc<Shared>) -> io::Result<()> {
    while let Some(words) = wire.command().await? {
        if words.is_empty() {
            continue;
        }
        let number = shared.log().hear(&words);
        let delay_ms = shared.lock().faults.delay_ms;
        sleep_if(delay_ms).await;
        let is_switch = words[0].eq_ignore_ascii_case("standin");
        if !is_switch {
            shared.wait_while_silent().await;
        }
        let next = if is_switch { None } else { shared.lock().faults.take_next(&words) };
        match &next {
            Some(Instead::Reply(text)) => {
                wire.write(text).await?;
                continue;
            }
            Some(Instead::Unheard) => return Ok(()),
            Some(Instead::Silence) => return swallow(wire).await,
            Some(Instead::Unanswered) | None => {}
        }
        let step = loop {
            match command::run(&mut shared.lock(), session, &words) {
                Step::Later => {}
                step => break step,
            }
            sleep(LOOK).await;
        };
        shared.log().done(number);
        shared.tell();
        let answer = carry_on(step, wire, shared).await?;
        match answer {
            Some(reply) if next.is_none() => wire.reply(&reply).await?,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Reads on until the other side gives up.
async fn swallow(wire: &mut Wire) -> io::Result<()> {
    while wire.command().await?.is_some() {}
    Ok(())
}

/// What takes time, or concerns more than the state; no reply closes the connection.
async fn carry_on(step: Step, wire: &mut Wire, shared: &Arc<Shared>) -> io::Result<Option<Reply>> {
    match step {
        Step::Reply(reply) => return Ok(Some(reply)),
        Step::Later => {}
        Step::Shutdown => shared.stop.cancel(),
        Step::Restart { keeps_node_file } => {
            wire.reply(&Reply::ok()).await?;
            shared.restart.send_replace(Some(keeps_node_file));
        }
        Step::Log => {
            let line = |heard: Heard| {
                let done = if heard.is_done { "done" } else { "heard" };
                Reply::bulk(format!("{} {done} {}", heard.at_ms, heard.words))
            };
            return Ok(Some(Reply::Array(shared.log().all().into_iter().map(line).collect())));
        }
        Step::Migrate { range, to, waits, is_answer_lost } => {
            let reply = migrate(shared, range, to, waits).await;
            return Ok((!is_answer_lost).then_some(reply));
        }
        Step::Replicate { seq, history, addr } => {
            replicate::serve(shared, wire, (seq, history, addr)).await?;
        }
    }
    Ok(None)
}

async fn sleep_if(delay_ms: u64) {
    if delay_ms > 0 {
        sleep(Duration::from_millis(delay_ms)).await;
    }
}

/// Begins a migration; it goes on whatever becomes of the connection.
async fn migrate(
    shared: &Arc<Shared>,
    range: topology::Range,
    to: Arc<topology::Entry>,
    waits: Option<Duration>,
) -> Reply {
    let shared = Arc::clone(shared);
    let stop = shared.stop.clone();
    let task = tokio::spawn(async move {
        tokio::select! {
            ended = migrate::run(shared, range, to) => ended,
            () = stop.cancelled() => Err("the node stops".to_owned()),
        }
    });
    let ended = match waits {
        None => return Reply::ok(),
        Some(Duration::ZERO) => task.await,
        Some(limit) => match timeout(limit, task).await {
            Ok(ended) => ended,
            Err(_) => return Reply::Nil,
        },
    };
    match ended {
        Ok(Ok(())) => Reply::ok(),
        Ok(Err(error)) => Reply::err(error),
        Err(error) => Reply::err(error.to_string()),
    }
}
