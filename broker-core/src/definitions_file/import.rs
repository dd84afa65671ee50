//! Carrying out what a document asks for.

use super::{DefinitionsFile, plan::Plan};
use crate::{
    Error, broker::Broker, definitions::BindingDefinition, queue::ConnectionId, store::Ticket,
    vhost::BindingRequest,
};

/// How often somebody else may be faster with a change of the same item.
const ATTEMPTS: usize = 10;

/// No connection: nothing that is exclusive to one can be touched.
const NOBODY: ConnectionId = ConnectionId(0);

/// What an import has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// How many definitions are new or different.
    pub changed: usize,
    /// Durable when the import is.
    pub ticket: Ticket,
}

impl Broker {
    /// Imports a document: all of it, or for one vhost (`only`) what is in that. Nothing is changed if anything in it is
    /// wrong, and nothing that is there already.
    ///
    /// # Errors
    /// 406: something is wrong with the document; the text names the item. 404: there is no vhost `only`.
    pub fn import_definitions(
        &self,
        file: &DefinitionsFile,
        only: Option<&str>,
        by: &str,
    ) -> Result<Imported, Error> {
        if let Some(vhost) = only {
            self.check_vhost_exists(vhost)?;
        }
        let _turn = self.accounts.turn.lock();
        let mut conflict = None;
        for _ in 0..ATTEMPTS {
            let mut plan = Plan::of(self, file, only, by)?;
            let changed = plan.changes.len();
            let ticket = match changed {
                0 => self.definitions().written(),
                _ => match self.definitions().apply(std::mem::take(&mut plan.changes)) {
                    Ok(ticket) => ticket,
                    Err(other) => {
                        conflict = Some(other);
                        continue;
                    }
                },
            };
            let changed = changed + declare_transient(self, plan)?;
            tracing::info!(target: "audit", by, changed, vhost = only, "definitions imported");
            return Ok(Imported { changed, ticket });
        }
        Err(conflict.map_or_else(
            || Error::Internal("definitions change all the time".to_owned()),
            Error::from,
        ))
    }
}

fn declare_transient(broker: &Broker, plan: Plan<'_>) -> Result<usize, Error> {
    let mut declared = 0;
    for (vhost, exchange) in plan.transient_exchanges {
        if let Some(vhost) = broker.vhost(&vhost) {
            vhost.declare_exchange(exchange)?;
            declared += 1;
        }
    }
    for (vhost, queue) in plan.transient_queues {
        if let Some(vhost) = broker.vhost(&vhost) {
            vhost.declare_queue(queue, NOBODY)?;
            declared += 1;
        }
    }
    for binding in plan.transient_bindings {
        if let Some(vhost) = broker.vhost(&binding.vhost) {
            vhost.bind(&request(binding), NOBODY)?;
            declared += 1;
        }
    }
    Ok(declared)
}

fn request(binding: BindingDefinition) -> BindingRequest {
    BindingRequest {
        source: binding.source,
        destination_kind: binding.destination_kind,
        destination: binding.destination,
        routing_key: binding.routing_key,
        arguments: binding.arguments,
    }
}
