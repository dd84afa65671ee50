//! Who may log in from where (<https://www.rabbitmq.com/docs/access-control>).

use std::net::IpAddr;

/// Whether `user` may log in from `peer`: some users only from this machine. An IPv4 peer of a socket that speaks both
/// counts as what it is.
pub fn may_log_in_from(peer: IpAddr, user: &str, loopback_users: &[String]) -> bool {
    peer.to_canonical().is_loopback() || loopback_users.iter().all(|name| name != user)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
