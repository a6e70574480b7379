//! What to simulate, as it stands on the command line.

use dunlin::config::units::{ByteSize, Span};

/// Runs many agents against one broker and says what they cost.
///
/// Agents are the real ones: their driver, their MQTT client, their transfer, their verification and their interpreter,
/// each with a connection and a state folder of its own. The broker is a mosquitto that is started for this.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "dunlin-sim", version)]
pub struct Settings {
    /// Boards; 100 and 1,000 of them are run before, so that growth is seen.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub devices: u32,

    /// Run this many boards and not fewer of them before.
    #[arg(long)]
    pub only: bool,

    /// Boards that run `guests/hello`, with a published port and a health check; the others run a guest that sleeps.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub real_guests: u32,

    /// What chance begins with: the same seed gives the same boards the same faults.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Boards in a hundred whose lines are cut again and again.
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    pub lossy: u8,

    /// Boards in a hundred with 64 KiB/s, 50 to 300 ms away.
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    pub slow: u8,

    /// Boards in a hundred that lose power once in every deploy.
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    pub rebooting: u8,

    /// Length of the sleeping guest's module.
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    pub module: ByteSize,

    /// Assignments in each plan that are for none of these boards, as a large fleet's plan has many.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=200))]
    pub others: u16,

    /// How long a deploy may take.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub limit: Span,

    /// Threads on which boards run, each as the agent's own; as many as there are cores, if absent.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,

    /// Prints one JSON value and no table.
    #[arg(long)]
    pub json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        <Self as clap::Parser>::parse_from(["dunlin-sim"])
    }
}

impl Settings {
    /// How many boards to run, one run after the other.
    pub fn sizes(&self) -> Vec<usize> {
        let all = self.devices as usize;
        let before = [100, 1_000].into_iter().filter(|fewer| !self.only && *fewer < all);
        before.chain([all]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_boards_are_run_before() {
        let sizes = |devices, only| Settings { devices, only, ..Settings::default() }.sizes();
        assert_eq!(sizes(10_000, false), [100, 1_000, 10_000]);
        assert_eq!(sizes(1_000, false), [100, 1_000]);
        assert_eq!(sizes(50, false), [50]);
        assert_eq!(sizes(10_000, true), [10_000]);
    }
}
