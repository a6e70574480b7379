//! Linking: the definitions of a component are followed once, and what comes out is a [`Plan`].

use std::rc::Rc;

use wasmi::{Engine, Module};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentImport, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Instance,
};

use super::abi::{Declared, Ty, Wit, matches};
use super::handles::{Own, RESOURCES, Which};
use super::http::{IncomingRequest, ResponseOutparam};
use super::parse::{Body, Definition, parse};
use super::plan::{CoreItem, Does, Entry, Host, Import, Plan, Step};
use super::space::{ComponentItems, CoreInstance, Exports, Func, Item, Options, Space, at, missing};
use super::start;
use super::table;
use crate::engine::{World, check_declarations};
use crate::quota::Limits;
use crate::rejected::Rejected;

/// Core instances that a component may make. Those with a language's runtime in several libraries make a few
/// dozen.
const INSTANCES_MAX: usize = 128;
/// Nested components that may be instantiated. Toolchains nest one for each interface that is exported.
const NESTED_MAX: usize = 128;

/// Parses a component, compiles its core modules, and works out how to wire them up.
pub(crate) fn compile(engine: &Engine, wasm: &[u8], limits: &Limits) -> Result<Plan, Rejected> {
    let body = parse(wasm)?;
    let mut linking = Linking {
        engine,
        limits,
        steps: Vec::new(),
        hosts: Vec::new(),
        resources: Declared::default(),
        own: Vec::new(),
        nested: 0,
    };
    let exports = linking.component(&body, None)?;
    let entry = ENTRIES.iter().find_map(|kind| entry(&exports, kind)).ok_or(Rejected::NoEntry)?;
    Ok(Plan { steps: linking.steps, hosts: linking.hosts, entry })
}

/// What a component can be started by. One that exports several is a program first.
const ENTRIES: &[EntryKind] = &[
    EntryKind {
        world: World::Command,
        interface: "wasi:cli/run",
        function: "run",
        params: Ty::Tuple(&[]),
        result: Ty::Result(&Ty::Unit, &Ty::Unit),
    },
    EntryKind {
        world: World::Http,
        interface: "wasi:http/incoming-handler",
        function: "handle",
        params: Ty::Tuple(&[&<Own<IncomingRequest> as Wit>::TY, &<Own<ResponseOutparam> as Wit>::TY]),
        result: Ty::Unit,
    },
];

struct EntryKind {
    world: World,
    interface: &'static str,
    function: &'static str,
    params: Ty,
    result: Ty,
}

fn entry(exports: &Exports, kind: &EntryKind) -> Option<Entry> {
    let (_, item) = exports.iter().find(|(name, _)| unversioned(name) == Some(kind.interface))?;
    let Item::Instance(instance) = item else { return None };
    match instance.export(kind.function)? {
        Item::Func(Func::Lifted { core, post_return, fits }) if fits.contains(&kind.world) => {
            Some(Entry { world: kind.world, core, post_return })
        }
        Item::Func(_) | Item::Instance(_) | Item::Type => None,
    }
}

struct Linking<'a> {
    engine: &'a Engine,
    limits: &'a Limits,
    steps: Vec<Step>,
    hosts: Vec<Host>,
    resources: Declared,
    /// Resources of the component's own, with their destructors.
    own: Vec<(ResourceId, Option<CoreItem>)>,
    nested: usize,
}

