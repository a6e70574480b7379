//! One instance of a program that answers HTTP requests, one at a time.

use tokio::sync::oneshot;
use wasmi::{Func, Val};

use super::{Body, ErrorCode, GuestBody};
use crate::engine::{Program, World};
use crate::fault::FaultKind;
use crate::guest::{Ended, Guest};
use crate::run::Run;

/// What a guest gives for an answer: one, or what it says went wrong.
pub type Answer = Result<http::Response<GuestBody>, ErrorCode>;

/// An instance of a program for the world [`Http`](World::Http), between two requests.
///
/// [`Limits::wall_clock`](crate::Limits::wall_clock) holds for its start, and for each request.
pub struct Handler {
    run: Run,
    handle: Func,
    after: Option<Func>,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").finish_non_exhaustive()
    }
}

impl Handler {
    /// Makes an instance.
    ///
    /// The future is `Send` and needs a tokio runtime, as do those of its other functions.
    ///
    /// # Errors
    ///
    /// How it ended instead: what it was to be given could not be had, or it failed while it was set up.
    pub async fn start(program: &Program, guest: Guest) -> Result<Self, Ended> {
        let mut run = Run::new(program, guest).await.map_err(Ended::NotStarted)?;
        if program.world() != World::Http {
            let why = "it answers no HTTP requests: it is a program to run".to_owned();
            return Err(run.fault(FaultKind::Setup(why)));
        }
        match run.limited(async |run| run.start().await).await {
            Ok(Some((handle, after))) => Ok(Self { run, handle, after }),
            // Only a module has none.
            Ok(None) => Err(run.fault(FaultKind::Setup("it is no component".to_owned()))),
            Err(ended) => Err(ended),
        }
    }

    /// Has it answer a request, and drives it until it has returned: that may be long after its answer went out.
    /// Whoever waits for the answer hears nothing when it gives none.
    ///
    /// Dropping the future kills what goes on; the instance is of no use then, as it is after an error.
    ///
    /// # Errors
    ///
    /// How the instance ended.
    pub async fn handle(&mut self, request: http::Request<Body>, answer: oneshot::Sender<Answer>) -> Result<(), Ended> {
        let Self { run, handle, after } = self;
        let (handle, after) = (*handle, *after);
        let outcome = run
            .limited(async |run| {
                let params = run.state().p2.receive(request, answer).map_err(wasmi::Error::host)?;
                run.call(handle, &params.map(|number| Val::I32(number.cast_signed())), &mut []).await?;
                match after {
                    Some(after) => run.call(after, &[], &mut []).await,
                    None => Ok(()),
                }
            })
            .await;
        run.state().p2.answered();
        outcome
    }
}
