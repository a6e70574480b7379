//! `status`: what runs where, since when, and why not.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use anstyle::Style;
use anyhow::Result;
use dunlin_core::wire::{
    AppName, DeviceId, Selector, Timestamp,
    state::{AppState, DeviceState, Phase},
};
use tokio::time::Instant;

use crate::{
    WrongUse,
    cli::{Global, StatusArgs},
    devices::{Devices, Seen},
    fleet::Fleet,
    say, selector,
    session::Session,
    table::{self, Cell, plain},
    time,
};

/// How long changes are gathered before they are shown.
const GATHER: Duration = Duration::from_millis(200);

/// How often the table is shown again because time has passed.
const REFRESH: Duration = Duration::from_secs(5);

/// Rows above which it is said what they come to.
const MANY: usize = 20;

/// Shows what devices say.
pub(crate) async fn run(args: &StatusArgs, global: &Global) -> Result<()> {
    let filter = Filter::new(args)?;
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let devices = Devices::gather(&fleet, &mut session).await?;
    let screen = args.watch && !args.json && std::io::stdout().is_terminal();
    if screen {
        // Clears the screen once; what follows is written over.
        say::result("\x1b[2J")?;
    }
    let view = View { fleet: &fleet, filter, json: args.json, line: args.watch, screen };
    view.show(&devices, None)?;
    if args.watch {
        tokio::select! {
            ended = watch(&mut session, devices, &view) => ended?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
    }
    session.close().await;
    Ok(())
}

/// Shows changes for ever.
async fn watch(session: &mut Session, mut devices: Devices, view: &View<'_>) -> Result<()> {
    let mut shown = view.filter.json(&devices);
    loop {
        let mut until = Instant::now() + REFRESH;
        while let Some((topic, payload)) = session.message(until).await? {
            devices.take(&view.fleet.topics, &topic, &payload);
            until = until.min(Instant::now() + GATHER);
        }
        let now = view.filter.json(&devices);
        // Only on a screen it matters that time passes.
        if now != shown || view.screen {
            view.show(&devices, session.away())?;
            shown = now;
        }
    }
}

/// Which devices and apps are meant.
struct Filter {
    apps: Vec<AppName>,
    to: Selector,
    states: Vec<Phase>,
    online: Option<bool>,
}

impl Filter {
    fn new(args: &StatusArgs) -> Result<Self> {
        let to = selector::parse(&args.to).map_err(|e| WrongUse(format!("{e:#}")))?;
        let online = (args.online || args.offline).then_some(args.online);
        Ok(Self { apps: args.app.clone(), to, states: args.state.clone(), online })
    }

    fn device(&self, device: &DeviceId, seen: &Seen) -> bool {
        self.to.selects(device, &seen.labels()) && self.online.is_none_or(|online| seen.online == online)
    }

    fn app(&self, app: &AppState) -> bool {
        let phase = |phase| self.states.is_empty() || self.states.contains(&phase);
        let next = || app.next.as_ref().is_some_and(|next| phase(next.phase));
        (self.apps.is_empty() || self.apps.contains(&app.app)) && (phase(app.phase) || next())
    }

    /// Whether what a device says as a whole is asked for, and not only of some apps.
    fn whole(&self) -> bool {
        self.apps.is_empty() && self.states.is_empty()
    }

    /// Whether what a device refuses is.
    fn refused(&self) -> bool {
        self.whole() || (self.apps.is_empty() && self.states.contains(&Phase::Refused))
    }

    /// What these devices said, as they said it.
    fn json(&self, devices: &Devices) -> serde_json::Value {
        let asked = |(device, seen): &(&DeviceId, &Seen)| {
            let state = seen.state.as_ref();
            let some = state.is_some_and(|state| {
                state.apps.iter().any(|app| self.app(app)) || (self.refused() && state.refused.is_some())
            });
            self.device(device, seen) && (self.whole() || some)
        };
        devices.0.iter().filter(asked).map(|(device, seen)| seen.to_json(device)).collect()
    }
}

/// How it is shown.
struct View<'a> {
    fleet: &'a Fleet,
    filter: Filter,
    json: bool,
    /// JSON on one line, because more follow.
    line: bool,
    /// On a terminal, again and again at the same place.
    screen: bool,
}

