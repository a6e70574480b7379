//! What a command does to a plan's assignments: pure functions of the old ones.

use anyhow::{Result, bail};
use dunlin_core::wire::{AppName, Assignment, Plan, Rollout, Selector, Timestamp};

use crate::{fleet::Fleet, selector};

/// An assignment, and how far it is if it has not reached all of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) assignment: Assignment,
    pub(crate) rollout: Option<Rollout>,
}

/// What a plan orders; nothing if there is none.
pub(crate) fn entries(plan: Option<&Plan>) -> Vec<Entry> {
    let entry = |(plan, place): (&Plan, usize)| {
        let rollout = plan.rollout(place).cloned();
        plan.assignments.get(place).map(|assignment| Entry { assignment: assignment.clone(), rollout })
    };
    plan.into_iter()
        .flat_map(|plan| (0..plan.assignments.len()).map(move |place| (plan, place)))
        .filter_map(entry)
        .collect()
}

/// The parts of a plan that say the same.
pub(crate) fn parts(entries: Vec<Entry>) -> (Vec<Assignment>, Vec<(u32, Rollout)>) {
    let rollouts =
        (0..).zip(&entries).filter_map(|(place, entry)| entry.rollout.clone().map(|rollout| (place, rollout)));
    let rollouts = rollouts.collect();
    (entries.into_iter().map(|entry| entry.assignment).collect(), rollouts)
}

/// A plan of these that nobody has signed: to ask it whom it is for.
pub(crate) fn draft(fleet: &Fleet, entries: Vec<Entry>) -> Plan {
    let (assignments, rollouts) = parts(entries);
    let none = Timestamp(0);
    Plan {
        fleet: fleet.name.clone(),
        sequence: 1,
        previous: None,
        issued: none,
        not_after: none,
        assignments,
        rollouts,
    }
}

/// Puts an assignment among these.
///
/// To every device, it takes the place of all assignments of its app. To some, it takes the place
/// of those with the same selector; a new selector goes in front, because the first assignment
/// of an app that selects a device is the one that it obeys.
pub(crate) fn put(old: &[Entry], new: Assignment) -> Vec<Entry> {
    let (place, mut entries) = place(old, &new);
    entries.retain(|entry| !replaces(&new, entry));
    entries.insert(place, Entry { assignment: new, rollout: None });
    entries
}

/// Puts an assignment before what it is to take the place of in the end. Another rollout to the same devices
/// makes way for it.
pub(crate) fn begin(old: &[Entry], new: Assignment, rollout: Rollout) -> Vec<Entry> {
    let same = |entry: &Entry| is(&entry.assignment, &new.app, Some(&new.to)) && entry.rollout.is_some();
    let old: Vec<_> = old.iter().filter(|entry| !same(entry)).cloned().collect();
    let (place, mut entries) = place(&old, &new);
    entries.insert(place, Entry { assignment: new, rollout: Some(rollout) });
    entries
}

/// Where an assignment goes. Nothing before that place is replaced by it.
fn place(old: &[Entry], new: &Assignment) -> (usize, Vec<Entry>) {
    let first = old.iter().position(|entry| replaces(new, entry));
    let otherwise = if new.to.0.is_empty() { old.len() } else { 0 };
    (first.unwrap_or(otherwise), old.to_vec())
}

/// Whether an assignment takes the place of this one.
pub(crate) fn replaces(new: &Assignment, old: &Entry) -> bool {
    is(&old.assignment, &new.app, (!new.to.0.is_empty()).then_some(&new.to))
}

/// Takes an app's assignments away: all of them, or those with this selector.
pub(crate) fn remove(old: &[Entry], app: &AppName, to: Option<&Selector>) -> Result<Vec<Entry>> {
    some(old, app, to)?;
    Ok(old.iter().filter(|entry| !is(&entry.assignment, app, to)).cloned().collect())
}

