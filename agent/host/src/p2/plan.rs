//! What a component comes down to: core modules, and how to wire them up.

use std::sync::Arc;

use wasmi::{FuncType, Module};

use super::handles::Which;
use super::table::Function;
use crate::engine::World;

/// A component that is ready to be instantiated any number of times.
pub(crate) struct Plan {
    /// The core modules, in the order in which they are instantiated.
    pub(super) steps: Vec<Step>,
    pub(super) hosts: Vec<Host>,
    pub(super) entry: Entry,
}

/// One instantiation of a core module.
pub(super) struct Step {
    pub(super) module: Module,
    /// One for each import of the module, in its order.
    pub(super) imports: Vec<Import>,
    /// The name under which the module exports its start function.
    pub(super) start: Option<&'static str>,
}

pub(super) struct Import {
    pub(super) item: CoreItem,
    /// What the module takes it for, if it is a function.
    pub(super) ty: Option<FuncType>,
}

/// A core item: what an instance exports, or what the host does.
#[derive(Clone, Debug)]
pub(super) enum CoreItem {
    Export {
        instance: usize,
        name: Arc<str>,
    },
    /// By its place in [`Plan::hosts`].
    Host(usize),
}

/// An import at the component's edge, with its canonical options.
pub(super) struct Host {
    pub(super) does: Does,
    pub(super) memory: Option<CoreItem>,
    pub(super) realloc: Option<CoreItem>,
}

pub(super) enum Does {
    Call(&'static Function),
    Drop { which: Which, destructor: Option<CoreItem> },
    New { resource: usize },
    Rep { resource: usize },
}

/// The lifted function that a component is there for.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) world: World,
    pub(super) core: CoreItem,
    pub(super) post_return: Option<CoreItem>,
}

impl Plan {
    pub(crate) fn world(&self) -> World {
        self.entry.world
    }

    /// Instances that a start makes.
    pub(crate) fn instances(&self) -> usize {
        self.steps.len()
    }
}
