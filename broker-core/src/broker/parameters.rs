//! Parameters of the whole broker: values under names, for tools and plugins (<https://www.rabbitmq.com/docs/parameters>).

use serde_json::Value;

use super::Broker;
use crate::{
    Error,
    definitions::{Change, GlobalParameterDefinition, Kind},
    store::Ticket,
};

/// The parameter that holds the cluster's name (`rabbit_nodes`).
pub const CLUSTER_NAME: &str = "cluster_name";

impl Broker {
    /// All global parameters, by name.
    pub fn global_parameters(&self) -> Vec<GlobalParameterDefinition> {
        self.records(Kind::GlobalParameter)
    }

    /// The value of a global parameter.
    pub fn global_parameter(&self, name: &str) -> Option<Value> {
        let key = GlobalParameterDefinition::key_of(name);
        let definition = self.definitions().get(Kind::GlobalParameter, &key)?;
        let record: GlobalParameterDefinition = definition.record().ok()?;
        Some(record.value)
    }

    /// Sets a global parameter, whatever its value was.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_global_parameter(
        &self,
        name: &str,
        value: Value,
        by: &str,
    ) -> Result<Ticket, Error> {
        let record = GlobalParameterDefinition {
            name: name.to_owned(),
            value,
        };
        let ticket = self.definitions().apply(vec![Change::put(&record)?])?;
        tracing::info!(target: "audit", by, name, "global parameter set");
        Ok(ticket)
    }

    /// Clears a global parameter.
    ///
    /// # Errors
    /// 404: there is none of this name.
    pub fn clear_global_parameter(&self, name: &str, by: &str) -> Result<Ticket, Error> {
        if self.global_parameter(name).is_none() {
            return Err(Error::NotFound("Parameter does not exist".to_owned()));
        }
        let key = GlobalParameterDefinition::key_of(name);
        let change = Change::delete(Kind::GlobalParameter, key);
        let ticket = self.definitions().apply(vec![change])?;
        tracing::info!(target: "audit", by, name, "global parameter cleared");
        Ok(ticket)
    }

    /// The name of the cluster that an operator has given it.
    pub fn cluster_name(&self) -> Option<String> {
        let value = self.global_parameter(CLUSTER_NAME)?;
        value.as_str().map(str::to_owned)
    }
}
