//! The way of a publish from the wire into the batch (AMQP 0-9-1, 1.8.3.7).
//!
//! Publishers seldom change their target, and most messages carry no property that the broker looks at. Both are
//! recognised without parsing: then a publish costs one comparison of names and one allocation for the message. Where a
//! message says more but goes where the last one went, the route is known too, and both enter their queues together.

use std::{borrow::Cow, iter, sync::Arc};

use amqp_codec::{
    AMQPClass, FieldTable, Properties, Publish, ShortString, parse_table,
    properties::is_plain,
    protocol::basic::{self, AMQPMethod},
};
use broker_core::{
    exchange::ExchangeKind,
    message::{Flags, Message},
    permissions::{Operation, Resource},
    queue::Work,
    statistics::Column,
    vhost::{
        DIRECT_REPLY_TO, Exchange, Route, Vhost, carbon_copies, check_expiration,
        without_blind_copies,
    },
};

use super::{
    batch::{Batch, Group, Refusal},
    channel::{Channel, Handled},
    content::{PUBLISH, Published},
    exception::Exception,
    session::{Session, Source},
};

/// A publish whose properties have been looked at.
struct Examined<'a> {
    properties: Cow<'a, [u8]>,
    /// The headers without BCC, which stays in the properties and is shown to nobody.
    headers: Option<FieldTable>,
    flags: Flags,
    /// The keys of CC and BCC.
    copies: Vec<String>,
    /// Who the message says has sent it.
    user_id: Option<&'a str>,
}

impl Channel {
    /// Takes a complete publish.
    #[inline]
    pub(super) fn publish(
        &mut self,
        published: &Published<'_>,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        session.publishes = true;
        let method = &published.method;
        if is_plain(published.properties)
            && !method.immediate
            && self.cached_route(method, session).is_some()
            && let Some(route) = self.route.take()
        {
            // Taken and put back instead of counted: an atomic count waits until all that was written before it has gone
            // to memory, which is the whole message.
            let flags = Flags::default();
            let message = published.message(&route.source.name, published.properties, flags);
            self.accept(message, &route, method.mandatory, session, batch);
            self.route = Some(route);
            return Ok(());
        }
        self.publish_examined(published, session, batch)
    }

    /// Where the last publish went, if this one goes there too.
    #[inline]
    fn cached_route(&self, method: &Publish<'_>, session: &Session) -> Option<&Arc<Route>> {
        self.route.as_ref().filter(|route| {
            *route.source.name == *method.exchange
                && *route.routing_key == *method.routing_key
                && route.generation == session.vhost.generation()
        })
    }

