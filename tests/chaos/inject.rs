//! Does a fault to a site, and sees to it that it struck.

use std::{
    fs,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::{faults::Fault, net::Rule, plan::Dice, shim::Failure, site::Site};
use crate::support::cluster::PATIENCE;

/// Longest time for a replica that cannot go on to end.
const EXIT_MAX: Duration = Duration::from_secs(10);
/// Connections of a flood to each client port and to each peer port.
const FLOOD: [usize; 2] = [800, 200];
/// Room on the disk that is filled.
const SMALL_DISK: &str = "size=24m";

/// What has to be undone.
enum Undo {
    /// A process that stands still.
    Continue(u64),
    /// A byte of a file as it was.
    Byte { path: PathBuf, at: u64, was: u8 },
    /// A file that takes all room.
    Remove(PathBuf),
}

/// A fault that was done.
pub struct Injury {
    /// The replica it was done to, or 0.
    pub victim: u64,
    /// Whether the victim was the leader and cannot lead on.
    pub deposes: bool,
    undo: Vec<Undo>,
    /// Kept open until it is undone.
    flood: Vec<TcpStream>,
    hits_before: i64,
    struck_before: u64,
}

impl Injury {
    fn of(victim: u64, deposes: bool) -> Self {
        Self {
            victim,
            deposes,
            undo: Vec::new(),
            flood: Vec::new(),
            hits_before: 0,
            struck_before: 0,
        }
    }
}

/// Does a fault.
pub async fn inject(site: &mut Site, fault: Fault, dice: &mut Dice) -> Injury {
    let leader = site.cluster.wait_leader().await;
    let others = site.others(leader);
    let any = *dice.pick(&site.ids());
    let hits_before: i64 = site.ids().into_iter().map(|id| site.shim(id).hits()).sum();
    let struck_before = site.net.counts().1;
    let mut injury = match fault {
        Fault::Kill9 => {
            site.cluster.replica(leader).kill();
            Injury::of(leader, true)
        }
        Fault::SigstopAndResume => {
            site.cluster.replica(leader).signal(Signal::SIGSTOP);
            Injury { undo: vec![Undo::Continue(leader)], ..Injury::of(leader, true) }
        }
        Fault::RestartLoop => {
            for _ in 0..5 {
                site.cluster.replica(any).kill();
                site.cluster.replica(any).start();
                sleep(Duration::from_millis(dice.below(700))).await;
            }
            Injury::of(any, false)
        }
        Fault::SymmetricPartition
        | Fault::AsymmetricPartition
        | Fault::IsolatedLeader
        | Fault::BridgePartition
        | Fault::SlowLink
        | Fault::PacketLoss
        | Fault::HalfOpenConnections => on_the_network(site, fault, leader, dice),
        Fault::FullDisk
        | Fault::FailingWrite
        | Fault::FailingFsync
        | Fault::TornTail
        | Fault::SlowDisk
        | Fault::HangingFsync
        | Fault::ClockJump => below(site, fault, leader, dice).await,
        Fault::FlippedBitInLog => flip_in_log(site, *dice.pick(&others)),
        Fault::FlippedBitInSnapshot => flip_in_snapshot(site, *dice.pick(&others)).await,
        Fault::ConnectionFlood => flood(site).await,
    };
    injury.hits_before = hits_before;
    injury.struck_before = struck_before;
    injury
}

/// Whether a fault really struck, and what has to come of it, came.
pub async fn confirm(site: &mut Site, fault: Fault, injury: &Injury) {
    match fault {
        Fault::SymmetricPartition
        | Fault::AsymmetricPartition
        | Fault::IsolatedLeader
        | Fault::BridgePartition
        | Fault::SlowLink
        | Fault::PacketLoss
        | Fault::HalfOpenConnections => {
            let struck = site.net.counts().1 - injury.struck_before;
            assert!(struck > 0, "{} has struck nothing on the network", fault.name());
        }
        Fault::ClockJump | Fault::SlowDisk | Fault::HangingFsync => has_hit(site, fault, injury),
        Fault::FailingWrite | Fault::FailingFsync | Fault::FullDisk => {
            let status = site.cluster.replica(injury.victim).wait_exit(EXIT_MAX);
            let said = site.cluster.replica(injury.victim).output();
            let status = status.unwrap_or_else(|| panic!("it runs on with a broken disk: {said}"));
            assert!(!status.success(), "it calls a broken disk a success");
            assert!(said.contains("Look for a full disk"), "it does not say why: {said}");
        }
        Fault::TornTail => {
            let status = site.cluster.replica(injury.victim).wait_exit(EXIT_MAX);
            let signal = status.and_then(|status| status.signal());
            assert_eq!(signal, Some(9), "it did not end in a write");
        }
        Fault::FlippedBitInLog | Fault::FlippedBitInSnapshot => {
            refuses(site, injury.victim).await;
        }
        Fault::Kill9 | Fault::SigstopAndResume | Fault::RestartLoop | Fault::ConnectionFlood => {}
    }
    if injury.deposes {
        site.cluster.wait_leader_other_than(injury.victim).await;
    }
}

/// Undoes a fault; everything else that was done to the site ends as well.
pub async fn heal(site: &mut Site, injury: Injury) {
    for undo in injury.undo {
        match undo {
            Undo::Continue(id) => site.cluster.replica(id).signal(Signal::SIGCONT),
            Undo::Byte { path, at, was } => {
                site.cluster.replica(injury.victim).kill();
                set_byte(&path, at, was);
            }
            Undo::Remove(path) => fs::remove_file(path).expect("the ballast is there"),
        }
    }
    drop(injury.flood);
    site.heal().await;
}

fn has_hit(site: &Site, fault: Fault, injury: &Injury) {
    let hits: i64 = site.ids().into_iter().map(|id| site.shim(id).hits()).sum();
    assert!(hits > injury.hits_before, "{} has hit nothing", fault.name());
}

fn on_the_network(site: &Site, fault: Fault, leader: u64, dice: &mut Dice) -> Injury {
    let net = &site.net;
    let others = site.others(leader);
    let other = *dice.pick(&others);
    match fault {
        Fault::SymmetricPartition => {
            let mut ids = site.ids();
            let mut minority = Vec::new();
            while minority.len() < (site.ids().len() - 1) / 2 {
                let place = usize::try_from(dice.below(ids.len() as u64)).expect("a place");
                minority.push(ids.remove(place));
            }
            for one in &minority {
                ids.iter().for_each(|other| net.cut_both(*one, *other));
            }
            Injury::of(minority[0], minority.contains(&leader))
        }
        Fault::AsymmetricPartition => {
            let (from, to) = if dice.below(2) == 0 { (leader, other) } else { (other, leader) };
            net.cut(from, to);
            Injury::of(from, false)
        }
        Fault::IsolatedLeader => {
            others.iter().for_each(|other| net.cut_both(leader, *other));
            Injury::of(leader, true)
        }
        Fault::BridgePartition => {
            // One replica hears all; the others hear it and their own side.
            let bridge = *others.last().expect("more than one");
            let (mine, theirs): (Vec<u64>, Vec<u64>) = {
                let rest: Vec<u64> = others.iter().copied().filter(|id| *id != bridge).collect();
                let half = rest.len() / 2;
                let mine = [&[leader], &rest[..half]].concat();
                (mine, rest[half..].to_vec())
            };
            for one in &mine {
                theirs.iter().for_each(|other| net.cut_both(*one, *other));
            }
            Injury::of(leader, false)
        }
        Fault::SlowLink => {
            let rule =
                Rule { delay: Duration::from_millis(40 + dice.below(60)), ..Rule::default() };
            others.iter().for_each(|other| net.set_both(leader, *other, rule));
            Injury::of(leader, false)
        }
        Fault::PacketLoss => {
            let rule = Rule { lost_per_mille: 30 + dice.below(70), ..Rule::default() };
            for one in site.ids() {
                site.others(one).iter().for_each(|other| net.set(one, *other, rule));
            }
            Injury::of(0, false)
        }
        _ => {
            net.half_open();
            Injury::of(0, false)
        }
    }
}

async fn below(site: &mut Site, fault: Fault, leader: u64, dice: &mut Dice) -> Injury {
    match fault {
        Fault::FullDisk => return fill_disk(site, leader).await,
        Fault::FailingWrite => site.shim(leader).fail_writes(Some(Failure::Broken)),
        Fault::FailingFsync => site.shim(leader).fail_syncs(Some(Failure::Broken)),
        Fault::TornTail => site.shim(leader).tear_next_write(true),
        Fault::SlowDisk => {
            site.shim(leader).delay_syncs(Duration::from_millis(100 + dice.below(300)));
        }
        Fault::HangingFsync => site.shim(leader).hang_syncs(true),
        _ => {
            let hour = 3_600_000;
            site.shim(leader).move_clock(if dice.below(2) == 0 { hour } else { -hour });
            let other = *dice.pick(&site.others(leader));
            site.shim(other).move_clock(if dice.below(2) == 0 { hour } else { -hour });
        }
    }
    let deposes = !matches!(fault, Fault::SlowDisk | Fault::ClockJump);
    Injury::of(leader, deposes)
}

/// Fills a small file system under the replica's data, if one may be mounted here; otherwise every
/// write says that the disk is full.
async fn fill_disk(site: &mut Site, leader: u64) -> Injury {
    let data_dir = site.cluster.replica(leader).data_dir.clone();
    if !mount_small(site, leader, &data_dir).await {
        eprintln!("no file system may be mounted here: writes say that the disk is full instead");
        site.shim(leader).fail_writes(Some(Failure::Full));
        return Injury::of(leader, false);
    }
    let ballast = data_dir.join("ballast");
    let file = fs::File::create(&ballast).expect("a file");
    let zeros = vec![0; 64 * 1024];
    let mut at = 0;
    for length in [zeros.len(), 4096, 1] {
        while file.write_at(&zeros[..length], at).is_ok_and(|written| written == length) {
            at += length as u64;
        }
    }
    assert!(at > 0, "nothing was filled");
    Injury { undo: vec![Undo::Remove(ballast)], ..Injury::of(leader, false) }
}

async fn mount_small(site: &mut Site, id: u64, data_dir: &Path) -> bool {
    let aside = data_dir.with_extension("aside");
    site.cluster.replica(id).kill();
    fs::rename(data_dir, &aside).expect("the data can be moved aside");
    fs::create_dir(data_dir).expect("a place to mount");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"])
        .arg(data_dir)
        .status();
    let is_mounted = mount.is_ok_and(|status| status.success());
    if is_mounted {
        site.unmount_at_the_end(data_dir.to_owned());
        let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(data_dir).status();
        assert!(copied.is_ok_and(|status| status.success()), "the data does not fit");
    } else {
        fs::remove_dir(data_dir).expect("it is empty");
        fs::rename(&aside, data_dir).expect("the data can be moved back");
    }
    site.cluster.replica(id).start();
    site.cluster.wait_ready(id).await;
    is_mounted
}

fn flip_in_log(site: &mut Site, victim: u64) -> Injury {
    site.cluster.replica(victim).kill();
    let raft = site.cluster.replica(victim).data_dir.join("raft");
    // The newest file of the log, early enough to lie among what was acknowledged.
    let path = newest(&raft, "log");
    flipped(site, victim, &path, 1_500)
}

async fn flip_in_snapshot(site: &mut Site, victim: u64) -> Injury {
    let url = format!("{}/quorate/v1/snapshot", site.cluster.url(victim));
    let taken = site.cluster.client.post(url).send().await.expect("an answer");
    assert!(taken.status().is_success(), "no snapshot: {}", taken.status());
    site.cluster.replica(victim).kill();
    let path = newest(&site.cluster.replica(victim).data_dir.join("snap"), "qs");
    let middle = fs::metadata(&path).expect("the snapshot").len() / 2;
    flipped(site, victim, &path, middle)
}

fn flipped(site: &mut Site, victim: u64, path: &Path, at: u64) -> Injury {
    let mut byte = [0];
    let file = fs::File::open(path).expect("the file");
    file.read_exact_at(&mut byte, at).expect("the file is long enough");
    set_byte(path, at, byte[0] ^ 0x10);
    site.cluster.replica(victim).start();
    let undo = vec![Undo::Byte { path: path.to_owned(), at, was: byte[0] }];
    Injury { undo, ..Injury::of(victim, false) }
}

fn set_byte(path: &Path, at: u64, value: u8) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("the file");
    file.write_all_at(&[value], at).expect("the file can be written");
}

