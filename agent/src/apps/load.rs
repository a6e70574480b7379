//! A module from the disk to a program: read, hashed, compiled.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_core::{
    Code, Refusal,
    trust::check_module,
    wire::{Digest, World},
};
use dunlin_host::{self as host, Limits, Program, Rejected, WeakProgram};

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

/// The programs that run. Apps of one module share what it was compiled to.
///
/// Nothing is kept here: a program that no app has any more is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs(Arc<Mutex<Vec<Shared>>>);

/// What is shared of a module, under the same limits: some are built into the program, and it was held to the others.
#[derive(Debug)]
struct Shared {
    module: Digest,
    limits: Limits,
    place: Arc<Mutex<WeakProgram>>,
}

impl Programs {
    /// Reads and hashes a module, and compiles it unless it runs already. *Re-hash: again each time it is loaded
    /// from disk.*
    ///
    /// Takes its time: call it on a blocking thread.
    pub(crate) fn load(&self, spec: &Spec) -> Result<Program, NotLoaded> {
        let Spec { release, path, setup, .. } = spec;
        let module = &release.module;
        let bytes = fs::read(path).map_err(Failure::disk("read", path)).map_err(NotLoaded::Failed)?;
        let digest = Digest::of(&bytes);
        check_module(module, bytes.len() as u64, digest).map_err(|refusal| NotLoaded::Damaged {
            module: module.sha256,
            path: path.clone(),
            refusal,
        })?;
        let refused = |why: String| {
            let sentence = format!("{} {}: {why}", release.app, release.version);
            NotLoaded::Refused(Refusal::new(Code::BadModule, sentence))
        };
        let limits = limits(release.world, setup.memory_bytes);
        let program = self.compile(digest, &bytes, &limits).map_err(|rejected| refused(rejected.to_string()))?;
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

    /// Compiles a module once for all that have it at the same time.
    fn compile(&self, module: Digest, wasm: &[u8], limits: &Limits) -> Result<Program, Rejected> {
        let place = self.place(module, limits);
        // Held while it is compiled: who wants the same waits, and compiles nothing.
        let mut place = lock(&place);
        if let Some(program) = place.upgrade() {
            return Ok(program);
        }
        let program = Program::compile(wasm, limits)?;
        *place = program.downgrade();
        Ok(program)
    }

    fn place(&self, module: Digest, limits: &Limits) -> Arc<Mutex<WeakProgram>> {
        let mut all = lock(&self.0);
        // A place with a second owner is about to be filled. Else its lock is free.
        all.retain(|shared| Arc::strong_count(&shared.place) > 1 || lock(&shared.place).upgrade().is_some());
        if let Some(shared) = all.iter().find(|shared| shared.module == module && shared.limits == *limits) {
            return Arc::clone(&shared.place);
        }
        let place = Arc::default();
        all.push(Shared { module, limits: limits.clone(), place: Arc::clone(&place) });
        place
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here is left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const WASM: &[u8] = dunlin_guests::HELLO.bytes;

    #[test]
    fn a_module_that_runs_is_not_compiled_again() {
        let programs = Programs::default();
        let (module, limits) = (Digest::of(WASM), Limits::default());
        let first = programs.compile(module, WASM, &limits).unwrap();
        // It compiles nothing: these bytes are no module.
        let second = programs.compile(module, b"", &limits).unwrap();
        assert!(first.is_same(&second));

        let less = Limits { memory_bytes: limits.memory_bytes / 2, ..limits.clone() };
        let third = programs.compile(module, WASM, &less).unwrap();
        assert!(!first.is_same(&third), "it was held to other limits");
        let fourth = programs.compile(Digest::of(b"another"), WASM, &limits).unwrap();
        assert!(!first.is_same(&fourth), "it is another module");
    }

    #[test]
    fn a_program_is_gone_with_its_last_app() {
        let programs = Programs::default();
        let (module, limits) = (Digest::of(WASM), Limits::default());
        let (first, second) =
            (programs.compile(module, WASM, &limits).unwrap(), programs.compile(module, WASM, &limits).unwrap());
        let kept = first.downgrade();
        drop(first);
        assert!(kept.upgrade().is_some(), "the second app has it");
        drop(second);
        assert!(kept.upgrade().is_none(), "something keeps it");
        programs.compile(module, b"", &limits).unwrap_err();
        assert!(lock(&programs.0).iter().all(|shared| lock(&shared.place).upgrade().is_none()));
        programs.compile(module, WASM, &limits).unwrap();
    }

    #[test]
    fn apps_that_start_at_once_have_one_program() {
        let programs = Programs::default();
        let (module, limits) = (Digest::of(WASM), Limits::default());
        let all: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| programs.compile(module, WASM, &limits).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(all.iter().all(|program| program.is_same(&all[0])));
        assert_eq!(lock(&programs.0).len(), 1);
    }
}
