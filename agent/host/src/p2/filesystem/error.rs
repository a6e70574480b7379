//! What goes wrong with files, as `wasi:filesystem` calls it.

use std::io;

use crate::p1::Errno;
use crate::p2::abi::wit_enum;
use crate::p2::call::{Cx, Fail, Stop};
use crate::p2::handles::Borrow;
use crate::p2::io::{IoError, Origin};

macro_rules! error_codes {
    ($($code:ident = $name:literal $(from $errno:ident $(| $more:ident)*)?,)*) => {
        wit_enum! {
            pub(in crate::p2) enum ErrorCode {
                $($code = $name,)*
            }
        }

        impl From<Errno> for ErrorCode {
            fn from(errno: Errno) -> Self {
                match errno {
                    $($(Errno::$errno $(| Errno::$more)* => Self::$code,)?)*
                    // No file ever says the other ones.
                    _ => Self::Io,
                }
            }
        }
    };
}

error_codes! {
    Access = "access" from Acces,
    WouldBlock = "would-block" from Again,
    Already = "already" from Already,
    BadDescriptor = "bad-descriptor" from Badf,
    Busy = "busy" from Busy,
    Deadlock = "deadlock" from Deadlk,
    Quota = "quota" from Dquot,
    Exist = "exist" from Exist,
    FileTooLarge = "file-too-large" from Fbig,
    IllegalByteSequence = "illegal-byte-sequence" from Ilseq,
    InProgress = "in-progress" from Inprogress,
    Interrupted = "interrupted" from Intr,
    Invalid = "invalid" from Inval,
    Io = "io" from Io,
    IsDirectory = "is-directory" from Isdir,
    Loop = "loop" from Loop,
    TooManyLinks = "too-many-links" from Mlink,
    MessageSize = "message-size" from Msgsize,
    NameTooLong = "name-too-long" from Nametoolong,
    NoDevice = "no-device" from Nodev,
    NoEntry = "no-entry" from Noent,
    NoLock = "no-lock",
    InsufficientMemory = "insufficient-memory" from Nomem | Mfile | Nfile,
    InsufficientSpace = "insufficient-space" from Nospc,
    NotDirectory = "not-directory" from Notdir,
    NotEmpty = "not-empty" from Notempty,
    NotRecoverable = "not-recoverable",
    Unsupported = "unsupported" from Notsup | Nosys,
    NoTty = "no-tty" from Notty,
    NoSuchDevice = "no-such-device" from Nxio,
    Overflow = "overflow" from Overflow,
    NotPermitted = "not-permitted" from Perm,
    Pipe = "pipe" from Pipe,
    ReadOnly = "read-only" from Rofs,
    InvalidSeek = "invalid-seek" from Spipe,
    TextFileBusy = "text-file-busy" from Txtbsy,
    CrossDevice = "cross-device" from Xdev,
}

pub(in crate::p2) fn filesystem_error_code(cx: &mut Cx<'_>, error: Borrow<IoError>) -> Result<Option<ErrorCode>, Stop> {
    let error = cx.state.p2.handles.get(&error)?;
    Ok((error.origin == Origin::File).then(|| error.errno.into()))
}

impl From<ErrorCode> for Fail<ErrorCode> {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

impl From<io::Error> for Fail<ErrorCode> {
    fn from(error: io::Error) -> Self {
        Self::Error(Errno::from(error).into())
    }
}

impl From<rustix::io::Errno> for Fail<ErrorCode> {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Error(Errno::from(error).into())
    }
}
