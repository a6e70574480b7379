//! The last minutes of each app's figures, for graphs.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use dunlin_core::{
    limits::{HISTORY_MS, HISTORY_SAMPLES},
    wire::AppName,
};
use tokio::time::MissedTickBehavior;

use super::view::View;
use crate::apps::{Figures, Records};

/// How many samples lie between two looks at what is on the disk.
const DISK_EVERY: u64 = 15;

/// What the apps used, sample by sample.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<AppName, Series>);

/// One app's samples, newest last.
#[derive(Debug, Default)]
pub(super) struct Series {
    last: Figures,
    pub(super) samples: VecDeque<Sample>,
}

/// An app at one moment, and since the moment before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) memory_bytes: u64,
    pub(super) connections: u64,
    /// Answered since the sample before.
    pub(super) requests: u64,
    /// Spent since the sample before.
    pub(super) fuel: u64,
}

impl History {
    pub(super) fn of(&self, app: &AppName) -> impl Iterator<Item = &Sample> {
        self.0.get(app).into_iter().flat_map(|series| &series.samples)
    }

    /// Takes a sample of each of these apps, and forgets all others.
    fn sample<'a>(&mut self, apps: impl Iterator<Item = (&'a AppName, Figures)>) {
        let mut before = std::mem::take(&mut self.0);
        for (app, figures) in apps {
            let mut series = before.remove(app).unwrap_or_default();
            series.push(figures);
            self.0.insert(app.clone(), series);
        }
    }
}

impl Series {
    fn push(&mut self, now: Figures) {
        if self.samples.len() >= HISTORY_SAMPLES {
            self.samples.pop_front();
        }
        // An app that was gone for a while counts from nothing again.
        self.samples.push_back(Sample {
            memory_bytes: now.memory_bytes,
            connections: now.connections,
            requests: now.requests.saturating_sub(self.last.requests),
            fuel: now.fuel.saturating_sub(self.last.fuel),
        });
        self.last = now;
    }
}

/// Takes samples for as long as it is polled.
pub(super) async fn keep(view: View, state: PathBuf) {
    let mut ticks = tokio::time::interval(Duration::from_millis(HISTORY_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        ticks.tick().await;
        let Some(apps) = view.look(|seen, records| figures(seen.state.iter().flat_map(|state| &state.apps), records))
        else {
            return;
        };
        view.change(|seen| seen.history.sample(apps.iter().map(|(app, figures)| (app, *figures))));
        if tick % DISK_EVERY == 0 {
            let folder = state.clone();
            if let Ok(bytes) = tokio::task::spawn_blocking(move || stored(&folder)).await {
                view.change(|seen| seen.store_bytes = bytes);
            }
        }
    }
}

fn figures<'a>(
    apps: impl Iterator<Item = &'a dunlin_core::wire::state::AppState>,
    records: &Records,
) -> Vec<(AppName, Figures)> {
    let figures = |app: &AppName| records.find(app).map(|record| record.figures()).unwrap_or_default();
    apps.map(|state| (state.app.clone(), figures(&state.app))).collect()
}

/// Bytes of what the board was given. What apps keep is theirs, and may be in very many files.
fn stored(state: &Path) -> u64 {
    let folders = ["", "roots", "releases", "blobs", "last", "good", "trials", "import"].map(|name| state.join(name));
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_say_what_came_since_the_one_before_and_the_newest_stay() {
        let (mut history, app) = (History::default(), "a".parse().unwrap());
        for number in 1..=HISTORY_SAMPLES as u64 + 3 {
            let figures = Figures { requests: number * number, memory_bytes: number, ..Figures::default() };
            history.sample([(&app, figures)].into_iter());
        }
        let last = HISTORY_SAMPLES as u64 + 3;
        let samples = history.of(&app).collect::<Vec<_>>();
        assert_eq!(samples.len(), HISTORY_SAMPLES);
        assert_eq!((samples[HISTORY_SAMPLES - 1].requests, samples[0].memory_bytes), (2 * last - 1, 4));
        history.sample([(&app, Figures::default())].into_iter());
        assert_eq!(history.of(&app).last(), Some(&Sample::default()), "it counts from nothing again");
        history.sample(std::iter::empty());
        assert_eq!(history.of(&app).count(), 0);
    }
}
