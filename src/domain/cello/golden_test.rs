//! The bytes of commands, replies and records as they were released: logs, request windows and
//! snapshots must decode for ever.
//!
//! A line that changes is a broken format; a new variant is a new line. `QUORATE_GOLDEN=add`
//! adds lines that are not there yet, and leaves all others as they are; see `scripts/golden`.

use std::{fmt::Debug, fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    ClusterType, Command, Rejection, Reply, Template,
    command::{Condition, Failure, HealthReport, HostChange, NewCluster, NewHost, Power},
    model::{Health, LogType},
    play_test::{Luck, Play},
    query,
    record::Record,
    settings::SettingsChange,
    template::{Probe, Pull},
};

const GOLDEN: &str = include_str!("golden.txt");

/// Lines of the golden file as they should be, each checked to decode to what it came from.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = postcard::to_stdvec(value).expect("the value encodes");
        self.0.push(format!("{name} {}", super::ids::hex(bytes)));
        let released = GOLDEN.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        if let Some(released) = released {
            let decoded: T = postcard::from_bytes(&bytes_of(released)).expect("the line decodes");
            assert_eq!(decoded, *value, "{name} decodes to something else by now");
        }
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("hexadecimal") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn host(number: u8) -> NewHost {
    NewHost {
        installation: [7; 16],
        name: format!("compute{number}"),
        daemon_url: format!("192.168.7.{number}:2375"),
        is_tls: true,
        service_address: text("pool.lan"),
        capacity: 3,
        log_level: text("INFO"),
        log_type: LogType::Syslog,
        log_server: text("10.0.0.9:514"),
        is_schedulable: true,
        is_autofill: true,
    }
}

fn kind() -> ClusterType {
    ClusterType { plugin: text("pbft"), mode: text("batch"), size: 4 }
}

fn template() -> Template {
    let http = Probe::HttpPeers { path: text("/peers"), pointer: text("/peers") };
    Template { pull: Pull::Missing, probe: http, ..Template::original(kind()) }
}

fn apply(user: &str) -> Command {
    let user_id = text(user);
    Command::Apply { user_id, condition: Condition::default(), allows_multiple: false }
}

/// A busy state: a used cluster, one that is being removed, one whose ports a stranger has, one
/// that is being restarted, and a host that is forgotten but for what is left on it.
fn busy() -> Play {
    let mut play = Play::default();
    play.now_ms = 1_476_952_200_000;
    for number in [1, 2] {
        play.apply(Command::AddHost(Box::new(host(number)))).expect("hosts are taken");
    }
    let effects = query::pending_effects(&play.state);
    for (at, effect) in effects.iter().enumerate() {
        let luck = if at == 2 { Luck::Bad(Failure::PortInUse) } else { Luck::Good };
        play.act(effect, luck);
    }
    play.probe(Health::Ok);
    for user in ["u1", "u2"] {
        play.apply(apply(user)).expect("there are clusters");
    }
    play.apply(Command::ReleaseUser { user_id: text("u1") }).expect("released");
    let ids: Vec<_> = query::clusters(&play.state).map(|found| found.id.clone()).collect();
    let cluster_id = ids[1].clone();
    let restart = Command::Power { cluster_id, user_id: None, power: Power::Restart };
    play.apply(restart).expect("restarts");
    let host_id = query::hosts(&play.state).last().expect("two hosts").id.clone();
    play.apply(Command::RemoveHost { host_id, is_forced: true }).expect("forgotten");
    play
}

fn wishes() -> Vec<Command> {
    let (host_id, cluster_id) = (text("h"), text("c"));
    let change = HostChange {
        name: Some(text("n")),
        daemon_url: Some(text("a:1")),
        is_tls: Some(false),
        service_address: Some(text("b")),
        capacity: Some(300),
        log_level: Some(text("ERROR")),
        log_type: Some(LogType::Local),
        log_server: Some(String::new()),
        is_schedulable: Some(true),
        is_autofill: None,
    };
    let new = NewCluster {
        host_id: host_id.clone(),
        name: text("n"),
        kind: kind(),
        port_start: Some(9_000),
    };
    let condition =
        Condition { plugin: Some(text("pbft")), mode: Some(text("batch")), size: Some(-4) };
    let settings =
        SettingsChange { port_start: Some(1), history_max: Some(2), ..SettingsChange::default() };
    let power = |power| Command::Power { cluster_id: text("c"), user_id: Some(text("u")), power };
    vec![
        Command::AddHost(Box::new(host(1))),
        Command::ChangeHost { host_id: host_id.clone(), change: Box::new(change) },
        Command::RemoveHost { host_id: host_id.clone(), is_forced: true },
        Command::FillHost { host_id: host_id.clone(), is_automatic: true },
        Command::CleanHost { host_id: host_id.clone() },
        Command::ResetHost { host_id },
        Command::CreateCluster(Box::new(new)),
        Command::DeleteCluster { cluster_id: cluster_id.clone(), is_forced: false },
        Command::DropReleased { cluster_id: cluster_id.clone() },
        Command::Apply { user_id: text("u"), condition, allows_multiple: true },
        Command::Release { cluster_id, user_id: Some(text("u")) },
        Command::ReleaseUser { user_id: text("u") },
        power(Power::Start),
        power(Power::Stop),
        power(Power::Restart),
        Command::PutTemplate(Box::new(template())),
        Command::RemoveTemplate { kind: kind() },
        Command::ChangeSettings(Box::new(settings)),
    ]
}

