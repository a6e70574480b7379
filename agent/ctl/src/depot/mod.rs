//! `depot`: gives boards what the broker lost, or never kept, for as long as it runs.
//!
//! Boards say on `want` which chunks they miss; [`Answers`] decides what is sent and when, the
//! [`Stock`] has it, and it goes out on the chunks' own topics, for all who wait. Roots, releases and
//! the plan are [supplied](supply) whenever the broker comes back. It signs nothing and needs no keys.

mod journal;
mod supply;

use std::{
    collections::BTreeSet,
    future::pending,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dunlin::link::{Event, Link, Receipt};
use dunlin_core::{
    Moment,
    depot::Answers,
    wire::{Digest, Topic, topic::DeviceLeaf},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{DepotArgs, Global},
    fleet::Fleet,
    stock::Stock,
};
use journal::{Entry, Journal};

/// Chunks that the broker has not acknowledged yet: what is in memory of all modules.
const INFLIGHT_MAX: usize = 8;

/// How long not to look again for what was not there a moment ago.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs a depot until it is interrupted or terminated.
pub(crate) async fn run(args: &DepotArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut terminated = signal(SignalKind::terminate()).context("no signals")?;
    let mut depot = Depot::new(fleet, args, global.timeout.0)?;
    let outcome = tokio::select! {
        ended = depot.serve() => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminated.recv() => Ok(()),
    };
    depot.link.close(GOODBYE).await;
    outcome
}

type Supplying = Pin<Box<dyn Future<Output = Result<Vec<String>>>>>;

struct Depot {
    fleet: Fleet,
    link: Link,
    stock: Stock,
    looked_at: Instant,
    answers: Answers,
    inflight: BTreeSet<Receipt>,
    /// Chunks and bytes that were sent since nothing was wanted.
    sent: (u64, u64),
    retains: bool,
    supplying: Option<Supplying>,
    supply_again: bool,
    patience: Duration,
    journal: Journal,
    start: Instant,
}

impl Depot {
    fn new(fleet: Fleet, args: &DepotArgs, patience: Duration) -> Result<Self> {
        let id = format!("dunlinctl-depot-{:08x}", getrandom::u32().context("no random numbers")?);
        let stock = Stock::load(&fleet)?;
        Ok(Self {
            link: Link::new(fleet.broker.clone(), id, None),
            stock,
            looked_at: Instant::now(),
            answers: Answers::new(args.rate.0),
            inflight: BTreeSet::new(),
            sent: (0, 0),
            retains: true,
            supplying: None,
            supply_again: false,
            patience,
            journal: Journal { json: args.json, lacks: BTreeSet::new() },
            start: Instant::now(),
            fleet,
        })
    }

    async fn serve(&mut self) -> Result<()> {
        let Stock { releases, modules, .. } = &self.stock;
        let (releases, modules) = (releases.len(), modules.len());
        self.journal.write(&Entry::Stock { fleet: self.fleet.name.to_string(), releases, modules })?;
        loop {
            self.send()?;
            let free = self.inflight.len() < INFLIGHT_MAX;
            let due = self.answers.poll_timeout().filter(|_| free);
            let due = due.map(|at| tokio::time::Instant::from_std(self.start + Duration::from_millis(at.0)));
            tokio::select! {
                event = self.link.next() => self.handle(event)?,
                outcome = maybe(&mut self.supplying) => self.handle_supplied(outcome)?,
                () = maybe_sleep(due) => {}
            }
        }
    }

    fn now(&self) -> Moment {
        Moment(self.start.elapsed().as_millis() as u64)
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Connected(abilities) => {
                self.retains = abilities.retain;
                let broker = self.fleet.broker.url.to_string();
                self.journal.write(&Entry::Connected { broker, retains: self.retains })?;
                self.link.subscribe(self.fleet.topics.every_want());
                if !self.retains {
                    // Whoever comes has missed everything.
                    self.link.subscribe(self.fleet.topics.every_device(DeviceLeaf::Online));
                }
                self.supply();
            }
            Event::Disconnected { why, .. } => self.journal.write(&Entry::Disconnected { why })?,
            Event::Subscribed { filter, outcome: Err(why) } => {
                bail!("the broker {} does not let us read {filter}: {why}", self.fleet.broker.url)
            }
            Event::Subscribed { .. } => {}
            Event::Message { topic, payload } => self.handle_message(&topic, &payload)?,
            Event::Acknowledged(receipt) => _ = self.inflight.remove(&receipt),
            Event::Undeliverable { receipt, topic, why } => {
                self.inflight.remove(&receipt);
                self.journal.write(&Entry::Failed { why: format!("{topic}: {why}") })?;
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, topic: &str, payload: &Bytes) -> Result<()> {
        match self.fleet.topics.parse(topic) {
            Some(Topic::Want(digest)) => self.handle_want(digest, payload),
            Some(Topic::Online(_)) if !self.retains && **payload == *b"1" => {
                self.supply();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn handle_want(&mut self, digest: Digest, bitmap: &[u8]) -> Result<()> {
        if self.stock.chunks(&digest).is_none() && self.looked_at.elapsed() >= LOOK_AGAIN {
            // It may have been released a moment ago.
            self.look_again()?;
        }
        let Some(count) = self.stock.chunks(&digest) else {
            return self.journal.unknown(digest);
        };
        let now = self.now();
        match self.answers.handle_want(digest, count, bitmap, now) {
            Ok(0) => Ok(()),
            Ok(chunks) => {
                let what = self.stock.name(&digest);
                self.journal.write(&Entry::Wanted { what, digest, chunks, of: count })
            }
            Err(refusal) => self.journal.write(&Entry::Refused { why: refusal.to_string() }),
        }
    }

    fn look_again(&mut self) -> Result<()> {
        self.looked_at = Instant::now();
        match Stock::load(&self.fleet) {
            Ok(stock) => {
                self.stock = stock;
                self.journal.lacks.clear();
            }
            Err(error) => self.journal.write(&Entry::Failed { why: format!("{error:#}") })?,
        }
        Ok(())
    }

    /// Sends as much as may be sent now.
    fn send(&mut self) -> Result<()> {
        while self.inflight.len() < INFLIGHT_MAX
            && let now = self.now()
            && let Some((digest, index)) = self.answers.poll_answer(now)
        {
            match self.stock.read(&digest, index) {
                Ok((topic, payload)) => {
                    self.answers.handle_sent(payload.len(), now);
                    self.sent = (self.sent.0 + 1, self.sent.1 + payload.len() as u64);
                    // Where the broker can, it has it for the next one from now on.
                    self.inflight.insert(self.link.publish(self.fleet.topics.format(&topic), payload, true));
                }
                Err(error) => {
                    self.answers.handle_lost(&digest);
                    self.stock.forget(&digest);
                    self.journal.write(&Entry::Failed { why: format!("{error:#}") })?;
                }
            }
        }
        if self.answers.poll_timeout().is_none() && self.inflight.is_empty() && self.sent.0 > 0 {
            let (chunks, bytes) = std::mem::take(&mut self.sent);
            self.journal.write(&Entry::Sent { chunks, bytes })?;
        }
        Ok(())
    }

    /// Gives the broker what boards look for first, unless that is going on already: then once more.
    fn supply(&mut self) {
        if self.supplying.is_some() {
            self.supply_again = true;
        } else {
            self.supplying = Some(Box::pin(supply::supply(self.fleet.dir.clone(), self.patience)));
        }
    }

    fn handle_supplied(&mut self, outcome: Result<Vec<String>>) -> Result<()> {
        self.supplying = None;
        match outcome {
            Ok(what) if what.is_empty() => {}
            Ok(what) => self.journal.write(&Entry::Supplied { what })?,
            Err(error) => self.journal.write(&Entry::Failed { why: format!("{error:#}") })?,
        }
        if std::mem::take(&mut self.supply_again) {
            self.supply();
        }
        Ok(())
    }
}

async fn maybe<T>(future: &mut Option<Pin<Box<dyn Future<Output = T>>>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn maybe_sleep(until: Option<tokio::time::Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}
