//! What one client may take: so many requests a second, and so many at a time.
//!
//! A client is its token, or its address if it has none; of IPv6 the network counts. What is
//! remembered is bounded: whoever has used nothing of its share is forgotten first.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::limit::Refusal;

/// Most clients that are remembered.
const CLIENTS_MAX: usize = 65_536;

/// Bounds for each client; zero stands for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareLimits {
    /// Requests a second in the long run.
    pub requests_per_s: u32,
    /// Requests at once after a pause; at least one.
    pub burst: u32,
    /// Requests at a time.
    pub in_flight_max: u32,
}

/// The shares of all clients; one a process.
#[derive(Debug, Default)]
pub struct Shares {
    limits: ShareLimits,
    accounts: Mutex<HashMap<String, Account>>,
}

#[derive(Debug)]
struct Account {
    /// Requests that may be made at once.
    left: f64,
    /// When `left` was true.
    at: Instant,
    in_flight: u32,
}

/// A place in a client's share, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    client: String,
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(account) = self.shares.accounts().get_mut(&self.client) {
            account.in_flight = account.in_flight.saturating_sub(1);
        }
    }
}

impl Shares {
    /// Shares of these bounds.
    #[must_use]
    pub fn new(limits: ShareLimits) -> Self {
        Self { limits, accounts: Mutex::default() }
    }

    /// Whether anything is bounded.
    pub(crate) const fn are_bounded(&self) -> bool {
        self.limits.requests_per_s != 0 || self.limits.in_flight_max != 0
    }

    /// Takes one request from a client's share; nothing is counted where nothing is bounded.
    ///
    /// # Errors
    /// [`Refusal::TooFast`] or [`Refusal::Busy`].
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: &str,
        now: Instant,
    ) -> Result<Option<Share>, Refusal> {
        if !self.are_bounded() {
            return Ok(None);
        }
        let mut accounts = self.accounts();
        if accounts.len() >= CLIENTS_MAX && !accounts.contains_key(client) {
            accounts.retain(|_, account| !self.is_whole(account, now));
            if accounts.len() >= CLIENTS_MAX {
                return Err(Refusal::Busy);
            }
        }
        let account = accounts.entry(client.to_owned()).or_insert_with(|| Account {
            left: self.burst(),
            at: now,
            in_flight: 0,
        });
        if self.limits.requests_per_s > 0 {
            let rate = f64::from(self.limits.requests_per_s);
            let left = self.left(account, now);
            (account.left, account.at) = (left, now);
            if left < 1.0 {
                let retry_after_s = ((1.0 - left) / rate).ceil().max(1.0) as u64;
                return Err(Refusal::TooFast { retry_after_s });
            }
        }
        if self.limits.in_flight_max > 0 && account.in_flight >= self.limits.in_flight_max {
            return Err(Refusal::Busy);
        }
        account.left -= 1.0;
        account.in_flight += 1;
        Ok(Some(Share { shares: Arc::clone(self), client: client.to_owned() }))
    }

    fn burst(&self) -> f64 {
        f64::from(self.limits.burst.max(1))
    }

    fn left(&self, account: &Account, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(account.at).as_secs_f64();
        (account.left + passed * f64::from(self.limits.requests_per_s)).min(self.burst())
    }

    fn is_whole(&self, account: &Account, now: Instant) -> bool {
        let is_rested = self.limits.requests_per_s == 0 || self.left(account, now) >= self.burst();
        account.in_flight == 0 && is_rested
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name under which a client without a token is counted.
pub(crate) fn client_at(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [first, second, third, fourth, ..] = address.segments();
            format!("{first:x}:{second:x}:{third:x}:{fourth:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shares(requests_per_s: u32, burst: u32, in_flight_max: u32) -> Arc<Shares> {
        Arc::new(Shares::new(ShareLimits { requests_per_s, burst, in_flight_max }))
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let shares = shares(2, 3, 0);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(shares.enter("a", start).is_ok());
        }
        let refused = shares.enter("a", start).unwrap_err();
        assert!(matches!(refused, Refusal::TooFast { retry_after_s: 1 }), "{refused:?}");
        assert!(shares.enter("b", start).is_ok(), "the share of another");
        let later = start + Duration::from_millis(500);
        assert!(shares.enter("a", later).is_ok());
        assert!(shares.enter("a", later).is_err());
    }

    #[test]
    fn requests_at_a_time_are_counted_until_they_end() {
        let shares = shares(0, 0, 1);
        let now = Instant::now();
        let held = shares.enter("a", now).unwrap();
        assert!(matches!(shares.enter("a", now), Err(Refusal::Busy)));
        drop(held);
        assert!(shares.enter("a", now).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_the_rested_are_forgotten_first() {
        let shares = shares(1, 1, 0);
        let start = Instant::now();
        for client in 0..CLIENTS_MAX {
            shares.enter(&client.to_string(), start).unwrap();
        }
        assert!(matches!(shares.enter("one more", start), Err(Refusal::Busy)));
        assert!(shares.enter("one more", start + Duration::from_secs(2)).is_ok());
        assert_eq!(shares.accounts().len(), 1);
    }

    #[test]
    fn nothing_is_counted_without_bounds() {
        let shares = shares(0, 0, 0);
        assert!(shares.enter("a", Instant::now()).unwrap().is_none());
        assert!(shares.accounts().is_empty());
    }

    #[test]
    fn of_ipv6_the_network_counts() {
        assert_eq!(client_at("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1:2::/64");
        assert_eq!(client_at("10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
