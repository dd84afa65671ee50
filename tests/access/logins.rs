//! Logging in: password hashes, users without password, deleted users, guesses.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use broker_core::users::{NewPassword, SHA_512};
use sha2::{Digest as _, Sha512};

use crate::{
    served::{Served, TEST},
    support::{Login, Peer, connection, handshake::plain},
};

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
                       broker logfile.";

/// A peer that has sent user and password.
fn attempt(served: &Served, user: &str, password: &str) -> Peer {
    let mut peer = served.tcp();
    peer.greet();
    let login = Login {
        response: plain(user, password),
        ..Login::default()
    };
    peer.send(0, login.start_ok());
    peer
}

#[track_caller]
fn is_accepted(served: &Served, user: &str, password: &str) {
    let mut peer = attempt(served, user, password);
    peer.expect::<connection::Tune>(0);
}

#[track_caller]
fn is_refused(served: &Served, user: &str, password: &str) {
    let mut peer = attempt(served, user, password);
    let close = peer.expect_close_with_code(403);
    assert_eq!(close.reply_text.as_str(), REFUSED);
    peer.expect_end();
}

#[test]
fn a_new_user_logs_in_with_the_password_and_no_other() {
    let served = Served::start();
    let broker = &served.broker;
    let tags = ["management".to_owned()];
    let put = |password| broker.put_user("new", NewPassword::Clear(password), &tags, TEST);
    let (new, _) = put("first").unwrap();
    assert!(new);
    is_accepted(&served, "new", "first");
    is_accepted(&served, "new", "first");
    is_refused(&served, "new", "second");
    is_refused(&served, "new", "");
    let (new, _) = put("second").unwrap();
    assert!(!new);
    is_accepted(&served, "new", "second");
    is_refused(&served, "new", "first");
    let user = broker.user("new").unwrap();
    assert_eq!(user.hashing_algorithm, "argon2id");
    assert_eq!(user.tags, tags);
}

#[test]
fn a_user_of_rabbitmq_logs_in_with_the_old_password() {
    let served = Served::start();
    let documented = NewPassword::Hash {
        hash: "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
        algorithm: "rabbit_password_hashing_sha256",
    };
    served
        .broker
        .put_user("sha256", documented, &[], TEST)
        .unwrap();
    is_accepted(&served, "sha256", "test12");
    is_refused(&served, "sha256", "test13");
    let mut salted = b"salt".to_vec();
    salted.extend(Sha512::digest(b"saltsecret"));
    let password = NewPassword::Hash {
        hash: &BASE64_STANDARD.encode(salted),
        algorithm: SHA_512,
    };
    served
        .broker
        .put_user("sha512", password, &[], TEST)
        .unwrap();
    is_accepted(&served, "sha512", "secret");
    is_refused(&served, "sha512", "guess");
}

#[test]
fn a_user_without_password_and_one_that_does_not_exist_are_refused_alike() {
    let served = Served::start();
    let put = served
        .broker
        .put_user("passwordless", NewPassword::None, &[], TEST);
    put.unwrap();
    for password in ["", "passwordless"] {
        is_refused(&served, "passwordless", password);
        is_refused(&served, "nobody", password);
    }
}

#[test]
fn connections_of_a_deleted_user_are_closed_and_it_cannot_log_in_again() {
    let served = Served::start();
    served.user("leaving", [".*"; 3]);
    let mut leaving = served.connect("leaving");
    let mut guest = served.connect("guest");
    served.broker.delete_user("leaving", TEST).unwrap();
    let close = leaving.expect_close_with_code(320);
    let text = "CONNECTION_FORCED - user 'leaving' is deleted";
    assert_eq!(close.reply_text.as_str(), text);
    is_refused(&served, "leaving", "leaving");
    guest.round_trip();
    assert!(served.broker.delete_user("leaving", TEST).is_err());
    // A user of the same name starts without the old one's permissions.
    served.user_without_permissions("leaving");
    assert!(!served.broker.may_access("leaving", "/"));
}

#[test]
fn a_right_password_is_not_held_up_by_the_guesses_of_others() {
    let served = Served::start();
    served.user("victim", [".*"; 3]);
    for _ in 0..8 {
        is_refused(&served, "victim", "guess");
    }
    // A busy machine holds up everybody; then once more.
    let is_held_up = || {
        let before = Instant::now();
        let mut slowed = attempt(&served, "victim", "guess");
        is_accepted(&served, "victim", "victim");
        let accepted = before.elapsed();
        slowed.expect_close_with_code(403);
        let refused = before.elapsed();
        assert!(refused > Duration::from_millis(500), "{refused:?}");
        accepted > refused / 2
    };
    let held_up = (0..10).take_while(|_| is_held_up()).count();
    assert!(held_up < 10, "a right password is held up each time");
}

#[test]
fn a_client_that_sends_everything_at_once_is_served_after_a_slow_check() {
    let served = Served::start();
    let put = served
        .broker
        .put_user("eager", NewPassword::Clear("secret"), &[], TEST);
    put.unwrap();
    served.permit("eager", "/", [".*"; 3]);
    let login = Login {
        response: plain("eager", "secret"),
        ..Login::default()
    };
    let mut bytes = b"AMQP\x00\x00\x09\x01".to_vec();
    bytes.extend(crate::support::peer::method_bytes(0, login.start_ok()));
    let tune_ok = connection::TuneOk {
        channel_max: login.channel_max,
        frame_max: login.frame_max,
        heartbeat: 0,
    };
    bytes.extend(crate::support::peer::method_bytes(0, tune_ok));
    let open = connection::Open {
        virtual_host: "/".into(),
    };
    bytes.extend(crate::support::peer::method_bytes(0, open));
    let mut peer = served.tcp();
    peer.send_bytes(&bytes);
    peer.expect::<connection::Start>(0);
    peer.expect::<connection::Tune>(0);
    peer.expect::<connection::OpenOk>(0);
}
