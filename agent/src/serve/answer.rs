//! One request, answered by one instance.

use std::{pin::pin, sync::Arc};

use dunlin_host::http::{Answer, GuestBody, Handler};
use http::Response;
use tokio::sync::oneshot;

use super::{
    Serving, ended,
    exchange::{Exchange, Failure, Job},
};

/// A fresh instance; why there is none.
pub(super) async fn start(serving: &Serving) -> Result<Handler, String> {
    Handler::start(&serving.program, (serving.guest)()).await.map_err(|how| ended(&how))
}

/// Has an instance answer a request, a fresh one if there is none; what can answer another one.
pub(super) async fn answer(serving: Arc<Serving>, handler: Option<Handler>, job: Job) -> Option<Handler> {
    let Job { request, reply, exchange, .. } = job;
    let what = format!("{} {}", request.method(), request.uri().path());
    let fault = |why: String| (serving.fault)(format!("{what}: {why}"));
    let mut reply = Reply { reply: Some(reply), exchange: exchange.clone() };
    let mut over = pin!(exchange.over(serving.times));
    // An instance that does not come to be is as late as one that does not answer.
    let handler = match handler {
        Some(handler) => Ok(Ok(handler)),
        None => tokio::select! {
            biased;
            handler = start(&serving) => Ok(handler),
            over = &mut over => Err(over),
        },
    };
    let mut handler = match handler {
        Ok(Ok(handler)) => handler,
        Err(over) => {
            over.fault(serving.times).map(fault);
            reply.fail(Failure::Late);
            return None;
        }
        Ok(Err(why)) => {
            fault(why);
            reply.fail(Failure::Failed);
            return None;
        }
    };
    let (sender, mut given) = oneshot::channel();
    let outcome = {
        let mut work = pin!(handler.handle(request, sender));
        loop {
            tokio::select! {
                biased;
                answer = &mut given, if reply.is_open() => reply.give(answer.ok(), &fault),
                outcome = &mut work => break Ok(outcome),
                over = &mut over => break Err(over),
            }
        }
    };
    match outcome {
        Ok(Ok(())) => {
            if reply.is_open() {
                reply.give(given.try_recv().ok(), &fault);
            }
            Some(handler)
        }
        Ok(Err(how)) => {
            fault(ended(&how));
            // It may have answered with its last breath.
            match given.try_recv() {
                Ok(answer) if reply.is_open() => reply.give(Some(answer), &fault),
                _ => reply.fail(Failure::Failed),
            }
            None
        }
        Err(over) => {
            over.fault(serving.times).map(fault);
            reply.fail(Failure::Late);
            None
        }
    }
}

/// Where the answer goes, once.
struct Reply {
    reply: Option<oneshot::Sender<Result<Response<GuestBody>, Failure>>>,
    exchange: Exchange,
}

impl Reply {
    fn is_open(&self) -> bool {
        self.reply.is_some()
    }

    fn give(&mut self, answer: Option<Answer>, fault: &impl Fn(String)) {
        match answer {
            Some(Ok(response)) => {
                self.exchange.answering();
                self.send(Ok(response));
            }
            Some(Err(code)) => {
                fault(format!("it has no answer: {code}"));
                self.fail(Failure::None);
            }
            None => {
                fault("it gave no answer".into());
                self.fail(Failure::None);
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.send(Err(failure));
    }

    fn send(&mut self, reply: Result<Response<GuestBody>, Failure>) {
        if let Some(sender) = self.reply.take() {
            // Who left need not be told.
            let _ = sender.send(reply);
        }
    }
}
