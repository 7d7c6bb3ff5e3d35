//! Filling hosts up to their capacity (spec 4.2, 4.4).

use std::sync::Arc;

use super::{Rejection, Reply, State, model::Host, template::Template};
use crate::domain::Context;

impl State {
    /// Whether the loop is to fill the host now.
    pub(super) fn is_to_be_filled(&self, host: &Host, now_ms: u64) -> bool {
        host.is_autofill
            && host.is_active
            && host.task.is_none()
            && host.fill_not_before_ms <= now_ms
            && self.cluster_count(&host.id) < host.capacity as usize
    }

    pub(super) fn fill_host(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
        is_automatic: bool,
    ) -> Result<Reply, Rejection> {
        let host = self.open_host(host_id)?;
        if is_automatic && !self.is_to_be_filled(host, context.time_ms) {
            return Err(Rejection::NotToBeFilled);
        }
        let made = self.fill(context, host_id)?;
        let host = self.host(host_id)?;
        if made.is_empty() && self.cluster_count(host_id) < host.capacity as usize {
            if !is_automatic {
                return Err(Rejection::NoPorts);
            }
            // Nothing can be made, perhaps for long: the loop need not ask again at once.
            let pause_ms = self.settings.backoff_max_ms;
            let mut host = Host::clone(host);
            host.fill_not_before_ms = context.time_ms.saturating_add(pause_ms);
            host.last_error = "no ports are free, or no template is filled".to_owned();
            self.put_host(host);
        }
        Ok(Reply::Clusters(made))
    }

    /// Makes records until the host is full or nothing more can be made; the kind that the pool has
    /// the fewest of comes first.
    pub(super) fn fill(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
    ) -> Result<Vec<String>, Rejection> {
        let host = Arc::clone(self.host(host_id)?);
        let mut stock = self.stock();
        let mut taken = self.taken_ports(&host, context.time_ms);
        let mut made = Vec::new();
        while self.cluster_count(host_id) < host.capacity as usize {
            // `min_by_key` answers the first of equals.
            let Some((template, count)) = stock.iter_mut().min_by_key(|(_, count)| *count) else {
                break;
            };
            let Some(block) = taken.take_lowest() else { break };
            *count += 1;
            let cluster = self.record(context, &host, (Arc::clone(template), block));
            made.push(cluster.id.clone());
            self.put_cluster(cluster);
        }
        Ok(made)
    }

    /// Templates that are filled, and how many clusters of each are free or being made.
    fn stock(&self) -> Vec<(Arc<Template>, u64)> {
        let filled = self.templates.iter().filter(|template| template.is_filled);
        let count = |template: &Arc<Template>| self.index.stock_of(&template.kind);
        filled.map(|template| (Arc::clone(template), count(template))).collect()
    }
}
