//! Gives back the buffers that the interpreter keeps for its next translation.
//!
//! wasmi keeps one set of them in each engine, as large as the largest function wanted it, and has no call to give it
//! back. But what fails to translate or to validate takes its buffers along.

use wasmi::{Engine, Error, Instance, Module, Store};

/// A module with a function that is valid, and is not translated: it has one local more than the 30,000 that wasmi takes.
#[rustfmt::skip]
const NOT_TRANSLATED: &[u8] = &[
    0, b'a', b's', b'm', 1, 0, 0, 0,
    1, 4, 1, 0x60, 0, 0,
    3, 2, 1, 0,
    7, 5, 1, 1, b'f', 0, 0,
    10, 8, 1, 6, 1, 0xb1, 0xea, 0x01, 0x7f, 0x0b,
];

/// A module with a function that is not valid: it drops a value that is not there.
#[rustfmt::skip]
const NOT_VALID: &[u8] = &[
    0, b'a', b's', b'm', 1, 0, 0, 0,
    1, 4, 1, 0x60, 0, 0,
    3, 2, 1, 0,
    10, 5, 1, 3, 0, 0x1a, 0x0b,
];

/// Gives back what the engine keeps for translating, and then what it keeps for validating.
///
/// It leaves two entries in the engine's code map and a module's header, 400 bytes.
///
/// # Errors
///
/// Both modules are compiled to no effect but this one.
pub(crate) fn give_back(engine: &Engine) -> [Result<(), Error>; 2] {
    [translate(engine), Module::new(engine, NOT_VALID).map(drop)]
}

fn translate(engine: &Engine) -> Result<(), Error> {
    let module = Module::new(engine, NOT_TRANSLATED)?;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    instance.get_typed_func::<(), ()>(&store, "f")?.call(&mut store, ())
}

#[cfg(test)]
mod tests {
    use wasmi::errors::ErrorKind;

    use super::*;
    use crate::engine::config;
    use crate::quota::Limits;

    #[test]
    fn what_is_to_fail_fails_where_it_is_to() {
        let engine = Engine::new(&config(&Limits::default()));
        let [translated, validated] = give_back(&engine).map(Result::unwrap_err);
        assert!(matches!(translated.kind(), ErrorKind::Translation(_)), "{translated}");
        assert!(matches!(validated.kind(), ErrorKind::Wasm(_)), "{validated}");
    }
}
