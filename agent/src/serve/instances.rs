//! An app's instances, and the requests that wait for one.

use std::{collections::VecDeque, future::pending, sync::Arc};

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
                    Some(job) => self.waiting.push_back(job),
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
