//! What takes the answer to a request, once.

use tokio::sync::oneshot;

use super::{ErrorCode, OutgoingResponse};
use crate::http::Answer;
use crate::p2::call::{Cx, Stop};
use crate::p2::handles::Own;

/// Dropped before it is set, it tells whoever waits that there will be no answer.
pub(in crate::p2) struct ResponseOutparam(Option<oneshot::Sender<Answer>>);

impl ResponseOutparam {
    pub(in crate::p2) fn new(answer: oneshot::Sender<Answer>) -> Self {
        Self(Some(answer))
    }

    /// The guest has returned, and keeps it all the same.
    pub(in crate::p2) fn give_up(&mut self) {
        self.0 = None;
    }
}

pub(in crate::p2) fn set(
    cx: &mut Cx<'_>,
    this: Own<ResponseOutparam>,
    response: Result<Own<OutgoingResponse>, ErrorCode>,
) -> Result<(), Stop> {
    let p2 = &mut cx.state.p2;
    let outparam = p2.handles.take(&this)?;
    let answer = match response {
        Ok(response) => p2.handles.take(&response)?.into_answer(&p2.http.method),
        Err(error) => Err(error),
    };
    if let Some(sender) = outparam.0 {
        // Whoever asked may have left; then the guest is about to be ended.
        let _ = sender.send(answer);
    }
    Ok(())
}
