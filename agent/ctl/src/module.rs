//! Modules, before they are signed: whether a board could run them, and what they declare.

use anyhow::{Context, Result, ensure};
use dunlin_core::{
    limits,
    wire::{Instances, World},
};
use dunlin_host::{self as host, Limits, Program};
use serde::Serialize;
use wasmparser::{Encoding, ExternalKind, Parser, Payload, TypeRef};

/// Holds if a board can run this module with this much memory.
///
/// The same compiler as on the board looks at it, so what passes here is not refused there.
pub(crate) fn check(wasm: &[u8], memory_bytes: u64, instances: Option<Instances>) -> Result<()> {
    let max = limits::MODULE_BYTES_MAX;
    ensure!(wasm.len() as u64 <= max, "{} bytes, more than the {max} that a module may have", wasm.len());
    let memory_bytes = if memory_bytes == 0 { limits::GUEST_MEMORY_BYTES } else { memory_bytes };
    let world = world(wasm, instances)?;
    let memory_bytes = usize::try_from(world.memory_bytes(memory_bytes)).unwrap_or(usize::MAX);
    Program::compile(wasm, &Limits { memory_bytes, ..Limits::default() })?;
    Ok(())
}

/// The world that a module is for, as boards see it; how many instances are only said of one that answers requests.
pub(crate) fn world(wasm: &[u8], instances: Option<Instances>) -> Result<World> {
    // How much memory it declares is looked at elsewhere.
    let program = Program::compile(wasm, &Limits { memory_bytes: usize::MAX, ..Limits::default() })?;
    let world = match program.world() {
        host::World::Preview1 => World::Preview1,
        host::World::Command => World::Command,
        host::World::Http => return Ok(World::Http(instances.unwrap_or_default())),
    };
    ensure!(
        instances.is_none(),
        "app.toml has [http], and the module answers no HTTP requests: it does not export wasi:http/incoming-handler"
    );
    Ok(world)
}

/// What a module declares.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Declared {
    /// `module.name` of each import.
    pub(crate) imports: Vec<String>,
    /// `name` and kind of each export.
    pub(crate) exports: Vec<Export>,
    /// Linear memories.
    pub(crate) memories: Vec<Memory>,
    /// Whether it is a component, which has none of these.
    pub(crate) component: bool,
}

/// An export.
#[derive(Debug, Serialize)]
pub(crate) struct Export {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
}

/// A linear memory.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// At the start.
    pub(crate) initial_bytes: u64,
    /// At most; no bound of its own if absent.
    pub(crate) max_bytes: Option<u64>,
}

const PAGE_BYTES: u64 = 64 * 1024;

/// Reads a module's declarations. What cannot be read is an error that says where.
pub(crate) fn declared(wasm: &[u8]) -> Result<Declared> {
    let mut declared = Declared::default();
    let memory = |m: wasmparser::MemoryType| Memory {
        initial_bytes: m.initial.saturating_mul(PAGE_BYTES),
        max_bytes: m.maximum.map(|max| max.saturating_mul(PAGE_BYTES)),
    };
    for payload in Parser::new(0).parse_all(wasm) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "code, data and what else there will be say nothing here")]
        match payload.context("damaged")? {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Ok(Declared { component: true, ..declared });
            }
            Payload::ImportSection(imports) => {
                for import in imports {
                    let import = import.context("damaged")?;
                    declared.imports.push(format!("{}.{}", import.module, import.name));
                    if let TypeRef::Memory(imported) = import.ty {
                        declared.memories.push(memory(imported));
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for own in memories {
                    declared.memories.push(memory(own.context("damaged")?));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.context("damaged")?;
                    declared.exports.push(Export { name: export.name.into(), kind: kind(export.kind) });
                }
            }
            _ => {}
        }
    }
    Ok(declared)
}

const fn kind(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func => "function",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}