/// Changes an app's assignments: all of them, or those with this selector.
pub(crate) fn change(
    old: &[Entry],
    app: &AppName,
    to: Option<&Selector>,
    mut with: impl FnMut(&Assignment) -> Result<Assignment>,
) -> Result<Vec<Entry>> {
    some(old, app, to)?;
    let one = |entry: &Entry| match is(&entry.assignment, app, to) {
        true => Ok(Entry { assignment: with(&entry.assignment)?, ..entry.clone() }),
        false => Ok(entry.clone()),
    };
    old.iter().map(one).collect()
}

/// Takes an app's rollouts back: all of them, or those with this selector. Nothing if there is none.
pub(crate) fn take_back(old: &[Entry], app: &AppName, to: Option<&Selector>) -> Option<Vec<Entry>> {
    let (gone, left): (Vec<_>, Vec<_>) =
        old.iter().cloned().partition(|entry| entry.rollout.is_some() && is(&entry.assignment, app, to));
    (!gone.is_empty()).then_some(left)
}

/// Whether an assignment is of this app and, where one is given, has this selector.
pub(crate) fn is(assignment: &Assignment, app: &AppName, to: Option<&Selector>) -> bool {
    let same = |to: &Selector| selector::normal(&assignment.to) == selector::normal(to);
    assignment.app == *app && to.is_none_or(same)
}

