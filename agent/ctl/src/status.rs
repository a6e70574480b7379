//! `status`: what runs where, since when, and why not.

use std::{io::IsTerminal, time::Duration};

use anstyle::Style;
use anyhow::Result;
use dunlin_core::wire::{
    DeviceId, Timestamp,
    state::{AppState, DeviceState, Phase},
};
use tokio::time::Instant;

use crate::{
    cli::{Global, StatusArgs},
    devices::{Devices, Seen},
    fleet::Fleet,
    say,
    session::Session,
    time,
};

/// How long changes are gathered before they are shown.
const GATHER: Duration = Duration::from_millis(200);

/// How often the table is shown again because time has passed.
const REFRESH: Duration = Duration::from_secs(5);

/// Shows what devices say.
pub(crate) async fn run(args: &StatusArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let devices = Devices::gather(&fleet, &mut session).await?;
    show(&fleet, &devices, args, None)?;
    if args.watch {
        tokio::select! {
            ended = watch(&fleet, &mut session, devices, args) => ended?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
    }
    session.close().await;
    Ok(())
}

/// Shows changes for ever.
async fn watch(fleet: &Fleet, session: &mut Session, mut devices: Devices, args: &StatusArgs) -> Result<()> {
    let mut shown = devices.to_json();
    loop {
        let mut until = Instant::now() + REFRESH;
        while let Some((topic, payload)) = session.message(until).await? {
            devices.take(&fleet.topics, &topic, &payload);
            until = until.min(Instant::now() + GATHER);
        }
        let now = devices.to_json();
        // Only on a screen it matters that time passes.
        if now != shown || (!args.json && std::io::stdout().is_terminal()) {
            show(fleet, &devices, args, session.away())?;
            shown = now;
        }
    }
}

fn show(fleet: &Fleet, devices: &Devices, args: &StatusArgs, away: Option<&str>) -> Result<()> {
    if args.json {
        let json = devices.to_json();
        // One value on one line, where more follow.
        return if args.watch { Ok(say::result(json)?) } else { say::json(&json) };
    }
    if args.watch && std::io::stdout().is_terminal() {
        // Clears the screen and goes to its top left corner.
        say::result("\x1b[2J\x1b[H")?;
    }
    if let Some(away) = away {
        say::warning(format_args!("the broker is away: {away}"));
    }
    if devices.0.is_empty() {
        say::note(format_args!("no device of {} has said anything yet", fleet.name));
        return Ok(());
    }
    for line in lines(&rows(devices, time::now())) {
        say::result(line)?;
    }
    Ok(())
}

const COLUMNS: [&str; 8] = ["DEVICE", "ONLINE", "PLAN", "APP", "VERSION", "PHASE", "SINCE", "NOTE"];

type Row = [(String, Style); COLUMNS.len()];

fn rows(devices: &Devices, now: Timestamp) -> Vec<Row> {
    devices.0.iter().flat_map(|(device, seen)| device_rows(device, seen, now)).collect()
}

fn device_rows(device: &DeviceId, seen: &Seen, now: Timestamp) -> Vec<Row> {
    let plain = |text: &str| (text.to_owned(), Style::new());
    let online = if seen.online { ("yes".into(), say::GOOD) } else { ("no".into(), say::BAD) };
    let row = |plan: &str, rest: [(String, Style); 5]| {
        let [app, version, phase, since, note] = rest;
        [plain(device.as_str()), online.clone(), plain(plan), app, version, phase, since, note]
    };
    let only = |note: &str, style| {
        let [a, b, c, d] = ["-", "-", "-", "-"].map(plain);
        [a, b, c, d, (say::clean(note), style)]
    };
    if let Some(why) = &seen.unreadable {
        return vec![row("-", only(&format!("its state cannot be read: {why}"), say::BAD))];
    }
    let Some(state) = &seen.state else { return vec![row("-", only("", Style::new()))] };
    let plan = state.plan.as_ref().map_or_else(|| "-".into(), |plan| plan.sequence.to_string());
    let mut rows: Vec<_> = state.apps.iter().map(|app| row(&plan, app_cells(app, now))).collect();
    for note in [refused(state), state.trouble.clone()].into_iter().flatten() {
        rows.push(row(&plan, only(&note, say::BAD)));
    }
    rows.extend(state.broker.iter().map(|broken| row(&plan, only(&format!("its broker: {broken}"), say::BAD))));
    if rows.is_empty() {
        rows.push(row(&plan, only("", Style::new())));
    }
    rows
}

fn refused(state: &DeviceState) -> Option<String> {
    state.refused.as_ref().map(|refused| format!("refused: {} [{}]", refused.why, refused.code))
}

fn app_cells(app: &AppState, now: Timestamp) -> [(String, Style); 5] {
    let style = match app.phase {
        Phase::Running => say::GOOD,
        Phase::Fetching | Phase::Starting | Phase::Trial => say::BUSY,
        Phase::BackingOff | Phase::Refused | Phase::Reverted => say::BAD,
        Phase::Finished | Phase::Paused | Phase::Asleep => say::FAINT,
    };
    let version = app.version.as_ref().map_or_else(|| app.release.short(), ToString::to_string);
    let mut note = Vec::new();
    if !app.ports.is_empty() || !app.udp_ports.is_empty() {
        let udp = app.udp_ports.iter().map(|port| format!("{port}/udp"));
        let ports: Vec<_> = app.ports.iter().map(ToString::to_string).chain(udp).collect();
        note.push(format!("port {}", ports.join(", ")));
    }
    if app.failures > 0 {
        note.push(format!("failed {} times", app.failures));
    }
    note.extend(app.why.clone());
    if let Some(next) = &app.next {
        let why = next.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        note.push(format!("{} is {}{why}", next.release.short(), next.phase.as_str()));
    }
    [
        (app.app.to_string(), Style::new()),
        (version, Style::new()),
        (app.phase.as_str().into(), style),
        (time::ago(app.since, now), Style::new()),
        (say::clean(&note.join("; ")), Style::new()),
    ]
}

/// Rows under their heads, in columns as wide as they need.
fn lines(rows: &[Row]) -> Vec<String> {
    let head = COLUMNS.map(|title| (title.to_owned(), say::HEAD));
    let all = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|i| all().map(|row| row[i].0.chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &Row| {
        let last = row.iter().rposition(|(text, _)| !text.is_empty()).unwrap_or(0);
        let cells = row.iter().zip(&widths).take(last + 1).enumerate().map(|(i, ((text, style), width))| {
            let padding = if i == last { 0 } else { width - text.chars().count() };
            format!("{}{}", say::styled(*style, text), " ".repeat(padding))
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::wire::{
        Digest,
        state::{NextState, PlanState, Refused},
    };

    #[test]
    fn the_table_says_what_runs_and_why_not() {
        let app = |name: &str, phase, why: Option<&str>, failures| AppState {
            app: name.parse().unwrap(),
            release: Digest::of(b"x"),
            version: (phase == Phase::Running).then(|| "1.0.0".parse().unwrap()),
            phase,
            since: Timestamp(100),
            why: why.map(Into::into),
            failures,
            ports: if phase == Phase::Running { [8080].into() } else { Vec::new() },
            udp_ports: Vec::new(),
            log: Vec::new(),
            next: (phase == Phase::Running).then(|| NextState {
                log: Vec::new(),
                release: Digest::of(b"y"),
                phase: Phase::Refused,
                why: Some("too large".into()),
            }),
        };
        let state = DeviceState {
            device: "pi-1".parse().unwrap(),
            fleet: "flock".parse().unwrap(),
            labels: [].into(),
            agent: "0.1.0".into(),
            root: 1,
            sealing_key: None,
            plan: Some(PlanState { sequence: 3, digest: Digest::of(b"p") }),
            apps: [app("hello", Phase::Running, None, 0), app("spin", Phase::BackingOff, Some("bad\x1b[2J"), 2)].into(),
            refused: Some(Refused { code: "fork".into(), why: "two".into(), at: Timestamp(1) }),
            broker: vec!["it is slow".into()],
            trouble: Some("cannot write /s/plan: full".into()),
            at: Timestamp(1),
        };
        let mut devices = Devices::default();
        devices.0.insert("pi-1".parse().unwrap(), Seen { online: true, state: Some(state), ..Seen::default() });
        devices.0.insert("pi-2".parse().unwrap(), Seen::default());
        let text = lines(&rows(&devices, Timestamp(160))).join("\n");
        let plain = anstream::adapter::strip_str(&text).to_string();
        let expected = "\
DEVICE  ONLINE  PLAN  APP    VERSION       PHASE        SINCE  NOTE
pi-1    yes     3     hello  1.0.0         running      60s    port 8080; a1fce4363854 is refused: too large
pi-1    yes     3     spin   2d711642b726  backing-off  60s    failed 2 times; bad\u{fffd}[2J
pi-1    yes     3     -      -             -            -      refused: two [fork]
pi-1    yes     3     -      -             -            -      cannot write /s/plan: full
pi-1    yes     3     -      -             -            -      its broker: it is slow
pi-2    no      -     -      -             -            -";
        assert_eq!(plain, expected);
        assert_ne!(text, plain, "there are colours to take off");
    }
}
