//! Resource alarms: what the broker is short of, and what it tells publishers for as long as it is.
//!
//! Somebody outside measures ([`Broker::set_alarm`](crate::broker::Broker::set_alarm)); the core keeps which alarms are
//! on and tells connections when the first one starts and when the last one ends. RabbitMQ's description:
//! <https://www.rabbitmq.com/docs/alarms>.

/// A resource that the broker can be short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Free space of the file system that holds the data.
    Disk,
    /// Memory of the process.
    Memory,
}

impl Resource {
    /// Every resource, in the order in which RabbitMQ lists them.
    pub const ALL: [Self; 2] = [Self::Disk, Self::Memory];

    /// RabbitMQ's word for it, in `connection.blocked` and in the HTTP API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

/// Which alarms are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alarms {
    disk: bool,
    memory: bool,
}

impl Alarms {
    /// The resources that are short, in RabbitMQ's order.
    pub fn resources(self) -> impl Iterator<Item = Resource> {
        let on = move |resource: &Resource| match resource {
            Resource::Disk => self.disk,
            Resource::Memory => self.memory,
        };
        Resource::ALL.into_iter().filter(on)
    }

    /// Turns one on or off; says whether that was a change.
    pub fn set(&mut self, resource: Resource, on: bool) -> bool {
        let alarm = match resource {
            Resource::Disk => &mut self.disk,
            Resource::Memory => &mut self.memory,
        };
        std::mem::replace(alarm, on) != on
    }

    /// Why publishers are blocked, in RabbitMQ's words (`rabbit_reader:blocked_by_message`); `None` when they are not.
    pub fn reason(self) -> Option<String> {
        let names: Vec<_> = self.resources().map(Resource::name).collect();
        (!names.is_empty()).then(|| format!("low on {}", names.join(" & ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_rabbitmqs() {
        let mut alarms = Alarms::default();
        assert_eq!(alarms.reason(), None);
        assert!(alarms.set(Resource::Memory, true));
        assert!(!alarms.set(Resource::Memory, true));
        assert_eq!(alarms.reason().unwrap(), "low on memory");
        assert!(alarms.set(Resource::Disk, true));
        assert_eq!(alarms.reason().unwrap(), "low on disk & memory");
        assert!(alarms.set(Resource::Memory, false));
        assert_eq!(alarms.reason().unwrap(), "low on disk");
    }
}
