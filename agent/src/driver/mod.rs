//! Input, decision, performance: the loop that everything else serves.
//!
//! An input comes from the link, an app, a job on a blocking thread or the clock. The driver hands
//! it to [`dunlin_core`], persists what was accepted, and performs the actions. It has no
//! opinion of its own: where it seems to, the decision is in the wrong place.

mod follow;
mod input;
mod jobs;
mod keep;
mod life;
mod messages;
mod perform;
mod spool;
mod trouble;
mod upgrade;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use dunlin_core::{
    Code, Moment,
    collect::Good,
    follow::Follows,
    limits,
    policy::Policy,
    reconcile::{Actual, Ran},
    refusal::Refusal,
    transfer::Patience,
    trust::{self, Chain, Verified},
    wire::{
        AppName, Assignment, DeviceId, Digest, Plan, Protocol, Root, Timestamp, Topic, Topics,
        bundle::Frame,
        plan::Labels,
        sealed::OpeningKey,
        state::{AppState, DeviceState, NextState, Phase, PlanState},
    },
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    Failure,
    agent::Watch,
    apps::{App, Board, Clock, Outgoing, Ports, Programs, Records, Report, Status, Surroundings},
    bundle::NotRead,
    config::Config,
    door::{self, View},
    fetch::{Brought, Downloads, Fetch},
    home_assistant::Discovery,
    identity,
    link::{self, Link},
    report::Reporter,
    store::{Disk, Store},
    upgrade::{Itself, TARGET},
};
use jobs::Done;
use life::Reverted;
use spool::Spool;
use upgrade::Upgrade;

/// How often to look at the time of day at least.
const LOOK_AT_THE_TIME: Duration = Duration::from_secs(3600);

/// Everything that an agent is.
pub(crate) struct Driver {
    device: DeviceId,
    labels: Labels,
    policy: Policy,
    topics: Topics,
    roots: Chain,
    plan: Option<Verified<Plan>>,
    /// What of the plan is for this device. Every input asks for it, and only a plan changes it.
    assignments: Arc<[Assignment]>,
    actual: Actual,
    /// Why each refused release is.
    refusals: BTreeMap<(AppName, Digest), Refusal>,
    store: Arc<Store>,
    /// What of each app ran well.
    good: BTreeMap<AppName, Good>,
    /// Apps of which it cannot be read what they need: as long as there are any, nothing is removed.
    unread: BTreeSet<AppName>,
    /// Something may be needed no more.
    untidy: bool,
    /// What the disk did not take last, while that is so.
    trouble: Option<String>,
    /// Until when nothing is begun that writes, because the disk failed.
    rest_until: Option<Moment>,
    spool: Spool,
    link: Link,
    connected: bool,
    /// Whether the broker keeps retained messages.
    retains: bool,
    /// Releases that were subscribed to in this session, and when to say that they are wanted.
    asked: BTreeMap<Digest, Patience>,
    /// When the next of them is to be said.
    ask_at: Option<Moment>,
    // Boxed, as all that is large and of which there are few: a node of these maps has room for eleven.
    fetches: BTreeMap<Digest, Box<Fetch>>,
    downloads: Downloads,
    /// Modules that are being finished on a blocking thread.
    finishing: BTreeSet<Digest>,
    apps: BTreeMap<AppName, Box<App>>,
    /// What is being tried beside them.
    trials: BTreeMap<AppName, Box<App>>,
    /// What was replaced, and finishes what it has begun.
    draining: JoinSet<()>,
    /// Why what was tried in vain is not tried again.
    reverts: BTreeMap<AppName, Reverted>,
    around: Surroundings,
    reports: mpsc::UnboundedReceiver<Report>,
    /// What apps publish.
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    /// Topics of apps that were subscribed to in this session, and for which run.
    heard: BTreeMap<Topic, Ran>,
    /// Apps whose lines somebody follows.
    follows: Follows,
    /// When this life of the agent began.
    started: Timestamp,
    jobs: JoinSet<Done>,
    reporter: Reporter,
    view: View,
    upgrade: Upgrade,
}