    /// A publish that says more, or goes elsewhere than the last one.
    fn publish_examined(
        &mut self,
        published: &Published<'_>,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        if let Some(route) = self.cached_route(&published.method, session) {
            let route = Arc::clone(route);
            let examined = self.examine(published, session)?;
            if examined.copies.is_empty() {
                session.permit_sender(&examined)?;
                self.hand_over(published, &examined, &route, session, batch);
                return Ok(());
            }
        }
        self.publish_anew(published, session, batch)
    }

    fn publish_anew(
        &mut self,
        published: &Published<'_>,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let method = &published.method;
        let exchange = session.publishable(method.exchange)?;
        let examined = self.examine(published, session)?;
        session.permit_message(&exchange, method.routing_key, &examined)?;
        if exchange.name.is_empty() && method.routing_key.starts_with(DIRECT_REPLY_TO) {
            self.publish_reply(published, &examined, session, batch);
            return Ok(());
        }
        let route = session.vhost.route(
            &exchange,
            method.routing_key,
            &examined.copies,
            examined.headers.as_ref(),
        );
        let keep = examined.copies.is_empty() && !route.by_headers;
        let route = Arc::new(route);
        self.route = keep.then(|| Arc::clone(&route));
        self.hand_over(published, &examined, &route, session, batch);
        Ok(())
    }

    /// Makes the message of a publish whose route is known, and hands it on.
    fn hand_over(
        &mut self,
        published: &Published<'_>,
        examined: &Examined<'_>,
        route: &Arc<Route>,
        session: &mut Session,
        batch: &mut Batch,
    ) {
        let (properties, flags) = (&examined.properties, examined.flags);
        let message = published.message(&route.source.name, properties, flags);
        if published.method.immediate {
            self.publish_immediate(message, route, &published.method, session, batch);
        } else {
            self.accept(message, route, published.method.mandatory, session, batch);
        }
    }

    /// Hands a routed message to the batch, the transaction or back to the publisher.
    #[inline]
    fn accept(
        &mut self,
        message: Message,
        route: &Arc<Route>,
        mandatory: bool,
        session: &Session,
        batch: &mut Batch,
    ) {
        self.count_publish(message.body_length(), session);
        let number = self.number_publish(batch);
        if route.queues.is_empty() {
            session.count_routed(route, 1);
            match &mut self.transaction {
                _ if !mandatory => self.count(Column::DropUnroutable),
                Some(pending) => pending.unroutable.push(message),
                None => self.return_message(&message, 312, "NO_ROUTE", session, batch),
            }
            return;
        }
        self.count_targets(route.queues.len());
        match &mut self.transaction {
            Some(pending) => {
                pending.publishes.push((message, Arc::clone(route)));
                self.show_mode();
            }
            None => batch.publish(route, message, number),
        }
    }

    /// Numbers a publish in confirm mode.
    #[inline]
    fn number_publish(&mut self, batch: &mut Batch) -> Option<(u16, u64)> {
        let confirms = self.confirms.as_mut()?;
        self.entry.counters.add(Column::PublishConfirm, 1);
        if batch.confirming.last() != Some(&self.number) {
            batch.confirming.push(self.number);
        }
        Some((self.number, confirms.number()))
    }

    /// `immediate`: a queue takes the message only if a consumer gets it at once (AMQP 0-9-1, 1.8.3.7). A queue that
    /// does not take it drops it; when none does, the message is returned.
    fn publish_immediate(
        &mut self,
        message: Message,
        route: &Arc<Route>,
        method: &Publish<'_>,
        session: &mut Session,
        batch: &mut Batch,
    ) {
        self.count_publish(message.body_length(), session);
        self.number_publish(batch);
        session.count_routed(route, 1);
        if route.queues.is_empty() {
            if method.mandatory {
                self.return_message(&message, 312, "NO_ROUTE", session, batch);
            } else {
                self.return_message(&message, 313, "NO_CONSUMERS", session, batch);
            }
            return;
        }
        session.flush_publishes(batch);
        let mut taken = false;
        for queue in &route.queues {
            let work: &mut Work = &mut batch.work;
            taken |= queue.publish_immediate(message.clone(), batch.now, work);
        }
        session.vhost.bury(batch.now, &mut batch.work);
        if !taken {
            self.return_message(&message, 313, "NO_CONSUMERS", session, batch);
        }
    }

    /// Sends a direct reply to the channel that waits for it.
    fn publish_reply(
        &mut self,
        published: &Published<'_>,
        examined: &Examined<'_>,
        session: &Session,
        batch: &mut Batch,
    ) {
        self.count_publish(published.body.len(), session);
        self.number_publish(batch);
        let message = published.message("", &examined.properties, examined.flags);
        if let Some(pending) = &mut self.transaction {
            match session.vhost.reply_address_exists(message.routing_key()) {
                true => pending.replies.push(message),
                false if published.method.mandatory => pending.unroutable.push(message),
                false => {}
            }
            return;
        }
        let sent = session.vhost.reply(message.clone());
        if !sent && published.method.mandatory {
            self.return_message(&message, 312, "NO_ROUTE", session, batch);
        }
    }

    pub(super) fn return_message(
        &self,
        message: &Message,
        code: u16,
        text: &str,
        session: &Session,
        batch: &mut Batch,
    ) {
        self.count(Column::ReturnUnroutable);
        let short = |text: &str| ShortString::try_new(text).unwrap_or_default();
        let method = AMQPMethod::Return(basic::Return {
            reply_code: code,
            reply_text: short(text),
            exchange: short(message.exchange()),
            routing_key: short(message.routing_key()),
        });
        session.send(self.number, AMQPClass::Basic(method), batch);
        batch.out.content(
            self.number,
            session.frame_max,
            &message.visible_properties(),
            message,
        );
    }

    /// Checks the properties that the broker looks at, in RabbitMQ's order.
    fn examine<'a>(
        &self,
        published: &Published<'a>,
        session: &Session,
    ) -> Result<Examined<'a>, Exception> {
        let mut examined = Examined {
            properties: Cow::Borrowed(published.properties),
            headers: None,
            flags: Flags::default(),
            copies: Vec::new(),
            user_id: None,
        };
        if is_plain(published.properties) {
            return Ok(examined);
        }
        let properties = Properties::parse(published.properties)?;
        if let Some(expiration) = properties.expiration {
            check_expiration(expiration).map_err(|error| Exception::of(&error, PUBLISH))?;
        }
        if let Some(headers) = properties.headers {
            examined.read_headers(headers)?;
        }
        examined.user_id = properties.user_id;
        if properties.reply_to == Some(DIRECT_REPLY_TO) {
            examined.set_reply_to(&self.reply_address(session)?)?;
        }
        Ok(examined)
    }

    fn reply_address(&self, session: &Session) -> Result<Arc<str>, Exception> {
        let subscribed = self
            .replies
            .and_then(|key| session.subscriptions.get(key.0 as usize));
        match subscribed.map(|s| &s.source) {
            Some(Source::Replies(address)) => Ok(Arc::clone(&address.name)),
            _ => {
                let text = "fast reply consumer does not exist";
                Err(Exception::precondition_failed(text, PUBLISH))
            }
        }
    }
}

