//! Feeds the vhosts from the watch of the definitions: whoever declares something durable, a client of this broker or
//! somebody else who writes to the same definitions, it reaches registries and routing tables this way.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Broker;
use crate::{
    Error,
    definitions::{Event, Kind, VhostDefinition, Watcher, key_parts},
    vhost::{Vhost, vhost_of},
};

/// The watcher of a broker. It does not keep the broker alive.
pub(super) struct Feed {
    broker: Weak<Broker>,
    /// The vhosts that something was noted for since the last time.
    touched: Mutex<Vec<Arc<Vhost>>>,
    /// Why a vhost could not be made.
    failed: Mutex<Option<Error>>,
}

impl Feed {
    pub(super) fn of(broker: &Arc<Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker: Arc::downgrade(broker),
            touched: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// Applies what the definitions hold at the start of the broker.
    ///
    /// # Errors
    /// One of them is not understood by this version.
    pub(super) fn recover(&self) -> Result<(), Error> {
        if let Some(error) = self.failed.lock().take() {
            return Err(error);
        }
        let touched = self.take_touched();
        touched.iter().try_for_each(|it| it.recover_topology())
    }

    fn take_touched(&self) -> Vec<Arc<Vhost>> {
        std::mem::take(&mut *self.touched.lock())
    }

    fn note(&self, vhost: Arc<Vhost>, event: &Event) {
        vhost.note(event.clone());
        let mut touched = self.touched.lock();
        if !touched.last().is_some_and(|it| Arc::ptr_eq(it, &vhost)) {
            touched.push(vhost);
        }
    }
}

impl Watcher for Feed {
    fn changed(&self, event: &Event) {
        let Some(broker) = self.broker.upgrade() else {
            return;
        };
        match event.kind {
            Kind::Vhost => {
                if let Err(error) = broker.vhost_changed(event) {
                    self.failed.lock().get_or_insert(error);
                }
            }
            Kind::Policy | Kind::OperatorPolicy | Kind::Exchange | Kind::Queue | Kind::Binding => {
                // What is left of a vhost that is gone concerns nobody.
                if let Some(vhost) = vhost_of(&event.key).and_then(|name| broker.vhost(&name)) {
                    self.note(vhost, event);
                }
            }
            _ => {}
        }
    }

    fn settle(&self) {
        if let Some(error) = self.failed.lock().take() {
            tracing::error!(%error, "cannot apply a change of the definitions");
        }
        for vhost in self.take_touched() {
            vhost.catch_up();
        }
    }
}

impl Broker {
    fn vhost_changed(&self, event: &Event) -> Result<(), Error> {
        if let Some(definition) = event.record::<VhostDefinition>()? {
            let name: Arc<str> = definition.name.into();
            let new = || Vhost::new(Arc::clone(&name), self.shared.clone());
            let vhost = Arc::clone(&*self.vhosts.entry(Arc::clone(&name)).or_insert_with(new));
            vhost.set_default_queue_type(definition.default_queue_type.as_deref());
        } else if let Some(name) = key_parts(&event.key).into_iter().next() {
            self.vhosts.remove(name.as_str());
        }
        Ok(())
    }
}
