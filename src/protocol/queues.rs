//! The methods of class `queue` (AMQP 0-9-1, 1.7).

use std::sync::Arc;

use amqp_codec::{
    AMQPClass,
    protocol::queue::{self, AMQPMethod},
};
use broker_core::{
    definitions::DestinationKind,
    permissions::{Operation, Resource},
    vhost::{BindingRequest, DIRECT_REPLY_TO, QueueDeclaration},
};

use super::{
    batch::Batch,
    channel::{Channel, Handled},
    exception::{Exception, MethodId},
    session::Session,
};

impl Channel {
    pub(super) fn declare_queue(
        &mut self,
        method: queue::Declare,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let name = method.queue.as_str();
        if name.starts_with(DIRECT_REPLY_TO) {
            return self.declare_reply_queue(&method, id, session, batch);
        }
        let nowait = method.nowait;
        let access = Arc::clone(session.access());
        let queue = if method.passive {
            let permitted = access.check_any(Resource::Queue(name));
            permitted.and_then(|()| session.vhost.check_queue(name, session.id))
        } else {
            let declaration = QueueDeclaration {
                name: name.to_owned(),
                durable: method.durable,
                exclusive: method.exclusive,
                auto_delete: method.auto_delete,
                arguments: method.arguments,
            };
            let declared = session
                .vhost
                .declare_queue_as(declaration, session.id, &access);
            declared.map(|(queue, ticket)| {
                session.await_definitions(ticket);
                queue
            })
        };
        let queue = queue.map_err(|error| Exception::of(&error, id))?;
        if method.exclusive && !method.passive {
            session.own(&queue);
        }
        self.last_queue.clear();
        self.last_queue.push_str(queue.name());
        if !nowait {
            let counts = queue.counts();
            let name = queue.name().to_string();
            self.send_declare_ok(name, counts.ready, counts.consumers, session, batch);
        }
        Ok(())
    }

    /// Declaring a direct reply-to address only asks whether somebody listens there; the pseudo-queue itself is always
    /// there (RabbitMQ: `rabbit_volatile_queue:declare`).
    fn declare_reply_queue(
        &mut self,
        method: &queue::Declare,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let name = method.queue.as_str();
        let exists = match name {
            DIRECT_REPLY_TO => true,
            address => session.vhost.reply_address_exists(address),
        };
        if !exists {
            let text = format!("no {}", session.vhost.queue_text(name));
            return Err(Exception::not_found(&text, id));
        }
        if !method.nowait {
            self.send_declare_ok(name.to_owned(), 0, 1, session, batch);
        }
        Ok(())
    }

    pub(super) fn bind_queue(
        &mut self,
        method: queue::Bind,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let request = BindingRequest {
            source: method.exchange.to_string(),
            destination_kind: DestinationKind::Queue,
            destination: self.queue_name(method.queue.as_str(), id)?,
            routing_key: self.binding_key(&method.queue, &method.routing_key),
            arguments: method.arguments,
        };
        session.permit_bind(&request, id)?;
        let bound = session.vhost.bind(&request, session.id);
        let ticket = bound.map_err(|error| Exception::of(&error, id))?;
        session.await_definitions(ticket);
        let answer = AMQPMethod::BindOk(queue::BindOk {});
        self.answer_queue(method.nowait, answer, session, batch);
        Ok(())
    }

    pub(super) fn unbind_queue(
        &mut self,
        method: queue::Unbind,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let request = BindingRequest {
            source: method.exchange.to_string(),
            destination_kind: DestinationKind::Queue,
            destination: self.queue_name(method.queue.as_str(), id)?,
            routing_key: self.binding_key(&method.queue, &method.routing_key),
            arguments: method.arguments,
        };
        session.permit_bind(&request, id)?;
        let unbound = session.vhost.unbind(&request, session.id);
        let ticket = unbound.map_err(|error| Exception::of(&error, id))?;
        session.await_definitions(ticket);
        let answer = AMQPMethod::UnbindOk(queue::UnbindOk {});
        self.answer_queue(false, answer, session, batch);
        Ok(())
    }

    pub(super) fn purge_queue(
        &mut self,
        method: queue::Purge,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let name = self.queue_name(method.queue.as_str(), id)?;
        let queue = session.open_queue(&name, id)?;
        let message_count = queue.purge(batch.now, &mut batch.work) as u32;
        session.vhost.bury(batch.now, &mut batch.work);
        let answer = AMQPMethod::PurgeOk(queue::PurgeOk { message_count });
        self.answer_queue(method.nowait, answer, session, batch);
        Ok(())
    }

    pub(super) fn delete_queue(
        &mut self,
        method: queue::Delete,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let name = self.queue_name(method.queue.as_str(), id)?;
        session.permit(Operation::Configure, Resource::Queue(&name), id)?;
        let conditions = (method.if_unused, method.if_empty);
        let deleted = session
            .vhost
            .delete_queue(&name, session.id, conditions, &mut batch.work);
        let (count, ticket) = deleted.map_err(|error| Exception::of(&error, id))?;
        let span = session.channel_span(self.number);
        span.in_scope(|| tracing::info!(target: "audit", name, "queue deleted"));
        session.disown(&name);
        session.await_definitions(ticket);
        let answer = AMQPMethod::DeleteOk(queue::DeleteOk {
            message_count: count as u32,
        });
        self.answer_queue(method.nowait, answer, session, batch);
        Ok(())
    }

    /// With neither queue nor key given, the queue declared last is meant by both (AMQP 0-9-1, `queue.bind`).
    fn binding_key(
        &self,
        queue: &amqp_codec::ShortString,
        key: &amqp_codec::ShortString,
    ) -> String {
        if queue.as_str().is_empty() && key.as_str().is_empty() {
            self.last_queue.clone()
        } else {
            key.to_string()
        }
    }

    fn send_declare_ok(
        &self,
        name: String,
        messages: usize,
        consumers: usize,
        session: &Session,
        batch: &mut Batch,
    ) {
        // A name came in as a short string or was made by the broker, so it fits into one.
        let Ok(queue) = amqp_codec::ShortString::try_new(name) else {
            return;
        };
        let answer = AMQPMethod::DeclareOk(queue::DeclareOk {
            queue,
            message_count: messages as u32,
            consumer_count: consumers as u32,
        });
        self.answer_queue(false, answer, session, batch);
    }

    fn answer_queue(&self, nowait: bool, answer: AMQPMethod, session: &Session, batch: &mut Batch) {
        if !nowait {
            session.send(self.number, AMQPClass::Queue(answer), batch);
        }
    }
}
