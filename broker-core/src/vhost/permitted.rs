//! Which permissions the operations on a vhost need, in the order in which RabbitMQ asks for them (`rabbit_channel`).

use amqp_codec::FieldTable;

use super::{
    BindingRequest, ExchangeDeclaration, Vhost, bindings, check_exchange_name, check_name,
    exchanges::{check_deletable, check_not_default},
    strip_line_ends,
};
use crate::{
    Error,
    arguments::text,
    definitions::DestinationKind,
    exchange::ExchangeKind,
    permissions::{
        Access,
        Operation::{Configure, Read, Write},
        Resource,
    },
};

impl Vhost {
    /// What a client needs before [`Self::declare_exchange`].
    ///
    /// # Errors
    /// 403, and what has to be wrong before permissions are looked at.
    pub fn permit_declare_exchange(
        &self,
        declaration: &ExchangeDeclaration,
        access: &Access,
    ) -> Result<(), Error> {
        ExchangeKind::parse(&declaration.kind).ok_or_else(|| {
            Error::CommandInvalid(format!("unknown exchange type '{}'", declaration.kind))
        })?;
        let name = strip_line_ends(&declaration.name);
        check_not_default(&name)?;
        let resource = Resource::Exchange(&name);
        access.check(Configure, resource)?;
        if self.exchange(&name).is_some() {
            return Ok(());
        }
        check_name("exchange", &name)?;
        let (arguments, named) = (&declaration.arguments, self.exchange_text(&name));
        check_forwarding(access, resource, arguments, "alternate-exchange", &named)
    }

    /// What a client needs before [`Self::check_exchange`].
    ///
    /// # Errors
    /// 403.
    pub fn permit_check_exchange(&self, name: &str, access: &Access) -> Result<(), Error> {
        check_not_default(name)?;
        access.check_any(Resource::Exchange(&strip_line_ends(name)))
    }

    /// What a client needs before [`Self::delete_exchange`].
    ///
    /// # Errors
    /// 403.
    pub fn permit_delete_exchange(&self, name: &str, access: &Access) -> Result<(), Error> {
        let name = strip_line_ends(name);
        check_not_default(&name)?;
        check_deletable(&name, self)?;
        access.check(Configure, Resource::Exchange(&name))
    }

    /// What a client needs before [`Self::bind`] and [`Self::unbind`].
    ///
    /// # Errors
    /// 403.
    pub fn permit_bind(&self, request: &BindingRequest, access: &Access) -> Result<(), Error> {
        bindings::check_not_volatile(request)?;
        let destination = match request.destination_kind {
            DestinationKind::Queue => Resource::Queue(&request.destination),
            DestinationKind::Exchange => Resource::Exchange(&request.destination),
        };
        access.check(Write, destination)?;
        if request.destination_kind == DestinationKind::Exchange {
            check_not_default(&request.destination)?;
        }
        check_not_default(&request.source)?;
        access.check(Read, Resource::Exchange(&request.source))?;
        match self.exchange(&request.source) {
            Some(source) if source.kind == ExchangeKind::Topic => {
                access.check_topic(Read, &request.source, &request.routing_key)
            }
            _ => Ok(()),
        }
    }
}

/// Whoever lets messages go on from a queue or an exchange to an exchange that an argument names, needs to read from the
/// one and to write to the other.
pub(super) fn check_forwarding(
    access: &Access,
    from: Resource<'_>,
    arguments: &FieldTable,
    argument: &str,
    from_text: &str,
) -> Result<(), Error> {
    check_exchange_name(arguments, argument, from_text)?;
    if let Some(to) = arguments.inner().get(argument).and_then(text) {
        access.check(Read, from)?;
        access.check(Write, Resource::Exchange(to))?;
    }
    Ok(())
}
