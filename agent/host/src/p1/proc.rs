//! The end of a guest.

use super::{Cx, Errno, Outcome, Stop};

pub(super) fn exit(_cx: &mut Cx<'_>, code: u32) -> Outcome {
    Err(Stop::Exit(code))
}

/// There are no signals here: nobody could handle one.
pub(super) fn raise(_cx: &mut Cx<'_>, _signal: u32) -> Outcome {
    Err(Errno::Notsup.into())
}
