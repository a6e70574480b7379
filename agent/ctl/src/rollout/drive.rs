//! Looking after a rollout: what devices say goes in, and a plan is signed when a wave has soaked.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use dunlin_core::{
    Moment,
    rollout::{Act, Waves},
    trust::Verified,
    verdict::{Verdict, verdict},
    wire::{DeviceId, Plan, Rollout, Share, Topic},
};
use tokio::time::Instant;

use super::{
    Target, change, gone,
    view::{View, wave},
    waves::is_meant,
};
use crate::{
    assignments,
    devices::Devices,
    fleet::Fleet,
    plans::{self, How},
    say,
    session::Session,
};

/// How often it is looked at while nothing is heard: what is shown counts seconds.
const LOOK: Duration = Duration::from_millis(500);

/// How long messages are gathered before conclusions are drawn from them.
const GATHER: Duration = Duration::from_millis(50);

/// A rollout, and what is known of its devices.
pub(super) struct Rolling {
    plan: Verified<Plan>,
    /// The plan with which the wave began: who has it, or a later one, has heard of the wave.
    since: Verified<Plan>,
    target: Target,
    waves: Waves,
    devices: Devices,
    start: Instant,
}

/// Looks after a rollout of this plan until it is over, halted, or somebody else's.
///
/// The session follows what devices say already.
pub(crate) async fn drive(
    fleet: &Fleet,
    session: &mut Session,
    how: How,
    plan: Verified<Plan>,
    target: Target,
    devices: Devices,
) -> Result<()> {
    let app = target.0.app.clone();
    let Some((_, rollout)) = target.find(&assignments::entries(Some(&plan))) else { bail!(gone(Some(&plan), &target)) };
    // From now on it is known when somebody else publishes a plan.
    session.put_aside(&fleet.topics.format(&Topic::Plan)).await?;
    let mut rolling = Rolling::new(plan, target, rollout, devices);
    let ended = tokio::select! {
        ended = rolling.run(fleet, session, how) => Some(ended),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            None
        }
    };
    let ended = ended.unwrap_or_else(|| Err(anyhow!("interrupted in {}", wave(&rolling.waves))));
    ended.map_err(|error| {
        error.context(format!(
        "the rollout of {app} is not over. `dunlinctl rollout continue {app}` goes on, here or elsewhere; `dunlinctl \
         rollback {app}` takes it back"
    ))
    })
}

impl Rolling {
    pub(super) fn new(plan: Verified<Plan>, target: Target, rollout: Rollout, devices: Devices) -> Self {
        let (since, waves, start) = (plan.clone(), Waves::new(rollout), Instant::now());
        let mut rolling = Self { plan, since, target, waves, devices, start };
        rolling.feed_all();
        rolling
    }

    /// How it stands, for who does not go on with it.
    pub(super) fn into_waves(mut self) -> Waves {
        // Draws the conclusions of what is known; nobody does what it says.
        let _ = self.waves.poll(self.now());
        self.waves
    }

    async fn run(&mut self, fleet: &Fleet, session: &mut Session, how: How) -> Result<()> {
        let mut view = View::new();
        let mut away = false;
        loop {
            self.look_aside(fleet, session).await?;
            match session.away() {
                Some(why) => {
                    view.away(why);
                    away = true;
                }
                None => {
                    if std::mem::take(&mut away) {
                        // What was silent may have been the broker: the wave is looked at anew.
                        self.waves = Waves::new(self.waves.rollout().clone());
                        self.feed_all();
                    }
                    let act = self.waves.poll(self.now());
                    view.show(&self.waves, self.now());
                    match act {
                        None => {}
                        Some(Act::Halt(why)) => bail!("halted in {}: {}", wave(&self.waves), say::clean(&why)),
                        Some(Act::Sign(next)) => self.sign(fleet, session, how, next).await?,
                        Some(Act::Finish) => return self.finish(fleet, session, how, view).await,
                    }
                }
            }
            self.listen(fleet, session).await?;
        }
    }

    /// Takes in what devices say, until it is time to look at it.
    async fn listen(&mut self, fleet: &Fleet, session: &mut Session) -> Result<()> {
        let due = self.waves.poll_timeout().map(|at| self.start + Duration::from_millis(at.0));
        let now = Instant::now();
        let mut until = due.map_or(now + LOOK, |due| due.clamp(now + GATHER, now + LOOK));
        while let Some((topic, payload)) = session.message(until).await? {
            if let Some(device) = self.devices.take(&fleet.topics, &topic, &payload) {
                self.feed(&device);
            }
            until = until.min(Instant::now() + GATHER);
        }
        Ok(())
    }

