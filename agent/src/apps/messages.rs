//! One app's messages: what it publishes waits here for its turn, and what it is to hear waits here for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use dunlin_core::{
    Bucket, Moment,
    limits::{
        APP_INBOX_MAX, APP_MESSAGE_BYTES_MAX, APP_MESSAGES_AT_ONCE, APP_MESSAGES_PER_SECOND, APP_MESSAGES_WAITING_MAX,
    },
    policy::Setup,
    wire::{AppName, TopicName},
};
use dunlin_host::{Bus, Message, NotTaken};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Clock;

/// What an app published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) app: AppName,
    pub(crate) name: TopicName,
    pub(crate) payload: Vec<u8>,
    /// Its place among those of its app that wait.
    _place: OwnedSemaphorePermit,
}

/// An app's messages, as its guest and the driver share them. They outlive each of its runs.
#[derive(Clone, Debug)]
pub(super) struct Messages(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    app: AppName,
    topics_out: Vec<TopicName>,
    topics_in: Vec<TopicName>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    places: Arc<Semaphore>,
    clock: Clock,
    changing: Mutex<Changing>,
}

#[derive(Debug)]
struct Changing {
    bucket: Bucket,
    inbox: VecDeque<Message>,
    lost: u64,
    reader: Option<Waker>,
}

impl Messages {
    pub(super) fn new(app: AppName, setup: &Setup, outgoing: mpsc::UnboundedSender<Outgoing>, clock: Clock) -> Self {
        let bucket = Bucket::new(APP_MESSAGES_AT_ONCE, APP_MESSAGES_PER_SECOND, clock.now());
        Self(Arc::new(Shared {
            app,
            topics_out: setup.topics_out.clone(),
            topics_in: setup.topics_in.clone(),
            outgoing,
            places: Arc::new(Semaphore::new(APP_MESSAGES_WAITING_MAX)),
            clock,
            changing: Mutex::new(Changing { bucket, inbox: VecDeque::new(), lost: 0, reader: None }),
        }))
    }

    /// For a run of the guest; nothing if it asked for no topic.
    pub(super) fn bus(&self) -> Option<Box<dyn Bus>> {
        let Shared { topics_out, topics_in, .. } = &*self.0;
        let asked = !topics_out.is_empty() || !topics_in.is_empty();
        asked.then(|| Box::new(self.clone()) as Box<dyn Bus>)
    }

    /// Puts a message where the guest finds it; the oldest makes room.
    pub(super) fn deliver(&self, name: &TopicName, payload: &[u8]) {
        if !self.0.topics_in.contains(name) {
            return;
        }
        let mut changing = self.lock();
        if payload.len() > APP_MESSAGE_BYTES_MAX {
            changing.lost += 1;
            return;
        }
        if changing.inbox.len() >= APP_INBOX_MAX {
            changing.inbox.pop_front();
            changing.lost += 1;
        }
        changing.inbox.push_back(Message { topic: name.to_string(), payload: payload.to_vec() });
        if let Some(reader) = changing.reader.take() {
            reader.wake();
        }
    }

    fn publish_at(&self, now: Moment, topic: &str, payload: &[u8]) -> Result<(), NotTaken> {
        let shared = &*self.0;
        let granted = shared.topics_out.iter().find(|name| name.as_str() == topic);
        let name = granted.ok_or(NotTaken::NotGranted)?.clone();
        if payload.len() > APP_MESSAGE_BYTES_MAX {
            return Err(NotTaken::TooLong);
        }
        let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| NotTaken::TooMany)?;
        if !self.lock().bucket.take(now) {
            return Err(NotTaken::TooMany);
        }
        let outgoing = Outgoing { app: shared.app.clone(), name, payload: payload.to_vec(), _place: place };
        // The driver is gone only when this app is about to be.
        let _ = shared.outgoing.send(outgoing);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        // Nothing in here is left half-changed by a panic.
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus for Messages {
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), NotTaken> {
        self.publish_at(self.0.clock.now(), topic, payload)
    }

