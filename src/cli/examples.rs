//! What each verb says when all is well, for its `--help`.
//!
//! Long ones stand beside their verbs; those here are for verbs that have none of their own. A test
//! walks the whole command line and finds none without.

use clap::Command;

/// The words of a verb, and what follows them and comes out.
type Example = (&'static str, &'static str);

const EXAMPLES: &[Example] = &[
    ("serve", "--config /etc/quorate/quorate.toml"),
    ("dev", "--replicas 3"),
    ("gateway", "--listen 127.0.0.1:7799 --endpoints 10.0.0.1:7799,10.0.0.2:7799,10.0.0.3:7799"),
    (
        "ctl status",
        "-H 10.0.0.1:7799,10.0.0.2:7799,10.0.0.3:7799
ID  ROLE      READY  TERM  LAST  COMMIT  APPLIED  SNAPSHOT  AGE MS  URL
1   follower  yes    4     812   812     812      512       18      http://10.0.0.1:7799
2   leader    yes    4     812   812     812      512       0       http://10.0.0.2:7799
3   follower  yes    4     812   812     812      512       21      http://10.0.0.3:7799",
    ),
    ("ctl alive", "\nalive"),
    ("ctl settings get", "\nfailure_quorum  1\nfailure_ttl     60\nmigration_limit 1"),
    ("ctl settings set", "failure_ttl=30\nfailure_quorum  1\nfailure_ttl     30\nmigration_limit 1"),
    ("ctl transfer-leader", "--to 3\nreplica 3 leads now"),
    ("ctl snapshot", "\nreplica 1 has a snapshot up to index 812"),
    (
        "ctl token create",
        "--role operate --family kvrocks --name \"front end\"
qrt_f12e0472ffe6a07a_26a8ae18ad3850fc4fb8741801a7dc3a1e4a103e349930f6f2335cae230697ec",
    ),
    (
        "ctl token list",
        "
ID                NAME       ROLE     FAMILY   NAMESPACE  CREATED_MS     EXPIRES_MS  BY
f12e0472ffe6a07a  front end  operate  kvrocks  -          1795274480217  -           bootstrap@10.0.0.9",
    ),
    ("ctl token revoke", "f12e0472ffe6a07a --yes\ntoken f12e0472ffe6a07a is revoked"),
    (
        "ctl audit",
        "
REVISION  TIME_MS        ACTOR      SOURCE    FAMILY     ACTION           OUTCOME
4         1795274480100  anonymous  10.0.0.9  undermoon  change_settings  done",
    ),
    (
        "ctl backup list",
        "
replica 1, /var/backups/quorate
REVISION  TAKEN                     BYTES  NAME
812       2026-11-21T15:21:20.403Z  40908  quorate-812-1795274480403.qback",
    ),
    (
        "ctl backup fetch",
        "quorate-812-1795274480403.qback --to /backups
file          /backups/quorate-812-1795274480403.qback
revisions     512 to 812
state digest  87f84e2d\u{2026}",
    ),
    (
        "ctl backup verify",
        "/backups/quorate-812-1795274480403.qback
file          /backups/quorate-812-1795274480403.qback
revisions     512 to 812
state digest  87f84e2d\u{2026}",
    ),
    (
        "ctl backup restore",
        "--file latest.qback --data-dir /var/lib/quorate --peer 1=10.0.0.1:7800/http://10.0.0.1:7799
data directory  /var/lib/quorate
replica         1
goes on from    100000000812",
    ),
    (
        "ctl members list",
        "
ID  ROLE    HEALTH   LAG  HEARD MS  PEER           CLIENT                REPLACES
1   voter   healthy  0    21        10.0.0.1:7800  http://10.0.0.1:7799
2   leader  healthy  0    0         10.0.0.2:7800  http://10.0.0.2:7799",
    ),
    (
        "ctl members add",
        "--peer-addr 10.0.0.4:7800 --client-url http://10.0.0.4:7799
replica 4 is registered; start it with --join",
    ),
    ("ctl members promote", "4\nreplica 4 has its vote"),
    ("ctl members heal", "3\nreplica 3 agrees with the majority again"),
    ("ctl members remove", "4 --yes\nreplica 4 is removed"),
    (
        "ctl members replace",
        "2 --peer-addr 10.0.0.5:7800 --yes
replica 5 takes the place of replica 2; start it with --join",
    ),
    (
        "ctl members update",
        "3 --peer-addr 10.0.1.3:7800 --client-url http://10.0.1.3:7799
the members know where replica 3 is",
    ),
    (
        "ctl feature-level show",
        "
in use            2
all members know  3
ID  PROGRAM  KNOWS
1   0.1.0    3",
    ),
    ("ctl secrets rotate", "\n42 secrets sealed with 2027-01, none left"),
    ("ctl feature-level raise", "\nthe cluster uses feature level 3"),
    ("ctl kvrocks list namespaces", "\nshop"),
    ("ctl kvrocks list clusters", "-n shop\norders"),
    (
        "ctl kvrocks list shards",
        "-n shop -c orders
SHARD  SLOTS    MASTER          REPLICAS  MIGRATING
0      0-16383  10.0.2.1:6666   1         NO",
    ),
    (
        "ctl kvrocks list nodes",
        "-n shop -c orders
SHARD  NODE ID                                   ADDRESS        ROLE    CREATED AT
0      mNi8j85QyecJtMBCc2srN9HV45sEZ6J4MlqYgMQw  10.0.2.1:6666  master  1795274480
0      oatO9eNBDrTkhyqKQk8G7GnssSnLLHnQVH65KqKq  10.0.2.2:6666  slave   1795274480",
    ),
    ("ctl kvrocks create namespace", "shop\ncreate namespace: shop successfully."),
    (
        "ctl kvrocks create cluster",
        "orders -n shop --nodes 10.0.2.1:6666,10.0.2.2:6666 --replica 2
create cluster: orders successfully.",
    ),
    (
        "ctl kvrocks create shard",
        "-n shop -c orders --nodes 10.0.2.3:6666,10.0.2.4:6666
create the new shard successfully.",
    ),
    (
        "ctl kvrocks create node",
        "10.0.2.5:6666 -n shop -c orders -s 0
create node: 10.0.2.5:6666 successfully.",
    ),
    (
        "ctl kvrocks get cluster",
        "orders -n shop
cluster: orders
version: 1
|-------|----------------|---------------|--------|-----------|
| SHARD |    NODE ID     |    ADDRESS    |  ROLE  | MIGRATING |
|-------|----------------|---------------|--------|-----------|
|     0 | mNi8j85Qyec\u{2026}  | 10.0.2.1:6666 | MASTER | NO        |
|-------|----------------|---------------|--------|-----------|",
    ),
    ("ctl kvrocks delete namespace", "shop --yes\ndelete namespace: shop successfully."),
    ("ctl kvrocks delete cluster", "orders -n shop --yes\ndelete cluster: orders successfully."),
    ("ctl kvrocks delete shard", "1 -n shop -c orders --yes\ndelete shard 1 successfully."),
    (
        "ctl kvrocks delete node",
        "oatO9eNBDrTkhyqKQk8G7GnssSnLLHnQVH65KqKq -n shop -c orders -s 0 --yes
delete node: oatO9eNBDrTkhyqKQk8G7GnssSnLLHnQVH65KqKq successfully.",
    ),
    (
        "ctl kvrocks import cluster",
        "orders -n shop --nodes 10.0.2.1:6666
import cluster: orders successfully.",
    ),
    (
        "ctl kvrocks migrate slot",
        "100-200 -n shop -c orders --target 1
migrate slot[100-200] task is submitted successfully.",
    ),
    (
        "ctl kvrocks failover shard",
        "0 -n shop -c orders
failover shard 0 successfully, new master id: oatO9eNBDrTkhyqKQk8G7GnssSnLLHnQVH65KqKq.",
    ),
    (
        "ctl kvrocks raft list peers",
        "
| NODE ID |     NODE ADDRESS     | IS LEADER |
|---------|----------------------|-----------|
|       1 | http://10.0.0.1:7800 | YES       |",
    ),
    (
        "ctl kvrocks raft add peer",
        "4 10.0.0.4:7800
Add node '4' with address '10.0.0.4:7800' successfully",
    ),
    ("ctl kvrocks raft remove peer", "4 --yes\nRemove node '4' successfully"),
    (
        "ctl kvrocks migrations list",
        "-n shop -c orders
ID  SLOTS    SOURCE  TARGET  STATE      ATTEMPT  ERROR
7   100-200  0       1       succeeded  1/2      -",
    ),
    ("ctl kvrocks migrations show", "7 -n shop -c orders"),
    ("ctl kvrocks migrations queue", "0-99,200-299 -n shop -c orders --target 1"),
    ("ctl kvrocks migrations cancel", "7 -n shop -c orders"),
    ("ctl kvrocks migrations retry", "7 -n shop -c orders"),
    (
        "ctl kvrocks failovers",
        "-n shop -c orders
TIME MS        SHARD  OLD MASTER    NEW MASTER    VERSION  CAUSE
1795255179534  1      c8fO4wdiTN\u{2026}  hXoceCkrvr\u{2026}  6        manual",
    ),
    ("ctl kvrocks sync", "-n shop -c orders"),
    ("ctl kvrocks password change", "-n shop -c orders --password-file /run/secrets/kvrocks"),
    ("ctl kvrocks settings get", "\nautomatic_failover  true\nping_interval_ms    3000"),
    ("ctl kvrocks settings set", "ping_interval_ms=2000"),
    ("ctl kvrocks observers", "\nREPLICA  COUNTS  PROBED  FAILED  DOWN\n1        yes     12      0       0"),
    (
        "ctl kvrocks status",
        "
seen by replica 1, replica 1 leads
NAMESPACE  CLUSTER  VERSION  SHARDS  NODES  WELL  SILENT  MOVING
shop       orders   8        2       4      4     0       0",
    ),
    ("ctl kvrocks load", "etcd.json --dry-run"),
    ("ctl kvrocks export", "namespaces.json"),
    ("ctl pool hosts get", "compute1"),
    ("ctl pool hosts set", "compute1 --schedulable false --autofill false"),
    ("ctl pool hosts remove", "compute1 --yes\nhost compute1 is removed."),
    ("ctl pool hosts fill", "compute1"),
    ("ctl pool hosts clean", "compute1 --yes"),
    ("ctl pool hosts reset", "compute1 --yes"),
    ("ctl pool clusters get", "5f0c1e2d3a4b5c6d7e8f9a0b"),
    ("ctl pool clusters create", "--on compute1 --name trial --plugin noops --size 4"),
    ("ctl pool clusters delete", "5f0c1e2d3a4b5c6d7e8f9a0b --yes"),
    ("ctl pool clusters forget", "5f0c1e2d3a4b5c6d7e8f9a0b --yes"),
    ("ctl pool clusters release", "5f0c1e2d3a4b5c6d7e8f9a0b --yes"),
    ("ctl pool clusters start", "5f0c1e2d3a4b5c6d7e8f9a0b"),
    ("ctl pool clusters stop", "5f0c1e2d3a4b5c6d7e8f9a0b"),
    ("ctl pool clusters restart", "5f0c1e2d3a4b5c6d7e8f9a0b"),
    ("ctl pool templates get", "--plugin noops --size 4"),
    ("ctl pool templates remove", "--plugin noops --size 4 --yes"),
    ("ctl pool settings get", "\nbad_probes_max    3\nprobe_interval_ms 15000"),
    ("ctl pool health", "\nhealth   OK\nversion  0.1.0"),
    ("inspect snapshot", "--data-dir /var/lib/quorate --family kvrocks"),
    ("inspect backup", "--file /backups/latest.qback --entries"),
    (
        "recover from-backup",
        "--file latest.qback --data-dir /var/lib/quorate --peer 1=10.0.0.1:7800
data directory  /var/lib/quorate
replica         1
goes on from    100000000812",
    ),
    (
        "recover force-new-cluster",
        "--data-dir /var/lib/quorate --yes
data directory  /var/lib/quorate
replica         1
goes on from    100000000812",
    ),
    (
        "config check",
        "--config /etc/quorate/quorate.toml
OPTION           VALUE  FROM
backups_max      48     default
connections_max  8192   default",
    ),
    ("completion", "bash > /etc/bash_completion.d/quorate"),
];

