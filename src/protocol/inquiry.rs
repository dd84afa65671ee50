//! What the state machine has to know and cannot wait for: whether a login is right, whether somebody outside permits
//! something, whether a new token is good.
//!
//! The driver takes an [`Inquiry`], has it asked where nobody waits, and brings the [`Finding`]. Until then no input of
//! the connection is taken; what it has to deliver goes on. A frame that was refused only because nobody knew the answer
//! yet is not carried out, and comes again once there is one.

use std::{fmt, net::IpAddr, sync::Arc};

use amqp_codec::protocol::connection;
use broker_core::{
    authentication::{Credentials, Identity, NotRenewed, Verdict},
    broker::Broker,
    outbox::SubscriptionKey,
    permissions::{self, Access, Answered, Operation, Resource},
    queue::Millis,
};

use super::{
    batch::Batch,
    exception::{Exception, MethodId},
    running::Running,
    session::Session,
};

/// A question of a connection.
#[derive(Debug, Clone)]
pub enum Inquiry {
    /// Who is there?
    Login {
        /// Where the client is.
        peer: IpAddr,
        /// Who says to be there.
        user: Arc<str>,
        /// The password or token; `None` if a certificate has said it.
        password: Option<Secret>,
    },
    /// Is it permitted?
    Permission(permissions::Inquiry),
    /// Is the new secret good?
    Renewal {
        /// Whose secret it is.
        identity: Arc<Identity>,
        /// The secret.
        secret: Secret,
    },
}

/// The answer to an [`Inquiry`].
#[derive(Debug)]
pub enum Finding {
    /// This is who is there, or why not.
    Login(Verdict),
    /// What was said.
    Permission(Answered),
    /// What the new secret gives.
    Renewal(Result<Arc<Identity>, NotRenewed>),
    /// Whoever was to ask has failed.
    Lost,
}

impl Inquiry {
    /// Asks. May wait for others, or take some tens of milliseconds of work.
    pub fn ask(self, broker: &Broker, clock: impl Fn() -> Millis) -> Finding {
        match self {
            Self::Login {
                peer,
                user,
                password,
            } => {
                let credentials = Credentials {
                    user: &user,
                    password: password.as_ref().map(Secret::bytes),
                };
                Finding::Login(broker.log_in_from(peer, &credentials, clock))
            }
            Self::Permission(inquiry) => Finding::Permission(inquiry.ask()),
            Self::Renewal { identity, secret } => {
                Finding::Renewal(identity.renew(secret.bytes()).map(Arc::new))
            }
        }
    }
}

/// A password or token, which no log line shows.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Hides these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// What an open connection waits for.
#[derive(Debug)]
pub enum Awaited {
    /// The permission that the next frame needs, which was refused for want of it.
    Permission(Option<Inquiry>),
    /// Whether a new secret is good.
    Renewal {
        /// What has to be asked, until somebody does.
        inquiry: Option<Inquiry>,
        /// Why there is a new one, in the client's words.
        reason: String,
    },
}

/// When the login of a connection ends, and when its permissions are looked at again.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// When the credentials expire; [`Millis::MAX`] if they do not.
    pub ends: Millis,
    /// When permissions that were given are to be asked for again; [`Millis::MAX`] if never.
    pub look_again: Millis,
}

impl Validity {
    /// For somebody who has logged in.
    pub fn of(identity: &Identity, access: &Access, now: Millis) -> Self {
        let after =
            |time: Option<Millis>| time.map_or(Millis::MAX, |time| now.saturating_add(time));
        Self {
            ends: after(identity.remaining()),
            look_again: after(access.answers_count_for()),
        }
    }
}

impl Session {
    /// Whether what was refused just now is only not known yet. It is then asked for, and the frame has to come again.
    pub fn is_undecided(&mut self) -> bool {
        let Some(inquiry) = self.access.take_inquiry() else {
            return false;
        };
        self.awaited = Some(Awaited::Permission(Some(Inquiry::Permission(inquiry))));
        true
    }

    /// Whether the last frame was not carried out because nobody knew whether it may be.
    pub fn awaits_permission(&self) -> bool {
        matches!(self.awaited, Some(Awaited::Permission(_)))
    }

    /// Takes what somebody has to be asked.
    pub fn poll_inquiry(&mut self) -> Option<Inquiry> {
        match &mut self.awaited {
            Some(Awaited::Permission(inquiry) | Awaited::Renewal { inquiry, .. }) => inquiry.take(),
            None => None,
        }
    }

