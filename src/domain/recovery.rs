//! What every family does with its clocks when the state becomes the first one of a new cluster.
//!
//! The state may be older than the world: after it, the lost cluster may have shown proxies higher
//! epochs, pushed higher versions to nodes, and made containers that bear higher log indexes. None of
//! them can be asked offline, so every clock goes on from a stated distance ahead. The distance is ten
//! times the number of log indexes that are left out, and no entry raises an epoch or a version ten
//! times, so it suffices for as many entries as the indexes do. What it cannot cover is an epoch that
//! somebody set by hand after this state was taken; then the proxies have to be asked, as
//! `PUT /api/v3/epoch/recovery` does.

use super::{State, cello::LostOps};

/// How far epochs and versions are moved.
pub const CLOCK_DISTANCE: u64 = 1_000_000_000_000;

/// What was moved, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Log index of the state.
    pub from: u64,
    /// Log index that the state has from now on.
    pub to: u64,
    /// Leaves the versions of Kvrocks clusters as they are, so that nodes that are ahead of this
    /// state are adopted instead of pushed over. Right where failovers or moves of slots may have
    /// happened after it.
    pub adopts_kvrocks: bool,
}

impl State {
    /// Moves every clock ahead, so that nothing outside sees time run back.
    pub fn recover(&mut self, recovery: Recovery) {
        self.undermoon.move_clocks(CLOCK_DISTANCE);
        self.kvrocks.move_clocks(if recovery.adopts_kvrocks { 0 } else { CLOCK_DISTANCE });
        let upto = recovery.to.saturating_sub(1);
        self.cello.leave_out(LostOps { after: recovery.from, upto });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Command, Context, Record, Reply, cello, kvrocks, undermoon};

    fn apply(state: &mut State, index: u64, command: Command) -> Reply {
        let context = Context { index, term: 1, time_ms: 1_000, actor: "" };
        state.apply(&context, command, &mut Vec::new())
    }

    fn undermoon(action: undermoon::Action) -> Command {
        let profile = undermoon::Profile::Program;
        Command::Undermoon(undermoon::Command { profile, action })
    }

    /// Two proxies that make a cluster, and a Kvrocks cluster with a report of an observer.
    fn used() -> State {
        let mut state = State::default();
        for (index, host) in (1..).zip(["a", "b"]) {
            let (address, nodes) =
                (format!("{host}:1"), [format!("{host}:2"), format!("{host}:3")]);
            let action =
                undermoon::Action::RegisterProxy { address, nodes, host: None, index: None };
            apply(&mut state, index, undermoon(action));
        }
        let action = undermoon::Action::CreateCluster { name: "used".to_owned(), node_number: 4 };
        let made = apply(&mut state, 3, undermoon(action));
        assert!(matches!(made, Reply::Undermoon(Ok(_))), "{made:?}");
        let namespace = "n".to_owned();
        let create = kvrocks::Command::CreateNamespace { namespace: namespace.clone() };
        apply(&mut state, 4, Command::Kvrocks(create));
        let id = "0123456789".repeat(4);
        let cluster = kvrocks::command::ClusterKey { namespace, name: "c".to_owned() };
        let create = kvrocks::Command::CreateCluster {
            cluster,
            nodes: vec![kvrocks::command::NewNode { id, addr: "127.0.0.1:1".to_owned() }],
            replicas: 1,
            password: kvrocks::Secret::default(),
        };
        let made = apply(&mut state, 5, Command::Kvrocks(create));
        assert!(matches!(made, Reply::Kvrocks(Ok(_))), "{made:?}");
        let report =
            kvrocks::Command::ReportHealth { observer: 1, probed: 1, failed: 0, down: Vec::new() };
        let told = apply(&mut state, 6, Command::Kvrocks(report));
        assert!(matches!(told, Reply::Kvrocks(Ok(_))), "{told:?}");
        state
    }

    fn between(from: u64, to: u64) -> Recovery {
        Recovery { from, to, adopts_kvrocks: false }
    }