/// What a driver waits for.
pub(crate) enum Input {
    Link(link::Event),
    App(Report),
    Message(Outgoing),
    Job(Done),
    Download(Brought),
    Bundle(Result<Frame, NotRead>),
    Time,
}

impl Driver {
    pub(crate) fn new(
        disk: Disk,
        config: Config,
        itself: Option<Itself>,
        watch: Arc<dyn Watch>,
    ) -> Result<Self, Failure> {
        let given = config.read_root()?;
        let store = Arc::new(Store::open(disk, &config.state_dir)?);
        let topics = Topics::new(&config.prefix, &given.fleet);
        let will = Reporter::will(&config.device, &topics);
        let link = Link::new(config.broker, config.device.as_str(), Some(will));
        let (reports_in, reports) = mpsc::unbounded_channel();
        let (outgoing_in, outgoing) = mpsc::unbounded_channel();
        let (ports, clock) = (Ports::new(config.bind), Clock::start());
        // Without it a board runs all that has no secrets.
        let key = identity::opening_key(store.disk(), &config.state_dir);
        let key = key.inspect_err(|failure| tracing::error!("no key for secrets: {failure}")).ok();
        let board = Board {
            apps: config.state_dir.join("apps"),
            directories: config.directories,
            within: config.connect,
            fleet: given.fleet.clone(),
            device: config.device.clone(),
            key,
        };
        let (records, open) = (Records::default(), config.door.is_some() || config.front.is_some());
        let view = View::new(open, records.clone(), time_of_day());
        let home_assistant = config.home_assistant.map(Discovery::new);
        let (device, told) = (config.device.clone(), Arc::clone(&watch));
        let reporter = Reporter::new(device, topics.clone(), told, view.clone(), home_assistant);
        let (own, upgrade) = upgrade::resume(itself, &store, clock.now());
        let mut labels = config.labels;
        if own.is_some() {
            // By this its own releases find it; nobody else gives it, nor can take it away.
            labels.extend("target".parse().ok().zip(TARGET.parse().ok()));
        }
        Ok(Self {
            device: config.device,
            labels,
            policy: config.policy,
            topics,
            roots: Chain::new(given),
            plan: None,
            assignments: Arc::default(),
            actual: Actual { own, ..Actual::default() },
            refusals: BTreeMap::new(),
            good: BTreeMap::new(),
            unread: BTreeSet::new(),
            untidy: false,
            trouble: None,
            rest_until: None,
            spool: Spool::new(store.bundle_path()),
            store,
            link,
            connected: false,
            retains: true,
            asked: BTreeMap::new(),
            ask_at: None,
            fetches: BTreeMap::new(),
            downloads: Downloads::new(config.http.clone()),
            finishing: BTreeSet::new(),
            apps: BTreeMap::new(),
            trials: BTreeMap::new(),
            draining: JoinSet::new(),
            reverts: BTreeMap::new(),
            around: Surroundings {
                ports,
                programs: Programs::default(),
                board: Arc::new(board),
                reports: reports_in,
                outgoing: outgoing_in,
                watch,
                records,
                #[cfg(feature = "components")]
                outbound: Arc::new(crate::serve::Outbound::new(config.http)),
                clock,
            },
            reports,
            outgoing,
            heard: BTreeMap::new(),
            follows: Follows::default(),
            started: time_of_day(),
            jobs: JoinSet::new(),
            reporter,
            view,
            upgrade,
        })
    }

    /// The board's ports, and whose they are.
    pub(crate) fn ports(&self) -> &Ports {
        &self.around.ports
    }

    /// What the board's doors show.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Takes up what an earlier life persisted. What cannot be read is said and fetched again.
    pub(crate) fn resume(&mut self) {
        self.roots = self.store.chain(self.root().clone());
        let stored = match self.store.plan() {
            Ok(Some(bytes)) => self.roots.stored_plan(&bytes),
            Ok(None) => return,
            Err(failure) => return tracing::error!("{failure}"),
        };
        match stored {
            Ok(plan) => self.obey(plan),
            Err(refusal) => {
                let path = self.store.plan_path();
                tracing::error!(code = refusal.code.as_str(), "{}: {}", path.display(), refusal.sentence);
            }
        }
    }