/// There must be one.
pub(crate) fn some(old: &[Entry], app: &AppName, to: Option<&Selector>) -> Result<()> {
    if old.iter().any(|entry| is(&entry.assignment, app, to)) {
        return Ok(());
    }
    let all = || old.iter().map(|entry| &entry.assignment);
    let mut of_app: Vec<_> = all().filter(|a| a.app == *app).map(|a| selector::show(&a.to)).collect();
    of_app.dedup();
    if of_app.is_empty() {
        let mut apps: Vec<_> = all().map(|a| a.app.as_str()).collect();
        apps.sort_unstable();
        apps.dedup();
        let there = if apps.is_empty() { "no app".into() } else { apps.join(", ") };
        bail!("the plan does not have {app}: it has {there}");
    }
    let to = to.map(selector::show).unwrap_or_default();
    bail!(
        "the plan has {app} on {}, not on {to}: name one of them exactly, or leave --to out",
        of_app.join(" and on ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::wire::{Digest, ReleaseRef, Share};

    fn to(app: &str, selector: &[&str], counter: u64) -> Assignment {
        Assignment {
            app: app.parse().unwrap(),
            to: selector::parse(selector).unwrap(),
            release: ReleaseRef { digest: Digest::of(b"x"), counter },
            paused: false,
            env: Vec::new(),
            secrets: Vec::new(),
            args: None,
            publish: None,
        }
    }

    fn shown(entries: &[Entry]) -> Vec<String> {
        let one = |Entry { assignment: a, rollout }: &Entry| {
            let wave = rollout.as_ref().map(|rollout| format!(", wave {}", rollout.wave)).unwrap_or_default();
            format!("{} {} {}{wave}", a.app, a.release.counter, selector::show(&a.to))
        };
        entries.iter().map(one).collect()
    }

    fn all(assignments: impl IntoIterator<Item = Assignment>) -> Vec<Entry> {
        assignments.into_iter().map(|assignment| Entry { assignment, rollout: None }).collect()
    }

    fn first_wave() -> Rollout {
        let waves = vec![Share(7), Share::ALL];
        Rollout { waves, wave: 0, soak_seconds: 1, patience_seconds: 1, halt_on: 0, held: false }
    }

    #[test]
    fn a_deploy_takes_the_place_of_its_selector_or_goes_in_front() {
        let mut plan = put(&[], to("a", &[], 1));
        plan = put(&plan, to("b", &[], 1));
        plan = put(&plan, to("a", &["site=hall"], 2));
        plan = put(&plan, to("a", &["device=pi"], 3));
        assert_eq!(shown(&plan), ["a 3 device=pi", "a 2 site=hall", "a 1 every device", "b 1 every device"]);
        plan = put(&plan, to("a", &["site in (hall)"], 4));
        assert_eq!(shown(&plan), ["a 3 device=pi", "a 4 site=hall", "a 1 every device", "b 1 every device"]);
        plan = put(&plan, to("a", &[], 5));
        assert_eq!(shown(&plan), ["a 5 every device", "b 1 every device"], "to all: instead of all");
    }

    #[test]
    fn a_rollout_stands_before_what_it_replaces_until_it_is_over() {
        let old = all([to("a", &["site=hall"], 1), to("b", &[], 1), to("a", &[], 1)]);
        let hall = || to("a", &["site=hall"], 2);
        let begun = begin(&old, hall(), first_wave());
        assert_eq!(shown(&begun), ["a 2 site=hall, wave 0", "a 1 site=hall", "b 1 every device", "a 1 every device"]);
        assert_eq!(shown(&put(&begun, hall())), ["a 2 site=hall", "b 1 every device", "a 1 every device"]);
        let again = begin(&begun, to("a", &["site=hall"], 3), first_wave());
        assert_eq!(shown(&again)[..2], ["a 3 site=hall, wave 0", "a 1 site=hall"], "one makes way for the next");
        let everywhere = begin(&begun, to("a", &[], 4), first_wave());
        assert_eq!(shown(&everywhere)[..2], ["a 4 every device, wave 0", "a 2 site=hall, wave 0"]);
        assert_eq!(shown(&put(&everywhere, to("a", &[], 4))), ["a 4 every device", "b 1 every device"]);
        let new = begin(&old, to("c", &[], 1), first_wave());
        assert_eq!(shown(&new)[3], "c 1 every device, wave 0");
        let (a, c): (AppName, AppName) = ("a".parse().unwrap(), "c".parse().unwrap());
        assert_eq!(take_back(&begun, &a, None), Some(old.clone()));
        assert_eq!(take_back(&begun, &a, Some(&Selector::default())), None);
        assert_eq!(take_back(&begun, &c, None), None);
    }

    #[test]
    fn a_plan_and_its_entries_are_the_same() {
        let old = all([to("b", &[], 1), to("a", &[], 1)]);
        let begun = begin(&old, to("a", &[], 2), first_wave());
        let (assignments, rollouts) = parts(begun.clone());
        let plan = Plan {
            fleet: "flock".parse().unwrap(),
            sequence: 1,
            previous: None,
            issued: Timestamp(1),
            not_after: Timestamp(2),
            assignments,
            rollouts,
        };
        assert_eq!(plan.rollouts, [(1, first_wave())]);
        assert_eq!(entries(Some(&plan)), begun);
        assert_eq!(entries(None), []);
    }

    #[test]
    fn what_is_changed_must_be_there() {
        let plan = all([to("a", &["site=hall"], 2), to("a", &[], 1), to("b", &[], 1)]);
        let hall = selector::parse(&["site=hall"]).unwrap();
        let app: AppName = "a".parse().unwrap();
        assert_eq!(shown(&remove(&plan, &app, Some(&hall)).unwrap()), ["a 1 every device", "b 1 every device"]);
        assert_eq!(shown(&remove(&plan, &app, None).unwrap()), ["b 1 every device"]);
        let pause = |a: &Assignment| Ok(Assignment { paused: true, ..a.clone() });
        let paused: Vec<_> = change(&plan, &app, None, pause).unwrap().iter().map(|e| e.assignment.paused).collect();
        assert_eq!(paused, [true, true, false]);
        let other = selector::parse(&["site=attic"]).unwrap();
        let error = remove(&plan, &app, Some(&other)).unwrap_err().to_string();
        assert!(error.contains("a on site=hall and on every device, not on site=attic"), "{error}");
        let error = remove(&plan, &"c".parse().unwrap(), None).unwrap_err().to_string();
        assert!(error.contains("does not have c: it has a, b"), "{error}");
    }
}
