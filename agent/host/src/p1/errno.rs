//! The error numbers of preview 1, and what the host's errors are called there.

use std::io;

use rustix::io::Errno as Os;

use crate::memory::OutOfBounds;

macro_rules! errnos {
    ($($name:ident = $code:literal $(from $os:ident $(| $more:ident)*)?,)*) => {
        /// Error numbers, as the WASI document counts them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum Errno {
            $($name = $code,)*
        }

        impl From<Os> for Errno {
            fn from(os: Os) -> Self {
                match os {
                    $($(Os::$os $(| Os::$more)* => Self::$name,)?)*
                    _ => Self::Io,
                }
            }
        }
    };
}

errnos! {
    TooBig = 1 from TOOBIG,
    Acces = 2 from ACCESS,
    Addrinuse = 3 from ADDRINUSE,
    Addrnotavail = 4 from ADDRNOTAVAIL,
    Afnosupport = 5 from AFNOSUPPORT,
    Again = 6 from AGAIN,
    Already = 7 from ALREADY,
    Badf = 8 from BADF,
    Busy = 10 from BUSY,
    Canceled = 11 from CANCELED,
    Connaborted = 13 from CONNABORTED,
    Connrefused = 14 from CONNREFUSED,
    Connreset = 15 from CONNRESET,
    Deadlk = 16 from DEADLK,
    Destaddrreq = 17 from DESTADDRREQ,
    Dquot = 19 from DQUOT,
    Exist = 20 from EXIST,
    Fault = 21 from FAULT,
    Fbig = 22 from FBIG,
    Hostunreach = 23 from HOSTUNREACH,
    Ilseq = 25 from ILSEQ,
    Inprogress = 26 from INPROGRESS,
    Intr = 27 from INTR,
    Inval = 28 from INVAL,
    Io = 29 from IO,
    Isconn = 30 from ISCONN,
    Isdir = 31 from ISDIR,
    Loop = 32 from LOOP,
    Mfile = 33 from MFILE,
    Mlink = 34 from MLINK,
    Msgsize = 35 from MSGSIZE,
    Nametoolong = 37 from NAMETOOLONG,
    Netdown = 38 from NETDOWN,
    Netreset = 39 from NETRESET,
    Netunreach = 40 from NETUNREACH,
    Nfile = 41 from NFILE,
    Nobufs = 42 from NOBUFS,
    Nodev = 43 from NODEV,
    Noent = 44 from NOENT,
    Nomem = 48 from NOMEM,
    Nospc = 51 from NOSPC,
    Noprotoopt = 50 from NOPROTOOPT,
    Nosys = 52 from NOSYS,
    Notconn = 53 from NOTCONN,
    Notdir = 54 from NOTDIR,
    Notempty = 55 from NOTEMPTY,
    Notsock = 57 from NOTSOCK,
    // On Linux EOPNOTSUPP is the same number.
    Notsup = 58 from NOTSUP,
    Notty = 59 from NOTTY,
    Nxio = 60 from NXIO,
    Overflow = 61 from OVERFLOW,
    Perm = 63 from PERM,
    Pipe = 64 from PIPE,
    Proto = 65 from PROTO,
    Protonosupport = 66 from PROTONOSUPPORT,
    Prototype = 67 from PROTOTYPE,
    Range = 68 from RANGE,
    Rofs = 69 from ROFS,
    Spipe = 70 from SPIPE,
    Stale = 72 from STALE,
    Timedout = 73 from TIMEDOUT,
    Txtbsy = 74 from TXTBSY,
    Xdev = 75 from XDEV,
    Notcapable = 76,
    // WasmEdge's, of looking up names.
    Aiagain = 78,
    Aibadflag = 79,
    Aifamily = 81,
    Aimemory = 82,
    Ainodata = 83,
    Ainoname = 84,
    Aiservice = 85,
}

impl Errno {
    /// The number that a guest gets.
    pub(crate) fn code(self) -> i32 {
        i32::from(self as u16)
    }
}

impl From<io::Error> for Errno {
    #[expect(clippy::wildcard_enum_match_arm, reason = "std's enum, and it grows")]
    fn from(error: io::Error) -> Self {
        if let Some(os) = Os::from_io_error(&error) {
            return Self::from(os);
        }
        // Errors that no system call made: cap-std's own, and those of readers.
        match error.kind() {
            // A path that leads out of its directory.
            io::ErrorKind::PermissionDenied => Self::Perm,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Inval,
            io::ErrorKind::NotFound => Self::Noent,
            io::ErrorKind::NotADirectory => Self::Notdir,
            io::ErrorKind::AlreadyExists => Self::Exist,
            io::ErrorKind::WouldBlock => Self::Again,
            io::ErrorKind::Unsupported => Self::Notsup,
            io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::Io,
        }
    }
}

impl From<OutOfBounds> for Errno {
    fn from(OutOfBounds: OutOfBounds) -> Self {
        Self::Fault
    }
}
