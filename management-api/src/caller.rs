//! What the sender of a request may see and do: tags, and the visibility of vhosts.
//!
//! RabbitMQ's rules are those of `rabbit_web_dispatch_access_control`; its documentation page is "Management Plugin",
//! "Access and Permissions". A handler names the level that it needs in its signature, as [`Authorized<Level>`], so that
//! none can forget to ask.

use std::{marker::PhantomData, net::IpAddr, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use broker_core::{authentication::Identity, permissions::Access, vhost::Vhost};
use tokio::task::block_in_place;

use crate::{Error, Node, Shared, audit, login, request::Names};

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The user's name.
    pub(crate) user: Arc<str>,
    /// The user's tags.
    pub(crate) tags: Vec<String>,
    /// Whether it is a user of the broker's own database.
    pub(crate) internal: bool,
    /// Who logged in, for whatever is done in the user's name.
    pub(crate) identity: Arc<Identity>,
    /// Where the request comes from.
    pub(crate) peer: IpAddr,
}

impl Caller {
    fn has(&self, tags: &[&str]) -> bool {
        self.tags.iter().any(|tag| tags.contains(&tag.as_str()))
    }

    /// May do everything.
    pub(crate) fn is_administrator(&self) -> bool {
        self.has(&["administrator"])
    }

    /// May see everything that happens.
    pub(crate) fn is_monitor(&self) -> bool {
        self.has(&["administrator", "monitoring"])
    }

    /// May change policies and parameters, in vhosts with permissions.
    pub(crate) fn is_policymaker(&self) -> bool {
        self.has(&["administrator", "policymaker"])
    }

    /// Checks that the user may use the API at all.
    ///
    /// # Errors
    /// 401 with RabbitMQ's reason.
    pub(crate) fn check_management_user(&self) -> Result<(), Error> {
        let tags = ["administrator", "monitoring", "policymaker", "management"];
        require(self.has(&tags), "Not management user")
    }

    /// Whether the user has permissions in the vhost (`check_vhost_access`).
    pub(crate) fn may_open(&self, node: &Node, vhost: &str) -> bool {
        let open = || node.core.may_open(&self.identity, &vhost.into(), self.peer);
        match self.internal {
            true => open(),
            // Somebody may have to be asked: other tasks of this thread go on elsewhere meanwhile.
            false => block_in_place(open),
        }
    }

    /// Does what needs permissions, and waits for the answers that it needs.
    ///
    /// # Errors
    /// What `attempt` comes to.
    pub(crate) fn decide<T, E>(
        &self,
        access: &Access,
        attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        match self.internal {
            true => access.decide(attempt),
            false => block_in_place(|| access.decide(attempt)),
        }
    }

    /// What the user may do in the vhost.
    pub(crate) fn access(&self, node: &Node, vhost: &Vhost) -> Arc<Access> {
        node.core.access_of(&self.identity, &vhost.name)
    }

    /// The vhosts whose existence the user may know of: with permissions, or all for a monitor
    /// (`list_visible_vhosts`). By name.
    pub(crate) fn visible_vhosts(&self, node: &Node) -> Vec<Arc<Vhost>> {
        self.vhosts(node, self.is_monitor())
    }

    /// The vhosts whose contents the user may see: with permissions, or all for an administrator (`filter_vhost`). By
    /// name.
    pub(crate) fn open_vhosts(&self, node: &Node) -> Vec<Arc<Vhost>> {
        self.vhosts(node, self.is_administrator())
    }

    fn vhosts(&self, node: &Node, all: bool) -> Vec<Arc<Vhost>> {
        let mut vhosts = node.core.vhosts();
        vhosts.retain(|vhost| all || self.may_open(node, &vhost.name));
        vhosts.sort_by(|one, other| one.name.cmp(&other.name));
        vhosts
    }
}

/// The vhost that a request is about: named by its path, or else by the header `X-Vhost`.
#[derive(Clone)]
pub(crate) enum Scope {
    /// None in particular.
    All,
    /// One that does not exist.
    Missing,
    /// This one.
    One(Arc<Vhost>),
}

impl Scope {
    async fn of(parts: &mut Parts, node: &Shared) -> Result<Self, Error> {
        let names = Names::from_request_parts(parts, node).await?;
        let header = parts.headers.get("x-vhost").and_then(|it| it.to_str().ok());
        let name = names.find("vhost").or(header.filter(|it| !it.is_empty()));
        Ok(match name.map(|name| node.core.vhost(name)) {
            None => Self::All,
            Some(None) => Self::Missing,
            Some(Some(vhost)) => Self::One(vhost),
        })
    }

    /// The vhost.
    ///
    /// # Errors
    /// 404 as for any object that does not exist.
    pub(crate) fn existing(&self) -> Result<&Arc<Vhost>, Error> {
        match self {
            Self::One(vhost) => Ok(vhost),
            Self::All | Self::Missing => Err(Error::NoSuchPath),
        }
    }

