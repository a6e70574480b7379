//! `wasi:io`: errors, polling and streams.

mod input;
mod output;
mod poll;

use std::io;

pub(super) use self::input::{
    InputStream, Source, blocking_read, blocking_skip, read, skip, subscribe as subscribe_input,
};
pub(super) use self::output::{
    OutputStream, Target, blocking_flush, blocking_splice, blocking_write_and_flush, blocking_write_zeroes_and_flush,
    check_write, flush, splice, subscribe as subscribe_output, write, write_zeroes,
};
pub(super) use self::poll::{Awaits, Pollable, await_ready, block, poll, ready};

use super::abi::{Lower, Sink, Ty, Wit};
use super::call::{Cx, Fail, Stop, Trap};
use super::handles::{Borrow, Handles, Own};
use super::http::ErrorCode;
use crate::p1::Errno;

/// What went wrong on a stream.
pub(super) struct IoError {
    pub(super) errno: Errno,
    text: String,
    /// What the stream was of: each has codes of its own.
    pub(super) origin: Origin,
    /// What it is to HTTP, if it is of a body.
    pub(super) http: Option<ErrorCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Network,
    Stdio,
    Body,
}

pub(super) fn to_debug_string(cx: &mut Cx<'_>, error: Borrow<IoError>) -> Result<String, Stop> {
    Ok(cx.state.p2.handles.get(&error)?.text.clone())
}

/// Why an operation on a stream failed.
pub(super) enum StreamError {
    LastOperationFailed(Own<IoError>),
    Closed,
}

impl StreamError {
    /// Gives the guest an error to look at.
    fn failed(handles: &mut Handles, error: io::Error, origin: Origin) -> Result<Self, Trap> {
        let text = error.to_string();
        let error = IoError { errno: error.into(), text, origin, http: None };
        handles.push(error).map(Self::LastOperationFailed)
    }

    /// The same of a body.
    fn of_body(handles: &mut Handles, code: ErrorCode) -> Result<Self, Trap> {
        let error = IoError { errno: Errno::Io, text: code.to_string(), origin: Origin::Body, http: Some(code) };
        handles.push(error).map(Self::LastOperationFailed)
    }
}

impl Wit for StreamError {
    const TY: Ty = Ty::Variant(&[("last-operation-failed", &<Own<IoError>>::TY), ("closed", &Ty::Unit)]);
}

impl Lower for StreamError {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        match self {
            Self::LastOperationFailed(error) => to.variant(Self::LAYOUT, 0, |to| error.lower(to)),
            Self::Closed => to.variant(Self::LAYOUT, 1, |_| Ok(())),
        }
    }
}

impl From<StreamError> for Fail<StreamError> {
    fn from(error: StreamError) -> Self {
        Self::Error(error)
    }
}

type Outcome<T> = Result<T, Fail<StreamError>>;
