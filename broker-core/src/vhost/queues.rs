//! Declaring and deleting queues.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use amqp_codec::{AMQPValue, FieldTable};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    Vhost, apply::NewQueue, check_name, permitted::check_forwarding, records, strip_line_ends,
};
use crate::{
    Error,
    definitions::Expect,
    permissions::{Access, Operation, Resource},
    queue::{
        ConnectionId, Millis, Priorities, Queue, QueueArguments, Work,
        arguments::{assert_queue_arguments_equivalent, inequivalent_attribute},
    },
    statistics::Column,
    store::{QueueId, Ticket},
};

/// The argument with which a client chooses how the names that the broker makes begin (RabbitMQ 4.3).
const NAME_PREFIX: &str = "x-name-prefix";

/// Bytes of [`NAME_PREFIX`], RabbitMQ's limit: the whole has to fit into a short string.
const LONGEST_NAME_PREFIX: usize = 64;

/// What `queue.declare` says.
#[derive(Debug, Clone)]
pub struct QueueDeclaration {
    /// The queue's name; empty for one that the broker chooses.
    pub name: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// For the declaring connection only.
    pub exclusive: bool,
    /// Deleted when its last consumer is gone.
    pub auto_delete: bool,
    /// The optional arguments.
    pub arguments: FieldTable,
}

impl Vhost {
    /// `queue.declare`: makes the queue, or checks that the existing one is the same. The ticket of its definition is
    /// to be awaited before the answer.
    ///
    /// # Errors
    /// 403 for reserved names, 405 for another connection's exclusive queue, 406 for invalid arguments and for an
    /// inequivalent redeclaration.
    pub fn declare_queue(
        &self,
        declaration: QueueDeclaration,
        by: ConnectionId,
    ) -> Result<(Arc<Queue>, Ticket), Error> {
        self.declare_queue_as(declaration, by, &Access::unlimited(&self.name))
    }

    /// The same for a client, who may not do everything.
    ///
    /// # Errors
    /// As [`Self::declare_queue`], and 403 without permission.
    pub fn declare_queue_as(
        &self,
        mut declaration: QueueDeclaration,
        by: ConnectionId,
        access: &Access,
    ) -> Result<(Arc<Queue>, Ticket), Error> {
        let server_named = self.prepare(&mut declaration, access)?;
        let resource = Resource::Queue(&declaration.name);
        access.check(Operation::Configure, resource)?;
        if let Some(existing) = self.queue(&declaration.name) {
            self.check_same(&existing, &declaration, by)?;
        } else {
            let text = self.queue_text(&declaration.name);
            let (arguments, key) = (&declaration.arguments, "x-dead-letter-exchange");
            check_forwarding(access, resource, arguments, key, &text)?;
        }
        let arguments = self.check_arguments(&declaration, server_named)?;
        self.statistics.node().count(Column::QueueDeclared);
        self.make_or_find(declaration, arguments, by)
    }

    /// Completes what a client has said. Whether the broker has chosen the name.
    fn prepare(&self, declaration: &mut QueueDeclaration, access: &Access) -> Result<bool, Error> {
        declaration.name = strip_line_ends(&declaration.name);
        // RabbitMQ: an exclusive queue cannot outlive its connection, so it is never durable.
        declaration.durable &= !declaration.exclusive;
        let prefix = take_name_prefix(&mut declaration.arguments);
        self.augment(declaration);
        let server_named = declaration.name.is_empty();
        if server_named {
            declaration.name = match access.queue_asked_for() {
                Some(name) => name,
                None => new_name(&prefix)?,
            };
        } else {
            check_name("queue", &declaration.name)?;
        }
        Ok(server_named)
    }

