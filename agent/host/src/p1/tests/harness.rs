//! A guest without wasm: memory to put arguments into, and the functions of the table by name.

use std::path::Path;

use tempfile::TempDir;

use crate::fds::Rights;
use crate::guest::{Directory, Guest};
use crate::memory::Memory;
use crate::p1::table::all;
use crate::p1::{Args, Cx, Errno, Outcome, Stop};
use crate::state::State;

const MEMORY_BYTES: usize = 256 * 1024;

/// The descriptor of the directory that every guest here is given.
pub(super) const ROOT: u32 = 3;

pub(super) const READ: u64 = Rights::FD_READ.0;
pub(super) const WRITE: u64 = Rights::FD_WRITE.0;

pub(super) mod oflags {
    pub(in crate::p1::tests) const CREAT: u32 = 1;
    pub(in crate::p1::tests) const DIRECTORY: u32 = 2;
    pub(in crate::p1::tests) const EXCL: u32 = 4;
    pub(in crate::p1::tests) const TRUNC: u32 = 8;
}

pub(super) mod fdflags {
    pub(in crate::p1::tests) const APPEND: u32 = 1;
    pub(in crate::p1::tests) const DSYNC: u32 = 2;
    pub(in crate::p1::tests) const NONBLOCK: u32 = 4;
    pub(in crate::p1::tests) const RSYNC: u32 = 8;
    pub(in crate::p1::tests) const SYNC: u32 = 16;
}

pub(super) struct Wasi {
    pub(super) state: State,
    pub(super) memory: Vec<u8>,
    /// How often the last call that could wait was tried.
    pub(super) attempts: usize,
    /// Where the next argument goes.
    free: u32,
    directory: TempDir,
}

impl Wasi {
    /// A guest with an empty directory that it calls `/data`.
    pub(super) fn new() -> Self {
        Self::with(Guest::default(), false)
    }

    pub(super) fn read_only() -> Self {
        Self::with(Guest::default(), true)
    }

    /// A guest that may keep so many bytes in its directory, which holds this already.
    pub(super) fn limited(bytes_max: u64, fill: impl FnOnce(&Path)) -> Self {
        Self::build(Guest::default(), false, Some(bytes_max), fill)
    }

    /// A guest with what this one has, and the directory after its own.
    pub(super) fn with(guest: Guest, read_only: bool) -> Self {
        Self::build(guest, read_only, None, |_| {})
    }

    fn build(mut guest: Guest, read_only: bool, bytes_max: Option<u64>, fill: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Directory { host: directory.path().join("root"), guest: "/data".to_owned(), read_only, bytes_max };
        std::fs::create_dir(&root.host).unwrap();
        fill(&root.host);
        guest.directories.push(root);
        let state = State::new(guest).unwrap();
        Self { state, memory: vec![0; MEMORY_BYTES], attempts: 0, free: 64, directory }
    }