    fn root(&self) -> &Verified<Root> {
        self.roots.current()
    }

    /// What happens next. Dropping the future loses nothing.
    pub(crate) async fn input(&mut self) -> Input {
        let fetches = self.fetches.values().filter_map(|fetch| fetch.poll_timeout());
        let lines = self.follows.poll_timeout().filter(|_| self.may_send_lines());
        let deadline = fetches.chain(self.ask_at).chain(self.rest_until).chain(self.upgrade.until).chain(lines).min();
        let deadline = deadline.map(|at| self.around.clock.instant(at)).into_iter().chain(self.stale_at()).min();
        let time = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // Those that are done need only to be forgotten.
        while self.draining.try_join_next().is_some() {}
        let has_room = self.link.waiting() < limits::APP_OUTBOX_MAX;
        tokio::select! {
            event = self.link.next() => Input::Link(event),
            Some(report) = self.reports.recv() => Input::App(report),
            Some(message) = self.outgoing.recv(), if has_room => Input::Message(message),
            Some(done) = self.jobs.join_next() => Input::Job(done.unwrap_or(Done::Lost)),
            frame = self.spool.next() => Input::Bundle(frame),
            Some(brought) = self.downloads.next() => Input::Download(brought),
            () = time => Input::Time,
        }
    }

    /// When to look whether the plan has gone stale; now and then, because clocks are set.
    fn stale_at(&self) -> Option<Instant> {
        let plan = self.plan.as_ref().filter(|_| !self.actual.frozen)?;
        let left = Duration::from_secs(plan.not_after.0.saturating_sub(self.now().0).saturating_add(1));
        Some(Instant::now() + left.min(LOOK_AT_THE_TIME))
    }

    /// Whether it does its work: it has a plan to obey, or a broker to hear of one.
    pub(crate) fn is_up(&self) -> bool {
        self.connected || self.plan.is_some()
    }

    /// Ends all guests, lets what is being written be written, and says goodbye to the broker.
    pub(crate) async fn close(mut self, patience: Duration) {
        self.forget_trials();
        self.apps.clear();
        self.trials.clear();
        self.reporter.offline(&mut self.link);
        let written = async { while self.jobs.join_next().await.is_some() {} };
        // Cut off, it is done again at the next start.
        let (_, ()) = tokio::join!(tokio::time::timeout(patience, written), self.link.close(patience));
    }

    /// A plan that was persisted: from now on it holds.
    fn obey(&mut self, plan: Verified<Plan>) {
        self.untidy = true;
        let mine = plan.for_device(&self.device, &self.labels).into_iter().cloned();
        self.assignments = mine.map(|mine| mine.seen_by(&self.device)).collect();
        self.plan = Some(plan);
        self.reverts.clear();
        self.actual.reverted.clear();
        self.reconsider();
        self.recall_trials();
    }

    /// What was refused may not be any more: the plan or the root is another.
    fn reconsider(&mut self) {
        self.refusals.clear();
        self.actual.refused.clear();
        self.recall();
    }

    fn refuse(&mut self, refusal: &Refusal) {
        let now = self.now();
        self.reporter.refused(&mut self.link, refusal, now);
    }

    /// A message is refused: whoever sends rubbish may send very much of it.
    fn refuse_message(&mut self, refusal: &Refusal) {
        let (moment, now) = (self.around.clock.now(), self.now());
        self.reporter.refused_message(&mut self.link, refusal, moment, now);
    }

