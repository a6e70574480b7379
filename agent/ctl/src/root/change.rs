//! The commands that make the next root.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dunlin_core::wire::{AppName, PublicKey, Root, Version};
use serde::Serialize;

use super::{
    adopt::{adopt, ready},
    draft::{self, Lack},
    edit,
};
use crate::{
    WrongUse,
    cli::{
        AddKeyArgs, Banned, ExpiresArgs, FloorArgs, FloorAt, Global, HowArgs, RemoveKeyArgs, RevokeArgs, RotateArgs,
    },
    fleet::{Fleet, key_file},
    keys::{Key, Role},
    records::Record,
    say,
    session::Session,
    time,
};

/// What a change is beside the next root.
struct Change {
    /// For a person: what the next root does.
    says: String,
    /// A key that is to sign it with those of the folder.
    signer: Option<Key>,
    replaced: Option<Replaced>,
}

/// A new key, and the one that it replaces in a file.
struct Replaced {
    new: Key,
    old: Key,
    path: PathBuf,
}

/// What a change with `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    version: u64,
    change: &'a str,
    /// Whether it is in force: not if it waits in a file.
    published: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    lacks: &'a [Lack],
}

impl Change {
    fn new(says: String) -> Self {
        Self { says, signer: None, replaced: None }
    }
}

pub(super) async fn add_key(args: &AddKeyArgs, global: &Global) -> Result<()> {
    let AddKeyArgs { role, key, threshold, apps, how } = args;
    if !apps.is_empty() && *role != Role::Release {
        return Err(WrongUse("--apps goes with the role release".into()).into());
    }
    change(how, global, |_, root| {
        let (public, signer) = public_key(key)?;
        edit::add_key(root, *role, apps, public, *threshold)?;
        let says = format!("the {} role has the key {public}", role.as_str());
        Ok(Change { signer: signer.filter(|_| *role == Role::Root), ..Change::new(says) })
    })
    .await
}

pub(super) async fn remove_key(args: &RemoveKeyArgs, global: &Global) -> Result<()> {
    let RemoveKeyArgs { role, key, threshold, how } = args;
    change(how, global, |_, root| {
        let had_grant = root.grant.is_some();
        let key = edit::remove_key(root, *role, key, *threshold)?;
        if had_grant && root.grant.is_none() {
            say::warning("that was the last grant key: from now on a release may ask for more than the one before");
        }
        Ok(Change::new(format!("the {} role does not have the key {key} any more", role.as_str())))
    })
    .await
}

pub(super) async fn rotate(args: &RotateArgs, global: &Global) -> Result<()> {
    let RotateArgs { role, how } = args;
    change(how, global, |fleet, root| {
        let path = key_file(&fleet.dir, *role);
        let file = Key::load(&path)?;
        let (name, version, shown) = (role.as_str(), fleet.root().version, path.display());
        // After a rotation that did not come to its end, the key that counts is beside the file.
        let mut held = fleet.held(*role)?.into_iter().map(|key| key.public());
        let old = held.find(|key| edit::knows(root, *role, key));
        let old = old.with_context(|| format!("{shown}: root {version} does not know this {name} key"))?;
        let new = Key::generate()?;
        edit::replace_key(root, *role, &old, new.public());
        let says = format!("the {name} role has the key {} instead of {old}", new.public());
        Ok(Change { replaced: Some(Replaced { new, old: file, path }), ..Change::new(says) })
    })
    .await
}

pub(super) async fn revoke(args: &RevokeArgs, global: &Global) -> Result<()> {
    let RevokeArgs { what, module, how } = args;
    change(how, global, |fleet, root| {
        let (digest, says) = match what {
            Banned::Digest(_) if *module => {
                return Err(
                    WrongUse("--module goes with APP@VERSION: a digest says itself what it is of".into()).into()
                );
            }
            Banned::Digest(digest) => (*digest, format!("{digest} must not run")),
            Banned::Release(app, version) => {
                let record = record(fleet, app, version)?;
                let (of, digest) = match module {
                    true => ("the module of ", record.release.module.sha256),
                    false => ("", record.envelope.digest()),
                };
                (digest, format!("{of}{app} {version} ({}) must not run", digest.short()))
            }
        };
        edit::revoke(root, digest)?;
        Ok(Change::new(says))
    })
    .await
}

