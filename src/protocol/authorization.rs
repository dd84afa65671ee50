//! Who may log in from where, and open which vhost (<https://www.rabbitmq.com/docs/access-control>).

use std::net::IpAddr;

use broker_core::{Error, broker::Broker};

/// Whether `user` may log in from `peer`: some users only from this machine. An IPv4 peer of a socket that speaks both
/// counts as what it is.
pub fn may_log_in_from(peer: IpAddr, user: &str, loopback_users: &[String]) -> bool {
    peer.to_canonical().is_loopback() || loopback_users.iter().all(|name| name != user)
}

/// Checks that `user` has permissions in a vhost (RabbitMQ: `rabbit_access_control:check_vhost_access`).
///
/// # Errors
/// 530 NOT_ALLOWED.
pub fn check_vhost_access(broker: &Broker, user: &str, vhost: &str) -> Result<(), Error> {
    if broker.may_access(user, vhost) {
        return Ok(());
    }
    Err(Error::NotAllowed(format!(
        "access to vhost '{vhost}' refused for user '{user}'"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_core::definitions::PermissionDefinition;
    use broker_core::definitions::{Change, Definitions, Kind, MemoryDefinitions};
    use broker_core::store::MemoryStore;
    use std::sync::Arc;

    #[test]
    fn guest_may_log_in_from_this_machine_only() {
        let loopback_users = ["guest".to_owned()];
        let may = |peer: &str, user| may_log_in_from(peer.parse().unwrap(), user, &loopback_users);
        for here in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            assert!(may(here, "guest"), "{here}");
        }
        for elsewhere in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(!may(elsewhere, "guest"), "{elsewhere}");
            assert!(may(elsewhere, "somebody"), "{elsewhere}");
        }
        assert!(may_log_in_from("192.0.2.1".parse().unwrap(), "guest", &[]));
    }

    #[test]
    fn access_without_permissions_is_530_with_rabbitmqs_text() {
        let definitions = Arc::new(MemoryDefinitions::default());
        let store = Arc::new(MemoryStore::default());
        let broker = Broker::start(store, Arc::clone(&definitions) as Arc<dyn Definitions>, 0);
        let broker = broker.unwrap();
        check_vhost_access(&broker, "guest", "/").unwrap();
        let key = PermissionDefinition::key_of("/", "guest");
        let revoke = Change::delete(Kind::Permission, key);
        definitions.apply(vec![revoke]).unwrap();
        let refused = check_vhost_access(&broker, "guest", "/").unwrap_err();
        let text = "access to vhost '/' refused for user 'guest'";
        assert_eq!(refused, Error::NotAllowed(text.to_owned()));
    }
}
