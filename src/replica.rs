//! The machine that the engine replicates: the domain's state, with its records as bytes.
//!
//! The only file that knows both the engine's [`Machine`] and [`domain::State`]. It decides
//! nothing: `apply` hands over, and records are encoded one by one.

use std::io;

use quorate_raft::{Context, Machine, MemberNote, MemberVerb, RecordSink, RecordSource};

use crate::domain::{
    self, Record, RecordError,
    system::{self, member},
};

/// All records are one kind: the record says itself which family it belongs to.
const RECORD_KIND: u8 = 1;

/// The replicated state.
#[derive(Clone, Debug, Default)]
pub struct Replica(pub domain::State);

impl Machine for Replica {
    type Command = domain::Command;
    type Reply = domain::Reply;
    type Event = domain::Event;

    fn apply(
        &mut self,
        context: &Context<'_>,
        command: domain::Command,
        events: &mut Vec<domain::Event>,
    ) -> domain::Reply {
        let request_id = context.request_id.0;
        let context = domain::Context {
            index: context.index,
            term: context.term,
            time_ms: context.time_ms,
            actor: context.actor,
        };
        self.0.apply_recorded(&context, request_id, command, events)
    }

    fn feature_level(&self) -> u64 {
        self.0.system.feature_level
    }

    fn level_known_max() -> u64 {
        system::FEATURE_LEVEL_MAX
    }

    fn level_needed(command: &domain::Command) -> u64 {
        command.feature_level()
    }

    fn raise_to(level: u64) -> Option<domain::Command> {
        Some(domain::Command::System(system::Command::to_raise(level)))
    }

    fn note_members(note: &MemberNote) -> Option<domain::Command> {
        let verb = match note.verb {
            MemberVerb::Add => member::MemberVerb::Add,
            MemberVerb::Promote => member::MemberVerb::Promote,
            MemberVerb::Remove => member::MemberVerb::Remove,
            MemberVerb::Replace => member::MemberVerb::Replace,
            MemberVerb::Update => member::MemberVerb::Update,
            MemberVerb::Join => member::MemberVerb::Join,
        };
        let note = member::MemberNote {
            verb,
            id: note.id.unwrap_or_default(),
            is_refused: note.is_refused,
        };
        Some(domain::Command::System(system::Command::NoteMembers(note)))
    }

    fn export(&self, sink: &mut dyn RecordSink) -> io::Result<()> {
        for record in self.0.records() {
            let bytes = postcard::to_stdvec(&record).map_err(io::Error::other)?;
            sink.put(RECORD_KIND, &bytes)?;
        }
        Ok(())
    }

    fn import(source: &mut dyn RecordSource) -> io::Result<Self> {
        let records = std::iter::from_fn(|| next(source).transpose());
        domain::State::from_records(records).map(Self).map_err(|fault| fault.0)
    }
}

/// A fault of the source, or of the records.
struct Fault(io::Error);

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::FeatureLevel { .. } => newer(&error.to_string()),
            error => Self(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Records come with checksums, so one that is not understood was written by another program.
fn newer(what: &str) -> Fault {
    let advice = "install the program that wrote it, or a newer one; nothing is lost";
    Fault(io::Error::new(io::ErrorKind::Unsupported, format!("{what}: {advice}")))
}

fn next(source: &mut dyn RecordSource) -> Result<Option<Record>, Fault> {
    let Some((kind, bytes)) = source.next_record().map_err(Fault)? else { return Ok(None) };
    if kind != RECORD_KIND {
        return Err(newer(&format!("record kind {kind} is not known to this program")));
    }
    let record = postcard::from_bytes(&bytes)
        .map_err(|error| newer(&format!("a record of the state is not understood ({error})")))?;
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use quorate_raft::RequestId;

    use super::*;
    use crate::domain::undermoon::{self, Action, Profile};

    /// Records in memory.
    #[derive(Default)]
    struct Records(std::collections::VecDeque<(u8, Vec<u8>)>);

    impl RecordSink for Records {
        fn put(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
            self.0.push_back((kind, bytes.to_vec()));
            Ok(())
        }
    }

    impl RecordSource for Records {
        fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
            Ok(self.0.pop_front())
        }
    }

    fn register(address: &str) -> domain::Command {
        let nodes = [format!("{address}1"), format!("{address}2")];
        let action =
            Action::RegisterProxy { address: address.to_owned(), nodes, host: None, index: None };
        domain::Command::Undermoon(undermoon::Command { profile: Profile::Program, action })
    }

    fn filled() -> Replica {
        let mut replica = Replica::default();
        for (index, address) in (1..).zip(["a:1", "b:1", "c:1"]) {
            let request_id = RequestId([0; 16]);
            let context = Context { index, term: 1, time_ms: 5, actor: "", request_id };
            let reply = replica.apply(&context, register(address), &mut Vec::new());
            assert!(matches!(reply, domain::Reply::Undermoon(Ok(_))), "{reply:?}");
        }
        replica
    }

    #[test]
    fn export_then_import_is_the_identity() {
        let mut first = Records::default();
        filled().export(&mut first).unwrap();
        let expected = first.0.clone();
        assert!(expected.len() > 3);
        let imported = Replica::import(&mut first).unwrap();
        let mut second = Records::default();
        imported.export(&mut second).unwrap();
        assert_eq!(second.0, expected);
    }

    #[test]
    fn damaged_records_are_refused() {
        let mut records = Records::default();
        filled().export(&mut records).unwrap();
        let mut unknown = Records(records.0.clone());
        unknown.0[0].0 = 9;
        assert!(Replica::import(&mut unknown).is_err());
        records.0[1].1.truncate(1);
        assert!(Replica::import(&mut records).is_err());
    }
}
