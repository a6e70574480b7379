//! Modules from HTTP(S): one URL after the other, with Range, from where the last one stopped.
//!
//! A server is trusted with nothing but delivery: what does not hash ends it, and the next one, or
//! the broker, has its turn. Of what is there already nothing is asked for again.

use std::{ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use dunlin_core::{
    Refusal,
    trust::check_chunk,
    wire::{Bitmap, Digest, Module},
};
use reqwest::{Client, StatusCode, header, redirect};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::link::Tls;

/// How long a server may take to let us connect.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Redirects followed from one URL.
const REDIRECTS_MAX: usize = 5;

/// Chunks that wait to be written; when they are as many, the server waits too.
const BROUGHT_MAX: usize = 2;

/// What a download brought.
#[derive(Debug)]
pub(crate) enum Brought {
    /// A chunk that hashes.
    Chunk { module: Digest, index: u32, bytes: Bytes },
    /// A server's chunk that does not hash.
    Refused(Refusal),
    /// It is over: everything came, or no URL is left.
    Over { module: Digest },
}

/// A download. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Download(JoinHandle<()>);

impl Drop for Download {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts downloads and hears of them.
#[derive(Debug)]
pub(crate) struct Downloads {
    tls: Tls,
    client: Option<Client>,
    sender: mpsc::Sender<Brought>,
    receiver: mpsc::Receiver<Brought>,
}

impl Downloads {
    /// Downloads from servers that these certificates vouch for.
    pub(crate) fn new(tls: Tls) -> Self {
        let (sender, receiver) = mpsc::channel(BROUGHT_MAX);
        Self { tls, client: None, sender, receiver }
    }

    /// What came next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Brought> {
        self.receiver.recv().await
    }

    /// Begins to download what is missing; nothing if there is nowhere to download from.
    pub(super) fn start(&mut self, module: &Module, urls: &[String], have: &Bitmap) -> Option<Download> {
        if urls.is_empty() {
            return None;
        }
        let client = self.client()?;
        let work = Work { client, module: module.clone(), missing: runs(have.missing()), sender: self.sender.clone() };
        Some(Download(tokio::spawn(work.run(urls.to_vec()))))
    }

    fn client(&mut self) -> Option<Client> {
        if self.client.is_none() {
            match client(&self.tls) {
                Ok(client) => self.client = Some(client),
                Err(why) => tracing::error!("no download: {why}"),
            }
        }
        self.client.clone()
    }
}

fn client(tls: &Tls) -> Result<Client, String> {
    let tls = tls.client_config().map_err(|error| error.to_string())?;
    Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .user_agent(concat!("dunlin/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(redirect::Policy::limited(REDIRECTS_MAX))
        // Modules come rarely: a connection is not worth keeping.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| full(&error))
}

/// Runs of chunks that lie side by side: each is one request.
fn runs(chunks: impl Iterator<Item = u32>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for chunk in chunks {
        match runs.last_mut() {
            Some(run) if run.end == chunk => run.end += 1,
            _ => runs.push(chunk..chunk + 1),
        }
    }
    runs
}

/// Why a server was of no use.
enum Useless {
    /// It lies.
    Refused(Refusal),
    /// It fails.
    Failed(String),
    /// Nobody waits for the module any more.
    Unwanted,
}

struct Work {
    client: Client,
    module: Module,
    /// What is missing; it grows shorter at its beginning.
    missing: Vec<Range<u32>>,
    sender: mpsc::Sender<Brought>,
}

impl Work {
    async fn run(mut self, urls: Vec<String>) {
        for url in urls {
            match self.everything_from(&url).await {
                Ok(()) => break,
                Err(Useless::Unwanted) => return,
                Err(Useless::Failed(why)) => tracing::warn!(url, "no module: {why}"),
                Err(Useless::Refused(refusal)) => {
                    tracing::warn!(url, "no module: {refusal}");
                    if self.sender.send(Brought::Refused(refusal)).await.is_err() {
                        return;
                    }
                }
            }
        }
        // Nobody waits any more: nobody needs to know.
        let _ = self.sender.send(Brought::Over { module: self.module.sha256 }).await;
    }

    async fn everything_from(&mut self, url: &str) -> Result<(), Useless> {
        while let Some(run) = self.missing.first().cloned() {
            self.run_from(url, run).await?;
            self.missing.remove(0);
        }
        Ok(())
    }

    /// Downloads a run of chunks (RFC 9110, section 14).
    async fn run_from(&mut self, url: &str, run: Range<u32>) -> Result<(), Useless> {
        let failed = |error: reqwest::Error| Useless::Failed(full(&error));
        let Some((first, _)) = self.module.range(run.start) else { return Ok(()) };
        let Some((last, length)) = self.module.range(run.end - 1) else { return Ok(()) };
        let range = format!("bytes={first}-{}", last + length as u64 - 1);
        let mut response = self.client.get(url).header(header::RANGE, range).send().await.map_err(failed)?;
        // A server that knows no Range sends everything: what is not wanted of it is passed over.
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => 0,
            StatusCode::OK => first,
            status => return Err(Useless::Failed(format!("the server says {status}"))),
        };
        let mut begun = BytesMut::new();
        let mut index = run.start;
        while index < run.end {
            let Some(mut bytes) = response.chunk().await.map_err(failed)? else {
                return Err(Useless::Failed("the server sent less than it was to".into()));
            };
            let passed = skip.min(bytes.len() as u64);
            skip -= passed;
            drop(bytes.split_to(passed as usize));
            begun.extend_from_slice(&bytes);
            while let Some((_, length)) = self.module.range(index).filter(|_| index < run.end)
                && begun.len() >= length
            {
                let bytes = begun.split_to(length).freeze();
                check_chunk(&self.module, index, &bytes).map_err(Useless::Refused)?;
                let chunk = Brought::Chunk { module: self.module.sha256, index, bytes };
                self.sender.send(chunk).await.map_err(|_| Useless::Unwanted)?;
                index += 1;
                self.missing[0].start = index;
            }
        }
        Ok(())
    }
}

/// An error with its causes: reqwest's own sentence alone says little.
fn full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_chunks_are_asked_for_in_runs() {
        assert_eq!(runs([0, 1, 2, 5, 7, 8].into_iter()), [0..3, 5..6, 7..9]);
        assert_eq!(runs([].into_iter()), []);
    }
}
