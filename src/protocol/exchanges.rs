//! The methods of class `exchange` (AMQP 0-9-1, 1.6; bindings between exchanges are RabbitMQ's).

use std::sync::Arc;

use amqp_codec::{
    AMQPClass,
    protocol::exchange::{self, AMQPMethod},
};
use broker_core::{
    definitions::DestinationKind,
    vhost::{BindingRequest, ExchangeDeclaration},
};

use super::{
    batch::Batch,
    channel::{Channel, Handled},
    exception::{Exception, MethodId},
    session::Session,
};

impl Channel {
    pub(super) fn declare_exchange(
        &mut self,
        method: exchange::Declare,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let access = Arc::clone(session.access());
        let declared = if method.passive {
            let name = method.exchange.as_str();
            let permitted = session.vhost.permit_check_exchange(name, &access);
            permitted.and_then(|()| session.vhost.check_exchange(name))
        } else {
            let declaration = ExchangeDeclaration {
                name: method.exchange.to_string(),
                kind: method.kind.to_string(),
                durable: method.durable,
                auto_delete: method.auto_delete,
                internal: method.internal,
                arguments: method.arguments,
            };
            let permitted = session.vhost.permit_declare_exchange(&declaration, &access);
            let ticket = permitted.and_then(|()| session.vhost.declare_exchange(declaration));
            ticket.map(|ticket| session.await_definitions(ticket))
        };
        declared.map_err(|error| Exception::of(&error, id))?;
        let answer = AMQPMethod::DeclareOk(exchange::DeclareOk {});
        self.answer_exchange(method.nowait, answer, session, batch);
        Ok(())
    }

    pub(super) fn delete_exchange(
        &mut self,
        method: exchange::Delete,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let access = Arc::clone(session.access());
        let name = method.exchange.as_str();
        let permitted = session.vhost.permit_delete_exchange(name, &access);
        let deleted =
            permitted.and_then(|()| session.vhost.delete_exchange(name, method.if_unused));
        let ticket = deleted.map_err(|error| Exception::of(&error, id))?;
        let span = session.channel_span(self.number);
        span.in_scope(|| tracing::info!(target: "audit", name, "exchange deleted"));
        session.await_definitions(ticket);
        let answer = AMQPMethod::DeleteOk(exchange::DeleteOk {});
        self.answer_exchange(method.nowait, answer, session, batch);
        Ok(())
    }

    pub(super) fn bind_exchange(
        &mut self,
        method: exchange::Bind,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let request = BindingRequest {
            source: method.source.to_string(),
            destination_kind: DestinationKind::Exchange,
            destination: method.destination.to_string(),
            routing_key: method.routing_key.to_string(),
            arguments: method.arguments,
        };
        session.permit_bind(&request, id)?;
        let bound = session.vhost.bind(&request, session.id);
        let ticket = bound.map_err(|error| Exception::of(&error, id))?;
        session.await_definitions(ticket);
        let answer = AMQPMethod::BindOk(exchange::BindOk {});
        self.answer_exchange(method.nowait, answer, session, batch);
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &mut self,
        method: exchange::Unbind,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let request = BindingRequest {
            source: method.source.to_string(),
            destination_kind: DestinationKind::Exchange,
            destination: method.destination.to_string(),
            routing_key: method.routing_key.to_string(),
            arguments: method.arguments,
        };
        session.permit_bind(&request, id)?;
        let unbound = session.vhost.unbind(&request, session.id);
        let ticket = unbound.map_err(|error| Exception::of(&error, id))?;
        session.await_definitions(ticket);
        let answer = AMQPMethod::UnbindOk(exchange::UnbindOk {});
        self.answer_exchange(method.nowait, answer, session, batch);
        Ok(())
    }

    fn answer_exchange(
        &self,
        nowait: bool,
        answer: AMQPMethod,
        session: &Session,
        batch: &mut Batch,
    ) {
        if !nowait {
            session.send(self.number, AMQPClass::Exchange(answer), batch);
        }
    }
}
