//! Builds a package with cargo for WebAssembly, and ends cargo when it is not wanted any more.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use dunlin_core::wire::Version;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::toml_file::Source;

/// What boards run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Target {
    /// Core modules: the smaller ones.
    #[default]
    #[serde(rename = "wasm32-wasip1")]
    Preview1,
    /// Components: std has sockets there.
    #[serde(rename = "wasm32-wasip2")]
    Command,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Preview1 => "wasm32-wasip1",
            Self::Command => "wasm32-wasip2",
        }
    }

    /// The one that a package names for dunlin in its `Cargo.toml`.
    fn of_package(dir: &Path) -> Result<Self> {
        let path = dir.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest = Source { path: &path, text: &text }.parse()?;
        Ok(manifest.package.metadata.dunlin.target)
    }
}

/// What is of interest in a `Cargo.toml`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    package: Package,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Package {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    dunlin: Dunlin,
}

/// `[package.metadata.dunlin]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Dunlin {
    target: Target,
}

/// What cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Artifact {
    /// The program's name.
    pub(super) name: String,
    /// The package's version, if cargo said it.
    pub(super) version: Option<Version>,
    /// Its module.
    pub(super) module: PathBuf,
}

/// The message of cargo that says what it built; all else in it is passed over.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<CargoTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
    kind: Vec<String>,
}

