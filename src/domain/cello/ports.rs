//! Which ports of a host belong to whom (spec 4.6).

use super::{
    State,
    model::{BlockedPorts, Host},
};

/// Ports of one host that a new cluster cannot have.
pub(super) struct Taken {
    ports: Vec<bool>,
    start: u16,
    step: u16,
}

impl Taken {
    /// The lowest block that is wholly free, which is taken then.
    pub(super) fn take_lowest(&mut self) -> Option<(u16, u16)> {
        let starts = (self.start..=u16::MAX).step_by(usize::from(self.step));
        let mut blocks = starts.map(|start| (start, self.step));
        let block = blocks.find(|block| self.is_free(*block))?;
        self.take(block);
        Some(block)
    }

    /// Whether a block lies within the range of ports and nobody has any of it.
    pub(super) fn is_free(&self, (start, count): (u16, u16)) -> bool {
        let start = usize::from(start);
        let block = self.ports.get(start..start + usize::from(count));
        start > 0 && block.is_some_and(|ports| ports.iter().all(|is_taken| !is_taken))
    }

    fn take(&mut self, (start, count): (u16, u16)) {
        let start = usize::from(start);
        let end = (start + usize::from(count)).min(self.ports.len());
        self.ports[start..end].fill(true);
    }
}

impl State {
    /// What records of the host hold, whatever their phase, and what strangers were found to use.
    pub(super) fn taken_ports(&self, host: &Host, now_ms: u64) -> Taken {
        let mut taken = Taken {
            ports: vec![false; usize::from(u16::MAX) + 1],
            start: self.settings.port_start,
            step: self.settings.port_step,
        };
        for cluster in self.clusters_of(&host.id) {
            taken.take((cluster.port_start, cluster.port_count));
        }
        for (start, blocked) in &host.blocked {
            if blocked.until_ms > now_ms {
                taken.take((*start, blocked.count));
            }
        }
        taken
    }

    /// Name of a cluster that was given none (spec 1.2).
    pub(super) fn generated_name(&self, host: &Host, port_start: u16) -> String {
        let distance = port_start.saturating_sub(self.settings.port_start);
        format!("{}_{}", host.name, distance / self.settings.port_step)
    }

    /// Remembers that a stranger uses some of these ports, and forgets what is long ago.
    pub(super) fn block_ports(
        &self,
        host: &mut Host,
        (start, count): (u16, u16),
        (now_ms, reason): (u64, &str),
    ) {
        host.blocked.retain(|_, blocked| blocked.until_ms > now_ms);
        let until_ms = now_ms.saturating_add(self.settings.port_blocked_ms);
        host.blocked.insert(start, BlockedPorts { count, until_ms, reason: reason.to_owned() });
    }
}
