//! What clients asked and were told, in the order of one clock.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Gives a register a value that it never had.
    Write(String, u64),
    /// Asks for the value of a register.
    Read(String),
    /// Adds an element to the set; tells whether it was missing.
    Add(String),
    /// Takes an element out of the set; tells whether it was there.
    Remove(String),
    /// Asks whether an element is in the set.
    Has(String),
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The value of a register.
    Value(u64),
    /// Whether the element was missing, was there, is there.
    Flag(bool),
    /// It was not done, and never will be.
    NotDone(String),
    /// Nobody knows.
    Unknown(String),
}

/// How current a read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A change, or a read of everything committed before.
    Linearizable,
    /// A read of what the replica has.
    Local,
}

/// One call and what came of it.
#[derive(Clone, Debug)]
pub struct Op {
    /// Who asked; a client asks for one thing at a time.
    pub client: u64,
    /// Whom it asked last.
    pub replica: u64,
    /// What for.
    pub call: Call,
    /// How.
    pub mode: Mode,
    /// When the request was sent, in nanoseconds of the history.
    pub invoked: u64,
    /// When the last answer came, or waiting for it ended.
    pub returned: u64,
    /// The answer.
    pub outcome: Outcome,
    /// Where the answering replica stood, or the index of the change.
    pub index: Option<u64>,
    /// The index a read asked for.
    pub min_index: u64,
    /// How often the request was sent, always under the same request id.
    pub attempts: u32,
}

impl Op {
    /// Whether it is a change that was acknowledged.
    pub fn is_acknowledged_write(&self) -> bool {
        self.is_write() && matches!(self.outcome, Outcome::Done | Outcome::Flag(_))
    }

    /// Whether it is a change.
    pub const fn is_write(&self) -> bool {
        matches!(self.call, Call::Write(..) | Call::Add(_) | Call::Remove(_))
    }

    /// Whether nobody knows what came of it.
    pub const fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }

    /// Whether the answer is about the state.
    pub const fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Value(_) | Outcome::Flag(_))
    }
}

/// All calls of a run.
pub struct History {
    begun: Instant,
    ops: Mutex<Vec<Op>>,
    acknowledged: AtomicU64,
}

impl Default for History {
    fn default() -> Self {
        Self { begun: Instant::now(), ops: Mutex::default(), acknowledged: AtomicU64::new(0) }
    }
}

impl History {
    /// Nanoseconds since the history began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).expect("a run ends within centuries")
    }

    /// Keeps a call.
    pub fn record(&self, op: Op) {
        if op.is_acknowledged_write() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.ops.lock().expect("not poisoned").push(op);
    }

    /// Changes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// All calls, by the time they were made.
    pub fn ops(&self) -> Vec<Op> {
        let mut ops = self.ops.lock().expect("not poisoned").clone();
        ops.sort_by_key(|op| op.invoked);
        ops
    }

    /// Nanoseconds from a moment to the first acknowledgement of a change that was asked for
    /// after it.
    pub fn first_acknowledged_after(&self, moment: u64) -> Option<u64> {
        let ops = self.ops.lock().expect("not poisoned");
        let after = ops.iter().filter(|op| op.is_acknowledged_write() && op.invoked >= moment);
        after.map(|op| op.returned - moment).min()
    }
}
