//! Parsing: a component's bytes become its definitions, in their order.
//!
//! wasmparser validates as they come; the code of the core modules is left to the interpreter.

use wasmparser::types::Types;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExport, ComponentImport, ComponentInstance,
    ComponentType, Encoding, Instance, Parser, Payload, ValidPayload, Validator,
};

use crate::rejected::Rejected;

/// Components inside of each other. Toolchains nest one in another.
const DEPTH_MAX: usize = 8;

/// A component: the whole, or one that is nested in it.
pub(super) struct Body<'a> {
    pub(super) definitions: Vec<Definition<'a>>,
    pub(super) types: Types,
}

/// What adds to an index space.
pub(super) enum Definition<'a> {
    Module(&'a [u8]),
    CoreInstance(Instance<'a>),
    Component(Box<Body<'a>>),
    Instance(ComponentInstance<'a>),
    Alias(ComponentAlias<'a>),
    Canonical(CanonicalFunction),
    Import(ComponentImport<'a>),
    Export(ComponentExport<'a>),
    /// A resource that the component defines itself, and the core function that destroys one.
    Resource {
        type_index: u32,
        destructor: Option<u32>,
    },
}

/// Reads a component.
///
/// # Errors
///
/// Says why it is none, or that it is of a kind that this host does not run.
pub(super) fn parse(wasm: &[u8]) -> Result<Body<'_>, Rejected> {
    let mut parsing = Parsing { wasm, validator: Validator::new(), open: Vec::new(), modules_open: 0 };
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| invalid(wasm, &error))?;
        if let Some(whole) = parsing.payload(payload)? {
            return Ok(whole);
        }
    }
    Err(Rejected::Invalid("it ends too early".to_owned()))
}

struct Parsing<'a> {
    wasm: &'a [u8],
    validator: Validator,
    /// The components that have begun and not ended, the innermost last.
    open: Vec<Vec<Definition<'a>>>,
    /// Core modules that have begun and not ended.
    modules_open: u32,
}

impl<'a> Parsing<'a> {
    /// Takes the next piece; the whole component, if it was the last.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of a core module only its bytes matter here")]
    fn payload(&mut self, payload: Payload<'a>) -> Result<Option<Body<'a>>, Rejected> {
        let ended = match self.validator.payload(&payload).map_err(|error| invalid(self.wasm, &error))? {
            ValidPayload::End(types) => Some(types),
            ValidPayload::Ok | ValidPayload::Parser(_) | ValidPayload::Func(..) => None,
        };
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } if self.open.len() == DEPTH_MAX => {
                return Err(Rejected::ComposedComponent);
            }
            Payload::Version { encoding: Encoding::Component, .. } => self.open.push(Vec::new()),
            Payload::Version { encoding: Encoding::Module, .. } => self.modules_open += 1,
            Payload::End(_) if self.modules_open > 0 => self.modules_open -= 1,
            Payload::End(_) => {
                let (Some(definitions), Some(types)) = (self.open.pop(), ended) else { return Ok(None) };
                let body = Body { definitions, types };
                match self.open.last_mut() {
                    Some(outer) => outer.push(Definition::Component(Box::new(body))),
                    None => return Ok(Some(body)),
                }
            }
            _ if self.modules_open > 0 => {}
            Payload::ModuleSection { unchecked_range, .. } => {
                let bytes = self.wasm.get(unchecked_range);
                let bytes = bytes.ok_or_else(|| Rejected::Invalid("a module leads out of it".to_owned()))?;
                self.define([Ok(bytes)], Definition::Module)?;
            }
            Payload::InstanceSection(instances) => self.define(instances, Definition::CoreInstance)?,
            Payload::ComponentInstanceSection(instances) => self.define(instances, Definition::Instance)?,
            Payload::ComponentAliasSection(aliases) => self.define(aliases, Definition::Alias)?,
            Payload::ComponentCanonicalSection(functions) => self.define(functions, Definition::Canonical)?,
            Payload::ComponentImportSection(imports) => self.define(imports, Definition::Import)?,
            Payload::ComponentExportSection(exports) => self.define(exports, Definition::Export)?,
            Payload::ComponentTypeSection(types) => {
                let count = self.validator.types(0).map_or(0, |types| types.component_type_count());
                let first = count.saturating_sub(types.count());
                for (type_index, ty) in (first..).zip(types) {
                    if let Ok(ComponentType::Resource { dtor: destructor, .. }) = ty {
                        self.define([Ok((type_index, destructor))], |(type_index, destructor)| Definition::Resource {
                            type_index,
                            destructor,
                        })?;
                    }
                }
            }
            Payload::ComponentStartSection { .. } => {
                return Err(Rejected::Invalid("it has a start function of the component model".to_owned()));
            }
            _ => {}
        }
        Ok(None)
    }

    fn define<T>(
        &mut self,
        items: impl IntoIterator<Item = Result<T, BinaryReaderError>>,
        definition: impl Fn(T) -> Definition<'a>,
    ) -> Result<(), Rejected> {
        let Some(innermost) = self.open.last_mut() else { return Ok(()) };
        for item in items {
            innermost.push(definition(item.map_err(|error| invalid(self.wasm, &error))?));
        }
        Ok(())
    }
}

/// A component of WASI 0.3 fails on its first type that is asynchronous: it is told by the versions that it names.
fn invalid(wasm: &[u8], error: &BinaryReaderError) -> Rejected {
    const NEXT: &[u8] = b"@0.3.";
    match wasm.windows(NEXT.len()).any(|window| window == NEXT) {
        true => Rejected::AsyncComponent,
        false => Rejected::Invalid(error.to_string()),
    }
}
