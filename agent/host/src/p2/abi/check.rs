//! Compares the type that a component declares for an import with the one that this host has.

use std::collections::BTreeMap;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentInstanceTypeId,
    ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;

use super::Ty;

/// A resource type of WASI, by the interface that defines it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Without its version.
    pub(crate) interface: &'static str,
    pub(crate) name: &'static str,
}

/// The resource types that a component's imports declared, by the validator's number for them: the interface
/// without its version, and the name.
#[derive(Default)]
pub(crate) struct Declared(BTreeMap<ResourceId, (String, String)>);

/// The declared type is another one.
#[derive(Debug)]
pub(crate) struct Mismatch;

impl Declared {
    /// Remembers what an imported instance defines. What it only uses was defined before it.
    pub(crate) fn import(&mut self, interface: &str, types: TypesRef<'_>, instance: ComponentInstanceTypeId) {
        for (name, entity) in &types[instance].exports {
            if let ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(resource), .. } = entity {
                let entry = self.0.entry(resource.resource());
                entry.or_insert_with(|| (interface.to_owned(), name.clone()));
            }
        }
    }

    /// The interface and name of an imported resource.
    pub(crate) fn get(&self, resource: ResourceId) -> Option<(&str, &str)> {
        self.0.get(&resource).map(|(interface, name)| (interface.as_str(), name.as_str()))
    }

    fn is(&self, id: ResourceId, resource: &Resource) -> bool {
        self.get(id) == Some((resource.interface, resource.name))
    }
}

/// Whether a declared function is the host's.
pub(crate) fn matches(
    declared: &ComponentFuncType,
    types: TypesRef<'_>,
    resources: &Declared,
    params: &Ty,
    result: &Ty,
) -> Result<(), Mismatch> {
    let Ty::Tuple(params) = params else { return Err(Mismatch) };
    let given = declared.params.iter().map(|(_, ty)| *ty);
    let cx = Check { types, resources };
    let same = given.len() == params.len()
        && given.zip(*params).all(|(declared, ty)| cx.value(declared, ty))
        && cx.maybe(declared.result, result);
    if same { Ok(()) } else { Err(Mismatch) }
}

struct Check<'a> {
    types: TypesRef<'a>,
    resources: &'a Declared,
}

impl Check<'_> {
    fn maybe(&self, declared: Option<ComponentValType>, ty: &Ty) -> bool {
        match declared {
            Some(declared) => self.value(declared, ty),
            None => matches!(ty, Ty::Unit),
        }
    }

    fn value(&self, declared: ComponentValType, ty: &Ty) -> bool {
        match declared {
            ComponentValType::Primitive(primitive) => is_primitive(primitive, ty),
            ComponentValType::Type(id) => self.defined(&self.types[id], ty),
        }
    }

    fn defined(&self, declared: &ComponentDefinedType, ty: &Ty) -> bool {
        use ComponentDefinedType as Declared;
        match (declared, ty) {
            (Declared::Primitive(primitive), ty) => is_primitive(*primitive, ty),
            (Declared::List(declared), Ty::List(of)) | (Declared::Option(declared), Ty::Option(of)) => {
                self.value(*declared, of)
            }
            (Declared::Tuple(declared), Ty::Tuple(of)) => {
                declared.types.len() == of.len() && declared.types.iter().zip(*of).all(|(d, ty)| self.value(*d, ty))
            }
            (Declared::Record(declared), Ty::Record(of)) => {
                let mut fields = declared.fields.iter().zip(*of);
                declared.fields.len() == of.len()
                    && fields
                        .all(|((name, declared), (known, ty))| name.as_str() == *known && self.value(*declared, ty))
            }
            (Declared::Variant(declared), Ty::Variant(of)) => {
                let mut cases = declared.cases.iter().zip(*of);
                declared.cases.len() == of.len()
                    && cases.all(|((name, case), (known, ty))| name.as_str() == *known && self.maybe(case.ty, ty))
            }
            (Declared::Enum(names), Ty::Enum(of)) | (Declared::Flags(names), Ty::Flags(of)) => {
                names.len() == of.len() && names.iter().zip(*of).all(|(name, known)| name.as_str() == *known)
            }
            (Declared::Result { ok, err }, Ty::Result(ok_ty, err_ty)) => {
                self.maybe(*ok, ok_ty) && self.maybe(*err, err_ty)
            }
            (Declared::Own(id), Ty::Own(resource)) | (Declared::Borrow(id), Ty::Borrow(resource)) => {
                self.resources.is(id.resource(), resource)
            }
            _ => false,
        }
    }
}

fn is_primitive(declared: PrimitiveValType, ty: &Ty) -> bool {
    use PrimitiveValType as Declared;
    matches!(
        (declared, ty),
        (Declared::Bool, Ty::Bool)
            | (Declared::U8, Ty::U8)
            | (Declared::U16, Ty::U16)
            | (Declared::U32, Ty::U32)
            | (Declared::S32, Ty::S32)
            | (Declared::U64, Ty::U64)
            | (Declared::String, Ty::String)
    )
}