impl Linking<'_> {
    /// Follows a component's definitions. The arguments are those of a nested one.
    fn component<'b>(&mut self, body: &'b Body<'b>, arguments: Option<&Exports>) -> Result<Exports, Rejected> {
        let mut space = Space::default();
        for definition in &body.definitions {
            match definition {
                Definition::Component(nested) => space.components.push(nested),
                Definition::Alias(alias) => self.alias(&mut space, alias)?,
                Definition::Instance(instance) => self.instance(&mut space, instance)?,
                Definition::Import(import) => self.import(&mut space, body, import, arguments)?,
                Definition::Export(export) => {
                    let item = space.item(export.kind, export.index)?;
                    space.push(item.clone());
                    space.exports.insert(export.name.0.to_owned(), item);
                }
                // What is nested renames functions. Code in it would make it a component of its own.
                _ if arguments.is_some() => return Err(Rejected::ComposedComponent),
                Definition::Module(bytes) => space.modules.push(bytes),
                Definition::CoreInstance(instance) => self.core_instance(&mut space, instance)?,
                Definition::Canonical(function) => self.canonical(&mut space, body, function)?,
                Definition::Resource { type_index, destructor } => {
                    let destructor = destructor.map(|index| at(&space.core_funcs, index)).transpose()?;
                    self.own.push((resource_at(body, *type_index)?, destructor));
                }
            }
        }
        Ok(space.exports)
    }

    fn import(
        &mut self,
        space: &mut Space<'_>,
        body: &Body<'_>,
        import: &ComponentImport<'_>,
        arguments: Option<&Exports>,
    ) -> Result<(), Rejected> {
        let name = import.name.0;
        if let Some(arguments) = arguments {
            let item = arguments.get(name).cloned().ok_or_else(missing)?;
            space.push(item);
            return Ok(());
        }
        let unknown = |name: &str| Rejected::UnknownInterface { name: name.to_owned() };
        match import.ty {
            ComponentTypeRef::Instance(_) => {
                if name.contains("@0.3.") {
                    return Err(Rejected::AsyncComponent);
                }
                let interface = unversioned(name).and_then(table::interface).ok_or_else(|| unknown(name))?;
                let types = body.types.as_ref();
                if let Some(ComponentEntityType::Instance(id)) = types.component_entity_type_of_import(name) {
                    self.resources.import(interface.name, types, id);
                }
                space.push(Item::Instance(ComponentItems::Imported(interface)));
            }
            ComponentTypeRef::Type(_) => {}
            ComponentTypeRef::Component(_) | ComponentTypeRef::Module(_) => return Err(Rejected::ComposedComponent),
            ComponentTypeRef::Func(_) | ComponentTypeRef::Value(_) => return Err(unknown(name)),
        }
        Ok(())
    }

    fn alias(&mut self, space: &mut Space<'_>, alias: &ComponentAlias<'_>) -> Result<(), Rejected> {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. } => {}
            ComponentAlias::InstanceExport { instance_index, name, .. } => {
                let instance = at(&space.instances, *instance_index)?;
                let item = instance.export(name).ok_or_else(|| match instance {
                    ComponentItems::Imported(interface) => {
                        Rejected::UnknownFunction { interface: interface.name, name: (*name).to_owned() }
                    }
                    ComponentItems::Exports(_) => missing(),
                })?;
                space.push(item);
            }
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                let item = match at(&space.core_instances, *instance_index)? {
                    CoreInstance::Instantiated(instance) => CoreItem::Export { instance, name: (*name).into() },
                    CoreInstance::Exports(exports) => exports.get(*name).cloned().ok_or_else(missing)?,
                };
                space.core(*kind)?.push(item);
            }
            ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::Type | ComponentOuterAliasKind::CoreType, ..
            } => {}
            ComponentAlias::Outer { .. } => return Err(Rejected::ComposedComponent),
        }
        Ok(())
    }

    fn instance(&mut self, space: &mut Space<'_>, instance: &ComponentInstance<'_>) -> Result<(), Rejected> {
        let exports = match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                self.nested += 1;
                if self.nested > NESTED_MAX {
                    return Err(Rejected::ComposedComponent);
                }
                let items = args.iter().map(|arg| Ok((arg.name.to_owned(), space.item(arg.kind, arg.index)?)));
                let arguments = items.collect::<Result<Exports, Rejected>>()?;
                let body = at(&space.components, *component_index)?;
                self.component(body, Some(&arguments))?
            }
            ComponentInstance::FromExports(exports) => {
                let items = exports.iter().map(|e| Ok((e.name.0.to_owned(), space.item(e.kind, e.index)?)));
                items.collect::<Result<Exports, Rejected>>()?
            }
        };
        space.push(Item::Instance(ComponentItems::Exports(Rc::new(exports))));
        Ok(())
    }

    fn core_instance(&mut self, space: &mut Space<'_>, instance: &Instance<'_>) -> Result<(), Rejected> {
        let made = match instance {
            Instance::Instantiate { module_index, args } => {
                let bytes = at(&space.modules, *module_index)?;
                let step = self.step(bytes, |module, name| {
                    let arg = args.iter().find(|arg| arg.name == module).ok_or_else(missing)?;
                    Ok(match at(&space.core_instances, arg.index)? {
                        CoreInstance::Instantiated(instance) => CoreItem::Export { instance, name: name.into() },
                        CoreInstance::Exports(exports) => exports.get(name).cloned().ok_or_else(missing)?,
                    })
                })?;
                self.steps.push(step);
                CoreInstance::Instantiated(self.steps.len() - 1)
            }
            Instance::FromExports(exports) => {
                let items = exports
                    .iter()
                    .map(|export| Ok((export.name.to_owned(), at(space.core(export.kind)?, export.index)?)));
                CoreInstance::Exports(Rc::new(items.collect::<Result<_, Rejected>>()?))
            }
        };
        space.core_instances.push(made);
        Ok(())
    }

    /// Compiles a core module for one instantiation.
    fn step(&self, bytes: &[u8], resolve: impl Fn(&str, &str) -> Result<CoreItem, Rejected>) -> Result<Step, Rejected> {
        if self.steps.len() == INSTANCES_MAX {
            return Err(Rejected::TooManyInstances { limit: INSTANCES_MAX });
        }
        let (bytes, start) = start::export(bytes);
        check_declarations(&bytes, self.limits)?;
        let module = Module::new(self.engine, &bytes).map_err(|error| Rejected::Invalid(error.to_string()))?;
        let imports = module.imports().map(|import| {
            let item = resolve(import.module(), import.name())?;
            Ok(Import { item, ty: import.ty().func().cloned() })
        });
        let imports = imports.collect::<Result<_, Rejected>>()?;
        Ok(Step { module, imports, start })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are of asynchronous components")]
    fn canonical(
        &mut self,
        space: &mut Space<'_>,
        body: &Body<'_>,
        function: &CanonicalFunction,
    ) -> Result<(), Rejected> {
        let types = body.types.as_ref();
        match function {
            CanonicalFunction::Lift { core_func_index, type_index, options } => {
                let core = at(&space.core_funcs, *core_func_index)?;
                let Options { post_return, .. } = space.options(options)?;
                let ComponentAnyTypeId::Func(id) = types.component_any_type_at(*type_index) else {
                    return Err(missing());
                };
                let same =
                    |kind: &&EntryKind| matches(&types[id], types, &self.resources, &kind.params, &kind.result).is_ok();
                let fits = ENTRIES.iter().filter(same).map(|kind| kind.world).collect();
                space.funcs.push(Func::Lifted { core, post_return, fits });
            }
            CanonicalFunction::Lower { func_index, options } => {
                let Options { memory, realloc, .. } = space.options(options)?;
                // A component that calls what it exports itself.
                let Func::Host(interface, function) = at(&space.funcs, *func_index)? else {
                    return Err(Rejected::ComposedComponent);
                };
                let ty = &types[types.component_function_at(*func_index)];
                matches(ty, types, &self.resources, &function.params, &function.result)
                    .map_err(|_| Rejected::WrongFunctionType { interface: interface.name, name: function.name })?;
                self.host(space, Does::Call(function), memory, realloc);
            }
            CanonicalFunction::ResourceNew { resource } => {
                let (resource, _) = self.own_resource(resource_at(body, *resource)?).ok_or_else(missing)?;
                self.host(space, Does::New { resource }, None, None);
            }
            CanonicalFunction::ResourceRep { resource } => {
                let (resource, _) = self.own_resource(resource_at(body, *resource)?).ok_or_else(missing)?;
                self.host(space, Does::Rep { resource }, None, None);
            }
            CanonicalFunction::ResourceDrop { resource } => {
                let does = self.drop_of(resource_at(body, *resource)?)?;
                self.host(space, does, None, None);
            }
            _ => return Err(Rejected::AsyncComponent),
        }
        Ok(())
    }

    fn drop_of(&self, id: ResourceId) -> Result<Does, Rejected> {
        if let Some((resource, destructor)) = self.own_resource(id) {
            return Ok(Does::Drop { which: Which::Guest(resource), destructor });
        }
        let (interface, name) = self.resources.get(id).ok_or_else(missing)?;
        let known = RESOURCES.iter().find(|known| known.interface == interface && known.name == name);
        let known =
            known.ok_or_else(|| Rejected::UnknownInterface { name: format!("{interface}, resource {name}") })?;
        Ok(Does::Drop { which: Which::Host(known), destructor: None })
    }

    fn own_resource(&self, id: ResourceId) -> Option<(usize, Option<CoreItem>)> {
        let place = self.own.iter().position(|(own, _)| *own == id)?;
        Some((place, self.own[place].1.clone()))
    }

    fn host(&mut self, space: &mut Space<'_>, does: Does, memory: Option<CoreItem>, realloc: Option<CoreItem>) {
        self.hosts.push(Host { does, memory, realloc });
        space.core_funcs.push(CoreItem::Host(self.hosts.len() - 1));
    }
}

/// The name of an interface of WASI 0.2, without its version.
fn unversioned(name: &str) -> Option<&str> {
    let (name, version) = name.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    patch.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
}

fn resource_at(body: &Body<'_>, type_index: u32) -> Result<ResourceId, Rejected> {
    let ComponentAnyTypeId::Resource(id) = body.types.as_ref().component_any_type_at(type_index) else {
        return Err(missing());
    };
    Ok(id.resource())
}
