//! `rollout`, and what `deploy` says about waves.

use clap::{Args, Subcommand};
use dunlin_core::wire::AppName;

use super::{SpanArg, help, lifetime};

#[derive(Debug, Args)]
pub(crate) struct WavesArgs {
    /// Tell them in waves, as in 1,10%,100%: so many devices, or so many of a hundred, in all
    #[arg(long, value_name = "WAVES", value_delimiter = ',', value_parser = wave)]
    pub(crate) waves: Vec<Wave>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
}

/// What may be given with waves, and changed later.
#[derive(Debug, Args)]
pub(crate) struct PaceArgs {
    /// How long a wave that is well must stay so before the next one [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) soak: Option<SpanArg>,
    /// How many of the wave's devices may fail; one more halts the rollout [default: 0%]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) halt_on: Option<Percent>,
    /// How long a device that was connected may be silent, or on its way, before it fails [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) patience: Option<SpanArg>,
}

#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    pub(crate) command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show what is being rolled out, and how far it is
    #[command(after_help = help::ROLLOUT_SHOW)]
    Show {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Go on with a rollout, from any machine that has the deploy key
    #[command(after_help = help::ROLLOUT_CONTINUE)]
    Continue(ContinueArgs),
    /// Let a rollout stay where it is
    #[command(after_help = help::ROLLOUT_HOLD)]
    Hold(HoldArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ContinueArgs {
    #[command(flatten)]
    pub(crate) which: HoldArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// The app
    pub(crate) app: AppName,
    /// The --to with which it was deployed, where it is rolled out to more than one
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) to: Vec<String>,
    /// How long devices may take the plan; after that they need a newer one
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = lifetime)]
    pub(crate) expires: SpanArg,
}

/// How many devices have heard of it when a wave has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wave {
    /// So many.
    Count(usize),
    /// So many of those that it is for.
    Percent(Percent),
}

/// Hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u32);

impl Percent {
    /// All of them.
    pub(crate) const ALL: Self = Self(10_000);
}

fn wave(text: &str) -> Result<Wave, String> {
    let wave = if text.ends_with('%') {
        Wave::Percent(percent(text)?)
    } else {
        let count =
            text.parse().map_err(|_| format!("{text:?} is no wave: write a number of devices, or as in 10%"))?;
        Wave::Count(count)
    };
    if matches!(wave, Wave::Count(0) | Wave::Percent(Percent(0))) {
        Err("no device is no wave".into())
    } else {
        Ok(wave)
    }
}

fn percent(text: &str) -> Result<Percent, String> {
    let wrong = || format!("{text:?} is not from 0% to 100%, as in 2% or 0.5%");
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) || number.ends_with('.') {
        return Err(wrong());
    }
    let hundredths = format!("{whole}{part:0<2}").parse().map_err(|_| wrong())?;
    if hundredths > Percent::ALL.0 { Err(wrong()) } else { Ok(Percent(hundredths)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_a_number_of_devices_or_a_share() {
        let percent = |hundredths| Ok(Wave::Percent(Percent(hundredths)));
        assert_eq!((wave("1"), wave("10%"), wave("0.5%")), (Ok(Wave::Count(1)), percent(1_000), percent(50)));
        assert_eq!((wave("12.25%"), wave("100%")), (percent(1_225), percent(10_000)));
        for bad in ["", "0", "0%", "-1", "1.5", "101%", "%", ".5%", "5.%", "1.234%", "a%", "100.01%", "+1%"] {
            assert!(wave(bad).is_err(), "{bad}");
        }
    }
}
