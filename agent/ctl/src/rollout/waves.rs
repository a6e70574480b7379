//! From the waves of a command line to shares of devices.

use anyhow::{Result, bail};
use dunlin_core::{
    limits,
    wire::{Assignment, DeviceId, Plan, Rollout, Share, plan::Labels},
};

use crate::{
    WrongUse,
    assignments::{self, Entry},
    cli::{PaceArgs, Percent, Wave, WavesArgs},
    devices::Devices,
    fleet::Fleet,
    selector,
};

/// How long a wave that is well must stay so, where nobody says.
const SOAK_SECONDS: u32 = 60;

/// How long a device may be silent, where nobody says.
const PATIENCE_SECONDS: u32 = 600;

/// Holds if these are waves.
pub(crate) fn check(args: &WavesArgs) -> Result<()> {
    let pace = &args.pace;
    let wrong = |why: String| Err(WrongUse(why).into());
    match args.waves.last() {
        None if pace.soak.is_some() || pace.halt_on.is_some() || pace.patience.is_some() => {
            wrong("--soak, --halt-on and --patience go with --waves".into())
        }
        None | Some(Wave::Percent(Percent::ALL)) => {
            let max = limits::WAVES_MAX;
            if args.waves.len() > max { wrong(format!("--waves has more than {max}")) } else { Ok(()) }
        }
        Some(_) => wrong("the last of --waves is 100%, as in 1,10%,100%".into()),
    }
}

/// The rollout that these waves are for this assignment, from what is known of the devices.
///
/// A wave of so many devices, or of a share of them, ends with that device of those that are online now:
/// so `1` is one device that can show how it fares, and who comes later is spread by chance.
pub(crate) fn resolve(
    fleet: &Fleet,
    args: &WavesArgs,
    old: &[Entry],
    assignment: &Assignment,
    devices: &Devices,
) -> Result<Rollout> {
    let whole = vec![Share::ALL];
    let (soak_seconds, patience_seconds) = (SOAK_SECONDS, PATIENCE_SECONDS);
    let rollout = Rollout { waves: whole, wave: 0, soak_seconds, patience_seconds, halt_on: 0, held: false };
    let rollout = with_pace(rollout, &args.pace);
    let entries = assignments::begin(old, assignment.clone(), rollout.clone());
    let plan = assignments::draft(fleet, entries);
    let online = devices.0.iter().filter(|(_, seen)| seen.online);
    let mut least: Vec<_> = online
        .filter(|(device, seen)| is_meant(&plan, assignment, device, &seen.labels()))
        .map(|(device, _)| Share::least(device, &assignment.app, &assignment.release.digest))
        .collect();
    if least.is_empty() {
        let to = selector::show(&assignment.to);
        bail!("no device of {to} is online, and a wave waits for what its devices say: deploy without --waves");
    }
    least.sort_unstable();
    Ok(Rollout { waves: shares(&args.waves, &least), ..rollout })
}

/// Whether a device is to obey an assignment when it has reached everybody.
pub(crate) fn is_meant(plan: &Plan, assignment: &Assignment, device: &DeviceId, labels: &Labels) -> bool {
    plan.in_the_end_for(device, labels).contains(&assignment)
}

/// With what was given of these.
pub(crate) fn with_pace(rollout: Rollout, pace: &PaceArgs) -> Rollout {
    let seconds = |span: Option<crate::cli::SpanArg>, otherwise| {
        span.map_or(otherwise, |span| u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX))
    };
    Rollout {
        soak_seconds: seconds(pace.soak, rollout.soak_seconds),
        patience_seconds: seconds(pace.patience, rollout.patience_seconds),
        halt_on: pace.halt_on.map_or(rollout.halt_on, |percent| percent.0),
        ..rollout
    }
}

/// The share of each wave, of devices that are in these at the least, in order. A wave that would add
/// nobody is none.
fn shares(waves: &[Wave], least: &[Share]) -> Vec<Share> {
    let count = least.len();
    let mut shares: Vec<Share> = Vec::new();
    for wave in waves {
        let devices = match wave {
            Wave::Percent(Percent::ALL) => None,
            Wave::Percent(Percent(hundredths)) => Some((count * *hundredths as usize).div_ceil(10_000)),
            Wave::Count(devices) => Some(*devices),
        };
        let share = match devices.and_then(|devices| least.get(devices.min(count).checked_sub(1)?)) {
            Some(share) => *share,
            None => Share::ALL,
        };
        if shares.last().is_none_or(|last| *last < share) {
            shares.push(share);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_end_with_devices() {
        let least = |count: u32| (1..=count).map(|at| Share(at * 100)).collect::<Vec<_>>();
        let percent = |percent: u32| Wave::Percent(Percent(percent * 100));
        let usual = [Wave::Count(1), percent(10), percent(50), percent(100)];
        for (waves, devices, expected) in [
            (&usual[..], 1, &[100][..]),
            (&usual, 3, &[100, 200]),
            (&usual, 12, &[100, 200, 600]),
            (&usual, 1_000, &[100, 10_000, 50_000]),
            (&[percent(100)], 5, &[]),
            (&[Wave::Count(9), percent(100)], 5, &[500]),
            (&[percent(50), Wave::Count(1), percent(100)], 4, &[200]),
        ] {
            let expected: Vec<_> = expected.iter().map(|share| Share(*share)).chain([Share::ALL]).collect();
            assert_eq!(shares(waves, &least(devices)), expected, "{waves:?} of {devices}");
        }
    }
}
