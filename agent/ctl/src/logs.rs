//! `logs`: what an app prints on a device, its last lines and those that come.

use std::time::Duration;

use anstyle::Style;
use anyhow::{Result, bail};
use dunlin_core::{
    limits::FOLLOW_MS,
    wire::{Timestamp, Topic, state::Lines},
};
use tokio::time::Instant;

use crate::{
    cli::{Global, LogsArgs},
    fleet::Fleet,
    say,
    session::Session,
};

/// How often the device is asked to go on.
const AGAIN: Duration = Duration::from_millis(FOLLOW_MS / 3);

/// How long no line must come before the last ones are thought to be here: longer than a device pauses.
const QUIET: Duration = Duration::from_millis(1_200);

/// What is asked for: all lines that the device still has, or those after them.
const NEW: &str = "new";
const MORE: &str = "more";

/// Shows an app's lines.
pub(crate) async fn run(args: &LogsArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    tokio::select! {
        ended = follow(&fleet, &mut session, args, global.timeout.0) => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    session.close().await;
    Ok(())
}

async fn follow(fleet: &Fleet, session: &mut Session, args: &LogsArgs, patience: Duration) -> Result<()> {
    let (device, app) = (&args.which.device, &args.which.app);
    let ask = fleet.topics.format(&Topic::Follow(device.clone(), app.clone()));
    session.follow(&[fleet.topics.format(&Topic::Log(device.clone(), app.clone()))]).await?;
    session.tell(&ask, NEW);
    let asked = Instant::now();
    let (mut seen, mut answered) = (Seen::default(), false);
    let (mut again, mut quiet_at) = (asked + AGAIN, asked + patience);
    loop {
        // Who follows and was answered has only to ask again now and then.
        let until = if args.follow && answered { again } else { again.min(quiet_at) };
        match session.message(until).await? {
            Some((_, payload)) => {
                answered = true;
                quiet_at = Instant::now() + QUIET;
                match serde_json::from_slice::<Lines>(&payload) {
                    Ok(lines) => seen.show(lines, args.json)?,
                    Err(error) => say::warning(format_args!("{device}: lines that cannot be read: {error}")),
                }
            }
            None if !answered && asked.elapsed() >= patience => bail!(
                "{device} does not answer: is it online, does it have {app}, does its [policy] let others follow, and may \
                 it read {ask} at the broker? See `dunlinctl status --to device={device}`"
            ),
            None if !args.follow && answered && Instant::now() >= quiet_at => return Ok(()),
            None => {}
        }
        if Instant::now() >= again {
            // A device that was away begins with what it has.
            session.tell(&ask, if answered { MORE } else { NEW });
            again = Instant::now() + AGAIN;
        }
    }
}

/// What was shown.
#[derive(Default)]
struct Seen {
    since: Option<Timestamp>,
    last: u64,
}

impl Seen {
    /// Shows what is new among these lines, and says what was missed. Somebody else may have asked for them,
    /// so that some come twice.
    fn show(&mut self, lines: Lines, json: bool) -> Result<()> {
        match self.since.replace(lines.since) {
            Some(since) if since != lines.since => {
                say::note("(the agent was started again)");
                self.last = 0;
            }
            // What is no more there when we come was not missed.
            None => self.last = lines.lines.first().map_or(0, |line| line.number - line.number.min(1)),
            Some(_) => {}
        }
        let last = self.last;
        for line in lines.lines.into_iter().skip_while(|line| line.number <= last) {
            let missed = line.number - self.last - 1;
            if missed > 0 {
                say::note(format_args!("({missed} lines missed: they came faster than they are sent)"));
            }
            self.last = line.number;
            if json {
                say::result(serde_json::to_string(&line)?)?;
            } else {
                let style = if line.stream == "stderr" { say::BUSY } else { Style::new() };
                say::result(say::styled(style, say::clean(&line.text)))?;
            }
        }
        Ok(())
    }
}
