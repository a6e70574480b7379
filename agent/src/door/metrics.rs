//! `/metrics`: OpenMetrics 1.0, for whoever collects figures.

use std::fmt::{self, Write as _};

use dunlin_core::{
    Code,
    wire::{AppName, state::Phase},
};

use super::{
    answers::{resident_bytes, states},
    view::Seen,
};
use crate::apps::{Figures, Records};

/// One figure of each app: its name without `dunlin_app_`, what kind of figure it is, its unit, and what it says.
struct OfApps(&'static str, Kind, &'static str, &'static str, fn(&Figures) -> u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Info,
}

use Kind::{Counter, Gauge, Info};

#[rustfmt::skip]
const OF_APPS: [OfApps; 12] = [
    OfApps("starts", Counter, "", "Starts of its guest.", |of| of.starts),
    OfApps("restarts", Counter, "", "Starts of its guest after it failed.", |of| of.restarts),
    OfApps("fuel", Counter, "", "Fuel that it spent; a unit is about an instruction.", |of| of.fuel),
    OfApps("memory_bytes", Gauge, "bytes", "Linear memory that it has.", |of| of.memory_bytes),
    OfApps("disk_bytes", Gauge, "bytes", "What is in the directory of its own.", |of| of.disk_bytes),
    OfApps("connections", Gauge, "", "Connections that are open.", |of| of.connections),
    OfApps("accepted", Counter, "", "Connections that it accepted.", |of| of.accepted),
    OfApps("requests", Counter, "", "Requests that it answered, where it speaks HTTP/1.", |of| of.requests),
    OfApps("received_bytes", Counter, "bytes", "Read from connections that it accepted.", |of| of.received_bytes),
    OfApps("sent_bytes", Counter, "bytes", "Written to connections that it accepted.", |of| of.sent_bytes),
    OfApps("log_lines", Counter, "", "Lines that it printed.", |of| of.lines),
    OfApps("dropped_log_lines", Counter, "", "Lines that were dropped because they were too many.", |of| of.dropped_lines),
];

/// All figures of this board.
pub(super) fn write(seen: &Seen, records: &Records) -> String {
    let mut out = Text::default();
    agent(&mut out, seen);
    apps(&mut out, seen, records);
    out.family(
        "dunlin_front_requests",
        Counter,
        "",
        "Requests that passed the front door, by the first digit of their status.",
    );
    for ((app, class), count) in &seen.front {
        out.sample("dunlin_front_requests_total", &[("app", app.as_str()), ("status", &format!("{class}xx"))], *count);
    }
    out.0 + "# EOF\n"
}

