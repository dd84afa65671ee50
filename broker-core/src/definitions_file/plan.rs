//! What a document changes: gathered and checked before anything is done.

use std::{collections::BTreeMap, sync::Arc};

use super::{DefinitionsFile, refused};
use crate::{
    Error,
    broker::Broker,
    definitions::{
        BindingDefinition, Change, Definition, Expect, PermissionDefinition, Record,
        VhostDefinition,
    },
    users::BROKER,
    vhost::{ExchangeDeclaration, QueueDeclaration, Vhost},
};

/// What is to be done.
pub(super) struct Plan<'a> {
    pub(super) broker: &'a Broker,
    /// Who imports it.
    by: &'a str,
    /// For a document of one vhost: that one.
    pub(super) only: Option<&'a str>,
    /// Durable: made as one.
    pub(super) changes: Vec<Change>,
    /// Declared behind that, with the vhost's name.
    pub(super) transient_exchanges: Vec<(String, ExchangeDeclaration)>,
    pub(super) transient_queues: Vec<(String, QueueDeclaration)>,
    pub(super) transient_bindings: Vec<BindingDefinition>,
    /// The vhosts as they will be.
    pub(super) vhosts: BTreeMap<String, VhostDefinition>,
    /// The users as they will be.
    pub(super) users: std::collections::BTreeSet<String>,
    /// New exchanges by vhost and name.
    pub(super) exchanges: BTreeMap<(String, String), NewExchange>,
    /// New queues by vhost and name: whether they are durable.
    pub(super) queues: BTreeMap<(String, String), bool>,
}

/// What a binding has to know of an exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewExchange {
    pub(super) kind: crate::exchange::ExchangeKind,
    pub(super) durable: bool,
}

impl<'a> Plan<'a> {
    /// Looks at the whole document.
    ///
    /// # Errors
    /// 406: something is wrong with it; the text names the item.
    pub(super) fn of(
        broker: &'a Broker,
        file: &DefinitionsFile,
        only: Option<&'a str>,
        by: &'a str,
    ) -> Result<Self, Error> {
        let vhosts = broker.records::<VhostDefinition>(crate::definitions::Kind::Vhost);
        let mut plan = Self {
            broker,
            by,
            only,
            changes: Vec::new(),
            transient_exchanges: Vec::new(),
            transient_queues: Vec::new(),
            transient_bindings: Vec::new(),
            vhosts: vhosts.into_iter().map(|it| (it.name.clone(), it)).collect(),
            users: broker.users().into_iter().map(|user| user.name).collect(),
            exchanges: BTreeMap::new(),
            queues: BTreeMap::new(),
        };
        if only.is_none() {
            plan.accounts(file)?;
        }
        plan.topology(file)?;
        Ok(plan)
    }

    /// Puts a record, unless it is there already.
    pub(super) fn put<R: Record + PartialEq>(&mut self, record: &R) -> Result<(), Error> {
        let found = self.definition::<R>(&record.key());
        let same = found.as_ref().and_then(|it| it.record::<R>().ok());
        if same.as_ref() == Some(record) {
            return Ok(());
        }
        // Somebody who changes it meanwhile makes the whole import start over.
        let expect = found.map_or(Expect::Absent, |it| Expect::Revision(it.revision));
        let change = Change::put(record)?;
        // Of several items with the same name the last one counts.
        self.changes
            .retain(|other| other.kind != change.kind || other.key != change.key);
        self.changes.push(change.expecting(expect));
        Ok(())
    }

    pub(super) fn definition<R: Record>(&self, key: &str) -> Option<Definition> {
        self.broker.definitions().get(R::KIND, key)
    }

    /// Lets whoever makes a vhost do everything in it (`rabbit_vhost:maybe_grant_full_permissions`).
    pub(super) fn grant_to_maker(&mut self, vhost: &str) -> Result<(), Error> {
        let by = self.by;
        match by != BROKER && self.users.contains(by) {
            true => self.put(&PermissionDefinition::everything(by, vhost)),
            false => Ok(()),
        }
    }

    /// The vhost that an item is in, as it is now, if it is there now.
    pub(super) fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.broker.vhost(name)
    }

    /// The name of the vhost that an item is for.
    ///
    /// # Errors
    /// There will be no such vhost, or the item names none.
    pub(super) fn vhost_name(&self, item: &super::item::Item<'_>) -> Result<String, Error> {
        if let Some(only) = self.only {
            return Ok(only.to_owned());
        }
        let Some(name) = item.find("vhost") else {
            return Err(item.fault(
                "vhost is missing; the export of a single vhost can be imported into a single vhost only",
            ));
        };
        let name = name
            .as_str()
            .ok_or_else(|| item.fault("vhost is no text"))?;
        match self.vhosts.contains_key(name) {
            true => Ok(name.to_owned()),
            false => Err(item.fault(format!(
                "Please create virtual host \"{name}\" prior to importing definitions."
            ))),
        }
    }

    /// Checks that a user will be there.
    pub(super) fn check_user(&self, item: &super::item::Item<'_>) -> Result<String, Error> {
        let user = item.text("user")?;
        match self.users.contains(user) {
            true => Ok(user.to_owned()),
            false => Err(item.fault(format!("no user '{user}'"))),
        }
    }

    /// Checks that no vhost will have more queues than it may have (`rabbit_definitions:validate_limits`).
    pub(super) fn check_queue_limits(&self) -> Result<(), Error> {
        let mut added: BTreeMap<&str, usize> = BTreeMap::new();
        for (vhost, _) in self.queues.keys() {
            *added.entry(vhost).or_default() += 1;
        }
        for (vhost, added) in added {
            let limits = self.broker.vhost_limits(vhost);
            let limit = limits.and_then(|limits| limits.max_queues);
            let current = self.vhost(vhost).map_or(0, |vhost| vhost.queue_count());
            if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok())
                && current + added > limit
            {
                return Err(refused(format!(
                    "Adding {added} queue(s) to virtual host \"{vhost}\" would exceed the limit of {limit} queue(s).\n\n\
                     This virtual host currently has {current} queue(s) defined.\n\nImport aborted!"
                )));
            }
        }
        Ok(())
    }
}
