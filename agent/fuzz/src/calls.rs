//! A module made of host calls: an input says what is in its memory, and which functions it calls with what.
//!
//! ```text
//! u16 length · that many bytes of memory, from 64 on · calls until the input ends
//! call:     u8 index into `functions` · an argument for each parameter
//! argument: 0 to 199  itself                   203  + i8: so far from the end of memory
//!           200 + u16, 201 + u32, 202 + u64    204  + u8: so far below 2^32
//!           206 + u8: what is at 4 times that  205  + u8: so far below 2^64
//! ```

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dunlin_host::{Limits, Program, Rejected};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use crate::bytes::Reader;

/// Where an input's bytes lie in the memory.
pub const DATA: u32 = 64;
const DATA_BYTES_MAX: usize = 16 * 1024;
const MEMORY_BYTES: i64 = 64 * 1024;
const CALLS_MAX: usize = 48;
const ALIGNED: MemArg = MemArg { offset: 0, align: 2, target: MemArgTarget::Memory(0), ordering: None };

/// A host function as a guest may import it.
#[derive(Clone, Debug)]
pub struct HostFunction {
    /// The module that it is in.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its parameters.
    pub params: Vec<ValType>,
    /// Whether it returns an error number.
    pub returns: bool,
}

/// Every function that the host offers, with its types.
///
/// The host says which types it takes when a module imports a function with others, so that a new
/// function is fuzzed as soon as there is one.
pub static FUNCTIONS: LazyLock<Vec<HostFunction>> = LazyLock::new(|| {
    let mut functions = Vec::<HostFunction>::new();
    for info in dunlin_host::functions() {
        if functions.iter().any(|function| (function.module, function.name) == (info.module, info.name)) {
            continue;
        }
        for (params, returns) in types(info.module, info.name) {
            functions.push(HostFunction { module: info.module, name: info.name, params, returns });
        }
    }
    assert!(functions.len() >= 45, "preview 1 alone has more");
    functions
});

/// The types that the host offers a function with.
fn types(module: &str, name: &str) -> Vec<(Vec<ValType>, bool)> {
    let mut parts = Parts::default();
    parts.import(module, name, &[ValType::F32; 12], false);
    let mut nothing = Function::new([]);
    nothing.instructions().end();
    let offered = match Program::compile(&parts.finish(&[], &nothing), &Limits::default()) {
        Err(Rejected::WrongImportType { offered, .. }) => offered,
        other => panic!("{name} with twelve floats: {other:?}"),
    };
    // `(i32, i64) -> i32`, and maybe others after it.
    let mut types = Vec::new();
    for text in offered.split('(').skip(1) {
        let (params, rest) = text.split_once(')').expect("a list of parameters");
        let params = params.split(", ").filter(|ty| !ty.is_empty()).map(|ty| match ty {
            "i32" => ValType::I32,
            "i64" => ValType::I64,
            other => panic!("{name} takes an {other}"),
        });
        types.push((params.collect(), rest.trim_start().starts_with("->")));
    }
    assert!(!types.is_empty(), "{name}: {offered:?}");
    types
}

/// The parts of a module that depend on what it imports.
#[derive(Default)]
struct Parts {
    types: TypeSection,
    imports: ImportSection,
    count: u32,
}

impl Parts {
    fn import(&mut self, module: &str, name: &str, params: &[ValType], returns: bool) -> u32 {
        self.types.ty().function(params.iter().copied(), returns.then_some(ValType::I32));
        self.imports.import(module, name, EntityType::Function(self.count));
        self.count += 1;
        self.count - 1
    }

    /// The module with this `_start`, and these bytes in its memory.
    fn finish(mut self, data: &[u8], start: &Function) -> Vec<u8> {
        self.types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(self.count);
        let mut memories = MemorySection::new();
        let one = MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: None };
        memories.memory(one);
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, self.count);
        let mut code = CodeSection::new();
        code.function(start);
        let mut segments = DataSection::new();
        segments.active(0, &ConstExpr::i32_const(DATA.cast_signed()), data.iter().copied());
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&functions).section(&memories);
        module.section(&exports).section(&code).section(&segments);
        module.finish()
    }
}

/// The module that an input describes, and whether it calls a function on sockets.
pub fn module(data: &[u8]) -> (Vec<u8>, bool) {
    let mut input = Reader(data);
    let len = usize::from(input.u16()).min(DATA_BYTES_MAX);
    let memory = input.take(len);
    let (mut parts, mut start) = (Parts::default(), Function::new([]));
    let mut sockets = false;
    let mut imported = BTreeMap::<usize, u32>::new();
    let mut import = |index: usize| {
        let HostFunction { module, name, params, returns } = &FUNCTIONS[index];
        sockets |= name.starts_with("sock_") || *name == "poll_oneoff";
        *imported.entry(index).or_insert_with(|| parts.import(module, name, params, *returns))
    };
    let write = FUNCTIONS.iter().position(|function| function.name == "fd_write").expect("it is in preview 1");
    let write = import(write);
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        let index = usize::from(input.u8()) % FUNCTIONS.len();
        let function = &FUNCTIONS[index];
        let import = import(index);
        for ty in &function.params {
            argument(&mut input, *ty, &mut start);
        }
        let mut calls = start.instructions();
        calls.call(import);
        if function.returns {
            calls.drop();
        }
    }
    // At last all of its memory goes to stdout, for whoever looks for what must not be there.
    let mut calls = start.instructions();
    calls.i32_const(0).i32_const(0).i32_store(ALIGNED);
    calls.i32_const(4).i32_const(MEMORY_BYTES as i32).i32_store(ALIGNED);
    calls.i32_const(1).i32_const(0).i32_const(1).i32_const(8).call(write).drop().end();
    (parts.finish(memory, &start), sockets)
}

fn argument(input: &mut Reader<'_>, ty: ValType, start: &mut Function) {
    let mut instructions = start.instructions();
    let value = match input.u8() {
        200 => i64::from(input.u16()),
        201 => i64::from(input.u32()),
        202 => input.u64().cast_signed(),
        203 => MEMORY_BYTES + i64::from(input.u8().cast_signed()),
        204 => i64::from(u32::MAX) - i64::from(input.u8()),
        205 => -1 - i64::from(input.u8()),
        206 if ty == ValType::I32 => {
            let at = i32::from(input.u8()) * 4;
            instructions.i32_const(at).i32_load(ALIGNED);
            return;
        }
        itself => i64::from(itself),
    };
    if ty == ValType::I32 {
        instructions.i32_const(value as i32);
        return;
    }
    instructions.i64_const(value);
}

/// The input of these calls, each a name and its arguments, with these bytes in memory.
pub fn input(memory: &[u8], calls: &[(&str, &[u64])]) -> Vec<u8> {
    let mut bytes = (memory.len() as u16).to_le_bytes().to_vec();
    bytes.extend_from_slice(memory);
    for (name, arguments) in calls {
        let is_it = |function: &HostFunction| function.name == *name && function.params.len() == arguments.len();
        let index = FUNCTIONS.iter().position(is_it).unwrap_or_else(|| panic!("no {name} with so many arguments"));
        bytes.push(index as u8);
        for argument in *arguments {
            match *argument {
                small @ 0..200 => bytes.push(small as u8),
                value => match u16::try_from(value) {
                    Ok(value) => bytes.extend([&[200][..], &value.to_le_bytes()].concat()),
                    Err(_) => bytes.extend([&[202][..], &value.to_le_bytes()].concat()),
                },
            }
        }
    }
    bytes
}
