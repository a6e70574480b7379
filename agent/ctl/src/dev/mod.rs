//! `dev`: a broker, an agent and throwaway keys in one process, and an app that is built, signed
//! and deployed over MQTT again on each change.
//!
//! Release and deploy are the commands' own functions. What is different is only where the fleet
//! is (a temporary folder), and that a version is new each time.

mod broker;
mod build;
mod changes;
mod project;
mod show;

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use dunlin::{agent, config::Config, door};
use dunlin_core::{
    policy::Policy,
    wire::{Assignment, FleetName, Selector},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

use crate::{
    app::App,
    cli::DevArgs,
    deploy,
    fleet::{Fleet, ROOT_FILE},
    init,
    plans::How,
    release, say,
    session::Session,
};
use project::Project;
use show::{Screen, Shower};

/// How long the throwaway fleet's root and plans are good for.
const VALID: Duration = Duration::from_secs(365 * 86_400);

/// How long to wait for the embedded broker, which is there or broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the agent may take to stop its guests and say goodbye.
const FAREWELL: Duration = Duration::from_millis(700);

/// Runs an app on this machine until Ctrl-C.
pub(crate) async fn run(args: &DevArgs) -> Result<()> {
    let project = Project::open(&args.what)?;
    // Before anything is there that an early Ctrl-C could leave behind.
    let interrupted = interrupted()?;
    let dir = tempfile::Builder::new().prefix("dunlin-dev-").tempdir().context("no temporary folder")?;
    let port = broker::start(args.broker_port)?;
    let fleet = make_fleet(&dir.path().join("fleet"), port)?;
    let page = broker::free_port(args.page_port).context("the board's page has no place")?;
    let (screen, watch) = Screen::open();
    watch.say(&format!("the board's page: http://127.0.0.1:{page}/"));
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = agent::run(config(&fleet, dir.path(), page)?, Arc::new(watch.clone()), async {
        // Dropped or used, it means the same.
        let _ = stopped.await;
    });
    let mut agent = pin!(agent);
    let outcome = tokio::select! {
        outcome = &mut agent => outcome.context("the agent"),
        outcome = develop(&project, args, &fleet, &watch) => outcome,
        () = interrupted => Ok(()),
    };
    drop(stop);
    // After that it is left as it is: nothing of it outlives this process.
    let _ = timeout(FAREWELL, agent).await;
    drop(watch);
    screen.close();
    outcome
}

/// Ready when somebody wants this to end.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("signals cannot be received");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn make_fleet(dir: &Path, port: u16) -> Result<Fleet> {
    let name: FleetName = "dev".parse()?;
    init::create(dir, &name, &format!("url = \"mqtt://127.0.0.1:{port}\"\n"), VALID)?;
    Fleet::load(dir)
}

fn config(fleet: &Fleet, dir: &Path, page: u16) -> Result<Config> {
    let places = vec![door::Place::Tcp(broker::address(page))];
    Ok(Config {
        device: "dev".parse()?,
        labels: [("site".parse()?, "dev".parse()?)].into(),
        state_dir: dir.join("state"),
        root: fleet.dir.join(ROOT_FILE),
        broker: fleet.broker.clone(),
        http: dunlin::link::Tls::default(),
        prefix: dunlin_core::wire::topic::PREFIX.into(),
        // It is the developer's own machine and own app.
        policy: Policy::anything(),
        connect: None,
        directories: BTreeMap::new(),
        bind: Ipv4Addr::LOCALHOST.into(),
        door: Some(door::Settings { places, token: None, certificate: None }),
        front: None,
        home_assistant: None,
    })
}

/// Builds and deploys at once and after each change; what fails is shown, and what ran goes on.
async fn develop(project: &Project, args: &DevArgs, fleet: &Fleet, watch: &Shower) -> Result<()> {
    let mut last: Option<(App, Bytes)> = None;
    let mut number = 0;
    loop {
        let before = project.files();
        match built(project, args).await {
            Err(error) => {
                say::error(format_args!("{error:#}"));
                watch.say(if last.is_some() {
                    "what ran goes on; waiting for a change"
                } else {
                    "waiting for a change"
                });
            }
            Ok(new) if last.as_ref() == Some(&new) => watch.say("nothing is different"),
            Ok((app, wasm)) => {
                number += 1;
                match ship(fleet, args, &app, &wasm, number).await {
                    Ok(()) => last = Some((app, wasm)),
                    Err(error) => say::error(format_args!("{error:#}")),
                }
            }
        }
        project.changed_since(&before).await;
    }
}

/// The app and its module as they are now.
async fn built(project: &Project, args: &DevArgs) -> Result<(App, Bytes)> {
    let (app, wasm) = project.build(args).await?;
    release::check_module(&wasm, &app, &app.module)?;
    Ok((app, wasm.into()))
}

/// Releases and deploys, as the commands do.
async fn ship(fleet: &Fleet, args: &DevArgs, app: &App, wasm: &Bytes, number: u32) -> Result<()> {
    let version = format!("{}+dev.{number}", app.version).parse()?;
    // What is being changed is nowhere to be had but here.
    // Who changes it looks at it: there is nothing to wait for.
    let app = App { version, urls: Vec::new(), trial_ms: 0, ..app.clone() };
    let mut session = Session::open(fleet, PATIENCE).await?;
    let (record, _) = release::release(fleet, &mut session, &app, wasm.clone()).await?;
    let assignment = Assignment {
        app: app.name.clone(),
        to: Selector::default(),
        release: record.order(),
        paused: false,
        env: args.env.clone(),
        secrets: Vec::new(),
        args: (!args.args.is_empty()).then(|| args.args.clone()),
        publish: (!args.publish.is_empty()).then(|| args.publish.clone()),
    };
    let how = How { expires: VALID, dry_run: false };
    deploy::deploy(fleet, &mut session, &record, assignment, how).await?;
    session.close().await;
    Ok(())
}
