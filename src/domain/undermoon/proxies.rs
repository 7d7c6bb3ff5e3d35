//! Registration and removal of proxies (routes 20 and 21, spec 6.6).

use std::sync::Arc;

use super::{Rejection, Reply, State, document::ProxyResource, name};

impl State {
    /// Registers a proxy. For one that exists nothing is updated, but its failed mark and reports
    /// go: this is how a proxy that came back becomes free again.
    pub(super) fn register_proxy(
        &mut self,
        address: &str,
        node_addresses: [String; 2],
        host: Option<String>,
        index: Option<u64>,
    ) -> Result<Reply, Rejection> {
        if !name::is_proxy_address(address) {
            return Err(Rejection::InvalidProxyAddress);
        }
        let index = match (self.is_ordered, index) {
            (true, None) => return Err(Rejection::MissingServerProxyIndex),
            (true, Some(index)) => index,
            (false, _) => 0,
        };
        let was_failed = self.failed.remove(address).is_some();
        let was_reported = self.failures.remove(address).is_some();
        if self.proxies.contains_key(address) {
            if was_failed || was_reported {
                self.bump();
                self.refresh_free(address);
            }
            return Err(Rejection::AlreadyExisted);
        }
        let host = host.unwrap_or_else(|| name::default_host(address).to_owned());
        let proxy_address = address.to_owned();
        let proxy = ProxyResource { proxy_address, node_addresses, host, index, cluster: None };
        self.proxies.insert(address.to_owned(), Arc::new(proxy));
        self.refresh_free(address);
        self.bump();
        Ok(Reply::Done)
    }

    /// Forgets a proxy that serves no cluster, with its failed mark and reports.
    pub(super) fn remove_proxy(&mut self, address: &str) -> Result<Reply, Rejection> {
        let proxy = self.proxies.get(address).ok_or(Rejection::ProxyNotFound)?;
        if proxy.cluster.is_some() {
            return Err(Rejection::InUse);
        }
        let host = proxy.host.clone();
        self.forget_free(&host, address);
        self.proxies.remove(address);
        self.failed.remove(address);
        self.failures.remove(address);
        self.bump();
        Ok(Reply::Done)
    }
}
