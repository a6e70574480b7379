//! What a command does to a plan's assignments: pure functions of the old ones.

use anyhow::{Result, bail};
use dunlin_core::wire::{AppName, Assignment, Selector};

use crate::selector;

/// Puts an assignment among these.
///
/// To every device, it takes the place of all assignments of its app. To some, it takes the place
/// of the one with the same selector; a new selector goes in front, because the first assignment
/// of an app that selects a device is the one that it obeys.
pub(crate) fn put(old: &[Assignment], new: Assignment) -> Vec<Assignment> {
    let mut assignments = old.to_vec();
    if new.to.0.is_empty() {
        let first = assignments.iter().position(|a| a.app == new.app);
        assignments.retain(|a| a.app != new.app);
        // Nothing before the first of them was of this app, so the place is still there.
        assignments.insert(first.unwrap_or(assignments.len()), new);
        return assignments;
    }
    match assignments.iter().position(|a| is(a, &new.app, Some(&new.to))) {
        Some(at) => assignments[at] = new,
        None => assignments.insert(0, new),
    }
    assignments
}

/// Takes an app's assignments away: all of them, or the one with this selector.
pub(crate) fn remove(old: &[Assignment], app: &AppName, to: Option<&Selector>) -> Result<Vec<Assignment>> {
    some(old, app, to)?;
    Ok(old.iter().filter(|a| !is(a, app, to)).cloned().collect())
}

/// Changes an app's assignments: all of them, or the one with this selector.
pub(crate) fn change(
    old: &[Assignment],
    app: &AppName,
    to: Option<&Selector>,
    mut with: impl FnMut(&Assignment) -> Result<Assignment>,
) -> Result<Vec<Assignment>> {
    some(old, app, to)?;
    old.iter().map(|a| if is(a, app, to) { with(a) } else { Ok(a.clone()) }).collect()
}

/// Whether an assignment is of this app and, where one is given, has this selector.
pub(crate) fn is(assignment: &Assignment, app: &AppName, to: Option<&Selector>) -> bool {
    let same = |to: &Selector| selector::normal(&assignment.to) == selector::normal(to);
    assignment.app == *app && to.is_none_or(same)
}

/// There must be one.
fn some(old: &[Assignment], app: &AppName, to: Option<&Selector>) -> Result<()> {
    if old.iter().any(|a| is(a, app, to)) {
        return Ok(());
    }
    let of_app: Vec<_> = old.iter().filter(|a| a.app == *app).map(|a| selector::show(&a.to)).collect();
    if of_app.is_empty() {
        let mut apps: Vec<_> = old.iter().map(|a| a.app.as_str()).collect();
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
    use dunlin_core::wire::{Digest, ReleaseRef};

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

    fn shown(assignments: &[Assignment]) -> Vec<String> {
        let one = |a: &Assignment| format!("{} {} {}", a.app, a.release.counter, selector::show(&a.to));
        assignments.iter().map(one).collect()
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
    fn what_is_changed_must_be_there() {
        let plan = [to("a", &["site=hall"], 2), to("a", &[], 1), to("b", &[], 1)];
        let hall = selector::parse(&["site=hall"]).unwrap();
        let app: AppName = "a".parse().unwrap();
        assert_eq!(shown(&remove(&plan, &app, Some(&hall)).unwrap()), ["a 1 every device", "b 1 every device"]);
        assert_eq!(shown(&remove(&plan, &app, None).unwrap()), ["b 1 every device"]);
        let pause = |a: &Assignment| Ok(Assignment { paused: true, ..a.clone() });
        let paused: Vec<_> = change(&plan, &app, None, pause).unwrap().iter().map(|a| a.paused).collect();
        assert_eq!(paused, [true, true, false]);
        let other = selector::parse(&["site=attic"]).unwrap();
        let error = remove(&plan, &app, Some(&other)).unwrap_err().to_string();
        assert!(error.contains("a on site=hall and on every device, not on site=attic"), "{error}");
        let error = remove(&plan, &"c".parse().unwrap(), None).unwrap_err().to_string();
        assert!(error.contains("does not have c: it has a, b"), "{error}");
    }
}
