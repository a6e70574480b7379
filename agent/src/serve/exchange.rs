//! One request and its answer, as the two who work at it see it: the connection, and the instance.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dunlin_host::{
    Usage,
    http::{Body, GuestBody},
};
use http::{Request, Response};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

use super::Times;

/// A request, with where its answer goes.
pub(super) struct Job {
    pub(super) request: Request<Body>,
    pub(super) reply: oneshot::Sender<Result<Response<GuestBody>, Failure>>,
    pub(super) exchange: Exchange,
    /// When it came.
    pub(super) since: Instant,
}

/// Why there is no answer of the app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// All instances are busy, and were for too long.
    Busy,
    /// The app failed.
    Failed,
    /// It gave no answer, or said that it has none.
    None,
    /// It took too long.
    Late,
}

/// How far an exchange is. It only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Asked,
    /// The head of the answer is there.
    Answering,
    /// All of the answer is on its way.
    Answered,
    /// Nobody waits for the answer any more.
    Left,
}

/// The state of an exchange. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Exchange(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stage: watch::Sender<Stage>,
    /// Pieces of bodies that went either way.
    pieces: AtomicU64,
    usage: Arc<Usage>,
}

/// Why the instance's part of an exchange is over before it returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Whoever asked has left.
    Left,
    Late,
    /// Nothing went either way for too long.
    Silent,
    /// All was said, and the instance went on.
    Lingers,
}

impl Exchange {
    pub(super) fn new(usage: Arc<Usage>) -> Self {
        Self(Arc::new(Shared { stage: watch::Sender::new(Stage::Asked), pieces: AtomicU64::new(0), usage }))
    }

    /// A piece of the request's body came.
    pub(super) fn received(&self, bytes: usize) {
        self.0.pieces.fetch_add(1, Ordering::Relaxed);
        self.0.usage.received(bytes);
    }

    /// A piece of the answer's body went out.
    pub(super) fn sent(&self, bytes: usize) {
        self.0.pieces.fetch_add(1, Ordering::Relaxed);
        self.0.usage.sent(bytes);
    }

    pub(super) fn answering(&self) {
        self.0.usage.answered_http();
        self.go_on(Stage::Answering);
    }

    pub(super) fn answered(&self) {
        self.go_on(Stage::Answered);
    }

    /// Whoever asked has left, unless all was said.
    pub(super) fn leave(&self) {
        self.0.stage.send_if_modified(|stage| {
            let before_the_end = *stage < Stage::Answered;
            if before_the_end {
                *stage = Stage::Left;
            }
            before_the_end
        });
    }

    fn go_on(&self, to: Stage) {
        self.0.stage.send_if_modified(|stage| {
            let forward = *stage < to;
            if forward {
                *stage = to;
            }
            forward
        });
    }

    /// Until there is no use in going on with it.
    pub(super) async fn over(&self, times: Times) -> Over {
        let mut stage = self.0.stage.subscribe();
        let next = stage.wait_for(|stage| *stage > Stage::Asked);
        let Ok(now) = timeout(times.answer, next).await.map(reached) else {
            return Over::Late;
        };
        if now == Stage::Answering {
            loop {
                let before = self.0.pieces.load(Ordering::Relaxed);
                let next = stage.wait_for(|stage| *stage > Stage::Answering);
                if timeout(times.silence, next).await.is_ok() {
                    break;
                }
                if self.0.pieces.load(Ordering::Relaxed) == before {
                    return Over::Silent;
                }
            }
        }
        if *stage.borrow() == Stage::Left {
            return Over::Left;
        }
        sleep(times.after).await;
        Over::Lingers
    }
}

/// The stage that was waited for; the sender lives as long as the exchange.
fn reached(outcome: Result<watch::Ref<'_, Stage>, watch::error::RecvError>) -> Stage {
    outcome.map_or(Stage::Left, |stage| *stage)
}

impl Over {
    /// What the app did, if it is its fault.
    pub(super) fn fault(self, times: Times) -> Option<String> {
        Some(match self {
            Self::Left => return None,
            Self::Late => format!("did not answer within {:?}", times.answer),
            Self::Silent => format!("neither said nor took anything for {:?}", times.silence),
            Self::Lingers => format!("went on for {:?} after its answer", times.after),
        })
    }
}
