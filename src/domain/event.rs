//! What followed from a command, told to watchers.
//!
//! An event says that something happened to an object, and at which revision; what it is like now
//! is read from the state. Events are made by `apply`, so they are the same on every replica, but
//! they are no part of the state: a later program may tell more.

use schemars::JsonSchema;
use serde::Serialize;

use super::system::access::Family;

/// Longest object of an event, bytes; a longer one is cut.
const OBJECT_BYTES_MAX: usize = 256;

/// A fact that followed from a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// Log index of the command.
    pub revision: u64,
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whose.
    pub family: Family,
    /// What happened; a word in the past tense.
    pub kind: &'static str,
    /// To what: a name, an address or an id of the family; `namespace/cluster` for Kvrocks. Empty
    /// if it concerns the family as a whole.
    pub object: String,
}

/// What a command is about, before it is known what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// See [`Event::kind`].
    pub kind: &'static str,
    /// See [`Event::object`].
    pub object: String,
}

impl Subject {
    /// Something that happens to an object.
    pub(super) fn of(kind: &'static str, object: &str) -> Self {
        let mut end = object.len().min(OBJECT_BYTES_MAX);
        while !object.is_char_boundary(end) {
            end -= 1;
        }
        Self { kind, object: object[..end].to_owned() }
    }

    /// Something that concerns a family as a whole.
    pub(super) fn whole(kind: &'static str) -> Self {
        Self { kind, object: String::new() }
    }

    /// The event.
    pub(super) fn event(self, family: Family, context: &super::Context<'_>) -> Event {
        let Self { kind, object } = self;
        Event { revision: context.index, time_ms: context.time_ms, family, kind, object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Command, Context, Reply, State, cello, kvrocks, system, undermoon};

    fn apply(state: &mut State, index: u64, command: Command) -> (Reply, Vec<String>) {
        let context = Context { index, term: 1, time_ms: 1_000 + index, actor: "" };
        let mut events = Vec::new();
        let reply = state.apply(&context, command, &mut events);
        assert!(
            events.iter().all(|event| event.revision == index && event.time_ms == 1_000 + index)
        );
        let shown = |event: &Event| format!("{:?} {} {}", event.family, event.kind, event.object);
        (reply, events.iter().map(shown).collect())
    }

    fn program(action: undermoon::Action) -> Command {
        Command::Undermoon(undermoon::Command { profile: undermoon::Profile::Program, action })
    }

    fn register(address: &str) -> Command {
        let nodes = [format!("{address}1"), format!("{address}2")];
        program(undermoon::Action::RegisterProxy {
            address: address.to_owned(),
            nodes,
            host: None,
            index: None,
        })
    }

    #[test]
    fn what_was_carried_out_is_told_once() {
        let mut state = State::default();
        let found = system::Command::Found { undermoon: undermoon::settings::Seed::default() };
        let (_, events) = apply(&mut state, 1, Command::System(found));
        assert_eq!(events, ["Admin founded "]);
        let (_, events) = apply(&mut state, 2, register("a:1"));
        assert_eq!(events, ["Undermoon proxy_registered a:1"]);
        let namespace = kvrocks::Command::CreateNamespace { namespace: "ns".to_owned() };
        let (_, events) = apply(&mut state, 3, Command::Kvrocks(namespace));
        assert_eq!(events, ["Kvrocks namespace_created ns"]);
    }

    #[test]
    fn what_was_refused_or_changed_nothing_is_not_told() {
        let mut state = State::default();
        let missing = undermoon::Action::RemoveProxy { address: "a:1".to_owned() };
        let (reply, events) = apply(&mut state, 1, program(missing));
        assert!(matches!(reply, Reply::Undermoon(Err(_))), "{reply:?}");
        assert_eq!(events, Vec::<String>::new());
        let free = cello::Command::ReleaseUser { user_id: "u".to_owned() };
        let (reply, events) = apply(&mut state, 2, Command::Cello(free));
        assert!(matches!(reply, Reply::Cello(Ok(_))), "{reply:?}");
        assert!(events.len() < 2, "{events:?}");
    }

    #[test]
    fn a_refusal_that_raises_the_epoch_is_told() {
        let mut state = State::default();
        apply(&mut state, 1, register("a:1"));
        // The same address again is refused and yet a change (spec 1.7).
        let before = undermoon::query::global_epoch(&state.undermoon);
        let (reply, events) = apply(&mut state, 2, register("a:1"));
        assert!(matches!(reply, Reply::Undermoon(Err(_))), "{reply:?}");
        let after = undermoon::query::global_epoch(&state.undermoon);
        let expected: &[&str] = if after > before { &["Undermoon epoch_raised "] } else { &[] };
        assert_eq!(events, expected);
    }

    #[test]
    fn long_objects_are_cut_between_letters() {
        let long = "é".repeat(OBJECT_BYTES_MAX);
        let subject = Subject::of("x", &format!("a{long}"));
        assert_eq!(subject.object.len(), OBJECT_BYTES_MAX - 1);
        assert!(subject.object.ends_with('é'));
    }
}