    /// Makes a queue as it was declared, unless somebody else does meanwhile.
    fn make_or_find(
        &self,
        declaration: QueueDeclaration,
        arguments: QueueArguments,
        by: ConnectionId,
    ) -> Result<(Arc<Queue>, Ticket), Error> {
        let priorities = Priorities::of(&arguments);
        let ids = priorities.map_or(1, |it| u64::from(it.highest()) + 1);
        let mut turn = self.turn();
        loop {
            if let Some(existing) = self.queue(&declaration.name) {
                self.check_same(&existing, &declaration, by)?;
                existing.used();
                let ticket = self.written(existing.properties.durable);
                return Ok((existing, ticket));
            }
            self.check_queue_limit(&declaration.name)?;
            if !declaration.durable {
                let queue = turn.add_queue(NewQueue {
                    id: QueueId(self.transient_ids.fetch_add(ids, Ordering::Relaxed)),
                    priorities,
                    exclusive_owner: declaration.exclusive.then_some(by),
                    paused: false,
                    declaration,
                    arguments,
                });
                self.statistics.node().count(Column::QueueCreated);
                return Ok((queue, turn.ticket));
            }
            let id = self.shared.definitions.next_queue_ids(ids);
            let put = records::put_queue(&self.name, id, priorities, &declaration)?;
            let made = turn.write(vec![put.expecting(Expect::Absent)])?;
            // Not there although it was made: somebody else has deleted it at once.
            if made && let Some(queue) = self.queue(&declaration.name) {
                self.statistics.node().count(Column::QueueCreated);
                return Ok((queue, turn.ticket));
            }
        }
    }

    /// `queue.declare` with `passive`: only asks for it.
    ///
    /// # Errors
    /// 404 when it does not exist, 405 when it is another connection's.
    pub fn check_queue(&self, name: &str, by: ConnectionId) -> Result<Arc<Queue>, Error> {
        let queue = self.existing_queue(&strip_line_ends(name))?;
        self.check_exclusive(&queue, by)?;
        queue.used();
        Ok(queue)
    }

    /// `queue.delete`: says how many ready messages went with it. Deleting what does not exist succeeds.
    ///
    /// # Errors
    /// 405 for another connection's exclusive queue, 406 when it is in use or not empty and the caller minds.
    pub fn delete_queue(
        &self,
        name: &str,
        by: ConnectionId,
        (if_unused, if_empty): (bool, bool),
        work: &mut Work,
    ) -> Result<(usize, Ticket), Error> {
        let Some(queue) = self.queue(&strip_line_ends(name)) else {
            return Ok((0, self.written(true)));
        };
        self.check_exclusive(&queue, by)?;
        let text = self.queue_text(name);
        let check = |counts: &crate::queue::QueueCounts| {
            if if_unused && counts.consumers > 0 {
                return Err(Error::PreconditionFailed(format!("{text} in use")));
            }
            if if_empty && counts.ready + counts.delayed > 0 {
                return Err(Error::PreconditionFailed(format!("{text} not empty")));
            }
            Ok(())
        };
        self.end_queue(&queue, check, work)
    }

    /// Ends a queue whoever uses it: its exclusive owner's connection ended, or its last consumer left an auto-delete
    /// queue.
    ///
    /// # Errors
    /// 541 when the definitions cannot be written.
    pub fn drop_queue(&self, queue: &Arc<Queue>, work: &mut Work) -> Result<Ticket, Error> {
        self.end_queue(queue, |_| Ok(()), work)
            .map(|(_, ticket)| ticket)
    }