    /// `connection.update-secret`: says whether it is carried out, or has to be asked for. The secret of a user whose
    /// login does not end is not looked at, also where it is wrong; access to the vhost is checked again (RabbitMQ:
    /// `rabbit_access_control:update_state`).
    ///
    /// # Errors
    /// 530 when the user may no longer use the vhost.
    pub fn update_secret(
        &mut self,
        secret: &[u8],
        reason: &str,
        id: MethodId,
    ) -> Result<bool, Exception> {
        if !self.identity.expires() {
            self.check_vhost_again(id)?;
            self.log_renewal(reason);
            return Ok(true);
        }
        let inquiry = Inquiry::Renewal {
            identity: Arc::clone(&self.identity),
            secret: Secret::new(secret),
        };
        self.awaited = Some(Awaited::Renewal {
            inquiry: Some(inquiry),
            reason: reason.to_owned(),
        });
        Ok(false)
    }

    /// Takes what a new secret gives.
    ///
    /// # Errors
    /// 530: it is not good, or gives no access to the vhost.
    pub fn renew(
        &mut self,
        renewed: Result<Arc<Identity>, NotRenewed>,
        reason: &str,
        now: Millis,
    ) -> Result<(), Exception> {
        let identity = renewed.map_err(|why| {
            let (text, why) = match &why {
                NotRenewed::Refused(why) => ("New secret was refused by one of the backends", why),
                NotRenewed::Failed(why) => ("Secret update failed", why),
            };
            let span = self.span();
            span.in_scope(|| tracing::warn!(target: "audit", "secret refused: {why}"));
            Exception::not_allowed(text, (0, 0))
        })?;
        self.access = self.broker.access_of(&identity, &self.vhost.name);
        self.validity = Validity::of(&identity, &self.access, now);
        self.identity = identity;
        self.check_vhost_again((0, 0))?;
        self.log_renewal(reason);
        Ok(())
    }

    fn check_vhost_again(&mut self, id: MethodId) -> Result<(), Exception> {
        let peer = self.peer.ip();
        let access = self.access().check_vhost(Some(peer));
        access.map_err(|error| Exception::of(&error, id))
    }

    fn log_renewal(&self, reason: &str) {
        let span = self.span();
        span.in_scope(|| tracing::info!(target: "audit", reason, "secret updated"));
    }
}

impl Running {
    /// Takes what came out of an [`Inquiry`].
    ///
    /// # Errors
    /// A new secret was refused, or nobody could be asked.
    pub fn handle_finding(&mut self, finding: Finding, batch: &mut Batch) -> Result<(), Exception> {
        match (self.session.awaited.take(), finding) {
            (Some(Awaited::Permission(_)), Finding::Permission(answered)) => {
                self.session.access.learn(answered);
                self.session.answered = true;
                Ok(())
            }
            (Some(Awaited::Renewal { reason, .. }), Finding::Renewal(renewed)) => {
                self.session.renew(renewed, &reason, batch.now)?;
                self.forget_routes();
                self.cancel_unpermitted(batch);
                send_update_secret_ok(batch);
                Ok(())
            }
            _ => Err(Exception::internal_error(
                "a permission could not be asked for",
            )),
        }
    }

    /// Permissions were given a while ago: they are asked for again before they are used again.
    pub fn look_again(&mut self, now: Millis) {
        self.forget_routes();
        self.session.validity = Validity::of(&self.session.identity, &self.session.access, now);
    }

    /// A route that is remembered was permitted once.
    fn forget_routes(&mut self) {
        for channel in self.channels.iter_mut().flatten() {
            channel.route = None;
        }
    }

    /// Ends the consumers of queues that the user may not read from any more (RabbitMQ:
    /// `rabbit_channel:recheck_consumers`).
    pub(super) fn cancel_unpermitted(&mut self, batch: &mut Batch) {
        let access = Arc::clone(&self.session.access);
        let subscriptions = self.session.subscriptions.iter();
        let refused = subscriptions.filter(|(_, subscribed)| {
            let queue = subscribed.queue().filter(|(_, handle)| handle.is_some());
            queue.is_some_and(|(queue, _)| {
                let resource = Resource::Queue(queue.name());
                let refused = access.check(Operation::Read, resource).is_err();
                // Whatever is not known is not refused.
                refused && access.take_inquiry().is_none()
            })
        });
        let refused: Vec<_> = refused
            .filter_map(|(key, _)| u32::try_from(key).ok())
            .collect();
        for key in refused {
            self.withdraw(SubscriptionKey(key), batch);
        }
    }
}

/// Says that the new secret was taken.
pub fn send_update_secret_ok(batch: &mut Batch) {
    let answer = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
    super::handshake::send(answer, batch);
}
