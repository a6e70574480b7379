//! What the operator reads: results on stdout, everything else on stderr, colours on a terminal only.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};
use dunlin_core::wire::state::Phase;

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is on its way.
pub(crate) const BUSY: Style = AnsiColor::Yellow.on_default();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is there for completeness.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What stands above a table.
pub(crate) const HEAD: Style = Style::new().bold();

/// How an app's phase looks.
pub(crate) const fn phase_style(phase: Phase) -> Style {
    match phase {
        Phase::Running => GOOD,
        Phase::Fetching | Phase::Starting | Phase::Trial => BUSY,
        Phase::BackingOff | Phase::Refused | Phase::Reverted => BAD,
        Phase::Finished | Phase::Paused | Phase::Asleep => FAINT,
    }
}

/// A text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// One line of the result.
pub(crate) fn result(line: impl Display) -> io::Result<()> {
    writeln!(anstream::stdout().lock(), "{line}")
}

/// A result as one JSON value, on lines of its own.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(result(serde_json::to_string_pretty(value)?)?)
}

/// One line beside the result.
pub(crate) fn note(line: impl Display) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Something that works, but should not stay so.
pub(crate) fn warning(line: impl Display) {
    note(format_args!("{}: {line}", styled(AnsiColor::Yellow.on_default().bold(), "warning")));
}

/// Why the thing failed.
pub(crate) fn error(line: impl Display) {
    note(format_args!("{}: {line}", styled(BAD, "error")));
}

/// Whether somebody sees a progress bar.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// What somebody else wrote, without what could move a terminal's cursor.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
