//! The roots of a fleet in its folder: `root.dunlin` is the newest and the one in force here,
//! `roots/<n>.dunlin` keeps each, for boards that still have to walk through them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dunlin_core::{
    trust::{Chain, Verified, first_root},
    wire::{Root, Topic},
};

use crate::{
    files::{self, Audience},
    fleet::{Fleet, ROOT_FILE},
    session::{Message, Session},
};

/// Roots, each the successor of the one before it.
#[derive(Debug)]
pub(crate) struct Roots {
    all: Vec<Verified<Root>>,
    chain: Chain,
}

impl Roots {
    /// The roots in a fleet's folder: the newest, and as many before it as are kept without a gap.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(ROOT_FILE);
        let bytes = files::read(&path)?;
        let shown = |path: &Path| path.display().to_string();
        let newest = first_root(&bytes).with_context(|| shown(&path))?;
        let mut files = vec![(path, bytes)];
        for version in (1..newest.version).rev() {
            let path = kept_file(dir, version);
            let Some(bytes) = files::read_if_there(&path)? else { break };
            files.push((path, bytes));
        }
        let mut roots: Option<Self> = None;
        for (path, bytes) in files.into_iter().rev() {
            roots = Some(match roots {
                None => Self::of(first_root(&bytes).with_context(|| shown(&path))?),
                Some(mut roots) => {
                    let next = roots.chain.verify_next(&bytes).with_context(|| shown(&path))?;
                    roots.push(next);
                    roots
                }
            });
        }
        Ok(roots.unwrap_or_else(|| Self::of(newest)))
    }

    fn of(first: Verified<Root>) -> Self {
        Self { chain: Chain::new(first.clone()), all: vec![first] }
    }

    fn push(&mut self, next: Verified<Root>) {
        self.chain.adopt(next.clone());
        self.all.push(next);
    }

    /// What boards check with, which may still have things by keys that were replaced.
    pub(crate) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Each that is known, oldest first.
    pub(crate) fn all(&self) -> &[Verified<Root>] {
        &self.all
    }
}

fn kept_file(dir: &Path, version: u64) -> PathBuf {
    dir.join("roots").join(format!("{version}.dunlin"))
}

impl Fleet {
    /// The root in force: the newest.
    pub(crate) fn root(&self) -> &Verified<Root> {
        self.roots.chain().current()
    }

    /// Keeps the successor of the root in force, which takes its place.
    pub(crate) fn adopt(&mut self, next: Verified<Root>) -> Result<()> {
        for root in [self.root(), &next] {
            files::write(&kept_file(&self.dir, root.version), &root.to_bytes(), Audience::All)?;
        }
        // The file that puts it in force comes last.
        files::write(&self.dir.join(ROOT_FILE), &next.to_bytes(), Audience::All)?;
        self.roots.push(next);
        Ok(())
    }
}

/// Publishes every root of the chain that the broker does not have (any more). A board that was
/// away for years needs each of them. Answers with how many that were.
pub(crate) async fn publish(fleet: &Fleet, session: &mut Session) -> Result<usize> {
    let topic_of = |root: &Verified<Root>| fleet.topics.format(&Topic::Root(root.version));
    let topics: Vec<_> = fleet.roots.all().iter().map(topic_of).collect();
    let there = session.fetch(&topics).await?;
    let message = |root: &Verified<Root>| Message { topic: topic_of(root), payload: root.to_bytes().into() };
    let messages = fleet.roots.all().iter().map(message);
    let missing: Vec<_> = messages.filter(|m| there.get(&m.topic) != Some(&m.payload)).collect();
    let count = missing.len();
    if count > 0 {
        session.publish("the root", missing).await?;
    }
    Ok(count)
}
