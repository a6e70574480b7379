//! What is seen of a rollout: a bar a wave on a terminal, a line a change elsewhere.

use std::time::{Duration, Instant};

use dunlin_core::{Moment, limits, rollout::Waves};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::say;

/// How often numbers that only grow are said where there is no bar.
const QUIET: Duration = Duration::from_secs(10);

/// Shows how a rollout goes. Dropped, it leaves the bars as they stand.
pub(super) struct View {
    bars: Option<(MultiProgress, Option<ProgressBar>)>,
    /// The wave that is shown.
    wave: Option<u32>,
    said: Option<(Said, Instant)>,
    away: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    counted: usize,
    well: usize,
    failing: usize,
    arrived: bool,
}

impl View {
    pub(super) fn new() -> Self {
        Self { bars: say::is_watched().then(|| (MultiProgress::new(), None)), wave: None, said: None, away: false }
    }

    /// The rollout is over.
    pub(super) fn finish(mut self) {
        if let Some((_, bar)) = &mut self.bars {
            bar.take().inspect(over);
        }
    }

    /// The broker is away.
    pub(super) fn away(&mut self, why: &str) {
        if let Some((_, Some(bar))) = &self.bars {
            bar.set_message(format!("the broker is away: {why}"));
        } else if !self.away {
            say::warning(format_args!("the broker is away: {why}"));
        }
        self.away = true;
    }

    /// How it stands.
    pub(super) fn show(&mut self, waves: &Waves, now: Moment) {
        self.away = false;
        let new = self.wave.replace(waves.rollout().wave) != Some(waves.rollout().wave);
        match &mut self.bars {
            Some((all, bar)) => {
                if new {
                    bar.take().inspect(over);
                }
                let bar = bar.get_or_insert_with(|| all.add(fresh()));
                bar.set_prefix(wave(waves));
                bar.set_length(waves.count().counted as u64);
                bar.set_position(waves.count().well as u64);
                bar.set_message(message(waves, now));
            }
            None => self.say(waves, now, new),
        }
    }

    fn say(&mut self, waves: &Waves, now: Moment, new: bool) {
        let count = waves.count();
        let arrived = waves.soaked_at().is_some();
        let is = Said { counted: count.counted, well: count.well, failing: count.failing, arrived };
        let news = match &self.said {
            Some((was, _)) if was.arrived != is.arrived || was.failing != is.failing => true,
            Some((was, at)) => *was != is && at.elapsed() >= QUIET,
            None => true,
        };
        if news || new {
            self.said = Some((is, Instant::now()));
            let (wave, message) = (wave(waves), message(waves, now));
            say::note(format_args!("{wave}: {} of {} well; {message}", count.well, count.counted));
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some((_, Some(bar))) = &self.bars {
            // How far it came stays to be read.
            bar.abandon();
        }
    }
}

/// A wave is over: what it waited for is of no more interest.
fn over(bar: &ProgressBar) {
    bar.finish_with_message("");
}

fn fresh() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// `wave 2 of 4`.
pub(super) fn wave(waves: &Waves) -> String {
    format!("wave {} of {}", waves.rollout().wave + 1, waves.rollout().waves.len())
}

/// What it waits for, and what fails.
fn message(waves: &Waves, now: Moment) -> String {
    let mut parts = Vec::new();
    let failing = waves.count().failing;
    if failing > 0 {
        let (device, why) = waves.failing().next().map_or(("", ""), |(device, why)| (device.as_str(), why));
        parts.push(say::clean(&format!("{failing} failing ({device} {why})")));
    }
    let soaked = waves.soaked_at();
    parts.push(match soaked {
        Some(at) if waves.rollout().is_last() => format!("over in {} s", seconds(at, now)),
        Some(at) => format!("next wave in {} s", seconds(at, now)),
        None if waves.count().counted == 0 => "no device of it is online".into(),
        None => {
            let named: Vec<_> =
                waves.waiting().take(limits::NAMED_MAX).map(|(device, what)| format!("{device} {what}")).collect();
            let more = waves.waiting().count().saturating_sub(named.len());
            let more = if more > 0 { format!(", {more} more") } else { String::new() };
            format!("waits: {}{more}", say::clean(&named.join(", ")))
        }
    });
    parts.join("; ")
}

fn seconds(at: Moment, now: Moment) -> u64 {
    at.since(now).div_ceil(1_000)
}