fn reports() -> Vec<Command> {
    let (host_id, cluster_id, reason, op) = (text("h"), text("c"), text("r"), 300);
    let report =
        |health| HealthReport { cluster_id: text("c"), seen_op: 300, health, reason: text("r") };
    let failed = |failure| Command::OperationFailed {
        cluster_id: text("c"),
        op: 300,
        failure,
        reason: text("r"),
    };
    vec![
        Command::ReportHost {
            host_id: host_id.clone(),
            is_reachable: false,
            reason: reason.clone(),
        },
        Command::ReportHealth {
            reports: vec![report(Health::Unknown), report(Health::Ok), report(Health::Fail)],
        },
        Command::ResetCluster {
            cluster_id: cluster_id.clone(),
            seen_op: op,
            reason: reason.clone(),
        },
        Command::ClusterCreated {
            cluster_id: cluster_id.clone(),
            op,
            containers: vec![(text("c_vp0"), text("d"))],
        },
        Command::ClusterDestroyed { cluster_id: cluster_id.clone(), op },
        Command::PowerDone { cluster_id, op },
        failed(Failure::Unreachable),
        failed(Failure::PortInUse),
        failed(Failure::NameTaken),
        failed(Failure::ImageMissing),
        failed(Failure::Other),
        Command::HostTaskDone { host_id: host_id.clone(), op },
        Command::HostTaskFailed { host_id, op, reason },
    ]
}

fn replies() -> Vec<Result<Reply, Rejection>> {
    let play = busy();
    let host = query::hosts(&play.state).next().expect("a host");
    let cluster = query::clusters(&play.state).next().expect("a cluster");
    vec![
        Ok(Reply::Done),
        Ok(Reply::Unchanged),
        Ok(Reply::Host(Box::new((**host).clone()))),
        Ok(Reply::Cluster(Box::new((**cluster).clone()))),
        Ok(Reply::Clusters(vec![text("c")])),
        Ok(Reply::Power { op: Some(300) }),
        Ok(Reply::Power { op: None }),
        Ok(Reply::HostTask { op: 300 }),
        Err(Rejection::HostNotFound),
        Err(Rejection::UrlUsed(text("h"))),
        Err(Rejection::InvalidHost(text("w"))),
        Err(Rejection::HostNotEmpty(300)),
        Err(Rejection::CapacityBelowUse { clusters: 3, capacity: 2 }),
        Err(Rejection::HostInactive(text("r"))),
        Err(Rejection::HostBusy),
        Err(Rejection::HostFull),
        Err(Rejection::NoPorts),
        Err(Rejection::NotToBeFilled),
        Err(Rejection::ClusterNotFound),
        Err(Rejection::NoTemplate),
        Err(Rejection::InvalidName),
        Err(Rejection::InvalidUser),
        Err(Rejection::InvalidPlugin),
        Err(Rejection::InvalidMode),
        Err(Rejection::InvalidSize),
        Err(Rejection::NothingAvailable(text("u"))),
        Err(Rejection::NotOwner),
        Err(Rejection::ClusterUsed),
        Err(Rejection::ClusterNotReady(text("creating"))),
        Err(Rejection::ClusterBusy(text("stop"))),
        Err(Rejection::InvalidTemplate(text("w"))),
        Err(Rejection::TooMany { what: text("hosts"), max: 9 }),
        Err(Rejection::InvalidSetting(text("s"))),
    ]
}

#[test]
fn released_bytes_decode_for_ever() {
    let mut lines = Lines::default();
    for (at, command) in wishes().iter().enumerate() {
        lines.add(&format!("wish-{at}"), command);
    }
    for (at, command) in reports().iter().enumerate() {
        lines.add(&format!("report-{at}"), command);
    }
    for (at, reply) in replies().iter().enumerate() {
        lines.add(&format!("reply-{at}"), reply);
    }
    let records: Vec<Record> = busy().state.records().collect();
    for (at, record) in records.iter().enumerate() {
        lines.add(&format!("record-{at}"), record);
    }
    let found = lines.0.join("\n") + "\n";
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "add") {
        let lines: Vec<&str> = found.lines().collect();
        let stays = GOLDEN.lines().all(|released| lines.contains(&released));
        assert!(stays, "a released line would change; a new meaning is a new variant");
        let path = Path::new(file!()).with_file_name("golden.txt");
        fs::write(path, &found).expect("the sources are writable");
        return;
    }
    for (found, released) in found.lines().zip(GOLDEN.lines()) {
        assert_eq!(found, released, "differs from the released format");
    }
    assert_eq!(found.lines().count(), GOLDEN.lines().count(), "a line came or went");
}
