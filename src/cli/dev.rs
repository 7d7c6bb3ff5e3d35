//! `quorate dev`: a whole cluster on loopback, as separate processes of this program.
//!
//! The replicas stop with this process, however it ends: each watches its standard input, which
//! this process holds. A replica that dies is reported and stays dead, so that what its loss
//! means can be seen.

mod place;

use std::{
    env, io,
    path::PathBuf,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use self::place::Place;
use super::{Outcome, client, ctl, output};

/// Time for all replicas to become ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for a replica to stop by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between two looks at whether the replicas are ready.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Ports between one replica and the next.
const PORT_STEP: u16 = 10;

/// Arguments of `quorate dev`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many replicas.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=7))]
    replicas: u16,
    /// Where the replicas keep their data, between runs too.
    #[arg(long, default_value = ".quorate-dev")]
    data_dir: PathBuf,
    /// Client port of the first replica; the others follow in steps of ten, the peer ports lie
    /// one above.
    #[arg(long, default_value_t = 7799)]
    base_port: u16,
    /// Further options for every replica, as `quorate serve` takes them, after `--`.
    #[arg(last = true)]
    options: Vec<String>,
}

/// One process of the cluster.
struct Replica {
    id: u16,
    pid: i32,
    child: Child,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    let place = Place::take(&arguments.data_dir, arguments.replicas, arguments.base_port)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut replicas = Vec::new();
    for id in 1..=arguments.replicas {
        replicas.push(start(arguments, &place, id)?);
    }
    let mut ends = JoinSet::new();
    let mut pids = Vec::new();
    for Replica { id, pid, mut child } in replicas {
        pids.push((id, pid));
        // The handle of standard input stays here: its end would stop the replica.
        let stdin = child.stdin.take();
        ends.spawn(async move {
            let ended = child.wait().await;
            drop(stdin);
            (id, ended)
        });
    }
    let watched = watch(arguments, &place, &mut ends);
    tokio::select! {
        ended = watched => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    output::say("stopping; a second signal stops at once");
    tokio::select! {
        is_clean = stop(&place, &pids, &mut ends) => {
            output::say(if is_clean { "all replicas stopped" } else { "stopped" });
            Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ = terminate.recv() => kill_all(&place, &pids),
        _ = interrupt.recv() => kill_all(&place, &pids),
    }
}

impl Arguments {
    fn client_port(&self, id: u16) -> u16 {
        self.base_port.saturating_add((id - 1) * PORT_STEP)
    }

    fn client_url(&self, id: u16) -> String {
        format!("http://127.0.0.1:{}", self.client_port(id))
    }

    /// Arguments of `quorate` that start a replica.
    fn command_line(&self, place: &Place, id: u16) -> Vec<String> {
        let peers = (1..=self.replicas).map(|peer| {
            let peer_port = self.client_port(peer).saturating_add(1);
            format!("{peer}=127.0.0.1:{peer_port}/{}", self.client_url(peer))
        });
        let mut line = vec![
            "serve".to_owned(),
            format!("--replica-id={id}"),
            format!("--peers={}", peers.collect::<Vec<_>>().join(",")),
            format!("--listen=127.0.0.1:{}", self.client_port(id)),
            format!("--data-dir={}", place.data_dir(id).display()),
        ];
        line.extend(self.options.iter().cloned());
        line
    }
}

fn start(arguments: &Arguments, place: &Place, id: u16) -> io::Result<Replica> {
    let log = place.open_log(id)?;
    let mut command = Command::new(env::current_exe()?);
    command
        .args(arguments.command_line(place, id))
        .arg("--stop-with-stdin")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // An interrupt from the terminal is for this process, which stops the replicas itself.
        .process_group(0);
    let child = command.spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| io::Error::other(format!("replica {id} ended at once")))?;
    place.write_pid(id, pid)?;
    Ok(Replica { id, pid, child })
}

type Ended = (u16, io::Result<ExitStatus>);

/// Says when the cluster is ready, and which replica ends. Returns when none is left.
async fn watch(arguments: &Arguments, place: &Place, ends: &mut JoinSet<Ended>) -> Outcome {
    let urls: Vec<_> = (1..=arguments.replicas).map(|id| arguments.client_url(id)).collect();
    let mut is_announced = false;
    let mut announced = Box::pin(wait_until_ready(&urls));
    loop {
        tokio::select! {
            is_ready = &mut announced, if !is_announced => {
                is_announced = true;
                announce(arguments, place, &urls, is_ready).await;
            }
            ended = ends.join_next() => match ended {
                Some(Ok((id, status))) => report(arguments, place, id, status),
                Some(Err(error)) => output::complain(&error.to_string()),
                None => {
                    output::complain("no replica is left");
                    return Ok(ExitCode::FAILURE);
                }
            },
        }
    }
}

/// Whether all replicas became ready in time.
async fn wait_until_ready(urls: &[String]) -> bool {
    let deadline = Instant::now() + START_TIMEOUT;
    for url in urls {
        while !client::is_ready(url).await {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK_PAUSE).await;
        }
    }
    true
}

async fn announce(arguments: &Arguments, place: &Place, urls: &[String], is_ready: bool) {
    let replicas = ctl::survey(urls).await;
    output::say_table(&ctl::table(&replicas));
    output::say("");
    let dir = place.root().display();
    output::say(&format!("data, logs and process ids are in {dir}: replica-N, .log, .pid"));
    if is_ready {
        let count = arguments.replicas;
        let noun = if count == 1 { "replica is" } else { "replicas are" };
        output::say(&format!("{count} {noun} ready; ctrl-C stops all of them"));
    } else {
        output::complain("not all replicas became ready; see their logs");
    }
}

fn report(arguments: &Arguments, place: &Place, id: u16, status: io::Result<ExitStatus>) {
    place.forget_pid(id);
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    output::complain(&format!("replica {id} ended: {how}; its log: {}", place.log(id).display()));
    let line = arguments.command_line(place, id).join(" ");
    output::complain(&format!("it is not started again; to do so: quorate {line}"));
}

/// Asks the replicas to stop, one after the other, so that the leader finds somebody to hand over
/// to; kills those that do not. True if none had to be and none failed.
async fn stop(place: &Place, pids: &[(u16, i32)], ends: &mut JoinSet<Ended>) -> bool {
    let mut is_clean = true;
    for (id, pid) in pids {
        if !place.has_pid(*id) {
            continue;
        }
        if let Err(error) = kill(Pid::from_raw(*pid), Signal::SIGTERM) {
            output::complain(&format!("replica {id} cannot be stopped: {error}"));
        }
        while place.has_pid(*id) {
            match timeout(STOP_TIMEOUT, ends.join_next()).await {
                Ok(Some(Ok((id, status)))) => {
                    place.forget_pid(id);
                    if !status.as_ref().is_ok_and(ExitStatus::success) {
                        is_clean = false;
                        output::complain(&format!("replica {id} ended: {status:?}"));
                    }
                }
                Ok(Some(Err(_)) | None) => break,
                Err(_) => {
                    output::complain(&format!("replica {id} does not stop; killing all"));
                    let _ = kill_all(place, pids);
                    return false;
                }
            }
        }
    }
    is_clean
}

fn kill_all(place: &Place, pids: &[(u16, i32)]) -> Outcome {
    for (id, pid) in pids.iter().filter(|(id, _)| place.has_pid(*id)) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        place.forget_pid(*id);
    }
    Ok(ExitCode::FAILURE)
}
