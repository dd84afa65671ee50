//! Patterns of routing keys, in which `{username}`, `{vhost}` and `{client_id}` stand for what they name
//! (<https://www.rabbitmq.com/docs/access-control#topic-authorisation>).

use super::{Operation, names::Names};
use crate::definitions::TopicPermissionDefinition;

/// What a user may do with the routing keys of one topic exchange.
#[derive(Debug)]
pub(super) struct TopicNames {
    write: Names,
    read: Names,
}

impl TopicNames {
    pub(super) fn compile(permission: &TopicPermissionDefinition) -> Self {
        let compile = |pattern: &str| Names::compile(&expand(pattern, permission));
        Self {
            write: compile(&permission.write),
            read: compile(&permission.read),
        }
    }

    pub(super) fn allow(&self, operation: Operation, routing_key: &str) -> bool {
        match operation {
            Operation::Read => self.read.contain(routing_key),
            Operation::Write | Operation::Configure => self.write.contain(routing_key),
        }
    }
}

/// Puts the user's and the vhost's name in. Only protocols with a client id have one to put in; with AMQP 0-9-1 the
/// placeholder stays and stands for itself, as in RabbitMQ.
fn expand(pattern: &str, permission: &TopicPermissionDefinition) -> String {
    pattern
        .replace("{username}", &escape(&permission.user))
        .replace("{vhost}", &escape(&permission.vhost))
        .replace("{client_id}", r"\{client_id\}")
}

/// Names are texts and not patterns.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The pattern with its placeholders as texts, to check whether it is one.
pub(super) fn without_placeholders(pattern: &str) -> String {
    let mut plain = pattern.to_owned();
    for name in ["{username}", "{vhost}", "{client_id}"] {
        plain = plain.replace(name, "x");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pattern: &str, user: &str, routing_key: &str) -> bool {
        let permission = TopicPermissionDefinition {
            user: user.to_owned(),
            vhost: "/v".to_owned(),
            exchange: "amq.topic".to_owned(),
            write: pattern.to_owned(),
            read: String::new(),
        };
        TopicNames::compile(&permission).allow(Operation::Write, routing_key)
    }

    #[test]
    fn placeholders_stand_for_names() {
        assert!(allowed(r"^{vhost}\.{username}\.", "me", "/v.me.x"));
        assert!(!allowed(r"^{vhost}\.{username}\.", "me", "/v.you.x"));
    }

    #[test]
    fn a_name_in_a_pattern_is_a_text() {
        assert!(allowed("^{username}$", "m.e", "m.e"));
        assert!(!allowed("^{username}$", "m.e", "mxe"));
        assert!(allowed("^{username}$", ".*", ".*"));
        assert!(!allowed("^{username}$", ".*", "anything"));
        assert!(allowed("^{username}$", r"a\b-c #~&", r"a\b-c #~&"));
    }

    #[test]
    fn without_a_client_id_its_placeholder_stands_for_itself() {
        assert!(allowed("^{client_id}$", "me", "{client_id}"));
        assert!(!allowed("^{client_id}$", "me", "me"));
    }
}
