//! Which vhost the client opens, and whether it may.

use amqp_codec::protocol::connection::{self, AMQPMethod};
use broker_core::Error;

use super::{Agreed, Awaited, Failed, Handshake, OPEN, Opened, Surroundings, send};
use crate::protocol::{batch::Batch, exception::Exception, inquiry::Inquiry};

impl Handshake {
    /// Takes a place in the vhost of that name.
    ///
    /// # Errors
    /// There is none, or no place in it.
    pub(super) fn open(&mut self, name: &str, around: &Surroundings<'_>) -> Result<(), Failed> {
        let broker = around.broker;
        let Some(vhost) = broker.vhost(name) else {
            let text = format!("vhost {name} not found");
            return Err(Exception::not_allowed(&text, OPEN).into());
        };
        let Some(identity) = self.identity.clone() else {
            return Err(self.out_of_order(OPEN).into());
        };
        let limit = around.settings.connection_max;
        let place = broker.admit(identity.name(), &vhost.name, limit);
        let place = place.map_err(|error| self.vhost_refused(name, &error, around))?;
        let client_properties = std::mem::take(&mut self.agreed.client_properties);
        self.opening = Some(Box::new(Opened {
            agreed: Agreed {
                client_properties,
                ..self.agreed.clone()
            },
            mechanism: self.mechanism,
            access: broker.access_of(&identity, &vhost.name),
            vhost,
            place,
            identity,
        }));
        Ok(())
    }

    /// Opens the vhost if that is permitted, or has it asked for.
    ///
    /// # Errors
    /// It is not permitted.
    pub(super) fn check_vhost(
        &mut self,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) -> Result<Option<Opened>, Failed> {
        let Some(opening) = self.opening.take() else {
            return Ok(None);
        };
        let Err(error) = opening.access.check_vhost(Some(around.peer.ip())) else {
            opening.access.forget_answers();
            send(AMQPMethod::OpenOk(connection::OpenOk {}), batch);
            return Ok(Some(*opening));
        };
        let Some(inquiry) = opening.access.take_inquiry() else {
            return Err(self.vhost_refused(&opening.vhost.name, &error, around));
        };
        self.inquiry = Some(Inquiry::Permission(inquiry));
        self.awaited = Awaited::Answer;
        self.opening = Some(opening);
        Ok(None)
    }

    fn vhost_refused(&self, vhost: &str, error: &Error, around: &Surroundings<'_>) -> Failed {
        let (peer, user) = (around.peer, &*self.agreed.user);
        let span = around.span();
        span.in_scope(
            || tracing::warn!(target: "audit", %peer, user, vhost, "vhost refused: {error}"),
        );
        Failed::Refused(Exception::of(error, OPEN))
    }
}