impl View<'_> {
    fn show(&self, devices: &Devices, away: Option<&str>) -> Result<()> {
        if self.json {
            let json = self.filter.json(devices);
            return if self.line { Ok(say::result(json)?) } else { say::json(&json) };
        }
        if let Some(away) = away.filter(|_| !self.screen) {
            say::warning(format_args!("the broker is away: {away}"));
        }
        let rows = rows(devices, &self.filter, time::now());
        if rows.is_empty() && !self.screen {
            let asked = if devices.0.is_empty() { "has said anything yet" } else { "is meant by that" };
            say::note(format_args!("no device of {} {asked}", self.fleet.name));
            return Ok(());
        }
        let size = table::terminal();
        let mut lines = table::lines(&COLUMNS, &rows, size.map(|(width, _)| width));
        let summary = summary(devices, &self.filter);
        if self.screen {
            let height = size.map_or(usize::MAX, |(_, height)| height);
            // The summary, a line for what is not seen, and the one that the cursor stands in.
            let room = height.saturating_sub(3).max(2);
            if lines.len() > room {
                let more = lines.len() - room;
                lines.truncate(room);
                lines.push(format!("… and {more} more: --app, --to and --state show fewer"));
            }
            let away = away.map(|away| say::styled(say::BAD, format_args!("  the broker is away: {away}")));
            lines.insert(0, format!("{summary}{}", away.unwrap_or_default()));
            // To the top left corner, the rest of each old line away, and the rest of the screen.
            say::result(format_args!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n")))?;
            return Ok(());
        }
        for line in lines {
            say::result(line)?;
        }
        if rows.len() > MANY {
            say::note(summary);
        }
        Ok(())
    }
}

/// How many devices there are, and how each release of each app fares.
fn summary(devices: &Devices, filter: &Filter) -> String {
    let mut count = (0, 0);
    let mut apps: BTreeMap<(&AppName, String, &str), usize> = BTreeMap::new();
    for (_, seen) in devices.0.iter().filter(|(device, seen)| filter.device(device, seen)) {
        count = (count.0 + 1, count.1 + usize::from(seen.online));
        for app in seen.state.iter().flat_map(|state| &state.apps).filter(|app| filter.app(app)) {
            *apps.entry((&app.app, version(app), app.phase.as_str())).or_default() += 1;
        }
    }
    let apps = apps.into_iter().map(|((app, version, phase), count)| format!("; {app} {version}: {count} {phase}"));
    let devices = if count.0 == 1 { "1 device" } else { &format!("{} devices", count.0) };
    format!("{devices}, {} online{}", count.1, apps.collect::<String>())
}

const COLUMNS: [&str; 10] = ["DEVICE", "LABELS", "ONLINE", "AGENT", "PLAN", "APP", "RELEASE", "STATE", "SINCE", "WHY"];

type Row = table::Row<{ COLUMNS.len() }>;

fn rows(devices: &Devices, filter: &Filter, now: Timestamp) -> Vec<Row> {
    let meant = devices.0.iter().filter(|(device, seen)| filter.device(device, seen));
    meant.flat_map(|(device, seen)| device_rows(device, seen, filter, now)).collect()
}

fn device_rows(device: &DeviceId, seen: &Seen, filter: &Filter, now: Timestamp) -> Vec<Row> {
    let state = seen.state.as_ref();
    let online = if seen.online { ("yes".into(), say::GOOD) } else { ("no".into(), say::BAD) };
    let or_none = |text: Option<String>| plain(text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into()));
    let labels = state.map(|state| {
        let labels: Vec<_> = state.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(",")
    });
    let agent = state.map(|state| say::clean(&state.agent));
    let plan = state.and_then(|state| state.plan.as_ref()).map(|plan| plan.sequence.to_string());
    let row = |rest: [Cell; 5]| {
        let [app, release, state, since, why] = rest;
        let device = plain(device.to_string());
        let [labels, agent, plan] = [&labels, &agent, &plan].map(|text| or_none(text.clone()));
        [device, labels, online.clone(), agent, plan, app, release, state, since, why]
    };
    let only = |why: &str, style: Style| {
        let [a, b, c, d] = ["-"; 4].map(plain);
        row([a, b, c, d, (say::clean(why), style)])
    };
    if let Some(why) = seen.unreadable.as_ref().filter(|_| filter.whole()) {
        return vec![only(&format!("its state cannot be read: {why}"), say::BAD)];
    }
    let Some(state) = state else { return Vec::from_iter(filter.whole().then(|| only("", Style::new()))) };
    let mut rows: Vec<_> =
        state.apps.iter().filter(|app| filter.app(app)).map(|app| row(app_cells(app, now))).collect();
    if filter.refused() {
        rows.extend(refused(state).map(|why| only(&why, say::BAD)));
    }
    if filter.whole() {
        rows.extend(state.trouble.as_ref().map(|why| only(why, say::BAD)));
        rows.extend(state.broker.iter().map(|broken| only(&format!("its broker: {broken}"), say::BAD)));
        if rows.is_empty() {
            rows.push(only("", Style::new()));
        }
    }
    rows
}

