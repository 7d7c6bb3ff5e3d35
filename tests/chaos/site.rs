//! A cluster to which anything can happen: processes, the layer below each, the network between.

use std::path::PathBuf;

use super::{net::Net, shim, shim::Shim};
use crate::support::{
    cluster::Cluster,
    process::{Replica, free_port},
};

/// Three or five replicas with everything that can be done to them.
pub struct Site {
    /// The replicas.
    pub cluster: Cluster,
    /// The network between them.
    pub net: Net,
    shims: Vec<(u64, Shim)>,
    library: PathBuf,
    mounts: Vec<PathBuf>,
}

impl Site {
    /// Starts replicas and waits until all are ready.
    pub async fn start(count: u64, flags: &[&str]) -> Self {
        let relays: Vec<String> =
            (0..count).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let through = |id: u64| relays[usize::try_from(id).expect("a small id") - 1].clone();
        let mut all = vec!["--events-kept", "200000"];
        all.extend(flags);
        let cluster = Cluster::prepare_through(count, through, &all);
        let library = shim::compile(cluster.dir());
        let mut site =
            Self { cluster, net: Net::default(), shims: Vec::new(), library, mounts: Vec::new() };
        for id in 1..=count {
            let peer_addr = site.cluster.replica(id).peer_addr.clone();
            site.net.relay(&through(id), id, &peer_addr).await;
            site.put_under(id);
            site.cluster.replica(id).start();
        }
        site.cluster.wait_all_ready().await;
        site
    }

    /// Replicas that run already, with nothing below them and no relay between them.
    pub fn of(cluster: Cluster) -> Self {
        let library = cluster.dir().join("none");
        Self { cluster, net: Net::default(), shims: Vec::new(), library, mounts: Vec::new() }
    }

    /// Puts the layer under a replica that does not run.
    fn put_under(&mut self, id: u64) {
        let shim = Shim::new(self.cluster.dir(), id);
        let library = self.library.clone();
        let replica = self.cluster.replica(id);
        replica.set_wrapper(shim.wrapper(&library, id, &replica.data_dir));
        self.shims.push((id, shim));
    }

    /// The layer below a replica.
    pub fn shim(&self, id: u64) -> &Shim {
        &self.shims.iter().find(|(of, _)| *of == id).expect("a known id").1
    }

    /// Starts a replica that joins by itself.
    pub async fn join(&mut self, id: u64) {
        let relay = format!("127.0.0.1:{}", free_port());
        let mut replica = Replica::new(id, self.cluster.dir());
        self.net.relay(&relay, id, &replica.peer_addr).await;
        let known = self.cluster.status(self.ids()[0]).await.expect("the first replica runs");
        let known = known["peers"].as_array().expect("peers").iter();
        let known: Vec<&str> = known.filter_map(|peer| peer["peer_addr"].as_str()).collect();
        let (id_text, known) = (id.to_string(), known.join(","));
        replica.add_args(&["--replica-id", &id_text, "--join", &known]);
        replica.add_args(&["--peer-listen", &replica.peer_addr.clone()]);
        replica.add_args(&["--advertise-peer", &relay]);
        replica.add_args(&["--listen", &replica.client_addr.clone()]);
        replica.add_args(&["--data-dir", &replica.data_dir.display().to_string()]);
        replica.add_args(&["--events-kept", "200000"]);
        self.cluster.replicas.push(replica);
        self.put_under(id);
        self.cluster.replica(id).start();
    }

    /// All ids.
    pub fn ids(&self) -> Vec<u64> {
        self.cluster.replicas.iter().map(|replica| replica.id).collect()
    }

    /// All ids but one.
    pub fn others(&self, id: u64) -> Vec<u64> {
        self.ids().into_iter().filter(|other| *other != id).collect()
    }

    /// Ends everything that was done to the network and the disks; starts what does not run, and
    /// waits until all are ready.
    pub async fn heal(&mut self) {
        self.net.heal();
        self.shims.iter().for_each(|(_, shim)| shim.heal());
        self.start_missing();
        self.cluster.wait_all_ready().await;
    }

    /// Starts every replica that does not run.
    pub fn start_missing(&mut self) {
        for replica in &mut self.cluster.replicas {
            if !replica.is_running() {
                // Takes note of a process that has ended by itself.
                replica.kill();
                replica.start();
            }
        }
    }

    /// Remembers a file system that must not outlive the site.
    pub fn unmount_at_the_end(&mut self, path: PathBuf) {
        self.mounts.push(path);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A hanging disk would keep its process from ending.
        self.shims.iter().for_each(|(_, shim)| shim.heal());
        self.cluster.replicas.iter_mut().for_each(Replica::stop_at_once);
        for mount in &self.mounts {
            let _ = std::process::Command::new("umount").arg("-l").arg(mount).status();
        }
    }
}