fn agent(out: &mut Text, seen: &Seen) {
    out.family("dunlin_build", Info, "", "The agent.");
    out.sample("dunlin_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
    out.family("process_start_time_seconds", Gauge, "seconds", "When the agent started, since 1970.");
    out.sample("process_start_time_seconds", &[], seen.started_at.0);
    out.family("process_resident_memory_bytes", Gauge, "bytes", "What of the agent and its guests is in memory.");
    out.sample("process_resident_memory_bytes", &[], resident_bytes());
    out.family("dunlin_healthy", Gauge, "", "Whether /healthz says ok.");
    out.sample("dunlin_healthy", &[], u64::from(seen.problems().is_empty()));
    out.family("dunlin_link_up", Gauge, "", "Whether there is a session with the broker.");
    out.sample("dunlin_link_up", &[], u64::from(seen.link.up));
    out.family("dunlin_link_sessions", Counter, "", "Sessions with the broker so far.");
    out.sample("dunlin_link_sessions_total", &[], seen.link.sessions);
    if let Some(state) = &seen.state {
        out.family("dunlin_root_version", Gauge, "", "The root in force.");
        out.sample("dunlin_root_version", &[], state.root);
        out.family("dunlin_plan_sequence", Gauge, "", "The plan in force; 0 if there is none.");
        out.sample("dunlin_plan_sequence", &[], state.plan.as_ref().map_or(0, |plan| plan.sequence));
        out.family("dunlin_disk_trouble", Gauge, "", "Whether the disk did not take what was written last.");
        out.sample("dunlin_disk_trouble", &[], u64::from(state.trouble.is_some()));
    }
    if let Some(trust) = &seen.trust {
        out.family("dunlin_root_expires_seconds", Gauge, "seconds", "When the root in force expires, since 1970.");
        out.sample("dunlin_root_expires_seconds", &[], trust.root_expires.0);
        out.family("dunlin_plan_stale", Gauge, "", "Whether the plan is past its time, so that nothing new is taken.");
        out.sample("dunlin_plan_stale", &[], u64::from(trust.stale));
    }
    out.family("dunlin_store_bytes", Gauge, "bytes", "Documents and modules on the disk.");
    out.sample("dunlin_store_bytes", &[], seen.store_bytes);
    out.family("dunlin_refusals", Counter, "", "What was refused, by the code that README explains.");
    for code in Code::ALL.map(Code::as_str) {
        let count = seen.refusals.get(code).copied().unwrap_or_default();
        out.sample("dunlin_refusals_total", &[("code", code)], count);
    }
}

fn apps(out: &mut Text, seen: &Seen, records: &Records) {
    let states = states(seen);
    out.family("dunlin_app", Info, "", "What the board has of each app.");
    for state in states {
        let version = state.version.as_ref().map_or("", |version| version.as_str());
        let labels = [("app", state.app.as_str()), ("phase", state.phase.as_str()), ("version", version)];
        out.sample("dunlin_app_info", &labels, 1_u64);
    }
    out.family("dunlin_app_up", Gauge, "", "Whether it runs, or would when somebody connects.");
    for state in states {
        let up = matches!(state.phase, Phase::Running | Phase::Trial | Phase::Asleep);
        out.sample("dunlin_app_up", &[("app", state.app.as_str())], u64::from(up));
    }
    let figures = |app: &AppName| records.find(app).map(|record| record.figures()).unwrap_or_default();
    let all = states.iter().map(|state| (&state.app, figures(&state.app))).collect::<Vec<_>>();
    for OfApps(name, kind, unit, help, figure) in &OF_APPS {
        let (family, suffix) = (format!("dunlin_app_{name}"), if *kind == Counter { "_total" } else { "" });
        out.family(&family, *kind, unit, help);
        for (app, figures) in &all {
            out.sample(&format!("{family}{suffix}"), &[("app", app.as_str())], figure(figures));
        }
    }
}

/// The text that grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: Kind, unit: &str, help: &str) {
        self.line(format_args!("# TYPE {name} {kind}"));
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect::<Vec<_>>();
        match labels.is_empty() {
            true => self.line(format_args!("{name} {value}")),
            false => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing into a string can't fail.
        let _ = writeln!(self.0, "{line}");
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Counter => "counter",
            Gauge => "gauge",
            Info => "info",
        })
    }
}

/// A label's value (OpenMetrics, "Escaping").
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dunlin_core::wire::Timestamp;

    use super::*;
    use crate::door::view::View;

    #[test]
    fn every_line_belongs_to_a_family_that_was_announced_and_the_end_is_said() {
        let view = View::new(true, Records::default(), Timestamp(7));
        view.change(|seen| _ = seen.front.insert(("hello".parse().unwrap(), 2), 5));
        let text = view.look(write).unwrap();
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert!(text.contains("dunlin_front_requests_total{app=\"hello\",status=\"2xx\"} 5\n"), "{text}");
        let (mut seen, mut family, mut kind) = (BTreeSet::new(), "", "");
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(announced) = line.strip_prefix("# TYPE ") {
                (family, kind) = announced.split_once(' ').unwrap();
                assert!(seen.insert(family), "{family} is announced once");
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').unwrap();
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
            } else if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(help.starts_with(family) && help.ends_with('.'), "{line}");
            } else {
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                assert_eq!(name, format!("{family}{suffix}"), "{line}");
                assert!(line.rsplit_once(' ').unwrap().1.parse::<u64>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn values_of_labels_cannot_break_out() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