impl Examined<'_> {
    fn read_headers(&mut self, raw: &[u8]) -> Result<(), Exception> {
        let mut headers = parse_table(raw)?;
        let copies = carbon_copies(&headers);
        self.copies = copies.map_err(|error| Exception::of(&error, PUBLISH))?;
        if headers.contains_key("BCC") {
            headers = without_blind_copies(&headers);
            self.flags = Flags::HIDDEN_COPIES;
        }
        self.headers = Some(headers);
        Ok(())
    }

    fn set_reply_to(&mut self, address: &str) -> Result<(), Exception> {
        let mut changed = Vec::with_capacity(self.properties.len() + address.len());
        let properties = Properties::parse(&self.properties)?;
        Properties {
            reply_to: Some(address),
            ..properties
        }
        .encode(&mut changed);
        self.properties = Cow::Owned(changed);
        Ok(())
    }
}

impl Session {
    /// The exchange, if clients may publish to it.
    fn publishable(&mut self, name: &str) -> Result<Arc<Exchange>, Exception> {
        self.permit(Operation::Write, Resource::Exchange(name), PUBLISH)?;
        let exchange = self.vhost.existing_exchange(name);
        let exchange = exchange.map_err(|error| Exception::of(&error, PUBLISH))?;
        if exchange.internal {
            let text = format!(
                "cannot publish to internal {}",
                self.vhost.exchange_text(name)
            );
            return Err(Exception::access_refused(&text, PUBLISH));
        }
        Ok(exchange)
    }

    /// Checks what the user may say in a message: the keys on a topic exchange, and the name that it carries.
    fn permit_message(
        &mut self,
        exchange: &Exchange,
        key: &str,
        examined: &Examined<'_>,
    ) -> Handled {
        if exchange.kind == ExchangeKind::Topic {
            let access = self.access();
            let copies = examined.copies.iter().map(String::as_str);
            for key in iter::once(key).chain(copies) {
                let permitted = access.check_topic(Operation::Write, &exchange.name, key);
                permitted.map_err(|error| Exception::of(&error, PUBLISH))?;
            }
        }
        self.permit_sender(examined)
    }

    /// Checks the name that a message carries.
    fn permit_sender(&mut self, examined: &Examined<'_>) -> Handled {
        match examined.user_id {
            Some(claimed) if !self.access().impersonates() => check_user(claimed, &self.user),
            _ => Ok(()),
        }
    }

    /// Puts the publishes of this run into their queues.
    pub fn flush_publishes(&mut self, batch: &mut Batch) {
        if batch.groups.is_empty() {
            return;
        }
        let mut groups = std::mem::take(&mut batch.groups);
        for group in groups.drain(..) {
            self.count_routed(&group.route, group.messages.len());
            flush_group(group, &self.vhost, batch);
        }
        batch.groups = groups;
        self.vhost.bury(batch.now, &mut batch.work);
    }
}

fn flush_group(mut group: Group, vhost: &Vhost, batch: &mut Batch) {
    let refused = &mut batch.refused_indices;
    let messages = &mut group.messages;
    vhost.publish(&group.route, messages, batch.now, &mut batch.work, refused);
    for index in batch.refused_indices.drain(..) {
        if let Some(&(channel, number)) = group.numbers.get(index)
            && number > 0
        {
            batch.refused.push(Refusal { channel, number });
        }
    }
    batch.spare.push(group.messages);
}

#[inline]
fn check_user(claimed: &str, user: &str) -> Handled {
    if claimed == user {
        return Ok(());
    }
    let text = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
    Err(Exception::precondition_failed(&text, PUBLISH))
}
