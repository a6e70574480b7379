//! `grant`: the grant keys agree to a release that asks for more than the one before it.

use anyhow::{Context, Result, ensure};
use dunlin_core::{
    policy::widening,
    trust::may_widen,
    wire::{Release, Root},
};

use crate::{
    WrongUse,
    cli::{Global, GrantArgs},
    fleet::Fleet,
    keys::Key,
    records::Record,
    release, say,
    session::Session,
    sign,
};

/// Signs a release that was made here with the grant keys that are here, and publishes it again.
pub(crate) async fn run(args: &GrantArgs, global: &Global) -> Result<()> {
    let app = &args.app.app;
    let version = args.app.version.as_ref();
    let version = version.ok_or_else(|| WrongUse("say which version: APP@VERSION".into()))?;
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let _lock = fleet.lock()?;
    let root = fleet.root();
    ensure!(root.grant.is_some(), "root {} has no grant role: `dunlinctl root add-key grant KEYFILE`", root.version);
    let record = fleet.record(app, version)?;
    let record = record.with_context(|| format!("no release {version} of {app} in {}", fleet.dir.display()))?;
    let mut record = release::renewed(&fleet, record)?;
    let keys = fleet.grant_keys()?;
    let dir = fleet.dir.join("keys");
    ensure!(!keys.is_empty(), "{}: there is no grant key here that root {} knows", dir.display(), root.version);
    let asks = more(&fleet, &record)?.unwrap_or_else(|| "no more than the release before".into());
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    sign::add(&mut record.envelope, &keys.iter().collect::<Vec<&Key>>())?;
    let message = release::envelope_message(&fleet, &record);
    session.admits(&message)?;
    fleet.keep_envelope(&record)?;
    session.publish(&format!("{app} {version}"), vec![message]).await?;
    session.close().await;
    say::result(format_args!("granted {app} {version}: {asks}"))?;
    lacks(&fleet, &record)
}

/// Says so if boards would refuse a release for what it asks for.
pub(crate) fn note(fleet: &Fleet, record: &Record) -> Result<()> {
    let Release { app, version, .. } = &record.release;
    if fleet.root().grant.is_none() {
        return Ok(());
    }
    let Some(more) = more(fleet, record)? else { return Ok(()) };
    let asks = format_args!("{app} {version} asks for more than the release before ({more})");
    if granted(fleet, record)? {
        say::warning(format_args!("{asks}: the grant keys in this folder have agreed"));
    } else {
        say::warning(format_args!(
            "{asks}: boards refuse it until whoever has the grant key says `dunlinctl grant {app}@{version}`"
        ));
    }
    Ok(())
}

fn lacks(fleet: &Fleet, record: &Record) -> Result<()> {
    let Root { grant: Some(grant), .. } = &**fleet.root() else { return Ok(()) };
    if !granted(fleet, record)? {
        say::warning(format_args!("{} grant keys must agree, so boards still refuse it", grant.threshold));
    }
    Ok(())
}

fn granted(fleet: &Fleet, record: &Record) -> Result<bool> {
    Ok(may_widen(fleet.root(), &release::check(fleet, record)?))
}

/// What a release asks for beyond the one before it.
fn more(fleet: &Fleet, record: &Record) -> Result<Option<String>> {
    let records = fleet.records(&record.release.app)?;
    let before = records.iter().rev().find(|other| other.release.counter < record.release.counter);
    Ok(widening(before.map(|before| &before.release.asks), &record.release.asks))
}