pub(super) async fn floor(args: &FloorArgs, global: &Global) -> Result<()> {
    let FloorArgs { app, at, how } = args;
    change(how, global, |fleet, root| {
        let counter = match at {
            FloorAt::Counter(counter) => *counter,
            FloorAt::Version(version) => record(fleet, app, version)?.release.counter,
        };
        edit::floor(root, app, counter)?;
        Ok(Change::new(format!("{app} must not run below the counter {counter}")))
    })
    .await
}

pub(super) async fn expires(args: &ExpiresArgs, global: &Global) -> Result<()> {
    let ExpiresArgs { after, how } = args;
    change(how, global, |_, root| {
        root.expires = time::after(time::now(), after.0);
        Ok(Change::new(format!("it is good until {}", time::show(root.expires))))
    })
    .await
}

/// Makes the next root. With enough signatures it is published, otherwise it waits in a file.
async fn change(how: &HowArgs, global: &Global, edit: impl FnOnce(&Fleet, &mut Root) -> Result<Change>) -> Result<()> {
    let mut fleet = Fleet::find(global.fleet.as_deref())?;
    let _lock = fleet.lock()?;
    draft::check_alone(&fleet)?;
    let mut next = Root::clone(fleet.root());
    next.version = next.version.checked_add(1).context("there is no version left")?;
    let Change { says, signer, replaced } = edit(&fleet, &mut next)?;
    let held = fleet.held(Role::Root)?;
    let keys = held.iter().chain(&signer).chain(replaced.iter().map(|replaced| &replaced.new));
    let envelope = draft::seal(fleet.root(), &next, keys)?;
    let lacks = draft::lacks(fleet.root(), &next, &envelope);
    let version = next.version;
    let report = |file: Option<&Path>| {
        let published = file.is_none();
        if how.json {
            return say::json(&Report { version, change: &says, published, file, lacks: &lacks });
        }
        let Some(file) = file else { return Ok(say::result(format_args!("root {version} is in force: {says}"))?) };
        let complete = if lacks.is_empty() { "is complete" } else { "lacks signatures" };
        say::result(format_args!("root {version} {complete}, in {}: {says}", file.display()))?;
        draft::explain(file, &lacks)
    };
    if how.sign_only || !lacks.is_empty() {
        replace_key(replaced)?;
        return report(Some(&draft::keep(&fleet, version, &envelope)?));
    }
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let ready = ready(&fleet, &mut session, &envelope, how.plan).await?;
    replace_key(replaced)?;
    adopt(&mut fleet, &mut session, ready).await?;
    session.close().await;
    report(None)
}

/// The new key's file comes before the root that knows it: a power cut between them loses nothing,
/// because the old key is found beside it.
fn replace_key(replaced: Option<Replaced>) -> Result<()> {
    let Some(Replaced { new, old, path }) = replaced else { return Ok(()) };
    let kept = new.replace(&path, &old)?;
    say::note(format_args!("{} is a new key; the old one is {}", path.display(), kept.display()));
    Ok(())
}

/// A public key, and where it was given as a file, the key.
fn public_key(text: &str) -> Result<(PublicKey, Option<Key>)> {
    if let Ok(public) = text.parse() {
        return Ok((public, None));
    }
    let path = Path::new(text);
    if !path.exists() {
        bail!("{text} is neither a file nor a public key (64 digits, as `dunlinctl key show` prints them)");
    }
    let key = Key::load(path)?;
    Ok((key.public(), Some(key)))
}

/// A release that was made here.
fn record(fleet: &Fleet, app: &AppName, version: &Version) -> Result<Record> {
    let record = fleet.record(app, version)?;
    record.with_context(|| format!("no release {version} of {app} in {}: name it by its digest", fleet.dir.display()))
}
