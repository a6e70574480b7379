//! `events`: what happens on devices, as it happens.

use std::time::Duration;

use anstyle::Style;
use anyhow::Result;
use dunlin_core::wire::{
    AppName, Topic,
    state::{Event, What},
    topic::DeviceLeaf,
};
use tokio::time::Instant;

use crate::{
    cli::{EventsArgs, Global},
    fleet::Fleet,
    say,
    session::Session,
    time,
};

/// How often the connection is looked at while nothing happens.
const LOOK: Duration = Duration::from_secs(60);

/// Shows events until it is interrupted.
pub(crate) async fn run(args: &EventsArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let filters: Vec<_> = match args.device.as_slice() {
        [] => vec![fleet.topics.every_device(DeviceLeaf::Event)],
        devices => devices.iter().map(|device| fleet.topics.format(&Topic::Event(device.clone()))).collect(),
    };
    session.follow(&filters).await?;
    say::note(format_args!("listening for what happens in {}: Ctrl-C ends it", fleet.name));
    tokio::select! {
        ended = listen(&fleet, &mut session, args) => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    session.close().await;
    Ok(())
}

async fn listen(fleet: &Fleet, session: &mut Session, args: &EventsArgs) -> Result<()> {
    let mut away = None;
    loop {
        let message = session.message(Instant::now() + LOOK).await?;
        // What happened meanwhile nobody kept.
        let now_away = session.away().map(ToOwned::to_owned);
        if let (Some(why), None) = (&now_away, &away) {
            say::warning(format_args!("the broker is away: {why}; what happens now is not seen"));
        }
        away = now_away;
        let Some((topic, payload)) = message else { continue };
        let Some(Topic::Event(device)) = fleet.topics.parse(&topic) else { continue };
        match serde_json::from_slice::<Event>(&payload) {
            Ok(event) if event.device == device => show(&event, &payload, args)?,
            Ok(event) => say::warning(format_args!("{device} says what is {}'s", event.device)),
            Err(error) => say::warning(format_args!("{device}: an event that cannot be read: {error}")),
        }
    }
}

fn show(event: &Event, payload: &[u8], args: &EventsArgs) -> Result<()> {
    if !args.app.is_empty() && !app(event).is_some_and(|app| args.app.contains(app)) {
        return Ok(());
    }
    if args.json {
        // As it was said: a newer agent may say more than this tool knows.
        return Ok(say::result(serde_json::from_slice::<serde_json::Value>(payload)?)?);
    }
    let (what, style) = words(event);
    let at = time::show_seconds(event.at);
    Ok(say::result(format_args!("{at}  {}  {}", event.device, say::styled(style, say::clean(&what))))?)
}

fn app(event: &Event) -> Option<&AppName> {
    match &event.what {
        What::App { app, .. } => Some(app),
        What::Accepted { .. } | What::Root { .. } | What::Refused { .. } => None,
    }
}

fn words(event: &Event) -> (String, Style) {
    match &event.what {
        What::Accepted { sequence } => (format!("accepted plan {sequence}"), Style::new()),
        What::Root { version } => (format!("accepted root {version}"), Style::new()),
        What::Refused { code, why } => (format!("refused: {why} [{code}]"), say::BAD),
        What::App { app, release, phase, why } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let on = if *phase == dunlin_core::wire::state::Phase::Trial { "on " } else { "" };
            (format!("{app} {} is {on}{}{why}", release.short(), phase.as_str()), say::phase_style(*phase))
        }
    }
}
