//! What a guest says to the world and hears from it, in messages under names that it was granted.
//!
//! Where they go and come from is the business of whoever gives it the bus.

use std::task::{Context, Poll};

/// Carries one guest's messages. Called on the guest's task: it must not block.
pub trait Bus: Send {
    /// Takes a message that the guest publishes.
    ///
    /// # Errors
    ///
    /// Says why it is not taken.
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), NotTaken>;

    /// The next message for the guest, if there is one.
    fn receive(&mut self) -> Option<Message>;

    /// Until there may be one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A message that a guest hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The name that it came under.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Why a message is not taken from a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It may not publish under this name.
    NotGranted,
    /// One message may not be that long.
    TooLong,
    /// It published too much lately: later, it may again.
    TooMany,
}

/// A guest's bus, as the host keeps it.
pub(crate) struct Mailbox {
    pub(crate) bus: Box<dyn Bus>,
    /// A message for which the guest had no room yet.
    pub(crate) held: Option<Message>,
}

impl Mailbox {
    pub(crate) fn new(bus: Box<dyn Bus>) -> Self {
        Self { bus, held: None }
    }

    pub(crate) fn receive(&mut self) -> Option<Message> {
        self.held.take().or_else(|| self.bus.receive())
    }
}