/// Builds the package in this folder. Warnings and errors appear as cargo shows them.
pub(super) async fn cargo(dir: &Path) -> Result<Artifact> {
    let target = Target::of_package(dir)?.name();
    needs_target(dir, target).await?;
    let mut command = Command::new(tool("CARGO", "cargo"));
    command.args(["build", "--release", "--target", target, "--message-format=json-render-diagnostics"]);
    let mut running = Running::start(command.current_dir(dir).stdout(Stdio::piped()))?;
    let stdout = running.child.stdout.take().context("cargo has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let manifest = dir.join("Cargo.toml");
    let mut built = Vec::new();
    while let Some(line) = lines.next_line().await.context("cargo's output")? {
        built.extend(artifact(&line, &manifest));
    }
    let status = running.wait().await?;
    ensure!(status.success(), "cargo could not build {}", dir.display());
    choose(built, dir)
}

/// The program that a line of cargo's output speaks of, if it is one of this package.
fn artifact(line: &str, manifest: &Path) -> Option<Artifact> {
    // Build scripts may print lines of their own.
    let message: CargoMessage = serde_json::from_str(line).ok()?;
    let target = message.target?;
    let ours = message.reason == "compiler-artifact"
        && message.manifest_path == manifest
        // What answers requests is a library that exports what its host calls.
        && target.kind.iter().any(|kind| kind == "bin" || kind == "cdylib");
    let module = message.filenames.into_iter().find(|file| file.extension().is_some_and(|e| e == "wasm"));
    // `path+file:///p#0.1.0`, or `…#hello@0.1.0`.
    let version = message.package_id.rsplit(['#', '@']).next().and_then(|version| version.parse().ok());
    ours.then_some(module?).map(|module| Artifact { name: target.name.replace('_', "-"), version, module })
}

fn choose(mut built: Vec<Artifact>, dir: &Path) -> Result<Artifact> {
    let shown = dir.display();
    match built.len() {
        1 => Ok(built.remove(0)),
        0 => bail!(
            "{shown} builds no program: it needs a src/main.rs (or a cdylib that answers HTTP requests), or its \
             workspace's folder was named instead"
        ),
        _ => {
            let names: Vec<_> = built.iter().map(|artifact| artifact.name.as_str()).collect();
            bail!("{shown} builds {}: run dev on the .wasm of one of them", names.join(", "))
        }
    }
}

/// Holds if the standard library for the target is there. Where a `rust-toolchain.toml` names the
/// target, asking is enough to make rustup fetch it.
async fn needs_target(dir: &Path, target: &str) -> Result<()> {
    let mut command = Command::new(tool("RUSTC", "rustc"));
    command.args(["--print", "target-libdir", "--target", target]);
    let running = Running::start(command.current_dir(dir).stdout(Stdio::piped()))?;
    let output = running.output().await?;
    ensure!(output.status.success(), "rustc does not know the target {target}: update Rust");
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(libdir.is_dir(), "the target {target} is not installed: rustup target add {target}");
    Ok(())
}

fn tool(variable: &str, name: &str) -> OsString {
    env::var_os(variable).unwrap_or_else(|| name.into())
}

/// A child in a process group of its own. Dropped, the whole group is ended: rustc as well as cargo.
struct Running {
    child: Child,
    name: String,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        // Ctrl-C at a terminal then reaches only us, who end it in order.
        let child = command.process_group(0).stdin(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("cannot run {name}: install Rust from https://rustup.rs"))?;
        Ok(Self { child, name })
    }

    async fn wait(&mut self) -> Result<std::process::ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    async fn output(mut self) -> Result<std::process::Output> {
        let mut stdout = Vec::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            let read = tokio::io::AsyncReadExt::read_to_end(&mut pipe, &mut stdout).await;
            read.with_context(|| format!("the output of {}", self.name))?;
        }
        let status = self.wait().await?;
        Ok(std::process::Output { status, stdout, stderr: Vec::new() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // None once it has ended and was waited for: then there is nothing to end.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            // It may end at this very moment.
            let _ = kill_process_group(pid, Signal::TERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///p#hello@0.1.0","manifest_path":"/p/Cargo.toml",
        "target":{"kind":["bin"],"crate_types":["bin"],"name":"hello","src_path":"/p/src/main.rs"},
        "filenames":["/t/hello.wasm"],"executable":"/t/hello.wasm","fresh":true}"#;

    #[test]
    fn the_program_of_this_package_is_found_in_cargos_messages() {
        let manifest = Path::new("/p/Cargo.toml");
        let version: Version = "0.1.0".parse().unwrap();
        let found = Artifact { name: "hello".into(), version: Some(version), module: "/t/hello.wasm".into() };
        assert_eq!(artifact(LINE, manifest).as_ref(), Some(&found));
        for (from, to) in [
            ("compiler-artifact", "build-finished"),
            ("/p/Cargo.toml", "/other/Cargo.toml"),
            ("[\"bin\"],\"crate", "[\"lib\"],\"crate"),
            ("[\"/t/hello.wasm\"]", "[\"/t/hello.rlib\"]"),
            ("{\"reason\"", "not json"),
        ] {
            assert!(LINE.contains(from), "{from}");
            assert_eq!(artifact(&LINE.replacen(from, to, 1), manifest), None, "{to}");
        }
        let library = LINE.replace("\"bin\"", "\"cdylib\"").replace("\"hello\"", "\"says_hello\"");
        assert_eq!(artifact(&library, manifest).unwrap().name, "says-hello", "it is an app's name");
        let other = Artifact { name: "other".into(), version: None, module: "/t/other.wasm".into() };
        assert!(choose(vec![], Path::new("/p")).unwrap_err().to_string().contains("builds no program"));
        assert!(choose(vec![found, other], Path::new("/p")).unwrap_err().to_string().contains("hello, other"));
    }

    #[test]
    fn a_package_says_what_it_is_built_for() {
        let dir = tempfile::tempdir().unwrap();
        let target = |metadata: &str| {
            let text = format!("[package]\nname = \"x\"\nversion.workspace = true\n{metadata}");
            std::fs::write(dir.path().join("Cargo.toml"), text).unwrap();
            Target::of_package(dir.path()).map_err(|error| error.to_string())
        };
        assert_eq!(target(""), Ok(Target::Preview1));
        assert_eq!(target("[package.metadata.other]\nx = 1"), Ok(Target::Preview1));
        assert_eq!(target("[package.metadata.dunlin]\ntarget = \"wasm32-wasip2\""), Ok(Target::Command));
        let wrong = target("[package.metadata.dunlin]\ntarget = \"wasm32\"").unwrap_err();
        assert!(wrong.contains("Cargo.toml:5:") && wrong.contains("wasm32-wasip2"), "{wrong}");
    }

    #[tokio::test]
    async fn a_child_that_is_dropped_takes_its_own_children_with_it() {
        let mut command = Command::new("sh");
        // The shell's child holds the pipe open for as long as it lives.
        command.args(["-c", "sleep 600 & echo started; wait"]).stdout(Stdio::piped());
        let mut running = Running::start(&mut command).unwrap();
        let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("started"));
        drop(running);
        let end = tokio::time::timeout(std::time::Duration::from_secs(10), lines.next_line()).await;
        assert_eq!(end.unwrap().unwrap(), None, "nobody holds the pipe any more");
    }
}
