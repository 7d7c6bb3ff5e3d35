//! Which task goes on next, and when time passes.
//!
//! Every task belongs to a replica, or to the world outside. One thread polls them all: of those
//! that can go on, the seed picks one, so the order does not depend on who woke whom. Only when
//! none can go on does time pass, in one step to the next timer. A replica that is killed loses its
//! tasks at once, as a process does; one that is paused is not polled, while its timers go on.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::FutureExt;
use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use tokio::{sync::oneshot, time::Instant};

use super::{disk::Disks, event::Event, network::Network, witness::Witness};
use crate::ReplicaId;

/// Whom tasks belong to that are no replica's: clients, messages on their way, the plan.
pub(crate) const OUTSIDE: ReplicaId = 0;

/// When simulated time begins, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

thread_local! {
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// One simulation.
pub(crate) struct World {
    ready: Arc<Ready>,
    tasks: Mutex<BTreeMap<u64, Task>>,
    spawned: AtomicU64,
    /// Whose task is being polled.
    owner: AtomicU64,
    paused: Mutex<BTreeSet<ReplicaId>>,
    /// How far the wall clock of each replica is off, in milliseconds.
    skews: Mutex<BTreeMap<ReplicaId, i64>>,
    draws: Mutex<StdRng>,
    began: Instant,
    pub(crate) network: Mutex<Network>,
    pub(crate) disks: Mutex<Disks>,
    witness: Mutex<Witness>,
}

struct Task {
    owner: ReplicaId,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Waker,
}

/// The tasks that can go on.
#[derive(Default)]
struct Ready {
    tasks: Mutex<BTreeMap<u64, ReplicaId>>,
    outer: Mutex<Option<Waker>>,
    is_polling: AtomicBool,
}

struct Alarm {
    task: u64,
    owner: ReplicaId,
    ready: Arc<Ready>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        lock(&self.ready.tasks).insert(self.task, self.owner);
        if !self.ready.is_polling.load(Ordering::Relaxed)
            && let Some(outer) = &*lock(&self.ready.outer)
        {
            outer.wake_by_ref();
        }
    }
}

impl World {
    /// A world that a seed decides about. Needs a tokio runtime whose clock is paused.
    pub(crate) fn new(seed: u64, disks: Disks, witness: Witness) -> Arc<Self> {
        Arc::new(Self {
            ready: Arc::default(),
            tasks: Mutex::default(),
            spawned: AtomicU64::new(0),
            owner: AtomicU64::new(OUTSIDE),
            paused: Mutex::default(),
            skews: Mutex::default(),
            draws: Mutex::new(StdRng::seed_from_u64(seed)),
            began: Instant::now(),
            network: Mutex::default(),
            disks: Mutex::new(disks),
            witness: Mutex::new(witness),
        })
    }

    /// Runs a future of the world outside, and everything it begins, until it ends or an invariant
    /// is broken; `look` is called whenever nothing can go on before time passes.
    pub(crate) async fn run<F>(self: &Arc<Self>, future: F, mut look: impl FnMut(&Self))
    where
        F: Future<Output = ()> + Send + 'static,
    {
        WORLD.with_borrow_mut(|world| *world = Some(self.clone()));
        let mut main = self.spawn(OUTSIDE, future);
        let whole = std::future::poll_fn(|cx| {
            *lock(&self.ready.outer) = Some(cx.waker().clone());
            self.ready.is_polling.store(true, Ordering::Relaxed);
            let is_over = self.poll_ready(&mut main, &mut look);
            self.ready.is_polling.store(false, Ordering::Relaxed);
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        });
        // The tasks share this one poll: what is left of it is no reason to stop one of them.
        tokio::task::unconstrained(whole).await;
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        drop(tasks);
        WORLD.with_borrow_mut(|world| *world = None);
    }

    fn poll_ready(
        self: &Arc<Self>,
        main: &mut JoinHandle<()>,
        look: &mut impl FnMut(&Self),
    ) -> bool {
        loop {
            while let Some(task) = self.pick() {
                self.poll(task);
                let is_done = main.now_or_never().is_some();
                if is_done || self.witness(|witness| witness.has_failed()) {
                    return true;
                }
            }
            look(self);
            if lock(&self.ready.tasks).is_empty() || self.nothing_ready() {
                return self.witness(|witness| witness.has_failed());
            }
        }
    }

    fn nothing_ready(&self) -> bool {
        let paused = lock(&self.paused);
        lock(&self.ready.tasks).values().all(|owner| paused.contains(owner))
    }

    fn pick(&self) -> Option<u64> {
        let paused = lock(&self.paused);
        let mut ready = lock(&self.ready.tasks);
        let can_go_on: Vec<u64> = ready
            .iter()
            .filter(|(_, owner)| !paused.contains(owner))
            .map(|(task, _)| *task)
            .collect();
        let picked = match can_go_on.len() {
            0 => return None,
            1 => can_go_on[0],
            several => can_go_on[lock(&self.draws).random_range(0..several)],
        };
        ready.remove(&picked);
        Some(picked)
    }