    /// Tells what is known of every device.
    fn feed_all(&mut self) {
        let devices: Vec<_> = self.devices.0.keys().cloned().collect();
        devices.iter().for_each(|device| self.feed(device));
    }

    fn feed(&mut self, device: &DeviceId) {
        let assignment = &self.target.0;
        let seen = self.devices.0.get(device).filter(|seen| is_meant(&self.plan, assignment, device, &seen.labels()));
        let Some(seen) = seen else { return self.waves.handle_gone(device) };
        let least = Share::least(device, &assignment.app, &assignment.release.digest);
        let verdict: Verdict = verdict(seen.state.as_ref(), &self.since, assignment);
        let now = Moment(self.start.elapsed().as_millis() as u64);
        self.waves.handle_device(device, least, seen.online, verdict, now);
    }

    /// Somebody else's plan, if there is one: it goes on if the rollout is in it as it was.
    async fn look_aside(&mut self, fleet: &Fleet, session: &mut Session) -> Result<()> {
        let topic = fleet.topics.format(&Topic::Plan);
        while session.has_aside(&topic) {
            let Some(bytes) = session.next_aside(&topic, Instant::now()).await? else { break };
            let Some(theirs) = plans::rival(fleet, &bytes, &self.plan) else { continue };
            let sequence = theirs.sequence;
            let Some((assignment, rollout)) = self.target.find(&assignments::entries(Some(&theirs))) else {
                bail!(gone(Some(&theirs), &self.target));
            };
            if rollout.held {
                bail!("the plan changed: plan {sequence} holds the rollout");
            }
            if rollout != *self.waves.rollout() {
                bail!("the plan changed: somebody else goes on with this rollout, and published plan {sequence}");
            }
            say::note(format_args!(
                "the plan changed: somebody else published plan {sequence}; the rollout goes on in it"
            ));
            plans::keep(fleet, &theirs)?;
            (self.plan, self.target) = (theirs, Target(assignment));
            self.feed_all();
        }
        Ok(())
    }

    async fn sign(&mut self, fleet: &Fleet, session: &mut Session, how: How, next: Rollout) -> Result<()> {
        let _lock = fleet.lock()?;
        let (target, known) = (&self.target, self.waves.rollout());
        let edit =
            |last: Option<&Verified<Plan>>| change(last, target, |now| as_known(now, known).map(|()| next.clone()));
        let plan = plans::succeed_to(fleet, session, how, Some(self.plan.clone()), edit).await?;
        (self.since, self.plan) = (plan.clone(), plan);
        let now = self.now();
        self.waves.handle_signed(next, now);
        self.feed_all();
        Ok(())
    }

    async fn finish(&mut self, fleet: &Fleet, session: &mut Session, how: How, view: View) -> Result<()> {
        let _lock = fleet.lock()?;
        let (target, known) = (&self.target, self.waves.rollout());
        let edit = |last: Option<&Verified<Plan>>| {
            let entries = assignments::entries(last.map(|plan| &**plan));
            let Some((assignment, now)) = target.find(&entries) else { bail!(gone(last, target)) };
            as_known(now, known)?;
            Ok(assignments::put(&entries, assignment))
        };
        let plan = plans::succeed_to(fleet, session, how, Some(self.plan.clone()), edit).await?;
        view.finish();
        let (sequence, app, count) = (plan.sequence, &self.target.0.app, self.waves.count());
        let failing = if count.failing > 0 { format!(", {} fail", count.failing) } else { String::new() };
        let devices = if count.counted == 1 { "1 device" } else { &format!("{} devices", count.counted) };
        say::result(format_args!("plan {sequence}: the rollout of {app} is over: {devices}{failing}"))?;
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment(self.start.elapsed().as_millis() as u64)
    }
}

/// Holds if nobody else went on with the rollout.
fn as_known(now: Rollout, known: &Rollout) -> Result<()> {
    if now != *known {
        bail!("the plan changed: somebody else went on with this rollout, or holds it");
    }
    Ok(())
}