    /// Ends a queue that nobody has used for as long as it may be idle, unless somebody uses it in the meantime.
    ///
    /// # Errors
    /// 541 when the definitions cannot be written.
    pub(crate) fn drop_idle_queue(
        &self,
        queue: &Arc<Queue>,
        now: Millis,
        work: &mut Work,
    ) -> Result<(), Error> {
        let idle = |counts: &crate::queue::QueueCounts| match queue.is_idle_too_long(counts, now) {
            true => Ok(()),
            false => Err(Error::PreconditionFailed("in use again".to_owned())),
        };
        match self.end_queue(queue, idle, work) {
            Err(Error::PreconditionFailed(_)) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Ends an auto-delete queue whose last consumer left, unless another one came in the meantime.
    ///
    /// # Errors
    /// 541 when the definitions cannot be written.
    pub fn drop_unused_queue(&self, queue: &Arc<Queue>, work: &mut Work) -> Result<(), Error> {
        let unused = |counts: &crate::queue::QueueCounts| match counts.consumers {
            0 => Ok(()),
            _ => Err(Error::PreconditionFailed("in use again".to_owned())),
        };
        match self.end_queue(queue, unused, work) {
            Err(Error::PreconditionFailed(_)) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Which connection has this queue to itself; `None` when it is shared or does not exist.
    pub fn exclusive_owner(&self, name: &str) -> Option<ConnectionId> {
        let queue = self.queue(&strip_line_ends(name))?;
        queue.properties.exclusive_owner
    }

    /// # Errors
    /// 405 when the queue is another connection's.
    pub fn check_exclusive(&self, queue: &Queue, by: ConnectionId) -> Result<(), Error> {
        match queue.properties.exclusive_owner {
            Some(owner) if owner != by => Err(self.locked(queue.name())),
            _ => Ok(()),
        }
    }

    /// Whether this very queue is there, and not one that has taken its name since.
    pub(super) fn has_queue(&self, queue: &Arc<Queue>) -> bool {
        let current = self.queues.get(queue.name());
        current.is_some_and(|current| Arc::ptr_eq(&current, queue))
    }

    /// The queue itself ends first: only it knows, under its lock, whether the conditions hold.
    fn end_queue(
        &self,
        queue: &Arc<Queue>,
        check: impl FnOnce(&crate::queue::QueueCounts) -> Result<(), Error>,
        work: &mut Work,
    ) -> Result<(usize, Ticket), Error> {
        let mut turn = self.turn();
        if !self.has_queue(queue) {
            return Ok((0, self.written(queue.properties.durable)));
        }
        let count = queue.delete(check, work)?;
        turn.remove_queue(queue)?;
        Ok((count, turn.ticket))
    }

    fn check_arguments(
        &self,
        declaration: &QueueDeclaration,
        server_named: bool,
    ) -> Result<QueueArguments, Error> {
        let text = self.queue_text(&declaration.name);
        let arguments = QueueArguments::parse(&declaration.arguments, &text)?;
        if server_named {
            arguments.check_server_named()?;
        }
        let (durable, exclusive) = (declaration.durable, declaration.exclusive);
        arguments.check_properties(&text, durable, exclusive, declaration.auto_delete)?;
        Ok(arguments)
    }

    /// RabbitMQ: `rabbit_amqqueue:assert_equivalence`.
    fn check_same(
        &self,
        existing: &Queue,
        declared: &QueueDeclaration,
        by: ConnectionId,
    ) -> Result<(), Error> {
        let owner = declared.exclusive.then_some(by);
        if existing.properties.exclusive_owner != owner {
            return Err(self.locked(existing.name()));
        }
        let text = self.queue_text(&declared.name);
        let properties = &existing.properties;
        inequivalent_attribute(&text, "durable", declared.durable, properties.durable)?;
        inequivalent_attribute(
            &text,
            "auto_delete",
            declared.auto_delete,
            properties.auto_delete,
        )?;
        assert_queue_arguments_equivalent(&text, &properties.table, &declared.arguments)
    }

    fn locked(&self, name: &str) -> Error {
        Error::ResourceLocked(format!(
            "cannot obtain exclusive access to locked {}. It could be originally declared on another connection or the \
             exclusive property value does not match that of the original declaration.",
            self.queue_text(name)
        ))
    }
}

/// Takes `x-name-prefix` out of the arguments: it concerns the name and does not belong to the queue.
fn take_name_prefix(arguments: &mut FieldTable) -> String {
    let Some(given) = arguments.inner().get(NAME_PREFIX).cloned() else {
        return String::new();
    };
    let rest = arguments.inner().clone().into_iter();
    let rest = rest.filter(|(key, _)| key.as_str() != NAME_PREFIX);
    *arguments = FieldTable::from(rest.collect::<BTreeMap<_, _>>());
    match given {
        AMQPValue::LongString(prefix) => strip_line_ends(&prefix.to_string()),
        _ => String::new(),
    }
}

/// A name that no client can have chosen: a prefix and 128 random bits.
fn new_name(prefix: &str) -> Result<String, Error> {
    let prefix = match prefix {
        "" => "amq.gen",
        long if long.len() > LONGEST_NAME_PREFIX => {
            return Err(Error::PreconditionFailed(format!(
                "Queue name prefix '{long}' exceeds the {LONGEST_NAME_PREFIX}-byte limit"
            )));
        }
        prefix => prefix,
    };
    Ok(format!("{prefix}-{}", random_name()))
}

/// 128 random bits in the letters that RabbitMQ uses for generated names.
pub fn random_name() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}
