//! The handle table: what a guest's numbers stand for, and the rules of owning and borrowing.
//!
//! No guest code runs while a handle is lent to a host function, except an allocator that may call nothing.
//! So a borrow needs no count: it is looked up when it is used, and a wrong number ends the guest.

use std::marker::PhantomData;

use wasmi::{Func, StoreContextMut, Val};

use super::abi::{Lift, Lower, Resource, Sink, Source, Ty, Wit};
use super::call::{Stop, Trap};
use super::cli::{TerminalInput, TerminalOutput};
use super::filesystem::{Descriptor, DirectoryStream};
use super::http::{
    Fields, FutureResponse, FutureTrailers, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody,
    OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam,
};
use super::io::{InputStream, IoError, OutputStream, Pollable};
use super::realloc;
use super::sockets::{IncomingDatagrams, Lookup, Network, OutgoingDatagrams, TcpSocket, UdpSocket};
use crate::state::State;

/// Handles that may be open at once: a few for each descriptor that a guest can have.
const HANDLES_MAX: usize = 4096;

const NO_SUCH_HANDLE: Trap = Trap("used a handle that is not open, or of another type");

/// All that a guest has a handle of. A number is an index; 0 is none.
#[derive(Default)]
pub(crate) struct Handles {
    slots: Vec<Option<Entry>>,
}

struct Entry {
    object: Object,
    parent: Option<u32>,
    children: u32,
}

/// A resource of the host.
pub(super) trait Kind: Sized {
    const RESOURCE: Resource;

    fn into_object(self) -> Object;
    fn from_object(object: Object) -> Option<Self>;
    fn of(object: &Object) -> Option<&Self>;
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
}

macro_rules! objects {
    ($($ty:ident = $interface:literal $name:literal;)*) => {
        /// What a handle stands for.
        pub(super) enum Object {
            $($ty($ty),)*
            /// A resource that the guest defines itself.
            Guest { resource: usize, rep: u32 },
        }

        $(impl Kind for $ty {
            const RESOURCE: Resource = Resource { interface: $interface, name: $name };

            fn into_object(self) -> Object {
                Object::$ty(self)
            }

            fn from_object(object: Object) -> Option<Self> {
                if let Object::$ty(value) = object { Some(value) } else { None }
            }

            fn of(object: &Object) -> Option<&Self> {
                if let Object::$ty(value) = object { Some(value) } else { None }
            }

            fn of_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$ty(value) = object { Some(value) } else { None }
            }
        })*

        impl Object {
            fn is(&self, which: Which) -> bool {
                match (self, which) {
                    $((Self::$ty(_), Which::Host(resource)) => *resource == $ty::RESOURCE,)*
                    (Self::Guest { resource, .. }, Which::Guest(which)) => *resource == which,
                    _ => false,
                }
            }
        }

        /// Every resource of the host.
        pub(super) const RESOURCES: &[Resource] = &[$($ty::RESOURCE),*];
    };
}

objects! {
    IoError = "wasi:io/error" "error";
    Pollable = "wasi:io/poll" "pollable";
    InputStream = "wasi:io/streams" "input-stream";
    OutputStream = "wasi:io/streams" "output-stream";
    TerminalInput = "wasi:cli/terminal-input" "terminal-input";
    TerminalOutput = "wasi:cli/terminal-output" "terminal-output";
    Descriptor = "wasi:filesystem/types" "descriptor";
    DirectoryStream = "wasi:filesystem/types" "directory-entry-stream";
    Network = "wasi:sockets/network" "network";
    TcpSocket = "wasi:sockets/tcp" "tcp-socket";
    UdpSocket = "wasi:sockets/udp" "udp-socket";
    IncomingDatagrams = "wasi:sockets/udp" "incoming-datagram-stream";
    OutgoingDatagrams = "wasi:sockets/udp" "outgoing-datagram-stream";
    Lookup = "wasi:sockets/ip-name-lookup" "resolve-address-stream";
    Fields = "wasi:http/types" "fields";
    IncomingRequest = "wasi:http/types" "incoming-request";
    OutgoingRequest = "wasi:http/types" "outgoing-request";
    RequestOptions = "wasi:http/types" "request-options";
    ResponseOutparam = "wasi:http/types" "response-outparam";
    IncomingResponse = "wasi:http/types" "incoming-response";
    IncomingBody = "wasi:http/types" "incoming-body";
    FutureTrailers = "wasi:http/types" "future-trailers";
    OutgoingResponse = "wasi:http/types" "outgoing-response";
    OutgoingBody = "wasi:http/types" "outgoing-body";
    FutureResponse = "wasi:http/types" "future-incoming-response";
}

