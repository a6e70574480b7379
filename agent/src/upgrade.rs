//! Becomes the agent's program that is in force.
//!
//! `dunlin agent` as it was installed looks first whether a plan brought another program, holds that against
//! the root once more, and becomes it: the process stays the same, so that whoever started it notices nothing.
//! Which program that is [`dunlin_core::upgrade`] decides.

use std::{
    convert::Infallible,
    env,
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{fs::FileExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use dunlin_core::{
    trust::{Chain, check_module, first_root},
    upgrade::{Launch, Program, Record},
    wire::{AppName, Digest, seal},
};

use crate::{
    Failure,
    config::{Config, Places},
    store::{Disk, Store, hash, hash_file},
};

/// The target that this program was built for.
pub const TARGET: &str = env!("DUNLIN_TARGET");

/// To a program that was brought: which program was installed, and is to be started instead of it.
const LAUNCHER: &str = "DUNLIN_LAUNCHER";

/// To a program that was brought: its digest.
const PROGRAM: &str = "DUNLIN_PROGRAM";

/// What a program's file begins with (elf(5)).
const ELF: &[u8; 4] = b"\x7fELF";

/// The program of this process.
#[derive(Clone, Debug)]
pub struct Itself {
    /// The one that was installed. It starts what is in force.
    pub launcher: PathBuf,
    /// The digest of the one that runs, if it is another.
    pub brought: Option<Digest>,
    /// A service manager opened sockets for it, which only a start by that manager passes on.
    pub has_sockets: bool,
}

/// Becomes the program that is in force on the board with this configuration; comes back if it is that already.
/// Nothing, if it can't be told which program this is: it is never replaced then.
pub fn become_current(config: &Path) -> Option<Itself> {
    let has_sockets = env::var_os("LISTEN_FDS").is_some();
    let brought = env::var(PROGRAM).ok().and_then(|digest| digest.parse().ok());
    if let Some((launcher, brought)) = env::var_os(LAUNCHER).zip(brought) {
        return Some(Itself { launcher: launcher.into(), brought: Some(brought), has_sockets });
    }
    let launcher = env::current_exe().inspect_err(|error| tracing::warn!("which program is this? {error}")).ok()?;
    if let Some(places) = Config::places(config) {
        let start = |program: &Program, file: File| Err::<Infallible, _>(exec(&launcher, program, &file).to_string());
        match choose(Disk::default(), &places, &launcher, start) {
            Ok(None) => {}
            Ok(Some(never)) => match never {},
            Err(failure) => tracing::error!("the agent as it was installed is started: {failure}"),
        }
    }
    Some(Itself { launcher, brought: None, has_sockets })
}

impl Itself {
    /// Makes place for whatever program is in force now. Comes back with an exit code where a service manager has to
    /// start it.
    pub fn make_place(&self) -> io::Result<u8> {
        if self.has_sockets {
            return Ok(0);
        }
        let mut command = Command::new(&self.launcher);
        Err(command.args(env::args_os().skip(1)).env_remove(LAUNCHER).env_remove(PROGRAM).exec())
    }
}

/// Starts what is in force, beside the `launcher` itself; nothing if that is what is in force.
///
/// *Re-hash*: what is not, to the byte, what a release says that this board's root lets run is not started; nor
/// is what can't be written down before.
pub fn choose<T>(
    disk: Disk,
    places: &Places,
    launcher: &Path,
    mut start: impl FnMut(&Program, File) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    if !places.state_dir.join("agent").join("programs").exists() {
        return Ok(None);
    }
    let store = Store::open(disk, &places.state_dir)?;
    let Some(mut record) = read(&store)? else { return Ok(None) };
    let packaged = hash_file(launcher)?;
    let roots = roots(&store, &places.root)?;
    let mut written = record.clone();
    loop {
        let (launch, next) = record.launch(packaged);
        let kept = next == written || write(&store, &next).inspect_err(|failure| tracing::error!("{failure}")).is_ok();
        if kept {
            written.clone_from(&next);
        }
        let Launch::Brought(program) = launch else { return Ok(None) };
        let good = next.good == Some(program);
        let started = match open(&store, &roots, &program) {
            Ok(_) if !kept && !good => Err("that it is tried could not be written down".into()),
            Ok(file) => start(&program, file),
            Err(why) => Err(why),
        };
        match started {
            Ok(started) => return Ok(Some(started)),
            Err(why) => {
                tracing::error!(program = program.sha256.short(), "not started: {why}");
                record = next.without(&program, &why);
            }
        }
    }
}

/// What is written down of the agent's programs. What cannot be read is as if it were not there.
pub(crate) fn read(store: &Store) -> Result<Option<Record>, Failure> {
    let record = store.programs()?.map(|bytes| Record::decode(&bytes)).transpose();
    Ok(record.unwrap_or_else(|refusal| {
        tracing::error!("{}: {refusal}", store.programs_path().display());
        None
    }))
}

pub(crate) fn write(store: &Store, record: &Record) -> Result<(), Failure> {
    store.disk().write_atomically(&store.programs_path(), &seal(record))
}

fn roots(store: &Store, given: &Path) -> Result<Chain, Failure> {
    let bytes = fs::read(given).map_err(Failure::disk("read", given))?;
    let given = first_root(&bytes).map_err(|refusal| Failure::Given { path: given.into(), refusal })?;
    Ok(store.chain(given))
}

/// A program's file, if a release that may run here is of it and its bytes are that release's.
fn open(store: &Store, roots: &Chain, program: &Program) -> Result<File, String> {
    let order = &program.order;
    let app = AppName::of_agent(TARGET).map_err(|error| error.to_string())?;
    let envelope = store.release(&order.digest).map_err(|failure| failure.to_string())?;
    let release = roots.stored_release(&app, order, &envelope.ok_or("its release is not there")?);
    let release = release.map_err(|refusal| refusal.to_string())?;
    let path = store.program_path(&program.sha256);
    let read = |mut file: File| Ok((file.metadata()?.len(), hash(&mut file)?, file));
    let (bytes, digest, file) =
        File::open(&path).and_then(read).map_err(|error| Failure::disk("read", &path)(error).to_string())?;
    check_module(&release.module, bytes, digest).map_err(|refusal| refusal.to_string())?;
    let mut magic = [0; ELF.len()];
    // What is no program execvp(3) would hand to a shell.
    let is_program = file.read_exact_at(&mut magic, 0).is_ok() && magic == *ELF;
    is_program.then_some(file).ok_or_else(|| "it is no program".into())
}

/// Becomes the program in this file: the very bytes that were hashed.
fn exec(launcher: &Path, program: &Program, file: &File) -> io::Error {
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    command.arg0("dunlin").args(env::args_os().skip(1));
    command.env(LAUNCHER, launcher).env(PROGRAM, program.sha256.to_string()).exec()
}
