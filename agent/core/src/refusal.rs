//! Why something that was sent to us is not accepted.
//!
//! A refusal is the sender's fault. It has a code that never changes its meaning and a sentence
//! for people; the same code stands in the state topic, in events, in the log and in `dunlinctl`.

use alloc::string::String;
use core::fmt;

/// The stable name of a reason to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// Longer than the limit for its kind.
    Oversized,
    /// Cut short, followed by more bytes, not in canonical form, or with a value out of its range.
    Malformed,
    /// An envelope of one kind where another belongs.
    WrongKind,
    /// A signature by a known key that does not fit the bytes.
    BadSignature,
    /// Fewer signatures by the role's keys than its threshold asks for.
    Unsigned,
    /// Made for another fleet.
    WrongFleet,
    /// A release of another app than the plan orders it for.
    WrongApp,
    /// A root that is not the direct successor of the one in force.
    RootGap,
    /// The root has expired: no new plan is taken until a newer root comes.
    RootExpired,
    /// A plan with a lower sequence than the last one accepted.
    OldPlan,
    /// The same sequence as the last plan accepted, with other content.
    Fork,
    /// The plan's not-after has passed.
    PlanExpired,
    /// A document whose bytes are not those that were ordered.
    WrongDigest,
    /// A release whose counter is not the one that the plan names.
    WrongCounter,
    /// A digest that the root revokes.
    Revoked,
    /// An app's counter below the floor that the root sets.
    BelowFloor,
    /// A chunk that does not hash to what the release says, or has another length.
    WrongChunk,
    /// A whole module that does not hash to what the release says.
    WrongModule,
    /// A module that cannot be started here: not wasm, or it imports what this host does not have.
    BadModule,
    /// The release asks for more than this device's own policy allows.
    Policy,
    /// The release asks for more than the one before it, and the grant keys have not agreed.
    Widening,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 21] = [
        Self::Oversized,
        Self::Malformed,
        Self::WrongKind,
        Self::BadSignature,
        Self::Unsigned,
        Self::WrongFleet,
        Self::WrongApp,
        Self::RootGap,
        Self::RootExpired,
        Self::OldPlan,
        Self::Fork,
        Self::PlanExpired,
        Self::WrongDigest,
        Self::WrongCounter,
        Self::Revoked,
        Self::BelowFloor,
        Self::WrongChunk,
        Self::WrongModule,
        Self::BadModule,
        Self::Policy,
        Self::Widening,
    ];

    /// The word that stands for this code everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::WrongKind => "wrong-kind",
            Self::BadSignature => "bad-signature",
            Self::Unsigned => "unsigned",
            Self::WrongFleet => "wrong-fleet",
            Self::WrongApp => "wrong-app",
            Self::RootGap => "root-gap",
            Self::RootExpired => "root-expired",
            Self::OldPlan => "old-plan",
            Self::Fork => "fork",
            Self::PlanExpired => "plan-expired",
            Self::WrongDigest => "wrong-digest",
            Self::WrongCounter => "wrong-counter",
            Self::Revoked => "revoked",
            Self::BelowFloor => "below-floor",
            Self::WrongChunk => "wrong-chunk",
            Self::WrongModule => "wrong-module",
            Self::BadModule => "bad-module",
            Self::Policy => "policy",
            Self::Widening => "widening",
        }
    }

    /// Whether it says that an ordered release can't ever run under the plan in force, and not only
    /// that these bytes are not that release: then the right ones may still come.
    pub const fn condemns_release(self) -> bool {
        match self {
            Self::WrongApp
            | Self::WrongCounter
            | Self::Revoked
            | Self::BelowFloor
            | Self::WrongModule
            | Self::BadModule
            | Self::Policy
            | Self::Widening => true,
            Self::Oversized
            | Self::Malformed
            | Self::WrongKind
            | Self::BadSignature
            | Self::Unsigned
            | Self::WrongFleet
            | Self::RootGap
            | Self::RootExpired
            | Self::OldPlan
            | Self::Fork
            | Self::PlanExpired
            | Self::WrongDigest
            | Self::WrongChunk => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: its code, and a sentence that names the thing and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence} [{code}]")]
pub struct Refusal {
    /// The stable reason.
    pub code: Code,
    /// What was refused and why, for a person.
    pub sentence: String,
}

impl Refusal {
    /// A refusal with this code and sentence.
    pub fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }
}

/// Returns early with a [`Refusal`] when a rule does not hold: `ensure!(rule, Code, "sentence {x}")`.
macro_rules! ensure {
    ($rule:expr, $code:ident, $($sentence:tt)+) => {
        if !$rule {
            return Err($crate::Refusal::new($crate::Code::$code, alloc::format!($($sentence)+)));
        }
    };
}
pub(crate) use ensure;
