//! Work that would hold up the guests: done on blocking threads.

use std::path::PathBuf;

use dunlin_core::{
    policy::Setup,
    reconcile::Ran,
    trust::Verified,
    wire::{AppName, Digest, Release},
};

use crate::{
    apps::{NotLoaded, Spec, limits, load, reach},
    store::{Disk, NotFinished, Part},
};

/// A job that is over.
pub(crate) enum Done {
    /// A module is on the disk, or isn't.
    Finished { module: Digest, outcome: Result<(), NotFinished> },
    /// A release is ready to start, or isn't.
    Staged { app: AppName, ran: Ran, outcome: Result<Box<Spec>, NotLoaded> },
    /// The job's thread died: a bug, which has said so itself.
    Lost,
}

pub(super) fn finish(part: Part, module: Digest) -> Done {
    Done::Finished { module, outcome: part.finish() }
}

/// Everything that is needed to compile a release, and to start it afterwards.
pub(super) struct Stage {
    pub(super) release: Verified<Release>,
    pub(super) disk: Disk,
    pub(super) path: PathBuf,
    /// What is to be on the disk before it is started, and where.
    pub(super) record: Option<(PathBuf, Vec<u8>)>,
    pub(super) ran: Ran,
    pub(super) setup: Setup,
    pub(super) trial: bool,
}

/// Compiles a release and writes down that it is started.
pub(super) fn stage(stage: Stage) -> Done {
    let (app, ran) = (stage.release.app.clone(), stage.ran);
    let outcome = compile(stage).map(Box::new);
    Done::Staged { app, ran, outcome }
}

fn compile(stage: Stage) -> Result<Spec, NotLoaded> {
    let Stage { release, disk, path, record, ran, setup, trial } = stage;
    let reach = reach(&release.app, &setup).map_err(NotLoaded::Refused)?;
    let program = Some(load(&release, path.clone(), &limits(setup.memory_bytes))?);
    if let Some((path, bytes)) = record {
        disk.write_atomically(&path, &bytes).map_err(NotLoaded::Failed)?;
    }
    Ok(Spec { release, ran, setup, reach, path, program, trial })
}
