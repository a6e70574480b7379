//! Keys on different machines: a root's file is signed here and there, published by one, pulled by all.

use anyhow::{Context, Result, bail, ensure};
use dunlin_core::wire::{Envelope, Kind, Root};

use super::{
    adopt::{adopt, ready, settle, successor},
    draft, plan, show,
};
use crate::{
    cli::{Global, RootPublishArgs, RootPullArgs, RootSignArgs},
    files::{self, Audience},
    fleet::Fleet,
    keys::{Key, Role},
    plans, say,
    session::Session,
    sign,
};

/// Adds a signature to a root's file. It needs no broker, and with a key's file no fleet's folder.
pub(super) fn sign(args: &RootSignArgs, global: &Global) -> Result<()> {
    let shown = args.file.display();
    let mut envelope = Envelope::decode(&files::read(&args.file)?, Kind::Root).with_context(|| shown.to_string())?;
    let next: Root = envelope.body().with_context(|| shown.to_string())?;
    let fleet = match (&global.fleet, &args.key) {
        (None, Some(_)) => Fleet::find(None).ok().filter(|fleet| fleet.name == next.fleet),
        (given, _) => Some(Fleet::find(given.as_deref())?),
    };
    let keys = match (&args.key, &fleet) {
        (Some(path), _) => vec![Key::load(path)?],
        (None, Some(fleet)) => fleet.held(Role::Root)?,
        (None, None) => Vec::new(),
    };
    if let Some(fleet) = &fleet {
        check_follows(fleet, &next)?;
    }
    let counts = |key: &&Key| match &fleet {
        Some(fleet) => draft::counts(fleet.root(), &next, &key.public()),
        // Without the root in force nobody can say here; a signature too many harms nothing.
        None => true,
    };
    let keys: Vec<&Key> = keys.iter().filter(counts).collect();
    ensure!(!keys.is_empty(), "none of these keys is asked for: it must be a root key of this root or of the last");
    for line in show::lines(&next) {
        say::result(line)?;
    }
    for key in sign::add(&mut envelope, &keys)? {
        say::result(format_args!("signed by {key}"))?;
    }
    files::write(&args.file, &envelope.encode(), Audience::All)?;
    let Some(fleet) = fleet else { return Ok(()) };
    let lacks = draft::lacks(fleet.root(), &next, &envelope);
    say::result(if lacks.is_empty() { "it is complete:" } else { "it lacks signatures:" })?;
    draft::explain(&args.file, &lacks)
}

/// Puts a root in force that has all its signatures; publishes the one in force again.
pub(super) async fn publish(args: &RootPublishArgs, global: &Global) -> Result<()> {
    let mut fleet = Fleet::find(global.fleet.as_deref())?;
    let _lock = fleet.lock()?;
    let shown = args.file.display();
    let envelope = Envelope::decode(&files::read(&args.file)?, Kind::Root).with_context(|| shown.to_string())?;
    let root: Root = envelope.body().with_context(|| shown.to_string())?;
    let again = envelope.digest() == fleet.root().digest();
    if !again {
        check_follows(&fleet, &root)?;
        let lacks = draft::lacks(fleet.root(), &root, &envelope);
        if !lacks.is_empty() {
            say::result(format_args!("root {} lacks signatures:", root.version))?;
            draft::explain(&args.file, &lacks)?;
            bail!("root {} is not published", root.version);
        }
    }
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    if again {
        let plan = plans::latest(&fleet, &mut session).await?;
        settle(&fleet, &mut session, plan).await?;
    } else {
        let ready = ready(&fleet, &mut session, &envelope, args.plan).await?;
        adopt(&mut fleet, &mut session, ready).await?;
        let waited = draft::file(&fleet, root.version);
        if waited.exists() {
            // It is in roots/ now.
            std::fs::remove_file(&waited).with_context(|| format!("cannot remove {}", waited.display()))?;
        }
    }
    session.close().await;
    Ok(say::result(format_args!("root {} is in force", root.version))?)
}

/// Takes what was made elsewhere: every root that follows, each verified as a board does it.
pub(super) async fn pull(args: &RootPullArgs, global: &Global) -> Result<()> {
    let mut fleet = Fleet::find(global.fleet.as_deref())?;
    let _lock = fleet.lock()?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let before = fleet.root().version;
    while let Some(next) = successor(&fleet, &mut session).await? {
        fleet.adopt(next)?;
    }
    let plan = plan::after_root(&fleet, &mut session, args.plan).await?;
    settle(&fleet, &mut session, plan).await?;
    session.close().await;
    let version = fleet.root().version;
    let what = if version == before { "was in force already" } else { "is in force" };
    Ok(say::result(format_args!("root {version} {what}"))?)
}

fn check_follows(fleet: &Fleet, next: &Root) -> Result<()> {
    ensure!(next.fleet == fleet.name, "it is a root of {}, but this is {}", next.fleet, fleet.name);
    let (version, current) = (next.version, fleet.root().version);
    ensure!(
        current.checked_add(1) == Some(version),
        "it is root {version}, but only the direct successor of root {current} can follow; `dunlinctl root pull` takes \
         what was made elsewhere"
    );
    Ok(())
}