    /// The vhost, for something to be changed in it.
    ///
    /// # Errors
    /// 404 with RabbitMQ's reason.
    pub(crate) fn writable(&self) -> Result<&Arc<Vhost>, Error> {
        match self {
            Self::One(vhost) => Ok(vhost),
            Self::All | Self::Missing => Err(Error::NotFound("vhost_not_found".to_owned())),
        }
    }

    /// The vhosts whose contents a list shows to `caller`, by name.
    ///
    /// # Errors
    /// 404: the one that is named does not exist.
    pub(crate) fn listed(&self, caller: &Caller, node: &Node) -> Result<Vec<Arc<Vhost>>, Error> {
        match self {
            Self::All => Ok(caller.open_vhosts(node)),
            Self::Missing => Err(Error::NoSuchPath),
            Self::One(vhost) => {
                let open = caller.is_administrator() || caller.may_open(node, &vhost.name);
                Ok(open.then(|| Arc::clone(vhost)).into_iter().collect())
            }
        }
    }
}

/// What a request needs of its sender, besides being a user with one of the API's tags.
pub(crate) trait Level {
    /// Whether the caller has it.
    ///
    /// # Errors
    /// 401 with RabbitMQ's reason; 404 for a vhost that the caller may not know of.
    fn check(caller: &Caller, scope: &Scope, node: &Node) -> Result<(), Error>;
}

/// Nothing more (`is_authorized`).
pub(crate) struct Management;

/// `is_authorized_admin`.
pub(crate) struct Administrator;

/// `is_authorized_monitor`.
pub(crate) struct Monitor;

/// Permissions in the vhost, or administrator (`is_authorized_vhost`).
pub(crate) struct VhostMember;

/// Permissions in the vhost, or monitor (`is_authorized_vhost_visible`, and `..._for_monitoring`).
pub(crate) struct VhostVisible;

/// Policymaker with permissions in the vhost, or administrator (`is_authorized_policies`).
pub(crate) struct VhostPolicymaker;

/// Policymaker (`is_authorized_global_parameters`).
pub(crate) struct Policymaker;

impl Level for Management {
    fn check(_: &Caller, _: &Scope, _: &Node) -> Result<(), Error> {
        Ok(())
    }
}

impl Level for Administrator {
    fn check(caller: &Caller, _: &Scope, _: &Node) -> Result<(), Error> {
        require(caller.is_administrator(), "Not administrator user")
    }
}

impl Level for Monitor {
    fn check(caller: &Caller, _: &Scope, _: &Node) -> Result<(), Error> {
        require(caller.is_monitor(), "Not monitor user")
    }
}

impl Level for VhostMember {
    fn check(caller: &Caller, scope: &Scope, node: &Node) -> Result<(), Error> {
        match caller.is_administrator() {
            true => Ok(()),
            false => knows(caller, scope, node),
        }
    }
}

impl Level for VhostVisible {
    fn check(caller: &Caller, scope: &Scope, node: &Node) -> Result<(), Error> {
        match caller.is_monitor() {
            true => Ok(()),
            false => knows(caller, scope, node),
        }
    }
}

impl Level for VhostPolicymaker {
    fn check(caller: &Caller, scope: &Scope, node: &Node) -> Result<(), Error> {
        if caller.is_administrator() {
            return Ok(());
        }
        let text = "User not authorised to access object";
        require(caller.is_policymaker(), text)?;
        knows(caller, scope, node)
    }
}

impl Level for Policymaker {
    fn check(caller: &Caller, _: &Scope, _: &Node) -> Result<(), Error> {
        let text = "User not authorised to access object";
        require(caller.is_policymaker(), text)
    }
}

fn require(has: bool, reason: &str) -> Result<(), Error> {
    match has {
        true => Ok(()),
        false => Err(Error::NotAuthorised(reason.to_owned())),
    }
}

/// A vhost without permissions is as if it were not there.
fn knows(caller: &Caller, scope: &Scope, node: &Node) -> Result<(), Error> {
    match scope {
        Scope::One(vhost) if !caller.may_open(node, &vhost.name) => {
            Err(Error::NotFound("Not Found".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Proof that the sender of a request has a [`Level`].
pub(crate) struct Authorized<L> {
    /// Who it is.
    pub(crate) caller: Caller,
    /// The vhost that the request is about.
    pub(crate) scope: Scope,
    level: PhantomData<L>,
}

impl<L: Level> FromRequestParts<Shared> for Authorized<L> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, node: &Shared) -> Result<Self, Error> {
        let caller = login::log_in(parts, node).await?;
        audit::note_user(&caller.user);
        let scope = Scope::of(parts, node).await?;
        let checked = caller
            .check_management_user()
            .and_then(|()| L::check(&caller, &scope, node));
        checked?;
        Ok(Self {
            caller,
            scope,
            level: PhantomData,
        })
    }
}