    #[test]
    fn nodes_that_are_ahead_can_be_believed_instead() {
        let mut state = used();
        let version = |state: &State| {
            kvrocks::query::clusters(&state.kvrocks).map(|(_, cluster)| cluster.version).next()
        };
        state.recover(Recovery { adopts_kvrocks: true, ..between(6, 1_000) });
        assert_eq!(version(&state), Some(1));
        assert_eq!(kvrocks::query::observers(&state.kvrocks).count(), 0);
    }

    #[test]
    fn every_clock_is_ahead_and_nothing_else_changes() {
        let before = used();
        let mut after = before.clone();
        after.recover(between(6, 1_000));
        let epoch = |state: &State| undermoon::query::global_epoch(&state.undermoon);
        assert_eq!(epoch(&after), epoch(&before) + CLOCK_DISTANCE);
        let clusters = |state: &State| {
            let records = state.kvrocks.records().map(|record| format!("{record:?}"));
            records.collect::<Vec<_>>()
        };
        let moved: Vec<String> = clusters(&before)
            .into_iter()
            .filter(|record| !record.contains("Observer"))
            .map(|record| {
                record.replace("version: 1,", &format!("version: {},", 1 + CLOCK_DISTANCE))
            })
            .collect();
        assert!(clusters(&before).len() > moved.len(), "there was an observer");
        assert_eq!(clusters(&after), moved);
        let documents = [&before, &after].map(|state| {
            let mut document = undermoon::query::document(&state.undermoon);
            document.global_epoch = 0;
            document.clusters.values_mut().for_each(|cluster| cluster.epoch = 0);
            document
        });
        assert_eq!(documents[0], documents[1]);
        let records = after.records().map(Ok::<Record, crate::domain::RecordError>);
        let again = State::from_records(records).unwrap();
        assert!(again.records().eq(after.records()));
    }

    #[test]
    fn sweeps_leave_alone_what_only_the_lost_cluster_knew() {
        let mut state = State::default();
        assert!(cello::query::may_sweep(&state.cello, 7));
        state.recover(between(6, 1_000));
        state.recover(between(1_020, 9_000));
        let swept = [6, 7, 999, 1_000, 1_020, 1_021, 8_999, 9_000];
        let swept = swept.map(|op| cello::query::may_sweep(&state.cello, op));
        assert_eq!(swept, [true, false, false, true, true, false, false, true]);
    }

    #[test]
    fn what_the_pool_has_begun_is_begun_anew_beyond_the_lost_cluster() {
        let mut state = State::default();
        let host = cello::command::NewHost {
            installation: [1; 16],
            name: "h".to_owned(),
            daemon_url: "tcp://127.0.0.1:2375".to_owned(),
            is_tls: false,
            service_address: String::new(),
            capacity: 1,
            log_level: String::new(),
            log_type: cello::model::LogType::Local,
            log_server: String::new(),
            is_schedulable: true,
            is_autofill: true,
        };
        let added = apply(&mut state, 5, Command::Cello(cello::Command::AddHost(Box::new(host))));
        assert!(matches!(added, Reply::Cello(Ok(_))), "{added:?}");
        let effects = |state: &State| cello::query::pending_effects(&state.cello);
        let before = effects(&state);
        assert!(!before.is_empty(), "the host is filled");
        state.recover(between(6, 1_000));
        let after = effects(&state);
        assert_eq!(after.len(), before.len());
        assert!(after.iter().all(|effect| effect.task.op == 1_000), "{after:?}");
        assert!(before.iter().all(|effect| !cello::query::is_current(&state.cello, effect)));
        assert!(after.iter().all(|effect| cello::query::is_current(&state.cello, effect)));
    }

    #[test]
    fn clocks_at_their_end_stay_usable() {
        let mut state = used();
        for _ in 0..3 {
            state.undermoon.move_clocks(u64::MAX);
            state.kvrocks.move_clocks(u64::MAX);
        }
        let before = undermoon::query::global_epoch(&state.undermoon);
        let action = undermoon::Action::RegisterProxy {
            address: "c:1".to_owned(),
            nodes: ["c:2".to_owned(), "c:3".to_owned()],
            host: None,
            index: None,
        };
        apply(&mut state, 9, undermoon(action));
        assert!(undermoon::query::global_epoch(&state.undermoon) > before);
    }
}
