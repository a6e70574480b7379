//! The daemon: one driver in a loop, from the first file read to the last message sent.

use std::{pin::pin, sync::Arc, time::Duration};

use dunlin_core::wire::{
    AppName,
    state::{AppState, Refused},
};
use dunlin_host::Stream;

use crate::{Failure, config::Config, door::Doors, driver::Driver, notify::Manager, store::Disk, upgrade::Itself};

/// How long the broker may take to hear our goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who is told what happens, besides the broker. Called on the agent's tasks: it must not block.
pub trait Watch: Send + Sync {
    /// An app printed a line.
    fn line(&self, app: &AppName, stream: Stream, line: &str) {
        let _ = (app, stream, line);
    }

    /// An app's state changed.
    fn app(&self, state: &AppState) {
        let _ = state;
    }

    /// Something was refused.
    fn refused(&self, refused: &Refused) {
        let _ = refused;
    }

    /// The broker let us in, or why it is not there.
    fn link(&self, up: Result<(), &str>) {
        let _ = up;
    }
}

/// The watch of the daemon: what apps print is logged; the agent logs the rest itself.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl Watch for Log {
    fn line(&self, app: &AppName, stream: Stream, line: &str) {
        match stream {
            Stream::Stdout => tracing::info!(target: "guest", %app, "{line}"),
            Stream::Stderr => tracing::warn!(target: "guest", %app, "{line}"),
        }
    }
}

/// Why an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Shutdown,
    /// Another program is to be started in the place of this one.
    Replaced,
}

/// Runs an agent until `shutdown` is ready. Fails only before it has begun: with a state folder
/// or a root that it can't use.
pub async fn run(config: Config, watch: Arc<dyn Watch>, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    run_on(Disk::default(), config, watch, shutdown).await
}

/// As [`run`], on a disk of which every change can be watched.
pub async fn run_on(
    disk: Disk,
    config: Config,
    watch: Arc<dyn Watch>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    run_as(None, disk, config, watch, shutdown).await.map(drop)
}

/// As [`run_on`], by a program that plans may replace, if it is known which one it is.
pub async fn run_as(
    itself: Option<Itself>,
    disk: Disk,
    config: Config,
    watch: Arc<dyn Watch>,
    shutdown: impl Future<Output = ()>,
) -> Result<End, Failure> {
    let mut driver = Driver::new(disk, config.clone(), itself, watch)?;
    let _doors = Doors::open(&config, driver.view(), driver.ports());
    driver.resume();
    let mut manager = Manager::from_env();
    let mut shutdown = pin!(shutdown);
    loop {
        driver.settle();
        if driver.leaves() {
            driver.close(FAREWELL).await;
            return Ok(End::Replaced);
        }
        if driver.is_up() {
            manager.ready();
        }
        tokio::select! {
            () = &mut shutdown => break,
            input = driver.input() => driver.handle(input).await,
            () = manager.watchdog_due() => manager.feed_watchdog(),
        }
    }
    manager.stopping();
    driver.close(FAREWELL).await;
    Ok(End::Shutdown)
}
