//! Changes of the members, as the audit trail and the change feed tell them.
//!
//! Who the members are is the engine's business. It says here what came of a wish, so that who
//! asked for it, and when, is written down where everything else is.

use serde::{Deserialize, Serialize};

/// What came of a wish to change the members. Encoded with `postcard`: fields are never reordered,
/// verbs are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNote {
    /// What was wished.
    pub verb: MemberVerb,
    /// About whom; 0 if that was not known yet.
    pub id: u64,
    /// Whether it was refused.
    pub is_refused: bool,
}

/// What may be wished of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberVerb {
    /// Registers a learner.
    Add,
    /// Gives a learner its vote.
    Promote,
    /// Removes a member for ever.
    Remove,
    /// Names a successor.
    Replace,
    /// Says where a member is.
    Update,
    /// A replica asks for itself to be taken in, or says where it is.
    Join,
}

impl MemberVerb {
    /// The name in the audit trail.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Add => "add_member",
            Self::Promote => "promote_member",
            Self::Remove => "remove_member",
            Self::Replace => "replace_member",
            Self::Update => "update_member",
            Self::Join => "join_member",
        }
    }

    /// What happened if it was carried out.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Add => "member_added",
            Self::Promote => "member_promoted",
            Self::Remove => "member_removed",
            Self::Replace => "member_replaced",
            Self::Update => "member_updated",
            Self::Join => "member_joined",
        }
    }
}
