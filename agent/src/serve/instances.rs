//! An app's instances, and the requests that wait for one.

use std::{collections::VecDeque, future::pending, sync::Arc};

use dunlin_core::limits::SERVE_CONNECTIONS_MAX;
use dunlin_host::http::Handler;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Serving, answer,
    exchange::{Failure, Job},
};

pub(super) struct Instances {
    serving: Arc<Serving>,
    requests: mpsc::Receiver<Job>,
    /// Those that have nothing to do.
    idle: Vec<Handler>,
    /// Those that answer a request. What comes back can answer another one.
    busy: JoinSet<Option<Handler>>,
    /// Those that came first are first.
    waiting: VecDeque<Job>,
}

impl Instances {
    pub(super) fn new(serving: Arc<Serving>, first: Handler, requests: mpsc::Receiver<Job>) -> Self {
        Self { serving, requests, idle: vec![first], busy: JoinSet::new(), waiting: VecDeque::new() }
    }

    /// Answers requests until nobody can ask any more.
    pub(super) async fn run(mut self) -> String {
        loop {
            let deadline = self.waiting.front().map(|job| job.since + self.serving.times.queue);
            let too_late = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                job = self.requests.recv() => match job {
                    Some(job) => queue(&mut self.waiting, job),
                    None => return "it has no listener left".into(),
                },
                Some(done) = self.busy.join_next() => {
                    // One that panicked in the host is gone like one that trapped.
                    let handler = done.ok().flatten().filter(|_| self.serving.keep);
                    self.idle.extend(handler);
                }
                () = too_late => self.turn_away(),
            }
            self.assign();
        }
    }

    /// Gives those who wait an instance each, as far as there are any.
    fn assign(&mut self) {
        while self.busy.len() < self.serving.instances
            && let Some(job) = self.waiting.pop_front()
        {
            if !job.reply.is_closed() {
                self.busy.spawn(answer::answer(Arc::clone(&self.serving), self.idle.pop(), job));
            }
        }
    }

    /// Tells those who have waited for too long.
    fn turn_away(&mut self) {
        let (now, patience) = (Instant::now(), self.serving.times.queue);
        let late = |job: &mut Job| now >= job.since + patience;
        while let Some(job) = self.waiting.pop_front_if(late) {
            // Who left need not be told.
            let _ = job.reply.send(Err(Failure::Busy));
        }
    }
}

/// Has a request wait. A connection has one at a time: where there are more, it is of those who left.
fn queue(waiting: &mut VecDeque<Job>, job: Job) {
    if waiting.len() >= SERVE_CONNECTIONS_MAX {
        waiting.retain(|job| !job.reply.is_closed());
    }
    waiting.push_back(job);
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::sync::oneshot;

    use super::{super::body::Given, super::exchange::Exchange, *};

    #[tokio::test]
    async fn who_left_takes_no_room_and_who_waits_keeps_their_place() {
        let job = || {
            let (reply, answered) = oneshot::channel();
            let (request, exchange) = (Request::new(Box::pin(Given::Text(None)) as _), Exchange::new(Arc::default()));
            (Job { request, reply, exchange, since: Instant::now() }, answered)
        };
        let mut waiting = VecDeque::new();
        let (first, _stays) = job();
        queue(&mut waiting, first);
        for _ in 0..4 * SERVE_CONNECTIONS_MAX {
            queue(&mut waiting, job().0);
            assert!(waiting.len() <= SERVE_CONNECTIONS_MAX);
        }
        assert!(!waiting[0].reply.is_closed());
    }
}