fn newest(dir: &Path, extension: &str) -> PathBuf {
    let files =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    // By their numbers: as text, snapshot 45 comes after snapshot 392.
    let numbers = |path: &PathBuf| -> Vec<u64> {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    files.max_by_key(numbers).unwrap_or_else(|| panic!("nothing in {}", dir.display()))
}

/// A replica with a damaged disk does not serve: it ends, and says what is wrong.
async fn refuses(site: &mut Site, victim: u64) {
    let deadline = Instant::now() + PATIENCE;
    let url = format!("{}/readyz", site.cluster.url(victim));
    loop {
        if let Some(status) = site.cluster.replica(victim).exit_status() {
            let said = site.cluster.replica(victim).output();
            assert!(!status.success(), "it calls a damaged disk a success");
            let is_told = ["damaged", "checksum", "ends before", "ends at", "lost"];
            assert!(is_told.iter().any(|word| said.contains(word)), "it does not say why: {said}");
            return;
        }
        let ready = site.cluster.client.get(&url).send().await;
        let is_ready = ready.is_ok_and(|answer| answer.status().is_success());
        assert!(!is_ready, "replica {victim} serves with a damaged disk");
        assert!(Instant::now() < deadline, "replica {victim} neither serves nor ends");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn flood(site: &mut Site) -> Injury {
    let mut connections = Vec::new();
    for replica in &site.cluster.replicas {
        for (addr, count) in [(&replica.client_addr, FLOOD[0]), (&replica.peer_addr, FLOOD[1])] {
            for number in 0..count {
                let Ok(mut stream) = TcpStream::connect(addr).await else { continue };
                // Every other one begins to say something and stops.
                if number % 2 == 0 {
                    let _ = stream.write_all(b"GET /quorate/v1/status HTTP/1.1\r\nhost").await;
                }
                connections.push(stream);
            }
        }
    }
    assert!(connections.len() > FLOOD[0], "only {} connections were made", connections.len());
    Injury { flood: connections, ..Injury::of(0, false) }
}
