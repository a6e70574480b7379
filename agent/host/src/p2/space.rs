//! The index spaces of a component, and what stands in them.

use std::collections::BTreeMap;
use std::rc::Rc;

use wasmparser::{CanonicalOption, ComponentExternalKind, ExternalKind};

use super::parse::Body;
use super::plan::CoreItem;
use super::table::{Function, Interface};
use crate::engine::World;
use crate::rejected::Rejected;

/// The index spaces of one component.
#[derive(Default)]
pub(super) struct Space<'a> {
    pub(super) modules: Vec<&'a [u8]>,
    pub(super) core_instances: Vec<CoreInstance>,
    pub(super) core_funcs: Vec<CoreItem>,
    pub(super) core_memories: Vec<CoreItem>,
    pub(super) core_tables: Vec<CoreItem>,
    pub(super) core_globals: Vec<CoreItem>,
    pub(super) components: Vec<&'a Body<'a>>,
    pub(super) instances: Vec<ComponentItems>,
    pub(super) funcs: Vec<Func>,
    pub(super) exports: Exports,
}

#[derive(Clone)]
pub(super) enum CoreInstance {
    Instantiated(usize),
    Exports(Rc<BTreeMap<String, CoreItem>>),
}

pub(super) type Exports = BTreeMap<String, Item>;

#[derive(Clone)]
pub(super) enum ComponentItems {
    Imported(&'static Interface),
    Exports(Rc<Exports>),
}

#[derive(Clone)]
pub(super) enum Item {
    Func(Func),
    Instance(ComponentItems),
    Type,
}

#[derive(Clone)]
pub(super) enum Func {
    Host(&'static Interface, &'static Function),
    Lifted {
        core: CoreItem,
        post_return: Option<CoreItem>,
        /// What it could be the entry of, by its type.
        fits: Vec<World>,
    },
}

impl ComponentItems {
    pub(super) fn export(&self, name: &str) -> Option<Item> {
        match self {
            Self::Imported(interface) => {
                interface.function(name).map(|function| Item::Func(Func::Host(interface, function)))
            }
            Self::Exports(exports) => exports.get(name).cloned(),
        }
    }
}

/// Canonical options.
#[derive(Default)]
pub(super) struct Options {
    pub(super) memory: Option<CoreItem>,
    pub(super) realloc: Option<CoreItem>,
    pub(super) post_return: Option<CoreItem>,
}

impl Space<'_> {
    pub(super) fn options(&self, options: &[CanonicalOption]) -> Result<Options, Rejected> {
        let mut all = Options::default();
        for option in options {
            match option {
                CanonicalOption::UTF8 => {}
                CanonicalOption::UTF16 => return Err(Rejected::StringEncoding { encoding: "utf16" }),
                CanonicalOption::CompactUTF16 => {
                    return Err(Rejected::StringEncoding { encoding: "latin1+utf16" });
                }
                CanonicalOption::Memory(index) => all.memory = Some(at(&self.core_memories, *index)?),
                CanonicalOption::Realloc(index) => all.realloc = Some(at(&self.core_funcs, *index)?),
                CanonicalOption::PostReturn(index) => all.post_return = Some(at(&self.core_funcs, *index)?),
                CanonicalOption::Async | CanonicalOption::Callback(_) => return Err(Rejected::AsyncComponent),
            }
        }
        Ok(all)
    }

    pub(super) fn core(&mut self, kind: ExternalKind) -> Result<&mut Vec<CoreItem>, Rejected> {
        match kind {
            ExternalKind::Func => Ok(&mut self.core_funcs),
            ExternalKind::Memory => Ok(&mut self.core_memories),
            ExternalKind::Table => Ok(&mut self.core_tables),
            ExternalKind::Global => Ok(&mut self.core_globals),
            ExternalKind::Tag => Err(Rejected::Invalid("it uses exceptions, which this host does not have".to_owned())),
        }
    }

    pub(super) fn item(&self, kind: ComponentExternalKind, index: u32) -> Result<Item, Rejected> {
        match kind {
            ComponentExternalKind::Func => at(&self.funcs, index).map(Item::Func),
            ComponentExternalKind::Instance => at(&self.instances, index).map(Item::Instance),
            ComponentExternalKind::Type => Ok(Item::Type),
            ComponentExternalKind::Module | ComponentExternalKind::Component | ComponentExternalKind::Value => {
                Err(Rejected::ComposedComponent)
            }
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        match item {
            Item::Func(func) => self.funcs.push(func),
            Item::Instance(instance) => self.instances.push(instance),
            Item::Type => {}
        }
    }
}

pub(super) fn at<T: Clone>(items: &[T], index: u32) -> Result<T, Rejected> {
    items.get(index as usize).cloned().ok_or_else(missing)
}

/// What the validator has let pass and is not there all the same.
pub(super) fn missing() -> Rejected {
    Rejected::Invalid("it refers to what it does not define".to_owned())
}
