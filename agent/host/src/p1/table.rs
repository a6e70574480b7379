//! The one table of what modules import: every function, its type, and what does it.

use std::fmt::Write as _;

use wasmi::{Caller, Extern, ExternType, Func, FuncType, ImportType, Module, Store, ValType};

use super::{Args, Call, Cx, Outcome, Run, enter};
use super::{args, bus, clock, dir, fd, file, io, path, poll, proc, random, sock, sockets};
use crate::rejected::Rejected;
use crate::state::State;

/// The modules that a guest imports from, and what is in each: the standard's, with the socket extensions, and
/// our own.
const MODULES: &[(&str, &[&[Function]])] =
    &[("wasi_snapshot_preview1", &[FUNCTIONS, sockets::FUNCTIONS]), (bus::MODULE, &[bus::FUNCTIONS])];

macro_rules! table {
    ($vis:vis const $table:ident; $($name:ident($($param:ident: $ty:ident),*) $(-> $result:ident)? = $does:path;)*) => {
        $vis const $table: &[Function] = &[$(Function {
            name: stringify!($name),
            params: &[$(table!(@type $ty)),*],
            results: &[$(table!(@type $result))?],
            run: {
                fn run(cx: &mut Cx<'_>, args: &Args) -> Outcome {
                    let [$($param,)* ..] = *args;
                    $does(cx, $($param as $ty),*)
                }
                run
            },
            make: |store, run| {
                let function = move |caller: Caller<'_, State>, $($param: $ty),*| {
                    let mut args = Args::default();
                    let given: [u64; _] = [$(u64::from($param)),*];
                    args[..given.len()].copy_from_slice(&given);
                    let errno = enter(caller, Call { name: stringify!($name), run, args });
                    errno.map(table!(@returns $($result)?))
                };
                Func::wrap(store, function)
            },
        },)*];
    };
    (@type u32) => { ValType::I32 };
    (@type u64) => { ValType::I64 };
    (@type errno) => { ValType::I32 };
    (@returns errno) => { |errno: i32| errno };
    (@returns) => { |_: i32| () };
}

pub(super) use table;

table! {
    pub(super) const FUNCTIONS;

    args_get(argv: u32, buf: u32) -> errno = args::args_get;
    args_sizes_get(count: u32, bytes: u32) -> errno = args::args_sizes_get;
    environ_get(environ: u32, buf: u32) -> errno = args::environ_get;
    environ_sizes_get(count: u32, bytes: u32) -> errno = args::environ_sizes_get;

    clock_res_get(id: u32, resolution: u32) -> errno = clock::res_get;
    clock_time_get(id: u32, precision: u64, time: u32) -> errno = clock::time_get;

    fd_advise(fd: u32, offset: u64, len: u64, advice: u32) -> errno = file::advise;
    fd_allocate(fd: u32, offset: u64, len: u64) -> errno = file::allocate;
    fd_close(fd: u32) -> errno = fd::close;
    fd_datasync(fd: u32) -> errno = file::datasync;
    fd_fdstat_get(fd: u32, stat: u32) -> errno = fd::fdstat_get;
    fd_fdstat_set_flags(fd: u32, flags: u32) -> errno = fd::fdstat_set_flags;
    fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) -> errno = fd::fdstat_set_rights;
    fd_filestat_get(fd: u32, stat: u32) -> errno = file::filestat_get;
    fd_filestat_set_size(fd: u32, size: u64) -> errno = file::filestat_set_size;
    fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32) -> errno
        = file::filestat_set_times;
    fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, read: u32) -> errno = io::pread;
    fd_prestat_dir_name(fd: u32, name: u32, len: u32) -> errno = fd::prestat_dir_name;
    fd_prestat_get(fd: u32, stat: u32) -> errno = fd::prestat_get;
    fd_pwrite(fd: u32, iovs: u32, count: u32, offset: u64, written: u32) -> errno = io::pwrite;
    fd_read(fd: u32, iovs: u32, count: u32, read: u32) -> errno = io::read;
    fd_readdir(fd: u32, buf: u32, len: u32, cookie: u64, used: u32) -> errno = dir::readdir;
    fd_renumber(from: u32, to: u32) -> errno = fd::renumber;
    fd_seek(fd: u32, offset: u64, whence: u32, position: u32) -> errno = io::seek;
    fd_sync(fd: u32) -> errno = file::sync;
    fd_tell(fd: u32, position: u32) -> errno = io::tell;
    fd_write(fd: u32, iovs: u32, count: u32, written: u32) -> errno = io::write;

    path_create_directory(fd: u32, path: u32, len: u32) -> errno = path::create_directory;
    path_filestat_get(fd: u32, follow: u32, path: u32, len: u32, stat: u32) -> errno
        = path::filestat_get;
    path_filestat_set_times(
        fd: u32, follow: u32, path: u32, len: u32, accessed: u64, modified: u64, flags: u32
    ) -> errno = path::filestat_set_times;
    path_link(
        from_fd: u32, follow: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32
    ) -> errno = path::link;
    path_open(
        fd: u32, follow: u32, path: u32, len: u32, oflags: u32, base: u64, inheriting: u64,
        fdflags: u32, opened: u32
    ) -> errno = path::open;
    path_readlink(fd: u32, path: u32, len: u32, buf: u32, buf_len: u32, used: u32) -> errno
        = path::readlink;
    path_remove_directory(fd: u32, path: u32, len: u32) -> errno = path::remove_directory;
    path_rename(from_fd: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32) -> errno
        = path::rename;
    path_symlink(target: u32, target_len: u32, fd: u32, link: u32, link_len: u32) -> errno
        = path::symlink;
    path_unlink_file(fd: u32, path: u32, len: u32) -> errno = path::unlink_file;

    poll_oneoff(subscriptions: u32, events: u32, count: u32, happened: u32) -> errno = poll::oneoff;
    sched_yield() -> errno = poll::sched_yield;

    proc_exit(code: u32) = proc::exit;
    proc_raise(signal: u32) -> errno = proc::raise;

    random_get(buf: u32, len: u32) -> errno = random::get;

    sock_accept(fd: u32, flags: u32, accepted: u32) -> errno = sock::accept;
    sock_recv(fd: u32, iovs: u32, count: u32, flags: u32, read: u32, out_flags: u32) -> errno
        = sock::recv;
    sock_send(fd: u32, iovs: u32, count: u32, flags: u32, written: u32) -> errno = sock::send;
    sock_shutdown(fd: u32, how: u32) -> errno = sock::shutdown;
}

pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) params: &'static [ValType],
    pub(super) results: &'static [ValType],
    pub(super) run: Run,
    pub(super) make: fn(&mut Store<State>, Run) -> Func,
}

impl Function {
    fn has_type(&self, ty: &FuncType) -> bool {
        ty.params() == self.params && ty.results() == self.results
    }
}

/// A host function, as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The module that a guest imports it from.
    pub module: &'static str,
    /// Its name in that module.
    pub name: &'static str,
}

/// Every function that this host offers to guests. Some names stand there several times: socket
/// extensions gave them other parameters.
pub fn functions() -> impl Iterator<Item = FunctionInfo> {
    all().map(|(module, Function { name, .. })| FunctionInfo { module, name })
}

/// Each with the module that it is imported from.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static Function)> {
    MODULES.iter().flat_map(|(module, parts)| parts.iter().copied().flatten().map(|function| (*module, function)))
}

/// What a module imports, in its order.
///
/// wasmi's linker holds one function a name, and a module may mean two by one: its type tells which.
pub(crate) struct Imports(Vec<&'static Function>);

impl Imports {
    /// Finds each by its name and type.
    pub(crate) fn of(module: &Module) -> Result<Self, Rejected> {
        module.imports().map(|import| find(&import)).collect::<Result<_, _>>().map(Self)
    }

    /// What an instance in this store is given for them.
    pub(crate) fn externs(&self, store: &mut Store<State>) -> Vec<Extern> {
        self.0.iter().map(|function| Extern::Func((function.make)(store, function.run))).collect()
    }
}

fn find(import: &ImportType<'_>) -> Result<&'static Function, Rejected> {
    let unknown = || Rejected::UnknownImport { module: import.module().to_owned(), name: import.name().to_owned() };
    let ExternType::Func(wanted) = import.ty() else { return Err(unknown()) };
    let named = all().filter(|(module, function)| (*module, function.name) == (import.module(), import.name()));
    let named = named.map(|(_, function)| function).collect::<Vec<_>>();
    if named.is_empty() {
        return Err(unknown());
    }
    let found = named.iter().copied().find(|function| function.has_type(wanted));
    found.ok_or_else(|| {
        let offered = named.iter().map(|function| signature(function.params, function.results));
        Rejected::WrongImportType {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
            wanted: signature(wanted.params(), wanted.results()),
            offered: offered.collect::<Vec<_>>().join(" or "),
        }
    })
}

/// `(i32, i64) -> i32`
fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        let names = types.iter().map(|ty| format!("{ty:?}").to_lowercase()).collect::<Vec<_>>();
        names.join(", ")
    };
    let mut text = format!("({})", list(params));
    if !results.is_empty() {
        let _ = write!(text, " -> {}", list(results));
    }
    text
}
