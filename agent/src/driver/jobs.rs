//! Work that would hold up the guests: done on blocking threads.

use std::{path::PathBuf, sync::Arc};

use dunlin_core::{upgrade::Record, wire::Digest};
use dunlin_host::Program;

use crate::{
    Failure,
    apps::{NotLoaded, Programs, Spec},
    store::{Disk, NotFinished, Part},
};

/// A job that is over.
pub(crate) enum Done {
    /// A module is on the disk, or isn't.
    Finished { module: Digest, outcome: Result<(), NotFinished> },
    /// A release is ready to start, or isn't.
    Staged { spec: Arc<Spec>, outcome: Result<Program, NotLoaded> },
    /// The digest of the program that runs.
    Known(Result<Digest, Failure>),
    /// Another program of the agent's is on the disk, or isn't.
    Programmed { sha256: Digest, outcome: Result<Record, NotFinished> },
    /// Something was written, or wasn't.
    Written(Result<(), Failure>),
    /// The job's thread died: a bug, which has said so itself.
    Lost,
}

pub(super) fn finish(part: Part, module: Digest) -> Done {
    Done::Finished { module, outcome: part.finish() }
}

/// Compiles a release, and has the disk take what is to be on it before the release is started.
pub(super) fn stage(spec: Arc<Spec>, programs: &Programs, disk: &Disk, record: Option<(PathBuf, Vec<u8>)>) -> Done {
    let write = |program| match record {
        Some((path, bytes)) => disk.write_atomically(&path, &bytes).map(|()| program).map_err(NotLoaded::Failed),
        None => Ok(program),
    };
    let outcome = programs.load(&spec).and_then(write);
    Done::Staged { spec, outcome }
}
