//! A Kvrocks node as far as a control plane can tell: its words, its versions, its replication and
//! its migrations, with the hazards real nodes have, and faults that can be switched on.
//!
//! Begin at [`Node`]. The rules of `CLUSTERX` are in `core`, the replies in `command` and `keys`;
//! `migrate` and `replicate` speak to other stand-ins. A stand-in keeps its keys when it is killed;
//! its node file can be kept or taken away before it is started again.

#![allow(dead_code, unreachable_pub, missing_docs)]

mod command;
mod core;
mod keys;
mod migrate;
mod replicate;
pub mod resp;
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

pub use self::core::{Faults, Options};
use self::{
    command::{Session, Step},
    core::Core,
    resp::{Reply, Wire},
    store::Store,
};

/// Pause between two looks at a switch.
const LOOK: Duration = Duration::from_millis(10);

/// What the tasks of one run share.
pub struct Shared {
    core: Mutex<Core>,
    changes: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_while_silent(&self) {
        while self.lock().faults.is_silent {
            sleep(LOOK).await;
        }
    }
}

struct Run {
    shared: Arc<Shared>,
    stop: CancellationToken,
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
    run: Option<Run>,
}

impl Node {
    /// Starts a new node on a port; 0 lets the system pick.
    pub async fn start(port: u16, options: Options) -> io::Result<Self> {
        let host = options.listens_on();
        let listener = TcpListener::bind((host, port)).await?;
        let port = listener.local_addr()?.port();
        let addr = format!("{host}:{port}");
        let mut node = Self { addr, port, options, store: Store::default(), file: None, run: None };
        node.launch(listener);
        Ok(node)
    }

    fn launch(&mut self, listener: TcpListener) {
        let store = std::mem::take(&mut self.store);
        let core = Core::start(self.options.clone(), self.port, store, self.file.clone());
        let shared = Arc::new(Shared { core: Mutex::new(core), changes: watch::Sender::new(0) });
        let stop = CancellationToken::new();
        let following = replicate::follow(Arc::clone(&shared));
        let accepting =
            tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone(), following));
        self.run = Some(Run { shared, stop, accepting });
    }

    /// Ends the process at once; keys and node file stay.
    pub async fn kill(&mut self) {
        let Some(run) = self.run.take() else { return };
        run.stop.cancel();
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

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Switches faults; the node must run.
    pub fn fault(&self, switch: impl FnOnce(&mut Faults)) {
        let shared = &self.running().shared;
        switch(&mut shared.lock().faults);
        shared.changes.send_modify(|count| *count += 1);
    }

    /// Commands it carried out so far, without those on keys.
    pub fn heard(&self) -> Vec<String> {
        self.running().shared.lock().heard.clone()
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
            run.stop.cancel();
        }
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    following: impl Future<Output = ()> + Send + 'static,
) {
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = following => {}
            () = stopped.cancelled() => {}
        }
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                // A broken connection is the other side's business.
                _ = converse(stream, Arc::clone(&shared), &stop) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn converse(
    stream: TcpStream,
    shared: Arc<Shared>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    let mut session = Session::default();
    let served = serve(&mut wire, &mut session, &shared, stop).await;
    if let Some(range) = session.importing {
        shared.lock().break_import(range);
    }
    served
}

async fn serve(
    wire: &mut Wire,
    session: &mut Session,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> io::Result<()> {
    while let Some(words) = wire.command().await? {
        if words.is_empty() {
            continue;
        }
        let delay_ms = shared.lock().faults.delay_ms;
        sleep_if(delay_ms).await;
        shared.wait_while_silent().await;
        let step = loop {
            match command::run(&mut shared.lock(), session, &words) {
                Step::Later => {}
                step => break step,
            }
            sleep(LOOK).await;
        };
        shared.changes.send_modify(|count| *count += 1);
        match step {
            Step::Reply(reply) => wire.reply(&reply).await?,
            Step::Close | Step::Later => return Ok(()),
            Step::Migrate { range, to, waits, is_answer_lost } => {
                let reply = migrate(shared, stop, range, to, waits).await;
                if is_answer_lost {
                    return Ok(());
                }
                wire.reply(&reply).await?;
            }
            Step::Replicate { seq, history, addr } => {
                return replicate::serve(shared, wire, (seq, history, addr)).await;
            }
        }
    }
    Ok(())
}

async fn sleep_if(delay_ms: u64) {
    if delay_ms > 0 {
        sleep(Duration::from_millis(delay_ms)).await;
    }
}

/// Begins a migration; it goes on whatever becomes of the connection.
async fn migrate(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    range: topology::Range,
    to: Arc<topology::Entry>,
    waits: Option<Duration>,
) -> Reply {
    let (shared, stop) = (Arc::clone(shared), stop.clone());
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