/// A handle that the guest is given, or gives away.
pub(super) struct Own<T>(u32, PhantomData<T>);

/// A handle that the guest lends.
pub(super) struct Borrow<T>(u32, PhantomData<T>);

impl<T> Borrow<T> {
    pub(super) fn number(&self) -> u32 {
        self.0
    }
}

impl<T> Own<T> {
    pub(super) fn number(&self) -> u32 {
        self.0
    }
}

impl<T: Kind> Wit for Own<T> {
    const TY: Ty = Ty::Own(&T::RESOURCE);
}

impl<T: Kind> Lower for Own<T> {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        self.0.lower(to)
    }
}

impl<T: Kind> Lift for Own<T> {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        Ok(Self(u32::lift(from)?, PhantomData))
    }
}

impl<T: Kind> Wit for Borrow<T> {
    const TY: Ty = Ty::Borrow(&T::RESOURCE);
}

impl<T: Kind> Lift for Borrow<T> {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        Ok(Self(u32::lift(from)?, PhantomData))
    }
}

impl Handles {
    /// Gives the guest a handle of this.
    pub(super) fn push<T: Kind>(&mut self, value: T) -> Result<Own<T>, Trap> {
        self.insert(value.into_object(), None).map(|number| Own(number, PhantomData))
    }

    /// The same of what another resource must outlive.
    pub(super) fn push_child<T: Kind>(&mut self, value: T, parent: u32) -> Result<Own<T>, Trap> {
        let own = self.insert(value.into_object(), Some(parent)).map(|number| Own(number, PhantomData))?;
        self.entry_mut(parent)?.children += 1;
        Ok(own)
    }

    pub(super) fn get<T: Kind>(&self, borrow: &Borrow<T>) -> Result<&T, Trap> {
        self.at(borrow.0)
    }

    pub(super) fn get_mut<T: Kind>(&mut self, borrow: &Borrow<T>) -> Result<&mut T, Trap> {
        self.at_mut(borrow.0)
    }

    /// What a number stands for that the host itself keeps.
    pub(super) fn at<T: Kind>(&self, number: u32) -> Result<&T, Trap> {
        let entry = self.slots.get(number as usize).and_then(Option::as_ref).ok_or(NO_SUCH_HANDLE)?;
        T::of(&entry.object).ok_or(NO_SUCH_HANDLE)
    }

    pub(super) fn at_mut<T: Kind>(&mut self, number: u32) -> Result<&mut T, Trap> {
        T::of_mut(&mut self.entry_mut(number)?.object).ok_or(NO_SUCH_HANDLE)
    }