    /// A release that will not run here while the plan stays as it is.
    fn refuse_release(&mut self, app: &AppName, release: Digest, refusal: Refusal) {
        self.refuse(&refusal);
        if refusal.code == Code::Widening {
            // The same release with one signature more may come: what is here must not hide it.
            self.actual.releases.remove(&release);
            if let Err(failure) = self.store.disk().remove(&self.store.release_path(&release)) {
                tracing::error!("{failure}");
            }
            if self.asked.remove(&release).is_some() {
                self.link.unsubscribe(self.topics.format(&Topic::Release(release)));
            }
        }
        self.actual.refused.insert((app.clone(), release));
        self.refusals.insert((app.clone(), release), refusal);
    }

    /// *Clock*: never earlier than the plan in force was made.
    fn now(&self) -> Timestamp {
        trust::now(time_of_day(), self.plan.iter().map(|plan| plan.issued))
    }

    fn report(&mut self, assignments: &[Assignment]) {
        let now = self.now();
        let plan = self.plan.as_ref();
        self.view.trust(|| door::Trust {
            root_expires: self.root().expires,
            plan: plan.map(|plan| (plan.issued, plan.not_after)),
            stale: self.actual.frozen,
        });
        let state = DeviceState {
            device: self.device.clone(),
            fleet: self.root().fleet.clone(),
            labels: self.labels.clone(),
            agent: env!("CARGO_PKG_VERSION").into(),
            root: self.root().version,
            sealing_key: self.around.board.key.as_ref().map(OpeningKey::public),
            plan: plan.map(|plan| PlanState { sequence: plan.sequence, digest: plan.digest() }),
            apps: assignments.iter().map(|assignment| self.app_state(assignment)).collect(),
            refused: None,
            broker: self.link.broken(),
            trouble: self.trouble.clone(),
            at: now,
        };
        self.reporter.state(&mut self.link, state, now);
    }

    fn app_state(&self, assignment: &Assignment) -> AppState {
        let ordered = assignment.release.digest;
        let app = self.apps.get(&assignment.app);
        let (phase, why) = match self.refusals.get(&(assignment.app.clone(), ordered)) {
            Some(refusal) => (Phase::Refused, Some(refusal.to_string())),
            None if assignment.paused => (Phase::Paused, None),
            None if assignment.app.agent_target().is_some() => self.own_phase(assignment),
            None => (Phase::Fetching, None),
        };
        let known = self.actual.releases.get(&ordered).map(|release| release.version.clone());
        let waiting = AppState {
            app: assignment.app.clone(),
            release: ordered,
            version: known,
            phase,
            since: Timestamp(0),
            why: why.clone(),
            failures: 0,
            ports: Vec::new(),
            udp_ports: Vec::new(),
            log: Vec::new(),
            next: None,
        };
        let Some(app) = app else { return waiting };
        let Ran { release, .. } = app.spec.ran;
        let coming = (release != ordered).then_some(NextState { release: ordered, phase, why, log: Vec::new() });
        AppState {
            release,
            version: Some(app.spec.release.version.clone()),
            phase: app.status.phase,
            why: app.status.why.clone(),
            failures: app.status.failures,
            ports: app.ports(Protocol::Tcp),
            udp_ports: app.ports(Protocol::Udp),
            log: app.status.log.clone(),
            // Another setup of the release that runs is tried as well.
            next: self.next_state(assignment).or(coming),
            ..waiting
        }
    }

    /// Of a release that is, or was, on trial beside what runs.
    fn next_state(&self, assignment: &Assignment) -> Option<NextState> {
        let Assignment { app, release: order, .. } = assignment;
        let release = order.digest;
        if let Some(trial) = self.trials.get(app).filter(|trial| trial.spec.ran.release == release) {
            let Status { phase, why, log, .. } = trial.status.clone();
            return Some(NextState { release, phase, why, log });
        }
        let reverted = self.reverts.get(app).filter(|reverted| reverted.release == release)?;
        let (why, log) = (Some(reverted.why.clone()), reverted.log.clone());
        Some(NextState { release, phase: Phase::Reverted, why, log })
    }
}

fn time_of_day() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since_epoch.map_or(0, |time| time.as_secs()))
}
