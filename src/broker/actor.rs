//! Who a call comes from, as the audit trail names it.

use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter},
    net::IpAddr,
};

/// Who a call comes from. Put into words only where something is proposed: most calls are reads.
#[derive(Clone, Debug)]
pub enum Actor {
    /// A client: its token or `anonymous`, and where it calls from.
    Client {
        /// `token:ID`, `bootstrap` or `anonymous`.
        who: Cow<'static, str>,
        /// Unknown only in tests without a network.
        address: Option<IpAddr>,
    },
    /// A loop of this program.
    Own(&'static str),
}

impl Display for Actor {
    /// `WHO@ADDRESS`, or the name of the loop.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { who, address: Some(address) } => write!(f, "{who}@{address}"),
            Self::Client { who, address: None } => write!(f, "{who}@"),
            Self::Own(name) => f.write_str(name),
        }
    }
}
