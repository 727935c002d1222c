//! What a controller must say for the loop to run it.

use std::sync::Arc;

use client::Key;
use controllers::Plan;
use jiff::Timestamp;

use crate::caches::{Caches, Wakes};

/// One controller: what wakes it, what it sees, what it decides.
pub trait Controller: Send + Sync + 'static {
    /// Everything one decision depends on, at one instant.
    type View: Send;

    /// As its service account is called.
    fn name(&self) -> &'static str;

    /// As it signs its events; mostly its name.
    fn component(&self) -> &'static str {
        self.name()
    }

    /// Which kinds it reads, and which keys a change of an object concerns.
    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>);

    /// What there is to decide about this key; `None` when nothing is.
    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<Self::View>;

    /// The decision.
    fn reconcile(&self, view: &Self::View) -> Plan;

    /// Called after a plan was carried out, in whole or until something `failed`; most have nothing
    /// to do then.
    fn carried_out(&self, key: &Key, plan: &Plan, failed: Option<&Failed>) {
        let _: (&Key, &Plan, Option<&Failed>) = (key, plan, failed);
    }
}

/// Why a plan was not carried out in whole: its first write that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The error's words.
    pub error: String,
    /// Someone else was faster, which says nothing about the write itself.
    pub race: bool,
}

/// A controller whose type of view is forgotten.
pub(crate) trait Control: Send + Sync {
    fn name(&self) -> &'static str;
    fn component(&self) -> &'static str;
    fn decide(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<Plan>;
    fn carried_out(&self, key: &Key, plan: &Plan, failed: Option<&Failed>);
}

impl<C: Controller> Control for C {
    fn name(&self) -> &'static str {
        Controller::name(self)
    }

    fn component(&self) -> &'static str {
        Controller::component(self)
    }

    fn decide(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<Plan> {
        self.view(key, caches, now).map(|view| self.reconcile(&view))
    }

    fn carried_out(&self, key: &Key, plan: &Plan, failed: Option<&Failed>) {
        Controller::carried_out(self, key, plan, failed);
    }
}
