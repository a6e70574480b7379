//! `release`: check, sign and publish an app's module.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dunlin::link::Abilities;
use dunlin_core::{
    Code, Refusal, limits,
    trust::{self, Verified},
    wire::{Digest, Envelope, Module, Release, Topic, Topics, World},
};
use serde::Serialize;

use crate::{
    agent,
    app::App,
    cli::{Global, ReleaseArgs},
    fleet::Fleet,
    grant, module, plans,
    records::Record,
    say,
    session::{Message, PACKET_OVERHEAD_BYTES, Session},
    sign,
};

/// What `release --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    app: &'a str,
    version: &'a str,
    counter: u64,
    digest: Digest,
    module: ModuleReport,
    /// Whether the broker has it: not with `--dry-run`.
    published: bool,
    /// Whether it was released before, and is only published again.
    again: bool,
}

#[derive(Serialize)]
struct ModuleReport {
    sha256: Digest,
    bytes: u64,
    chunks: u32,
}

/// Releases what `app.toml` describes.
pub(crate) async fn run(args: &ReleaseArgs, global: &Global) -> Result<()> {
    let app = App::load(&args.file)?;
    let wasm = checked_module(&app)?;
    let fleet = Fleet::find(global.fleet.as_deref())?;
    if args.dry_run {
        let (record, again) = draft(&fleet, &app, &wasm, limits::CHUNK_BYTES, None)?;
        report(&record, again, false, args.json)?;
        return grant::note(&fleet, &record);
    }
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let (record, again) = release(&fleet, &mut session, &app, wasm.into()).await?;
    session.close().await;
    report(&record, again, true, args.json)?;
    grant::note(&fleet, &record)
}

/// The bytes of an app's module, if a board could run them.
fn checked_module(app: &App) -> Result<Vec<u8>> {
    let wasm = app.read_module()?;
    check_module(&wasm, app, &app.module)?;
    Ok(wasm)
}

/// Holds if a board could run this module of this app.
pub(crate) fn check_module(wasm: &[u8], app: &App, path: &Path) -> Result<()> {
    let checked = match app.name.agent_target() {
        Some(target) => agent::check(wasm, target),
        None => module::check(wasm, app.asks.memory_bytes, app.instances),
    };
    checked.with_context(|| path.display().to_string())
}

/// Signs a release of an app, keeps it, and publishes it. What was released before under this
/// version is published again if it is the same, and an error otherwise.
pub(crate) async fn release(fleet: &Fleet, session: &mut Session, app: &App, wasm: Bytes) -> Result<(Record, bool)> {
    let chunk_bytes = chunk_bytes(&fleet.topics, session.abilities())?;
    let _lock = fleet.lock()?;
    let plan = plans::latest(fleet, session).await?;
    let (record, again) = draft(fleet, app, &wasm, chunk_bytes, plan.as_ref())?;
    // What could never be published is no release: its version stays free.
    session.admits(&envelope_message(fleet, &record))?;
    fleet.keep(&record, &wasm)?;
    publish(fleet, session, &record, &wasm).await?;
    Ok((record, again))
}

/// Publishes a release: its chunks first, so that who sees the release finds them. Where the broker
/// keeps nothing they would pass by unheard: boards want them from a depot.
pub(crate) async fn publish(fleet: &Fleet, session: &mut Session, record: &Record, wasm: &Bytes) -> Result<()> {
    let release = &record.release;
    let module = &release.module;
    let chunks = (0..module.count()).filter_map(|index| module.range(index).map(|range| (index, range)));
    let chunk = |(index, (offset, length)): (u32, (u64, usize))| Message {
        topic: fleet.topics.format(&Topic::Blob(module.sha256, index)),
        // It lies within the module: the release was described from it.
        payload: wasm.slice(offset as usize..offset as usize + length),
    };
    let messages = chunks.map(chunk).collect();
    let what = format!("{} {}", release.app, release.version);
    // Two steps: the order of messages that are on their way together is the broker's own.
    if session.abilities().retain {
        session.publish(&what, messages).await?;
    }
    session.publish(&what, vec![envelope_message(fleet, record)]).await
}

/// The message that carries a release.
pub(crate) fn envelope_message(fleet: &Fleet, record: &Record) -> Message {
    let topic = fleet.topics.format(&Topic::Release(record.envelope.digest()));
    Message { topic, payload: record.envelope.encode().into() }
}

/// The release of this app with this module, signed: the one there is of this version, if it is
/// the same, or a new one with the next counter.
fn draft(
    fleet: &Fleet,
    app: &App,
    wasm: &[u8],
    chunk_bytes: u32,
    plan: Option<&Verified<dunlin_core::wire::Plan>>,
) -> Result<(Record, bool)> {
    let world = match app.name.agent_target() {
        Some(_) => World::Agent,
        None => module::world(wasm, app.instances)?,
    };
    let make = |counter, chunk_bytes| Release {
        app: app.name.clone(),
        counter,
        version: app.version.clone(),
        module: Module::describe(wasm, chunk_bytes),
        world,
        asks: app.asks.clone(),
        health: app.health.clone(),
        restart: app.restart,
        start: app.start,
        trial_ms: app.trial_ms,
        drain_ms: app.drain_ms,
        urls: app.urls.iter().map(|url| fill_in(url, app, wasm)).collect(),
    };
    if let Some(record) = fleet.record(&app.name, &app.version)? {
        let old = &record.release;
        let new = make(old.counter, old.module.chunk_bytes);
        if new != *old {
            bail!(
                "{} {} was released before with {}, and a version never changes: raise `version` in app.toml",
                app.name,
                app.version,
                difference(old, &new)
            );
        }
        return Ok((renewed(fleet, record)?, true));
    }
    let release = make(next_counter(fleet, app, plan)?, chunk_bytes);
    let envelope = sealed(fleet, &release)?;
    let record = Record { envelope, release };
    verify(fleet, &record)?;
    Ok((record, false))
}

