//! Start sections of a component's core modules.
//!
//! The interpreter runs a start function plainly, so that a host call in it could not suspend. Toolchains
//! use one to call an `_initialize`. Here it becomes an export, which is called like any other function.

use std::borrow::Cow;

use wasmparser::{Parser, Payload};

/// No toolchain exports this name.
const NAME: &str = "dunlin:start";

const EXPORT_SECTION: u8 = 7;
const START_SECTION: u8 = 8;

/// The module without its start section, and the name under which it exports the function instead.
///
/// What is malformed stays as it is, for the compiler to say.
pub(super) fn export(wasm: &[u8]) -> (Cow<'_, [u8]>, Option<&'static str>) {
    match rewritten(wasm) {
        Some(module) => (Cow::Owned(module), Some(NAME)),
        None => (Cow::Borrowed(wasm), None),
    }
}

fn rewritten(wasm: &[u8]) -> Option<Vec<u8>> {
    let payloads = || Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let start = payloads().find(|payload| matches!(payload, Payload::StartSection { .. }))?;
    let Payload::StartSection { func, .. } = start else { return None };
    let mut entry = leb(NAME.len() as u32);
    entry.extend_from_slice(NAME.as_bytes());
    entry.push(0);
    entry.extend(leb(func));

    let mut module = wasm.get(..8)?.to_vec();
    let mut exported = false;
    for payload in payloads() {
        let count = if let Payload::ExportSection(exports) = &payload { exports.count() } else { 0 };
        match payload.as_section() {
            Some((EXPORT_SECTION, range)) => {
                exported = true;
                let first = leb_len(wasm.get(range.clone())?)?;
                let others = wasm.get(range.start + first..range.end)?;
                section(&mut module, EXPORT_SECTION, &[&leb(count + 1), others, &entry]);
            }
            // The exports come before it, if there are any.
            Some((START_SECTION, _)) if !exported => section(&mut module, EXPORT_SECTION, &[&leb(1), &entry]),
            Some((START_SECTION, _)) => {}
            Some((id, range)) => section(&mut module, id, &[wasm.get(range)?]),
            None => {}
        }
    }
    Some(module)
}

fn section(module: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    module.push(id);
    module.extend(leb(bytes as u32));
    parts.iter().for_each(|part| module.extend_from_slice(part));
}

/// A number as modules have them: seven bits a byte, the lowest first.
fn leb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The bytes of the number that stands at the beginning.
fn leb_len(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| byte & 0x80 == 0).map(|last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_function_becomes_an_export() {
        for (text, exports) in [
            ("(module (func) (start 0))", 1),
            ("(module (func) (func (export \"a\")) (memory (export \"m\") 1) (start 1) (data (i32.const 0) \"x\"))", 3),
            ("(module (import \"m\" \"f\" (func)) (start 0))", 1),
        ] {
            let wasm = wat::parse_str(text).unwrap();
            let (module, name) = export(&wasm);
            let module = wasmi::Module::new(&wasmi::Engine::default(), &module).unwrap();
            assert_eq!(module.exports().count(), exports, "{text}");
            let ty = module.get_export(name.unwrap()).unwrap();
            assert!(ty.func().is_some(), "{text}");
        }
    }

    #[test]
    fn others_stay_as_they_are() {
        let wasm = wat::parse_str("(module (func (export \"a\")))").unwrap();
        for bytes in [&wasm[..], &wasm[..10], b"", b"\0asm"] {
            assert_eq!(export(bytes), (Cow::Borrowed(bytes), None));
        }
    }
}