    fn poll(&self, id: u64) {
        // Taken out while it is polled: it may begin tasks, or have this one killed.
        let Some(mut task) = lock(&self.tasks).remove(&id) else { return };
        self.witness(|witness| witness.turn(id));
        self.owner.store(task.owner, Ordering::Relaxed);
        let waker = task.waker.clone();
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Pending => drop(lock(&self.tasks).insert(id, task)),
            Poll::Ready(()) => drop(task),
        }
        self.owner.store(OUTSIDE, Ordering::Relaxed);
    }

    /// Begins a task of a replica.
    pub(crate) fn spawn<F>(&self, owner: ReplicaId, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let id = self.spawned.fetch_add(1, Ordering::Relaxed);
        let alarm = Alarm { task: id, owner, ready: self.ready.clone() };
        let future = Box::pin(async move { drop(done.send(future.await)) });
        let task = Task { owner, future, waker: Arc::new(alarm).into() };
        task.waker.wake_by_ref();
        lock(&self.tasks).insert(id, task);
        JoinHandle::Simulated(result)
    }

    /// Ends all tasks of a replica at once. Must not be called by one of them.
    pub(crate) fn kill(&self, owner: ReplicaId) {
        let mut killed = Vec::new();
        {
            let mut tasks = lock(&self.tasks);
            let doomed: Vec<u64> =
                tasks.iter().filter(|(_, task)| task.owner == owner).map(|(id, _)| *id).collect();
            killed.extend(doomed.iter().filter_map(|id| tasks.remove(id)));
        }
        lock(&self.paused).remove(&owner);
        let before = self.owner.swap(owner, Ordering::Relaxed);
        drop(killed);
        self.owner.store(before, Ordering::Relaxed);
        lock(&self.ready.tasks).retain(|_, of| *of != owner);
    }

    /// Stops a replica from going on, or lets it go on.
    pub(crate) fn pause(&self, owner: ReplicaId, is_paused: bool) {
        if is_paused {
            lock(&self.paused).insert(owner);
        } else {
            lock(&self.paused).remove(&owner);
        }
    }

    /// Sets how far the wall clock of a replica is off.
    pub(crate) fn skew(&self, owner: ReplicaId, skew_ms: i64) {
        lock(&self.skews).insert(owner, skew_ms);
    }

    /// Milliseconds since the world began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whose task is being polled.
    pub(crate) fn owner(&self) -> ReplicaId {
        self.owner.load(Ordering::Relaxed)
    }

    /// Draws from what decides about this world.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut lock(&self.draws))
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    pub(crate) fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.draw(|draws| draws.random_range(0..1000) < per_mille)
    }

    /// Tells what has happened.
    pub(crate) fn tell(&self, event: &Event) {
        let now_ms = self.now_ms();
        self.witness(|witness| witness.saw(now_ms, event));
    }

    /// Looks at what was witnessed.
    pub(crate) fn witness<T>(&self, look: impl FnOnce(&mut Witness) -> T) -> T {
        look(&mut lock(&self.witness))
    }
}

/// The simulation that this thread is in.
pub(crate) fn world() -> Option<Arc<World>> {
    WORLD.with_borrow(Option::clone)
}

/// Whether this thread is in a simulation.
pub(crate) fn is_simulated() -> bool {
    WORLD.with_borrow(Option::is_some)
}

/// Random bits for the name of a disk, if this is a simulation.
pub(crate) fn draw() -> Option<[u8; 16]> {
    world().map(|world| world.draw(Rng::random))
}

/// The wall clock of the replica whose task is being polled.
pub(crate) fn wall_clock_ms() -> u64 {
    let Some(world) = world() else { return EPOCH_MS };
    let skew_ms = lock(&world.skews).get(&world.owner()).copied().unwrap_or(0);
    (EPOCH_MS + world.now_ms()).saturating_add_signed(skew_ms)
}

/// Begins a task of whoever begins it; outside a simulation, one of tokio's.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match world() {
        Some(world) => world.spawn(world.owner(), future),
        None => JoinHandle::Tokio(tokio::spawn(future)),
    }
}

/// Does work that would block, after the time that a disk takes for such work.
pub(crate) async fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let millis = world().map_or(0, |world| world.draw(|draws| draws.random_range(0..4_u64)));
    if millis > 1 {
        tokio::time::sleep(Duration::from_millis(millis - 1)).await;
    }
    work()
}

/// What a task comes to.
pub(crate) enum JoinHandle<T> {
    /// One of tokio's.
    Tokio(tokio::task::JoinHandle<T>),
    /// One of a simulation.
    Simulated(oneshot::Receiver<T>),
}

/// A task ended without a result.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// One of tokio's.
    Tokio(tokio::task::JoinError),
    /// It was killed with its replica.
    Killed,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokio(error) => error.fmt(f),
            Self::Killed => f.write_str("the task was killed"),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Tokio(handle) => handle.poll_unpin(cx).map_err(JoinError::Tokio),
            Self::Simulated(result) => result.poll_unpin(cx).map_err(|_| JoinError::Killed),
        }
    }
}

/// The runtime of the consensus library in tests: tokio's, or a simulation's for a thread that is
/// in one. Timers and channels are tokio's in both.
#[derive(Debug)]
pub(crate) struct SimRuntime(TokioRuntime);

type Seeded = DeterministicRng<TokioRuntime>;

impl AsyncRuntime for SimRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Seeded as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        matches!(join_error, JoinError::Tokio(error) if error.is_panic())
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        let seed = world().map(|world| world.draw(RngCore::next_u64));
        let seed = seed.unwrap_or_else(|| StdRng::from_os_rng().next_u64());
        let drawn = Seeded::scope(seed, async { Seeded::thread_rng() }).now_or_never();
        drawn.expect("nothing is waited for")
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(f: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::rt::blocking(f).await
    }
}

/// Locks what only this thread uses.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