    /// The guest's directory, on the host. What is beside it is out of the guest's reach.
    pub(super) fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("root")
    }

    pub(super) fn outside(&self) -> &Path {
        self.directory.path()
    }

    /// Room for so many bytes, aligned to eight.
    pub(super) fn room(&mut self, bytes: usize) -> u32 {
        let at = self.free;
        self.free += u32::try_from(bytes.next_multiple_of(8)).unwrap();
        assert!((self.free as usize) < MEMORY_BYTES, "the harness has no room left");
        at
    }

    /// Gives back all room from there on.
    pub(super) fn reset(&mut self, at: u32) {
        self.free = at;
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.room(bytes.len());
        self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
        at
    }

    pub(super) fn bytes(&self, at: u32, len: usize) -> &[u8] {
        &self.memory[at as usize..][..len]
    }

    pub(super) fn u16(&self, at: u32) -> u16 {
        u16::from_le_bytes(self.bytes(at, 2).try_into().unwrap())
    }

    pub(super) fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    pub(super) fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    /// One attempt at a call.
    pub(super) fn attempt(&mut self, name: &str, args: &[u64]) -> Outcome {
        let mut functions = all().map(|(_, function)| function);
        let function = functions.find(|function| function.name == name && function.params.len() == args.len());
        let function = function.unwrap_or_else(|| panic!("no {name} of {} parameters", args.len()));
        let mut all = Args::default();
        all[..args.len()].copy_from_slice(args);
        self.state.wait.clear();
        (function.run)(&mut Cx { memory: Memory(&mut self.memory), state: &mut self.state }, &all)
    }

    /// A call that does not wait.
    #[track_caller]
    pub(super) fn call(&mut self, name: &str, args: &[u64]) -> Result<(), Errno> {
        match self.attempt(name, args) {
            Ok(()) => Ok(()),
            Err(Stop::Errno(errno)) => Err(errno),
            Err(stop @ (Stop::Wait | Stop::Exit(_))) => panic!("{name} stopped: {stop:?}"),
        }
    }

    /// A call that may wait, as the task that runs a guest does it.
    pub(super) async fn call_waiting(&mut self, name: &str, args: &[u64]) -> Result<(), Errno> {
        self.attempts = 0;
        loop {
            self.attempts += 1;
            match self.attempt(name, args) {
                Ok(()) => return Ok(()),
                Err(Stop::Errno(errno)) => return Err(errno),
                Err(Stop::Exit(code)) => panic!("{name} ended the guest with {code}"),
                Err(Stop::Wait) => {
                    let wait = self.state.wait();
                    let limit = std::time::Duration::from_secs(120);
                    tokio::time::timeout(limit, wait).await.expect("waited in vain");
                }
            }
        }
    }

    /// A call whose first arguments are a directory and a path.
    #[track_caller]
    pub(super) fn path(&mut self, name: &str, fd: u32, path: &str) -> Result<(), Errno> {
        let at = self.put(path.as_bytes());
        self.call(name, &[fd.into(), at.into(), path.len() as u64])
    }

    /// `path_open` with all that it takes.
    pub(super) fn open_at(
        &mut self,
        fd: u32,
        (path, follow): (&str, bool),
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        let at = self.put(path.as_bytes());
        let opened = self.room(4);
        let (follow, len) = (follow.into(), path.len() as u64);
        let (oflags, fdflags) = (oflags.into(), fdflags.into());
        let args = [fd.into(), follow, at.into(), len, oflags, rights, rights, fdflags, opened.into()];
        self.call("path_open", &args)?;
        Ok(self.u32(opened))
    }

    pub(super) fn open(&mut self, path: &str, oflags: u32, rights: u64) -> Result<u32, Errno> {
        self.open_at(ROOT, (path, true), oflags, rights, 0)
    }

    /// A new file with these contents, open for reading and writing at its beginning.
    pub(super) fn file(&mut self, path: &str, contents: &[u8]) -> u32 {
        let fd = self.open(path, oflags::CREAT | oflags::EXCL, READ | WRITE).unwrap();
        assert_eq!(self.write(fd, &[contents]), Ok(contents.len()));
        assert_eq!(self.seek(fd, 0, 0), Ok(0));
        fd
    }

    pub(super) fn vectors(&mut self, spans: &[(u32, usize)]) -> u32 {
        let mut list = Vec::new();
        for (at, len) in spans {
            list.extend_from_slice(&at.to_le_bytes());
            list.extend_from_slice(&u32::try_from(*len).unwrap().to_le_bytes());
        }
        self.put(&list)
    }

    fn write_call(&mut self, fd: u32, buffers: &[&[u8]]) -> (Vec<u64>, u32) {
        let spans = buffers.iter().map(|bytes| (self.put(bytes), bytes.len())).collect::<Vec<_>>();
        let (iovs, written) = (self.vectors(&spans), self.room(4));
        (vec![fd.into(), iovs.into(), buffers.len() as u64, written.into()], written)
    }

    pub(super) fn write(&mut self, fd: u32, buffers: &[&[u8]]) -> Result<usize, Errno> {
        let (args, written) = self.write_call(fd, buffers);
        self.call("fd_write", &args)?;
        Ok(self.u32(written) as usize)
    }

    pub(super) async fn write_waiting(&mut self, fd: u32, buffers: &[&[u8]]) -> Result<usize, Errno> {
        let (args, written) = self.write_call(fd, buffers);
        self.call_waiting("fd_write", &args).await?;
        Ok(self.u32(written) as usize)
    }

    pub(super) fn attempt_write(&mut self, fd: u32, buffers: &[&[u8]]) -> Outcome {
        let (args, _) = self.write_call(fd, buffers);
        self.attempt("fd_write", &args)
    }

    pub(super) fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let (mut args, written) = self.write_call(fd, &[bytes]);
        args.insert(3, offset);
        self.call("fd_pwrite", &args)?;
        Ok(self.u32(written) as usize)
    }

    fn read_call(&mut self, fd: u32, lens: &[usize]) -> (Vec<u64>, u32, Vec<(u32, usize)>) {
        let spans = lens.iter().map(|len| (self.room(*len), *len)).collect::<Vec<_>>();
        let (iovs, read) = (self.vectors(&spans), self.room(4));
        (vec![fd.into(), iovs.into(), lens.len() as u64, read.into()], read, spans)
    }

    fn gathered(&self, read: u32, spans: &[(u32, usize)]) -> Vec<u8> {
        let all = spans.iter().flat_map(|(at, len)| self.bytes(*at, *len)).copied();
        all.take(self.u32(read) as usize).collect()
    }

    /// Reads into buffers of these lengths.
    pub(super) fn read(&mut self, fd: u32, lens: &[usize]) -> Result<Vec<u8>, Errno> {
        let (args, read, spans) = self.read_call(fd, lens);
        self.call("fd_read", &args)?;
        Ok(self.gathered(read, &spans))
    }

    pub(super) async fn read_waiting(&mut self, fd: u32, lens: &[usize]) -> Result<Vec<u8>, Errno> {
        let (args, read, spans) = self.read_call(fd, lens);
        self.call_waiting("fd_read", &args).await?;
        Ok(self.gathered(read, &spans))
    }

    pub(super) fn pread(&mut self, fd: u32, len: usize, offset: u64) -> Result<Vec<u8>, Errno> {
        let (mut args, read, spans) = self.read_call(fd, &[len]);
        args.insert(3, offset);
        self.call("fd_pread", &args)?;
        Ok(self.gathered(read, &spans))
    }

    pub(super) fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        let at = self.room(8);
        self.call("fd_seek", &[fd.into(), offset.cast_unsigned(), whence.into(), at.into()])?;
        Ok(self.u64(at))
    }

    pub(super) fn tell(&mut self, fd: u32) -> Result<u64, Errno> {
        let at = self.room(8);
        self.call("fd_tell", &[fd.into(), at.into()])?;
        Ok(self.u64(at))
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.call("fd_close", &[fd.into()])
    }

    pub(super) fn fdstat(&mut self, fd: u32) -> Result<Fdstat, Errno> {
        let at = self.room(24);
        self.call("fd_fdstat_get", &[fd.into(), at.into()])?;
        Ok(Fdstat {
            filetype: self.bytes(at, 1)[0],
            flags: self.u16(at + 2).into(),
            base: self.u64(at + 8),
            inheriting: self.u64(at + 16),
        })
    }

    pub(super) fn filestat(&mut self, fd: u32) -> Result<Filestat, Errno> {
        let at = self.room(64);
        self.call("fd_filestat_get", &[fd.into(), at.into()])?;
        Ok(self.filestat_at(at))
    }

    pub(super) fn path_filestat(&mut self, path: &str, follow: bool) -> Result<Filestat, Errno> {
        let (name, at) = (self.put(path.as_bytes()), self.room(64));
        let args = [ROOT.into(), follow.into(), name.into(), path.len() as u64, at.into()];
        self.call("path_filestat_get", &args)?;
        Ok(self.filestat_at(at))
    }

    fn filestat_at(&self, at: u32) -> Filestat {
        Filestat {
            dev: self.u64(at),
            ino: self.u64(at + 8),
            filetype: self.bytes(at + 16, 1)[0],
            nlink: self.u64(at + 24),
            size: self.u64(at + 32),
            accessed: self.u64(at + 40),
            modified: self.u64(at + 48),
            changed: self.u64(at + 56),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fdstat {
    pub(super) filetype: u8,
    pub(super) flags: u32,
    pub(super) base: u64,
    pub(super) inheriting: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filestat {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) filetype: u8,
    pub(super) nlink: u64,
    pub(super) size: u64,
    pub(super) accessed: u64,
    pub(super) modified: u64,
    pub(super) changed: u64,
}
