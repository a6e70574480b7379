//! A start of a component: its core modules are instantiated one by one, and its imports bound.

use std::sync::Arc;

use wasmi::{Error, Extern, Func, FuncType, Instance, Store, ValType};

use super::call::{self, Options, Site, enter};
use super::handles::Operation;
use super::plan::{CoreItem, Does, Plan, Step};
use crate::state::State;

/// The core instances that there are so far.
#[derive(Default)]
pub(crate) struct Instances(Vec<Instance>);

impl Plan {
    /// Instantiates the next core module. What it wants to be called before the one after it is returned.
    pub(crate) fn next(&self, store: &mut Store<State>, instances: &mut Instances) -> Result<Next, Error> {
        let Some(Step { module, imports, start }) = self.steps.get(instances.0.len()) else { return Ok(Next::Done) };
        let mut externs = Vec::with_capacity(imports.len());
        for import in imports {
            externs.push(match (&import.item, &import.ty) {
                (CoreItem::Host(host), Some(ty)) => self.bind(store, instances, *host, ty)?.into(),
                (item, _) => instances.get(store, item)?,
            });
        }
        let instance = Instance::new(&mut *store, module, &externs)?;
        instances.0.push(instance);
        Ok(match start {
            Some(name) => Next::Call(instance.get_func(&*store, name).ok_or_else(missing)?),
            None => Next::Instantiate,
        })
    }

    /// The function to run, and what frees its result.
    pub(crate) fn entry(&self, store: &Store<State>, instances: &Instances) -> Result<(Func, Option<Func>), Error> {
        let entry = instances.func(store, &self.entry.core)?;
        let after = self.entry.post_return.as_ref().map(|item| instances.func(store, item)).transpose()?;
        Ok((entry, after))
    }

    /// Makes a function of an import.
    fn bind(&self, store: &mut Store<State>, instances: &Instances, host: usize, ty: &FuncType) -> Result<Func, Error> {
        let host = self.hosts.get(host).ok_or_else(missing)?;
        let func = |item: &Option<CoreItem>| item.as_ref().map(|item| instances.func(store, item)).transpose();
        let memory = host.memory.as_ref().map(|item| instances.get(store, item)).transpose()?;
        let options = Options { memory: memory.and_then(Extern::into_memory), realloc: func(&host.realloc)? };
        let does = match &host.does {
            Does::Call(function) => call::Does::Call(function),
            Does::New { resource } => call::Does::Resource(Operation::New { resource: *resource }),
            Does::Rep { resource } => call::Does::Resource(Operation::Rep { resource: *resource }),
            Does::Drop { which, destructor } => {
                call::Does::Resource(Operation::Drop { which: *which, destructor: func(destructor)? })
            }
        };
        let returns = ty.results().first().copied();
        debug_assert!(returns.is_none_or(|ty| matches!(ty, ValType::I32 | ValType::I64)), "WASI has only integers");
        let site = Arc::new(Site { does, options, returns });
        Ok(Func::new(store, ty.clone(), move |caller, params, results| enter(caller, &site, params, results)))
    }
}

/// What a start does next.
pub(crate) enum Next {
    Instantiate,
    /// Call this first: the module's start function.
    Call(Func),
    Done,
}

impl Instances {
    fn get(&self, store: &Store<State>, item: &CoreItem) -> Result<Extern, Error> {
        let CoreItem::Export { instance, name } = item else { return Err(missing()) };
        self.0.get(*instance).and_then(|instance| instance.get_export(store, name)).ok_or_else(missing)
    }

    fn func(&self, store: &Store<State>, item: &CoreItem) -> Result<Func, Error> {
        self.get(store, item)?.into_func().ok_or_else(missing)
    }
}

fn missing() -> Error {
    Error::new("the component refers to what its modules do not export")
}