    /// All of one kind.
    pub(super) fn all_mut<T: Kind + 'static>(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().filter_map(|entry| T::of_mut(&mut entry.object))
    }

    /// Takes what the guest gives away.
    pub(super) fn take<T: Kind>(&mut self, own: &Own<T>) -> Result<T, Trap> {
        self.at::<T>(own.0)?;
        let object = self.remove(own.0, Which::Host(&T::RESOURCE))?;
        T::from_object(object).ok_or(NO_SUCH_HANDLE)
    }

    fn insert(&mut self, object: Object, parent: Option<u32>) -> Result<u32, Trap> {
        const TOO_MANY: Trap = Trap("has too many handles open");
        if self.slots.is_empty() {
            self.slots.push(None);
        }
        let free = self.slots.iter().skip(1).position(Option::is_none).map_or(self.slots.len(), |index| index + 1);
        if free > HANDLES_MAX {
            return Err(TOO_MANY);
        }
        let entry = Some(Entry { object, parent, children: 0 });
        match self.slots.get_mut(free) {
            Some(slot) => *slot = entry,
            None => self.slots.push(entry),
        }
        u32::try_from(free).map_err(|_| TOO_MANY)
    }

    fn entry_mut(&mut self, number: u32) -> Result<&mut Entry, Trap> {
        self.slots.get_mut(number as usize).and_then(Option::as_mut).ok_or(NO_SUCH_HANDLE)
    }

    /// Takes a handle away from the guest.
    fn remove(&mut self, number: u32, which: Which) -> Result<Object, Trap> {
        let entry = self.entry_mut(number)?;
        if !entry.object.is(which) {
            return Err(NO_SUCH_HANDLE);
        }
        if entry.children > 0 {
            return Err(Trap("dropped a resource before what was made from it"));
        }
        let parent = entry.parent;
        let entry = self.slots[number as usize].take().ok_or(NO_SUCH_HANDLE)?;
        if let Some(parent) = parent {
            self.entry_mut(parent)?.children -= 1;
        }
        Ok(entry.object)
    }
}

/// A type of resource: the host's, or one of the component's own, by its number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Host(&'static Resource),
    Guest(usize),
}

/// What the canonical built-ins do with handles.
pub(super) enum Operation {
    Drop { which: Which, destructor: Option<Func> },
    New { resource: usize },
    Rep { resource: usize },
}

impl Operation {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Drop { .. } => "resource.drop",
            Self::New { .. } => "resource.new",
            Self::Rep { .. } => "resource.rep",
        }
    }

    pub(super) fn run(&self, mut store: StoreContextMut<'_, State>, argument: u32) -> Result<Option<u64>, Stop> {
        let handles = &mut store.data_mut().p2.handles;
        match self {
            Self::New { resource } => {
                let number = handles.insert(Object::Guest { resource: *resource, rep: argument }, None)?;
                Ok(Some(number.into()))
            }
            Self::Rep { resource } => {
                let Object::Guest { resource: of, rep } = handles.entry_mut(argument)?.object else {
                    return Err(NO_SUCH_HANDLE.into());
                };
                if of == *resource { Ok(Some(rep.into())) } else { Err(NO_SUCH_HANDLE.into()) }
            }
            Self::Drop { which, destructor } => {
                let object = handles.remove(argument, *which)?;
                match (object, destructor) {
                    (Object::Guest { rep, .. }, Some(destructor)) => {
                        realloc::call(store, *destructor, &[Val::I32(rep.cast_signed())], &mut [])?;
                    }
                    (object, _) => object.close(store.data_mut()),
                }
                Ok(None)
            }
        }
    }
}

impl Object {
    /// Closes what the guest has no handle of any more.
    fn close(self, state: &mut State) {
        let fd = match self {
            Self::Descriptor(descriptor) => descriptor.own_fd(),
            Self::InputStream(stream) => stream.own_fd(),
            Self::OutputStream(stream) => stream.own_fd(),
            Self::TcpSocket(socket) => Some(socket.fd),
            Self::UdpSocket(socket) => Some(socket.fd),
            Self::IoError(_)
            | Self::Pollable(_)
            | Self::TerminalInput(_)
            | Self::TerminalOutput(_)
            | Self::DirectoryStream(_)
            | Self::Network(_)
            | Self::IncomingDatagrams(_)
            | Self::OutgoingDatagrams(_)
            | Self::Lookup(_)
            | Self::Fields(_)
            | Self::IncomingRequest(_)
            | Self::OutgoingRequest(_)
            | Self::RequestOptions(_)
            | Self::ResponseOutparam(_)
            | Self::IncomingResponse(_)
            | Self::IncomingBody(_)
            | Self::FutureTrailers(_)
            | Self::OutgoingResponse(_)
            | Self::OutgoingBody(_)
            | Self::FutureResponse(_)
            | Self::Guest { .. } => None,
        };
        if let Some(fd) = fd {
            drop(state.fds.remove(fd));
        }
    }
}