fn refused(state: &DeviceState) -> Option<String> {
    state.refused.as_ref().map(|refused| format!("refused: {} [{}]", refused.why, refused.code))
}

fn version(app: &AppState) -> String {
    app.version.as_ref().map_or_else(|| app.release.short(), ToString::to_string)
}

fn app_cells(app: &AppState, now: Timestamp) -> [Cell; 5] {
    let mut why = Vec::new();
    if !app.ports.is_empty() || !app.udp_ports.is_empty() {
        let udp = app.udp_ports.iter().map(|port| format!("{port}/udp"));
        let ports: Vec<_> = app.ports.iter().map(ToString::to_string).chain(udp).collect();
        why.push(format!("port {}", ports.join(", ")));
    }
    if app.failures > 0 {
        why.push(format!("failed {} times", app.failures));
    }
    why.extend(app.why.clone());
    if let Some(next) = &app.next {
        let because = next.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        why.push(format!("{} is {}{because}", next.release.short(), next.phase.as_str()));
    }
    [
        plain(app.app.to_string()),
        plain(version(app)),
        (app.phase.as_str().into(), say::phase_style(app.phase)),
        plain(time::ago(app.since, now)),
        plain(say::clean(&why.join("; "))),
    ]
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
            labels: [("site".parse().unwrap(), "kitchen".parse().unwrap())].into(),
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
        let all = Filter { apps: vec![], to: Selector::default(), states: vec![], online: None };
        let text = table::lines(&COLUMNS, &rows(&devices, &all, Timestamp(160)), None).join("\n");
        let plain = anstream::adapter::strip_str(&text).to_string();
        let expected = "\
DEVICE  LABELS        ONLINE  AGENT  PLAN  APP    RELEASE       STATE        SINCE  WHY
pi-1    site=kitchen  yes     0.1.0  3     hello  1.0.0         running      60s    port 8080; a1fce4363854 is refused: too large
pi-1    site=kitchen  yes     0.1.0  3     spin   2d711642b726  backing-off  60s    failed 2 times; bad\u{fffd}[2J
pi-1    site=kitchen  yes     0.1.0  3     -      -             -            -      refused: two [fork]
pi-1    site=kitchen  yes     0.1.0  3     -      -             -            -      cannot write /s/plan: full
pi-1    site=kitchen  yes     0.1.0  3     -      -             -            -      its broker: it is slow
pi-2    -             no      -      -     -      -             -            -";
        assert_eq!(plain, expected);
        assert_ne!(text, plain, "there are colours to take off");
        assert_eq!(
            summary(&devices, &all),
            "2 devices, 1 online; hello 1.0.0: 1 running; spin 2d711642b726: 1 backing-off"
        );

        let shown = |filter: &Filter| -> Vec<String> {
            let app = |row: &Row| format!("{} {}", row[0].0, row[5].0);
            rows(&devices, filter, Timestamp(160)).iter().map(app).collect()
        };
        let filter = |apps: &[&str], to: &[&str], states: &[Phase], online| {
            let apps = apps.iter().map(|app| app.parse().unwrap()).collect();
            Filter { apps, to: selector::parse(to).unwrap(), states: states.to_vec(), online }
        };
        assert_eq!(shown(&filter(&["spin"], &[], &[], None)), ["pi-1 spin"]);
        assert_eq!(shown(&filter(&[], &[], &[Phase::BackingOff], None)), ["pi-1 spin"]);
        // What is to replace it is refused, and so is something else.
        assert_eq!(shown(&filter(&[], &[], &[Phase::Refused], None)), ["pi-1 hello", "pi-1 -"]);
        assert_eq!(shown(&filter(&["hello"], &[], &[Phase::Refused], None)), ["pi-1 hello"]);
        assert_eq!(shown(&filter(&[], &[], &[], Some(false))), ["pi-2 -"]);
        assert_eq!(shown(&filter(&[], &["site=hall"], &[], None)), [""; 0]);
        assert_eq!(shown(&filter(&[], &["site=kitchen"], &[], Some(true))).len(), 5);
        assert_eq!(filter(&[], &[], &[Phase::BackingOff], None).json(&devices).as_array().map(Vec::len), Some(1));
    }
}
