//! What each refusal code means, and what to do about it: the one place that says so. README's table and
//! `dunlinctl explain` have these sentences.

use crate::Code;

impl Code {
    /// What was refused.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Oversized => "longer than the limit for its kind",
            Self::Malformed => "cut short, followed by more bytes, not in canonical form, or a value out of range",
            Self::WrongKind => "a document of one kind where another belongs",
            Self::BadSignature => "a signature by a known key that does not fit the bytes",
            Self::Unsigned => "fewer signatures by the role's keys than the root asks for",
            Self::WrongFleet => "made for another fleet",
            Self::WrongApp => "a release of another app than the plan orders it for",
            Self::RootGap => "a root that is not the direct successor of the one in force",
            Self::RootExpired => "a new plan under a root that has expired",
            Self::OldPlan => "a plan with a lower sequence than the last one accepted",
            Self::Fork => "the last plan's sequence with other content",
            Self::PlanExpired => "a plan whose time to be accepted is over",
            Self::WrongDigest => "a release whose bytes are not the ones that were ordered",
            Self::WrongCounter => "a release whose counter is not the one that the plan names",
            Self::Revoked => "a release or module that the root revokes",
            Self::BelowFloor => "a release below the app's security floor",
            Self::WrongChunk => "a chunk that does not hash to what the release says",
            Self::WrongModule => "a whole module that does not hash to what the release says",
            Self::BadModule => "not WebAssembly, or it imports what this host does not have",
            Self::Policy => {
                "more than this board's own `[policy]` allows, or a setting that the release does not ask for"
            }
            Self::Widening => "a release that asks for more than the one before it, without the grant keys' signature",
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Oversized | Self::Malformed | Self::WrongKind => {
                "find out who writes to the fleet's topics: `dunlinctl` makes no such thing"
            }
            Self::BadSignature => "find out who changes messages between you and the board",
            Self::Unsigned => "sign with a key that the board's root knows: `dunlinctl root show`, `root pull`",
            Self::WrongFleet => "give each fleet a prefix or a broker of its own, and the board the right root",
            Self::WrongApp | Self::WrongDigest | Self::WrongCounter => "deploy the release again",
            Self::RootGap => "`dunlinctl root publish` of the roots between, which are in `roots/`",
            Self::RootExpired => "`dunlinctl root expires 365d`",
            Self::OldPlan => "`dunlinctl deploy` again: the broker came back with an older plan",
            Self::Fork => "`dunlinctl deploy` again: two plans were signed at once, and the next one is for all boards",
            Self::PlanExpired => "`dunlinctl deploy` again; `--expires` says how long it is good",
            Self::Revoked | Self::BelowFloor => "deploy another release: this one is not to run any more",
            Self::WrongChunk | Self::WrongModule => {
                "`dunlinctl release` again: what the broker or a URL gives is damaged"
            }
            Self::BadModule => "`dunlin run` the module, or build it for WASI preview 1 or 0.2",
            Self::Policy => "change app.toml or the deploy's settings, or `[policy]` on the board",
            Self::Widening => "`dunlinctl grant APP@VERSION`, if it may have that",
        }
    }
}
