//! Somebody outside of the broker who decides, and takes their time: nothing is known at once, everything has to be
//! asked. What they say is what the broker's own permissions are, so that the same tests hold for both.

use std::sync::{Arc, Weak};

use broker_core::{
    authentication::{
        Admitted, Backend, Chain, Credentials, Identity, NotRenewed, Refusal, Source, Step,
    },
    broker::Broker,
    permissions::{About, Answer, Authoriser, Question, Renewal, Resource},
};

use crate::{
    served::Served,
    support::{
        AMQPProperties, Peer, basic, connection, content::publish_bytes, content::publish_to,
        handshake::plain, operations::consume_from, peer::frame_bytes, peer::method_bytes, queue,
    },
};

/// Asks the broker that it serves.
#[derive(Clone)]
struct Outside(Weak<Broker>);

impl std::fmt::Debug for Outside {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Outside")
    }
}

impl Backend for Outside {
    fn name(&self) -> &'static str {
        "outside"
    }

    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal> {
        let broker = self.0.upgrade().expect("a broker");
        let user = credentials.user;
        let password = credentials.password.expect("a password");
        if !broker.authenticate(user, password) {
            return Err(Refusal::new("a stranger"));
        }
        Ok(Admitted {
            name: user.into(),
            tags: broker.user(user).map(|it| it.tags).unwrap_or_default(),
            authoriser: Arc::new(self.clone()),
        })
    }

    fn authenticate_now(&self, _: &Credentials<'_>) -> Option<Result<Admitted, Refusal>> {
        None
    }
}

impl Authoriser for Outside {
    fn backend(&self) -> &'static str {
        "outside"
    }

    fn answer_now(&self, _: &Identity, _: &Question) -> Option<Answer> {
        None
    }

    fn answer(&self, user: &Identity, question: &Question) -> Answer {
        let broker = self.0.upgrade().expect("a broker");
        let access = broker.access(user.name(), &question.vhost);
        let checked = match &question.about {
            About::Vhost(peer) => access.check_vhost(*peer),
            About::Resource {
                kind: "queue",
                name,
                operation,
            } => access.check(*operation, Resource::Queue(name)),
            About::Resource {
                name, operation, ..
            } => access.check(*operation, Resource::Exchange(name)),
            About::Topic {
                exchange,
                routing_key,
                operation,
            } => access.check_topic(*operation, exchange, routing_key),
        };
        match checked {
            Ok(()) => Answer::Allowed,
            Err(_) => Answer::Refused,
        }
    }

    fn answers_count_for(&self) -> Option<u64> {
        Some(0)
    }

    fn renew(&self, _: &[u8]) -> Result<Renewal, NotRenewed> {
        Err(NotRenewed::Failed("there is nothing to renew".to_owned()))
    }
}

impl Served {
    /// A broker whose users somebody outside knows.
    pub fn start_outside() -> Self {
        let served = Self::start();
        let outside = Outside(Arc::downgrade(&served.broker));
        let chain = Chain::new(vec![Step {
            authentication: Source::External(Arc::new(outside)),
            authorisation: None,
        }]);
        assert!(served.broker.set_authentication(chain));
        served
    }
}

#[test]
fn frames_behind_one_that_has_to_be_asked_for_wait_for_it() {
    let served = Served::start_outside();
    let mut peer = served.connect("guest");
    let declare = |name: &str| {
        let declare = queue::Declare {
            queue: name.into(),
            ..queue::Declare::default()
        };
        method_bytes(1, declare)
    };
    let publish =
        |body: &[u8]| publish_bytes(1, publish_to("", "q"), AMQPProperties::default(), body);
    let mut all = declare("q");
    for body in [b"1", b"2", b"3"] {
        all.extend(publish(body));
    }
    all.extend(method_bytes(1, consume_from("q", "c")));
    peer.send_bytes(&all);
    peer.expect::<queue::DeclareOk>(1);
    peer.expect::<basic::ConsumeOk>(1);
    peer.expect_deliveries(1, &["1", "2", "3"]);
}

#[test]
fn a_publish_in_many_pieces_is_carried_out_once_it_was_asked_for() {
    let served = Served::start_outside();
    let mut peer = served.connect("guest");
    let queue = peer.fresh_queue(1, "pieces");
    let body = "x".repeat(90_000);
    let properties = AMQPProperties::default();
    let bytes = publish_bytes(1, publish_to("", &queue), properties, body.as_bytes());
    let beginning = bytes.len() - body.len() - 8;
    peer.send_bytes(&bytes[..beginning]);
    for piece in body.as_bytes().chunks(30_000) {
        peer.send_bytes(&frame_bytes(3, 1, piece, 0xCE));
        peer.round_trip();
    }
    // The empty one comes frame by frame too.
    let bytes = publish_bytes(1, publish_to("", &queue), AMQPProperties::default(), b"");
    let (method, header) = bytes.split_at(bytes.len() - 22);
    peer.send_bytes(method);
    peer.round_trip();
    peer.send_bytes(header);
    assert_eq!(peer.drain(1, &queue), [&*body, ""]);
}

#[test]
fn a_refused_login_and_a_refused_vhost_are_answered_as_always() {
    let served = Served::start_outside();
    let login = crate::support::Login {
        response: plain("guest", "wrong"),
        ..crate::support::Login::default()
    };
    let mut peer = served.tcp();
    peer.greet();
    peer.send(0, login.start_ok());
    peer.expect_close_with_code(403);
    served.user_without_permissions("ann");
    let login = crate::support::Login {
        response: plain("ann", "ann"),
        ..crate::support::Login::default()
    };
    let mut peer: Peer = served.tcp();
    peer.greet();
    peer.send(0, login.start_ok());
    peer.tune(&login);
    let vhost = connection::Open {
        virtual_host: "/".into(),
    };
    peer.send(0, vhost);
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
    peer.expect_connection_close::<connection::Open>(530, text);
    // Nobody's place is taken.
    assert_eq!(served.broker.connection_count(), 0);
}

#[test]
fn an_update_of_the_secret_asks_for_the_vhost_again() {
    let served = Served::start_outside();
    served.user("ann", [".*"; 3]);
    let mut peer = served.connect("ann");
    let update = || connection::UpdateSecret {
        new_secret: "whatever".into(),
        reason: "a test".into(),
    };
    peer.call::<_, connection::UpdateSecretOk>(0, update());
    peer.round_trip();
    served.broker.clear_permissions("ann", "/", "test").unwrap();
    peer.send(0, update());
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
    peer.expect_connection_close::<connection::UpdateSecret>(530, text);
}
