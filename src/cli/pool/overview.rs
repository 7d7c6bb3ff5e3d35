//! `tasks`, `stat`, `health`: how the pool is as a whole.

use serde_json::{Value, json};

use super::{
    Done, POOL,
    session::{Session, cell, items, members, row},
};

pub(super) const TASKS_HELP: &str = "\
Example, with one host that cannot be reached and an image that is missing on the other:
  $ quorate ctl pool tasks
  ACTION   HOST                      CLUSTER                   FAILED  NEXT TRY                       ERROR
  destroy  9d0c6a3e5f7b18d24c60e1f2  0b7c1f5e9a3d48260c1e7f93  4       Sat, 21 Nov 2026 10:41:20 GMT  the daemon cannot be reached: no answer within 15000 ms
  create   1c9f3b7d5e2a48067f9d0c31  6f2d8b0a4c7e19355d8f0b62  1       Sat, 21 Nov 2026 10:38:05 GMT  the image is missing: No such image: registry.lan/web:1";

pub(super) const STAT_HELP: &str = "\
Example:
  $ quorate ctl pool stat
  OF        WHAT    NAME        COUNT
  hosts     status  active      2
  hosts     status  inactive    0
  hosts     type    docker      2
  clusters  status  free        7
  clusters  status  used        3
  clusters  type    noops       5
  clusters  type    pbft/batch  5

`used` counts clusters that the pool itself holds, as the original does: those that are being made,
removed or replaced. `clusters list` tells them apart.";

pub(super) async fn tasks(session: &Session) -> Done {
    let data = session.get(&format!("{POOL}/tasks")).await?;
    session.show(data, |tasks| {
        let mut rows = vec![row(["ACTION", "HOST", "CLUSTER", "FAILED", "NEXT TRY", "ERROR"])];
        let keys = ["action", "host_id", "cluster_id", "failures", "not_before_ts", "last_error"];
        rows.extend(items(tasks).iter().map(|task| keys.map(|key| cell(&task[key])).to_vec()));
        rows
    })
}

pub(super) async fn stat(session: &Session) -> Done {
    let hosts = session.get_bare(&format!("{POOL}/stat?res=host")).await?;
    let clusters = session.get_bare(&format!("{POOL}/stat?res=cluster")).await?;
    session.show(json!({ "hosts": hosts, "clusters": clusters }), |stat| {
        let mut rows = vec![row(["OF", "WHAT", "NAME", "COUNT"])];
        for of in ["hosts", "clusters"] {
            for what in ["status", "type"] {
                rows.extend(items(&stat[of][what]).iter().map(|count| counted(of, what, count)));
            }
        }
        rows
    })
}

fn counted(of: &str, what: &str, count: &Value) -> Vec<String> {
    vec![of.to_owned(), what.to_owned(), cell(&count["name"]), cell(&count["y"])]
}

pub(super) async fn health(session: &Session) -> Done {
    let data = session.get_bare(&format!("{POOL}/health")).await?;
    session.show(data, members)
}
