//! A module from the disk to a program: read, hashed, compiled.

use std::{fs, path::PathBuf};

use dunlin_core::{
    Code, Refusal,
    trust::check_module,
    wire::{Digest, World},
};
use dunlin_host::{self as host, Program};

use super::{Spec, limits};
use crate::Failure;

/// Why a release that was fetched can't be started.
#[derive(Debug)]
pub(crate) enum NotLoaded {
    /// The module is not what its name says any more: away with it, and fetch it again.
    Damaged { module: Digest, path: PathBuf, refusal: Refusal },
    /// The module can't run here.
    Refused(Refusal),
    /// The disk.
    Failed(Failure),
}

impl NotLoaded {
    /// The reason, for a person.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Damaged { path, refusal, .. } => format!("{}: {refusal}", path.display()),
            Self::Refused(refusal) => refusal.to_string(),
            Self::Failed(failure) => failure.to_string(),
        }
    }
}

/// Reads, hashes and compiles a module. *Re-hash: again each time it is loaded from disk.*
///
/// Takes its time: call it on a blocking thread.
pub(crate) fn load(spec: &Spec) -> Result<Program, NotLoaded> {
    let Spec { release, path, setup, .. } = spec;
    let module = &release.module;
    let bytes = fs::read(path).map_err(Failure::disk("read", path)).map_err(NotLoaded::Failed)?;
    check_module(module, bytes.len() as u64, Digest::of(&bytes)).map_err(|refusal| NotLoaded::Damaged {
        module: module.sha256,
        path: path.clone(),
        refusal,
    })?;
    let refused = |why: String| {
        let sentence = format!("{} {}: {why}", release.app, release.version);
        NotLoaded::Refused(Refusal::new(Code::BadModule, sentence))
    };
    let limits = limits(release.world, setup.memory_bytes);
    let program = Program::compile(&bytes, &limits).map_err(|rejected| refused(rejected.to_string()))?;
    let is_same = match (release.world, program.world()) {
        (World::Preview1, host::World::Preview1)
        | (World::Command, host::World::Command)
        | (World::Http(_), host::World::Http) => true,
        (World::Preview1 | World::Command | World::Http(_) | World::Agent, _) => false,
    };
    if !is_same {
        let (signed, is) = (release.world, program.world());
        return Err(refused(format!("signed for the world {signed:?}, and its module is for {is:?}")));
    }
    Ok(program)
}
