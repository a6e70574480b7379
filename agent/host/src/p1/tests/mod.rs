//! Each family of functions against the WASI documents, called as a guest calls them.

mod bus;
mod dir;
mod disk;
mod escape;
mod fds;
mod file;
mod harness;
mod hostile;
mod io;
mod kernel;
mod path;
mod poll;
mod small;
mod sock;
mod sockets;
mod table;