    fn receive(&mut self) -> Option<Message> {
        let mut changing = self.lock();
        let message = changing.inbox.pop_front()?;
        let lost = std::mem::take(&mut changing.lost);
        if lost > 0 {
            tracing::warn!(app = %self.0.app, lost, "messages for it were too long, or came faster than it hears them");
        }
        Some(message)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut changing = self.lock();
        if !changing.inbox.is_empty() {
            return Poll::Ready(());
        }
        changing.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::{
        limits::LIST_MAX,
        wire::{Health, Restart, Start},
    };

    fn messages() -> (Messages, mpsc::UnboundedReceiver<Outgoing>) {
        let name = |text: &str| text.parse::<TopicName>().unwrap();
        let setup = Setup {
            args: vec![],
            env: vec![],
            secrets: vec![],
            listen: vec![],
            connect: vec![],
            resolve: false,
            data_bytes: 0,
            mounts: vec![],
            topics_out: vec![name("temperature")],
            topics_in: vec![name("set-point")],
            memory_bytes: 0,
            health: Health::default(),
            restart: Restart::default(),
            start: Start::default(),
            trial_ms: 0,
            drain_ms: 0,
        };
        let (outgoing, published) = mpsc::unbounded_channel();
        (Messages::new("sensor".parse().unwrap(), &setup, outgoing, Clock::start()), published)
    }

    /// How many of these are taken at this moment.
    fn taken(messages: &Messages, at_ms: u64) -> usize {
        (0..LIST_MAX).filter(|_| messages.publish_at(Moment(at_ms), "temperature", b"21").is_ok()).count()
    }

    #[test]
    fn only_what_was_granted_and_is_short_goes_out() {
        let (mut messages, mut published) = messages();
        assert_eq!(messages.publish("set-point", b""), Err(NotTaken::NotGranted), "that one it hears");
        assert_eq!(messages.publish("", b""), Err(NotTaken::NotGranted));
        assert_eq!(messages.publish("temperature", &[0; APP_MESSAGE_BYTES_MAX + 1]), Err(NotTaken::TooLong));
        assert_eq!(messages.publish("temperature", &[0; APP_MESSAGE_BYTES_MAX]), Ok(()));
        let outgoing = published.try_recv().unwrap();
        assert_eq!((outgoing.app.as_str(), outgoing.name.as_str()), ("sensor", "temperature"));
        assert!(published.try_recv().is_err(), "nothing else did");
    }

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let (messages, mut published) = messages();
        let at_once = APP_MESSAGES_AT_ONCE as usize;
        assert_eq!(taken(&messages, 0), at_once);
        while published.try_recv().is_ok() {}
        assert_eq!(taken(&messages, 1_000), APP_MESSAGES_PER_SECOND as usize);
        while published.try_recv().is_ok() {}
        assert_eq!(taken(&messages, 60_000), at_once, "what was not used is not saved up");
    }

    #[test]
    fn no_more_wait_than_there_are_places() {
        let (messages, mut published) = messages();
        let all = (0..10).map(|minute| taken(&messages, minute * 60_000)).sum::<usize>();
        assert_eq!(all, APP_MESSAGES_WAITING_MAX, "nobody takes them");
        assert!(published.try_recv().is_ok());
        assert_eq!(taken(&messages, 3_600_000), 1, "the place of the one that went");
    }

    #[test]
    fn what_it_hears_was_granted_and_the_newest_stay() {
        let (mut messages, _published) = messages();
        let name = |text: &str| text.parse::<TopicName>().unwrap();
        messages.deliver(&name("temperature"), b"");
        messages.deliver(&name("set-point"), &[0; APP_MESSAGE_BYTES_MAX + 1]);
        assert_eq!(messages.receive(), None);
        for number in 0..=APP_INBOX_MAX {
            messages.deliver(&name("set-point"), number.to_string().as_bytes());
        }
        let heard = std::iter::from_fn(|| messages.receive()).map(|message| message.payload).collect::<Vec<_>>();
        assert_eq!((heard.len(), &heard[0][..]), (APP_INBOX_MAX, &b"1"[..]));
    }
}
