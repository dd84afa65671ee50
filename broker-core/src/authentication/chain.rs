//! The order in which backends are asked.

use std::sync::Arc;

use super::{Admitted, Backend, Credentials, Identity, Refusal, identity::Authority};
use crate::broker::Broker;

/// A backend, as a chain names it.
#[derive(Debug, Clone)]
pub enum Source {
    /// The broker's own users.
    Internal,
    /// Others.
    External(Arc<dyn Backend>),
}

/// One place of a chain.
#[derive(Debug, Clone)]
pub struct Step {
    /// Who checks who somebody is.
    pub authentication: Source,
    /// Who says what they may do, if that is somebody else.
    pub authorisation: Option<Source>,
}

/// Backends in the order in which they are asked; the first one that lets somebody in decides (RabbitMQ:
/// `auth_backends`).
#[derive(Debug, Clone)]
pub struct Chain(Vec<Step>);

impl Default for Chain {
    /// The broker's own users and nobody else.
    fn default() -> Self {
        Self::new(vec![Step {
            authentication: Source::Internal,
            authorisation: None,
        }])
    }
}

/// What a step says, while it is not known who authorises.
struct Found {
    name: Arc<str>,
    tags: Vec<String>,
    authority: Authority,
}

/// Whether one may wait for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// However long it takes.
    Waits,
    /// Only what is known already.
    Now,
}

impl Chain {
    /// Backends in this order.
    pub fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// Whether the broker's own users are all there is.
    fn is_internal(&self) -> bool {
        let internal = |step: &Step| {
            matches!(
                step,
                Step {
                    authentication: Source::Internal,
                    authorisation: None
                }
            )
        };
        self.0.iter().all(internal)
    }
}

impl Broker {
    /// Lets these backends check logins from now on. To be called once, before anybody logs in; says whether it was the
    /// first time.
    pub fn set_authentication(&self, chain: Chain) -> bool {
        self.accounts.chain.set(chain).is_ok()
    }

    /// Whether the broker's own users are the only ones there are.
    pub fn has_internal_users_only(&self) -> bool {
        self.chain().is_internal()
    }

    /// Checks who somebody is: a user with a password, or the bearer of a token. Waits for whoever has to be asked, and
    /// for hashes that are slow by design: see [`Self::log_in_now`].
    ///
    /// # Errors
    /// Why not, for the log.
    pub fn log_in(&self, credentials: &Credentials<'_>) -> Result<Arc<Identity>, Refusal> {
        let found = self.ask_all(credentials, Patience::Waits);
        found.unwrap_or_else(|| Err(Refusal::new("no backend has answered")))
    }

    /// The same if it takes no time; `None` if [`Self::log_in`] has to be asked where nobody waits.
    pub fn log_in_now(
        &self,
        credentials: &Credentials<'_>,
    ) -> Option<Result<Arc<Identity>, Refusal>> {
        self.ask_all(credentials, Patience::Now)
    }

    fn chain(&self) -> &Chain {
        self.accounts.chain.get_or_init(Chain::default)
    }

    fn ask_all(
        &self,
        credentials: &Credentials<'_>,
        patience: Patience,
    ) -> Option<Result<Arc<Identity>, Refusal>> {
        let mut reasons = Vec::new();
        let steps = &self.chain().0;
        for step in steps {
            match self.ask(step, credentials, patience)? {
                Ok(identity) => return Some(Ok(Arc::new(identity))),
                Err(refusal) if steps.len() == 1 => return Some(Err(refusal)),
                Err(Refusal(reason)) => {
                    let name = step.authentication.name();
                    reasons.push(format!("{name}: {reason}"));
                }
            }
        }
        Some(Err(Refusal(reasons.join("; "))))
    }

    fn ask(
        &self,
        step: &Step,
        credentials: &Credentials<'_>,
        patience: Patience,
    ) -> Option<Result<Identity, Refusal>> {
        let found = match self.ask_source(&step.authentication, credentials, patience)? {
            Ok(found) => found,
            Err(refusal) => return Some(Err(refusal)),
        };
        let Some(other) = &step.authorisation else {
            let Found {
                name,
                tags,
                authority,
            } = found;
            return Some(Ok(Identity::new(name, tags, authority)));
        };
        // RabbitMQ: `try_authorize`. The own users need no password any more.
        let credentials = Credentials {
            user: &found.name,
            password: match other {
                Source::Internal => None,
                Source::External(_) => credentials.password,
            },
        };
        let authorised = self.ask_source(other, &credentials, patience)?;
        Some(authorised.map(|authorised| {
            let mut tags = found.tags;
            // Others are asked for permissions only: what tags they have is not theirs to say.
            if matches!(authorised.authority, Authority::Internal) {
                tags.extend(authorised.tags);
            }
            Identity::new(found.name, tags, authorised.authority)
        }))
    }

    fn ask_source(
        &self,
        source: &Source,
        credentials: &Credentials<'_>,
        patience: Patience,
    ) -> Option<Result<Found, Refusal>> {
        let Source::External(backend) = source else {
            return self.ask_internal(credentials, patience);
        };
        let answer = match patience {
            Patience::Now => backend.authenticate_now(credentials)?,
            Patience::Waits => backend.authenticate(credentials),
        };
        Some(answer.map(|admitted| {
            let Admitted {
                name,
                tags,
                authoriser,
            } = admitted;
            Found {
                name,
                tags,
                authority: Authority::External(authoriser),
            }
        }))
    }

    fn ask_internal(
        &self,
        credentials: &Credentials<'_>,
        patience: Patience,
    ) -> Option<Result<Found, Refusal>> {
        let refused = || Refusal::new("invalid credentials");
        // Looked up once: to read a definition is among the dearest things of a login.
        let Some(user) = self.user(credentials.user) else {
            return Some(Err(refused()));
        };
        let right = match (credentials.password, patience) {
            (None, _) => true,
            (Some(password), Patience::Now) => self.is_password_of_now(&user, password)?,
            (Some(password), Patience::Waits) => self.is_password_of(&user, password),
        };
        let found = right.then(|| Found {
            name: user.name.into(),
            tags: user.tags,
            authority: Authority::Internal,
        });
        Some(found.ok_or_else(refused))
    }
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External(backend) => backend.name(),
        }
    }
}
