//! A module on its way to the disk: from the release's URLs where it has any, else from the broker.
//!
//! Whoever brings a chunk, it is held against the release's hash before it is written.

mod http;

use dunlin_core::{
    Moment, Refusal,
    transfer::{Ask, Transfer},
    wire::{Digest, Module, Topic, Topics},
};

use crate::{
    Failure,
    link::Link,
    store::{Part, Store},
};
use http::Download;
pub(crate) use http::{Brought, Downloads};

/// One module's fetch.
#[derive(Debug)]
pub(crate) struct Fetch {
    transfer: Transfer,
    part: Part,
    /// While this goes on, the broker is not asked.
    download: Option<Download>,
}

/// Why a chunk did not help.
pub(crate) enum BadChunk {
    Refused(Refusal),
    Failed(Failure),
}

impl Fetch {
    /// Goes on where an earlier fetch of the module stopped, even in another life.
    pub(crate) fn resume(
        store: &Store,
        module: Module,
        urls: &[String],
        downloads: &mut Downloads,
    ) -> Result<Self, Failure> {
        let part = store.part(module.clone())?;
        let have = part.present()?;
        let download = downloads.start(&module, urls, &have);
        // Only spreads when boards ask: without randomness that is just not spread.
        let seed = getrandom::u64().unwrap_or_default();
        Ok(Self { transfer: Transfer::new(module, have, seed), part, download })
    }

    pub(crate) fn digest(&self) -> Digest {
        self.transfer.module().sha256
    }

    pub(crate) fn handle_connected(&mut self, retains: bool, now: Moment) {
        self.transfer.handle_connected(retains, now);
    }

    pub(crate) fn handle_disconnected(&mut self) {
        self.transfer.handle_disconnected();
    }

    /// Checks a chunk, and writes it where it belongs.
    pub(crate) fn handle_chunk(&mut self, index: u32, bytes: &[u8], now: Moment) -> Result<(), BadChunk> {
        let offset = self.transfer.handle_chunk(index, bytes, now).map_err(BadChunk::Refused)?;
        match offset {
            Some(offset) => self.part.write(offset, bytes).map_err(BadChunk::Failed),
            None => Ok(()),
        }
    }

    /// No URL has the rest: from now on the broker is asked.
    pub(crate) fn handle_download_over(&mut self) {
        self.download = None;
    }

    /// Asks for what it needs now.
    pub(crate) fn ask(&mut self, link: &mut Link, topics: &Topics, now: Moment) {
        if self.download.is_some() {
            return;
        }
        let digest = self.digest();
        let chunk = |index| topics.format(&Topic::Blob(digest, index));
        while let Some(ask) = self.transfer.poll_ask(now) {
            match ask {
                Ask::Subscribe(index) => link.subscribe(chunk(index)),
                Ask::Unsubscribe(index) => link.unsubscribe(chunk(index)),
                Ask::SubscribeAll => link.subscribe(topics.every_chunk(&digest)),
                Ask::UnsubscribeAll => link.unsubscribe(topics.every_chunk(&digest)),
                Ask::Want(wanted) => {
                    link.publish(topics.format(&Topic::Want(digest)), wanted.encode(), false);
                }
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.download.is_none().then(|| self.transfer.poll_timeout()).flatten()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.transfer.is_complete()
    }

    /// The file, to be finished on a thread that may block.
    pub(crate) fn into_part(self) -> Part {
        self.part
    }
}
