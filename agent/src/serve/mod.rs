//! HTTP for apps that answer requests (`wasi:http/proxy`): the board speaks it, an app's instances say what.
//!
//! ```text
//! gates ──listen──▶ connections ──desk: one exchange a request──▶ instances ──Handler──▶ guest
//!         hyper, HTTP/1.1                        waiting, in their order
//! ```
//!
//! Everything of an app's is a child of [`serve`]: dropped, it and all its requests are gone. No request
//! has a thread, and none is gathered: bodies go through piece by piece, both ways.

mod answer;
mod body;
mod client;
mod connection;
mod exchange;
mod instances;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use dunlin_core::limits::{SERVE_AFTER_MS, SERVE_ANSWER_MS, SERVE_CONNECTIONS_MAX, SERVE_QUEUE_MS, SERVE_SILENCE_MS};
use dunlin_host::{Ended, Gate, Guest, Observer, Program, Usage};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

pub(crate) use client::Outbound;
use instances::Instances;

/// An app that answers requests, and how.
pub(crate) struct Serving {
    pub(crate) program: Program,
    /// Instances that there may be at a time: requests that are answered at once.
    pub(crate) instances: usize,
    /// Whether an instance answers one request after the other, and not only one.
    pub(crate) keep: bool,
    /// Where its listeners lead.
    pub(crate) gates: Vec<Gate>,
    /// Counts its connections.
    pub(crate) usage: Arc<Usage>,
    pub(crate) times: Times,
    /// What each instance is given.
    pub(crate) guest: Each,
    /// Told when the first instance is there: connections are accepted from then on.
    pub(crate) accepting: Box<dyn Fn() + Send + Sync>,
    /// Told of each request that went wrong by the app's own fault.
    pub(crate) fault: Box<dyn Fn(String) + Send + Sync>,
}

/// What each of several instances is given.
pub(crate) type Each = Box<dyn Fn() -> Guest + Send + Sync>;

/// Gives each instance what this guest has, but for its descriptors and messages, which are one's alone.
pub(crate) fn each(guest: Guest, observer: impl Fn() -> Box<dyn Observer> + Send + Sync + 'static) -> Each {
    let Guest { args, env, grants, lookups, client, limits, usage, .. } = guest;
    Box::new(move || Guest {
        args: args.clone(),
        env: env.clone(),
        grants: grants.clone(),
        lookups: lookups.clone(),
        client: client.clone(),
        limits: limits.clone(),
        observer: observer(),
        usage: Arc::clone(&usage),
        ..Guest::default()
    })
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For a request to wait for an instance.
    pub(crate) queue: Duration,
    /// For an instance to come to the head of its answer.
    pub(crate) answer: Duration,
    /// In which no part of a body goes either way.
    pub(crate) silence: Duration,
    /// For an instance to go on after its answer.
    pub(crate) after: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            queue: Duration::from_millis(SERVE_QUEUE_MS),
            answer: Duration::from_millis(SERVE_ANSWER_MS),
            silence: Duration::from_millis(SERVE_SILENCE_MS),
            after: Duration::from_millis(SERVE_AFTER_MS),
        }
    }
}

/// Serves for as long as the app can be started at all; why it cannot.
pub(crate) async fn serve(serving: Serving) -> String {
    let serving = Arc::new(serving);
    // It shows that the app starts, and answers the first request.
    let first = match answer::start(&serving).await {
        Ok(handler) => handler,
        Err(why) => return why,
    };
    let (desk, requests) = mpsc::channel(SERVE_CONNECTIONS_MAX);
    let places = Arc::new(Semaphore::new(SERVE_CONNECTIONS_MAX));
    // Dropped, a set ends what is in it.
    let mut listening = JoinSet::new();
    for gate in &serving.gates {
        let usage = Arc::clone(&serving.usage);
        let silence = serving.times.silence;
        listening.spawn(connection::listen(gate.clone(), desk.clone(), Arc::clone(&places), usage, silence));
    }
    (serving.accepting)();
    Instances::new(serving, first, requests).run().await
}

/// How an instance came to its end, for a person.
pub(crate) fn ended(ended: &Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("it exited with {code}"),
        Ended::Fault(fault) => fault.to_string(),
        Ended::NotStarted(error) => format!("it could not be started: {error}"),
    }
}