/// A URL with what it leaves open.
fn fill_in(url: &str, app: &App, wasm: &[u8]) -> String {
    let url = url.replace("{app}", app.name.as_str()).replace("{version}", app.version.as_str());
    url.replace("{sha256}", &Digest::of(wasm).to_string())
}

fn sealed(fleet: &Fleet, release: &Release) -> Result<Envelope> {
    let keys = fleet.release_keys(&release.app)?;
    sign::seal(release, &keys.iter().collect::<Vec<_>>())
}

/// The release with the signatures that boards ask for today. What it says stays, and so do its
/// digest and the signatures that it has: some boards are still under an earlier root.
pub(crate) fn renewed(fleet: &Fleet, mut record: Record) -> Result<Record> {
    if check(fleet, &record).is_err_and(|refusal| refusal.code == Code::Unsigned) {
        let Release { app, version, .. } = &record.release;
        let root = fleet.root().version;
        let keys = fleet.release_keys(app);
        let keys = keys.with_context(|| format!("root {root} does not know who signed {app} {version}"))?;
        sign::add(&mut record.envelope, &keys.iter().collect::<Vec<_>>())?;
    }
    verify(fleet, &record)?;
    Ok(record)
}

/// Holds if boards take it.
fn verify(fleet: &Fleet, record: &Record) -> Result<()> {
    let Release { app, version, .. } = &record.release;
    check(fleet, record).map(drop).with_context(|| format!("boards would refuse {app} {version}"))
}

/// What a board will say to it.
pub(crate) fn check(fleet: &Fleet, record: &Record) -> Result<Verified<Release>, Refusal> {
    trust::verify_release(fleet.root(), &record.release.app, &record.order(), &record.envelope.encode())
}

fn difference(old: &Release, new: &Release) -> String {
    if old.module.sha256 == new.module.sha256 {
        return "other settings in app.toml".into();
    }
    format!("another module ({}, now {})", old.module.sha256.short(), new.module.sha256.short())
}

/// One more than any counter of this app that is known: from releases made here, and from plans.
fn next_counter(fleet: &Fleet, app: &App, plan: Option<&Verified<dunlin_core::wire::Plan>>) -> Result<u64> {
    let own = fleet.records(&app.name)?.last().map_or(0, |record| record.release.counter);
    let local = plans::local(fleet)?;
    let plans = plan.into_iter().chain(local.as_ref());
    let ordered = plans.flat_map(|plan| &plan.assignments).filter(|a| a.app == app.name);
    let known = ordered.map(|a| a.release.counter).fold(own.max(fleet.root().floor(&app.name)), Ord::max);
    known.checked_add(1).with_context(|| format!("{} has no counter left", app.name))
}

/// The length of chunks that this broker takes.
fn chunk_bytes(topics: &Topics, abilities: Abilities) -> Result<u32> {
    let Some(max) = abilities.packet_bytes_max else { return Ok(limits::CHUNK_BYTES) };
    let topic = topics.format(&Topic::Blob(Digest([0; 32]), u32::MAX));
    let payload = max.saturating_sub(PACKET_OVERHEAD_BYTES).saturating_sub(topic.len() as u32);
    // Whole kibibytes look less odd where somebody looks at them.
    let fits = payload.min(limits::CHUNK_BYTES) / 1024 * 1024;
    if fits < limits::CHUNK_BYTES_MIN {
        bail!("the broker takes packets of {max} bytes at most, too few for a chunk: raise its limit");
    }
    Ok(fits)
}

fn report(record: &Record, again: bool, published: bool, json: bool) -> Result<()> {
    let release = &record.release;
    let Module { sha256, bytes, .. } = release.module;
    let chunks = release.module.count();
    if json {
        return say::json(&Report {
            app: release.app.as_str(),
            version: release.version.as_str(),
            counter: release.counter,
            digest: record.envelope.digest(),
            module: ModuleReport { sha256, bytes, chunks },
            published,
            again,
        });
    }
    let what = match (published, again) {
        (false, _) => "would release",
        (true, false) => "released",
        (true, true) => "released before, published again:",
    };
    let (app, version, counter) = (&release.app, &release.version, release.counter);
    say::result(format_args!("{what} {app} {version} (counter {counter}, {bytes} bytes in {chunks} chunks)"))?;
    for listen in release.asks.listen.iter().filter(|listen| listen.host.is_none()) {
        let guest = listen.guest;
        say::note(format_args!("it listens on {guest}, which only a deploy publishes: -p HOST:{guest}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_the_brokers_packets() {
        let topics = Topics::new("dunlin/v1", &"flock".parse().unwrap());
        let with = |packet_bytes_max| chunk_bytes(&topics, Abilities { retain: true, packet_bytes_max });
        assert_eq!(with(None).unwrap(), limits::CHUNK_BYTES);
        assert_eq!(with(Some(u32::MAX)).unwrap(), limits::CHUNK_BYTES);
        assert_eq!(with(Some(20_480)).unwrap(), 19 * 1024);
        assert_eq!(with(Some(1_300)).unwrap(), 1024);
        assert!(with(Some(1_100)).unwrap_err().to_string().contains("1100 bytes at most"));
    }
}
