//! Which boards have done what a plan says, by what they say of themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dunlin_core::wire::{
    AppName, Digest,
    state::{AppState, DeviceState, Phase},
};

use crate::fleet;

/// What boards are to run: of these, the one that the plan gives them; or nothing.
pub(crate) type Goal = BTreeMap<AppName, Digest>;

/// One plan, and who has done what it says.
#[derive(Debug)]
pub(crate) struct Tally {
    goal: Goal,
    sequence: u64,
    /// When each board was first seen to be there.
    reached: Vec<Option<Duration>>,
    left: usize,
    /// Boards that went back to what they ran before, because they lost power while the new release was on trial.
    reverted: BTreeSet<usize>,
}

impl Tally {
    /// Of so many boards. Sequence 0 is to be there at all.
    pub(crate) fn new(goal: Goal, sequence: u64, boards: usize) -> Self {
        Self { goal, sequence, reached: vec![None; boards], left: boards, reverted: BTreeSet::new() }
    }

    /// A board said this so long after the plan was published.
    pub(crate) fn handle_state(&mut self, state: &DeviceState, at: Duration) {
        let Some(board) = fleet::board(&state.device) else { return };
        let Some(reached) = self.reached.get_mut(board) else { return };
        if reached.is_some() || state.plan.as_ref().map_or(0, |plan| plan.sequence) != self.sequence {
            return;
        }
        if is_there(&self.goal, state) {
            *reached = Some(at);
            self.left -= 1;
            self.reverted.remove(&board);
        } else if state.apps.iter().any(was_reverted) {
            self.reverted.insert(board);
        }
    }

    /// Boards that are not there yet.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Whether those that are left wait for a next plan.
    pub(crate) fn is_stuck(&self) -> bool {
        self.left > 0 && self.reverted.len() == self.left
    }

    /// The same was ordered again, with this sequence.
    pub(crate) fn handle_ordered_again(&mut self, sequence: u64) {
        self.sequence = sequence;
        self.reverted.clear();
    }

    /// The times of those that are there, shortest first.
    pub(crate) fn times(&self) -> Vec<Duration> {
        let mut times: Vec<_> = self.reached.iter().flatten().copied().collect();
        times.sort();
        times
    }

    /// Some of those that are not.
    pub(crate) fn missing(&self) -> Vec<usize> {
        let missing = self.reached.iter().enumerate().filter(|(_, reached)| reached.is_none());
        missing.map(|(board, _)| board).take(5).collect()
    }
}

fn is_there(goal: &Goal, state: &DeviceState) -> bool {
    let runs =
        |app: &AppState| goal.get(&app.app) == Some(&app.release) && app.phase == Phase::Running && app.next.is_none();
    state.apps.len() == usize::from(!goal.is_empty()) && state.apps.iter().all(runs)
}

fn was_reverted(app: &AppState) -> bool {
    app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted)
}

#[cfg(test)]
mod tests {
    use dunlin_core::wire::{
        Timestamp,
        state::{NextState, PlanState},
    };

    use super::*;

    const OLD: Digest = Digest([1; 32]);
    const NEW: Digest = Digest([2; 32]);

    fn state(board: usize, sequence: u64, apps: Vec<AppState>) -> DeviceState {
        DeviceState {
            device: fleet::device(board).unwrap(),
            fleet: "flock".parse().unwrap(),
            labels: BTreeMap::new(),
            agent: String::new(),
            root: 1,
            sealing_key: None,
            plan: (sequence > 0).then_some(PlanState { sequence, digest: OLD }),
            apps,
            refused: None,
            broker: vec![],
            trouble: None,
            at: Timestamp(0),
        }
    }

    fn app(release: Digest, phase: Phase, next: Option<Phase>) -> AppState {
        AppState {
            app: "sleeper".parse().unwrap(),
            release,
            version: None,
            phase,
            since: Timestamp(0),
            why: None,
            failures: 0,
            ports: vec![],
            udp_ports: vec![],
            log: vec![],
            next: next.map(|phase| NextState { release: NEW, phase, why: None, log: vec![] }),
        }
    }

    #[test]
    fn a_board_is_there_when_it_runs_the_release_of_this_plan_and_nothing_is_to_replace_it() {
        let goal = Goal::from([("sleeper".parse().unwrap(), NEW)]);
        let mut tally = Tally::new(goal, 2, 2);
        let after = Duration::from_millis;
        for not_yet in [
            state(0, 1, vec![app(NEW, Phase::Running, None)]),
            state(0, 2, vec![]),
            state(0, 2, vec![app(OLD, Phase::Running, None)]),
            state(0, 2, vec![app(NEW, Phase::Trial, None)]),
            state(0, 2, vec![app(NEW, Phase::Running, Some(Phase::Fetching))]),
            state(2, 2, vec![app(NEW, Phase::Running, None)]),
        ] {
            tally.handle_state(&not_yet, after(1));
            assert_eq!(tally.left(), 2, "{not_yet:?}");
        }
        tally.handle_state(&state(0, 2, vec![app(NEW, Phase::Running, None)]), after(2));
        tally.handle_state(&state(0, 2, vec![app(NEW, Phase::Running, None)]), after(3));
        assert_eq!((tally.left(), tally.times(), tally.missing()), (1, vec![after(2)], vec![1]));
    }

    #[test]
    fn who_went_back_waits_for_the_next_plan() {
        let goal = Goal::from([("sleeper".parse().unwrap(), NEW)]);
        let mut tally = Tally::new(goal, 2, 1);
        tally.handle_state(&state(0, 2, vec![app(OLD, Phase::Running, Some(Phase::Reverted))]), Duration::ZERO);
        assert!(tally.is_stuck());
        tally.handle_ordered_again(3);
        assert!(!tally.is_stuck());
        tally.handle_state(&state(0, 3, vec![app(NEW, Phase::Running, None)]), Duration::ZERO);
        assert_eq!((tally.left(), tally.is_stuck()), (0, false));
    }

    #[test]
    fn to_run_nothing_is_a_goal_too() {
        let mut tally = Tally::new(Goal::new(), 0, 1);
        tally.handle_state(&state(0, 0, vec![]), Duration::ZERO);
        assert_eq!(tally.left(), 0);
        let mut tally = Tally::new(Goal::new(), 4, 1);
        tally.handle_state(&state(0, 4, vec![app(NEW, Phase::Running, None)]), Duration::ZERO);
        assert_eq!(tally.left(), 1);
    }
}
