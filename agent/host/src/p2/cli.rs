//! `wasi:cli`: arguments, the environment, the end, and where text comes from and goes to.

use super::call::{Cx, Stop};
use super::handles::Own;
use super::io::{InputStream, OutputStream, Source, Target};
use crate::guest::Stream;

/// A guest's stdio is never a terminal: the host reads and writes it for others. The types are there
/// because programs import them.
pub(super) struct TerminalInput;

pub(super) struct TerminalOutput;

pub(super) fn get_environment(cx: &mut Cx<'_>) -> Result<Vec<(String, String)>, Stop> {
    // Descriptors are not passed to components by number.
    let told = cx.state.env.iter().filter(|text| !text.starts_with("LISTEN_FDS="));
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    Ok(told.map(pair).collect())
}

pub(super) fn get_arguments(cx: &mut Cx<'_>) -> Result<Vec<String>, Stop> {
    Ok(cx.state.args.clone())
}

/// Paths are relative to a directory that the guest was given: there is no other place.
pub(super) fn initial_cwd(_: &mut Cx<'_>) -> Result<Option<String>, Stop> {
    Ok(None)
}

pub(super) fn exit(_: &mut Cx<'_>, status: Result<(), ()>) -> Result<(), Stop> {
    Err(Stop::Exit(status.is_err().into()))
}

pub(super) fn exit_with_code(_: &mut Cx<'_>, code: u8) -> Result<(), Stop> {
    Err(Stop::Exit(code.into()))
}

pub(super) fn get_stdin(cx: &mut Cx<'_>) -> Result<Own<InputStream>, Stop> {
    Ok(cx.state.p2.handles.push(InputStream::new(Source::Stdin))?)
}

pub(super) fn get_stdout(cx: &mut Cx<'_>) -> Result<Own<OutputStream>, Stop> {
    Ok(cx.state.p2.handles.push(OutputStream::new(Target::Console(Stream::Stdout)))?)
}

pub(super) fn get_stderr(cx: &mut Cx<'_>) -> Result<Own<OutputStream>, Stop> {
    Ok(cx.state.p2.handles.push(OutputStream::new(Target::Console(Stream::Stderr)))?)
}

pub(super) fn no_terminal_input(_: &mut Cx<'_>) -> Result<Option<Own<TerminalInput>>, Stop> {
    Ok(None)
}

pub(super) fn no_terminal_output(_: &mut Cx<'_>) -> Result<Option<Own<TerminalOutput>>, Stop> {
    Ok(None)
}
