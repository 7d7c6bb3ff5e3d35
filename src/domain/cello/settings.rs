//! Settings that change what `apply` or the loops do. Part of the replicated state, so every
//! replica acts on the same ones; changed by command only. Which plugins, modes and sizes there are
//! follows from the templates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rejection;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $min:expr => $max:expr;)*) => {
        /// The replicated settings of the family.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct Settings {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// New values; `None` keeps the present one.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct SettingsChange {
            $(#[doc = concat!("See [`Settings::", stringify!($name), "`]; ", stringify!($min), " to ", stringify!($max), ".")]
            #[serde(default)]
            pub $name: Option<$type>,)*
        }

        impl Settings {
            /// The settings after a change.
            ///
            /// # Errors
            /// [`Rejection::InvalidSetting`] for a value out of range; nothing has changed then.
            pub(super) fn changed(&self, change: &SettingsChange) -> Result<Self, Rejection> {
                Ok(Self { $($name: match change.$name {
                    None => self.$name,
                    Some(value) if ($min..=$max).contains(&value) => value,
                    Some(value) => return Err(Rejection::InvalidSetting(format!(
                        "{} is {} to {}, not {value}", stringify!($name), $min, $max
                    ))),
                },)* })
            }
        }

        /// Every setting's name, as the interface spells it.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

settings! {
    /// First port of the first cluster of a host.
    port_start: u16 = 7_050, 1 => 65_000;
    /// Ports that belong to one cluster.
    port_step: u16 = 100, 1 => 10_000;
    /// How long ports that a stranger was found to use are left alone, milliseconds.
    port_blocked_ms: u64 = 3_600_000, 1_000 => 604_800_000;
    /// Failed attempts after which a creation is given up. An unreachable host does not count.
    create_attempts_max: u32 = 3, 1 => 100;
    /// Pause after the first failed attempt, milliseconds; doubles with every further one.
    backoff_first_ms: u64 = 5_000, 10 => 600_000;
    /// Longest pause between attempts, milliseconds.
    backoff_max_ms: u64 = 300_000, 10 => 86_400_000;
    /// Time between two pings of a host, milliseconds.
    ping_interval_ms: u64 = 15_000, 100 => 600_000;
    /// Time for one ping, milliseconds.
    ping_timeout_ms: u64 = 5_000, 50 => 60_000;
    /// Failed pings in a row after which a host is inactive.
    ping_attempts_max: u32 = 3, 1 => 100;
    /// Pause between those pings, milliseconds.
    ping_pause_ms: u64 = 3_000, 10 => 60_000;
    /// Time between two probes of a cluster, milliseconds.
    probe_interval_ms: u64 = 15_000, 100 => 600_000;
    /// Time for one probe, milliseconds.
    probe_timeout_ms: u64 = 5_000, 50 => 60_000;
    /// Bad probes in a row after which a free cluster is replaced.
    bad_probes_max: u32 = 3, 1 => 100;
    /// Time between two probes of a cluster that has just been made or started, milliseconds.
    fast_probe_interval_ms: u64 = 1_000, 10 => 60_000;
    /// How long a cluster counts as just made or started, milliseconds.
    fast_probe_ms: u64 = 30_000, 0 => 600_000;
    /// Time between two sweeps of a host, milliseconds.
    sweep_interval_ms: u64 = 60_000, 100 => 3_600_000;
    /// Time for one call to a host, milliseconds.
    call_timeout_ms: u64 = 15_000, 100 => 600_000;
    /// Time to fetch an image, milliseconds.
    pull_timeout_ms: u64 = 600_000, 1_000 => 7_200_000;
    /// Time a container has to stop by itself, seconds.
    stop_grace_s: u32 = 5, 0 => 600;
    /// The same when it is restarted, seconds.
    restart_grace_s: u32 = 10, 0 => 600;
    /// Calls to one host that may go on at a time.
    calls_per_host_max: u32 = 2, 1 => 64;
    /// Released clusters that are remembered.
    history_max: u32 = 10_000, 0 => 1_000_000;
}

impl Settings {
    /// Pause before the next attempt after `failures` failed ones, milliseconds.
    #[must_use]
    pub fn backoff_ms(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        self.backoff_first_ms.saturating_mul(1 << doublings).min(self.backoff_max_ms)
    }
}