/// Adds every example to the help of its verb, unless the verb has one of its own.
pub(super) fn add(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (words, text)| {
        let path: Vec<_> = words.split(' ').collect();
        add_to(command, &path, &help(words, text))
    })
}

fn help(words: &str, text: &str) -> String {
    let (line, output) = text.split_once('\n').unwrap_or((text, ""));
    let mut help = format!("Example:\n  $ quorate {words} {line}").trim_end().to_owned();
    for line in output.lines() {
        help.push_str("\n  ");
        help.push_str(line);
    }
    help
}

fn add_to(command: Command, path: &[&str], help: &str) -> Command {
    match path {
        [] if command.get_after_help().is_some() => command,
        [] => command.after_help(help.to_owned()),
        [first, rest @ ..] => {
            let name = (*first).to_owned();
            command.mut_subcommand(name, |inner| add_to(inner, rest, help))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::{super::command, *};

    /// Verbs that destroy something; all others have no `--yes`.
    const DESTRUCTIVE: [&str; 16] = [
        "ctl kvrocks delete cluster",
        "ctl kvrocks delete namespace",
        "ctl kvrocks delete node",
        "ctl kvrocks delete shard",
        "ctl kvrocks raft remove peer",
        "ctl members remove",
        "ctl members replace",
        "ctl pool clusters delete",
        "ctl pool clusters forget",
        "ctl pool clusters release",
        "ctl pool hosts clean",
        "ctl pool hosts remove",
        "ctl pool hosts reset",
        "ctl pool templates remove",
        "ctl token revoke",
        "recover force-new-cluster",
    ];
    /// Verbs that run, or say how their work went, and show no data.
    const NO_DATA: [&str; 7] = [
        "completion",
        "dev",
        "gateway",
        "recover force-new-cluster",
        "recover from-backup",
        "secrets generate-key",
        "serve",
    ];

    /// Every verb without verbs below it, by its words.
    fn leaves() -> Vec<(String, Command)> {
        fn walk(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
            let own: Vec<_> =
                command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
            if own.is_empty() {
                found.push((words.trim().to_owned(), command.clone()));
            }
            for inner in own {
                walk(inner, &format!("{words} {}", inner.get_name()), found);
            }
        }
        let mut whole = command();
        whole.build();
        let mut found = Vec::new();
        walk(&whole, "", &mut found);
        assert!(found.len() > 80, "only {} verbs", found.len());
        found
    }

    #[test]
    fn every_verb_says_what_it_is_for_and_shows_an_example() {
        for (words, verb) in leaves() {
            assert!(verb.get_about().is_some(), "{words}");
            let shown = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let is_shown = ["Example", "Output"].iter().any(|head| shown.starts_with(head));
            assert!(is_shown, "{words}: {shown:?}");
        }
    }

    #[test]
    fn examples_are_for_verbs_and_can_be_typed() {
        let leaves: Vec<_> = leaves().into_iter().map(|(words, _)| words).collect();
        for (words, text) in EXAMPLES {
            assert!(leaves.contains(&(*words).to_owned()), "{words} is no verb");
            let line = format!("{words} {}", text.lines().next().unwrap_or_default());
            let line = line.split(" > ").next().unwrap().replace("\"front end\"", "front-end");
            let typed = ["quorate"].into_iter().chain(line.split_whitespace());
            match command().try_get_matches_from(typed) {
                Ok(_) => {}
                // Secrets come from variables.
                Err(error) => {
                    let is_secret = error.kind() == ErrorKind::MissingRequiredArgument
                        && error.to_string().contains("--cluster-token");
                    assert!(is_secret, "{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_destroys_asks_and_what_shows_data_shows_it_as_json() {
        for (words, verb) in leaves() {
            let has = |long| verb.get_arguments().any(|argument| argument.get_long() == Some(long));
            assert_eq!(has("yes"), DESTRUCTIVE.contains(&&*words), "--yes of {words}");
            assert_eq!(has("output"), !NO_DATA.contains(&&*words), "--output of {words}");
        }
    }
}
