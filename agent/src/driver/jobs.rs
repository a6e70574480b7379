//! Work that would hold up the guests: done on blocking threads.

use std::{fs, path::PathBuf};

use dunlin_core::{
    Code, Refusal,
    policy::Setup,
    reconcile::Ran,
    trust::{Verified, check_module},
    wire::{AppName, Digest, Release, encode},
};
use dunlin_host::Program;

use crate::{
    Failure,
    apps::{Spec, limits, reach},
    store::{Disk, NotFinished, Part},
};

/// A job that is over.
pub(crate) enum Done {
    /// A module is on the disk, or isn't.
    Finished { module: Digest, outcome: Result<(), NotFinished> },
    /// A release is ready to start, or isn't.
    Staged { app: AppName, ran: Ran, outcome: Result<Box<Spec>, NotStaged> },
    /// The job's thread died: a bug, which has said so itself.
    Lost,
}

/// Why a release that was fetched can't be started.
pub(crate) enum NotStaged {
    /// The module is not what its name says any more: away with it, and fetch it again.
    Damaged { module: Digest, path: PathBuf, refusal: Refusal },
    /// The module can't run here.
    Refused(Refusal),
    /// The disk.
    Failed(Failure),
}

pub(super) fn finish(part: Part, module: Digest) -> Done {
    Done::Finished { module, outcome: part.finish() }
}

/// Everything that is needed to compile a release, and to start it afterwards.
pub(super) struct Stage {
    pub(super) release: Verified<Release>,
    pub(super) disk: Disk,
    pub(super) path: PathBuf,
    /// Where to keep what it is started with, if that is news.
    pub(super) last: Option<PathBuf>,
    pub(super) ran: Ran,
    pub(super) setup: Setup,
}

/// Reads, hashes and compiles. *Re-hash: again each time it is loaded from disk.*
pub(super) fn stage(stage: Stage) -> Done {
    let (app, ran) = (stage.release.app.clone(), stage.ran);
    let outcome = compile(stage).map(Box::new);
    Done::Staged { app, ran, outcome }
}

fn compile(stage: Stage) -> Result<Spec, NotStaged> {
    let Stage { release, disk, path, last, ran, setup } = stage;
    let module = &release.module;
    let reach = reach(&release.app, &setup).map_err(NotStaged::Refused)?;
    let bytes = fs::read(&path).map_err(Failure::disk("read", &path)).map_err(NotStaged::Failed)?;
    check_module(module, bytes.len() as u64, Digest::of(&bytes)).map_err(|refusal| NotStaged::Damaged {
        module: module.sha256,
        path,
        refusal,
    })?;
    let program = Program::compile(&bytes, &limits(setup.memory_bytes)).map_err(|rejected| {
        let sentence = format!("{} {}: {rejected}", release.app, release.version);
        NotStaged::Refused(Refusal::new(Code::BadModule, sentence))
    })?;
    let spec = Spec { release, ran, program, setup, reach };
    if let Some(path) = last {
        disk.write_atomically(&path, &encode(&spec.last())).map_err(NotStaged::Failed)?;
    }
    Ok(spec)
}
