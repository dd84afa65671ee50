//! Rules of the chain of backends, with backends of the tests' own.

use super::*;
use crate::{
    broker::Broker,
    definitions::{MemoryDefinitions, PermissionDefinition},
    permissions::{About, Answer, Operation, Question, Renewal, Resource},
    queue::Millis,
    store::MemoryStore,
    users::{NewPassword, hash_password},
};

/// A backend that knows one user.
#[derive(Debug)]
struct Knows {
    name: &'static str,
    user: &'static str,
    quick: bool,
}

/// Allows what is about the word `yes`, once it was asked where one waits.
#[derive(Debug)]
struct Yes {
    quick: bool,
}

impl Backend for Knows {
    fn name(&self) -> &'static str {
        self.name
    }

    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal> {
        if credentials.user != self.user {
            return Err(Refusal::new("a stranger"));
        }
        Ok(Admitted {
            name: self.user.into(),
            tags: vec![self.name.to_owned()],
            authoriser: Arc::new(Yes { quick: self.quick }),
        })
    }

    fn authenticate_now(&self, credentials: &Credentials<'_>) -> Option<Result<Admitted, Refusal>> {
        self.quick.then(|| self.authenticate(credentials))
    }
}

impl Authoriser for Yes {
    fn backend(&self) -> &'static str {
        "a_backend"
    }

    fn answer_now(&self, user: &Identity, question: &Question) -> Option<Answer> {
        self.quick.then(|| self.answer(user, question))
    }

    fn answer(&self, _user: &Identity, question: &Question) -> Answer {
        match &question.about {
            About::Resource { name, .. } if name == "because" => {
                Answer::RefusedBecause("it is closed".to_owned())
            }
            About::Resource { name, .. } if name == "fails" => Answer::Failed("timeout".to_owned()),
            About::Resource { name, .. } if name != "yes" => Answer::Refused,
            About::Topic { routing_key, .. } if routing_key != "yes" => Answer::Refused,
            _ => Answer::Allowed,
        }
    }

    fn answers_count_for(&self) -> Option<Millis> {
        Some(1000)
    }

    fn renew(&self, _secret: &[u8]) -> Result<Renewal, NotRenewed> {
        Err(NotRenewed::Failed("has none".to_owned()))
    }
}

fn broker() -> Arc<Broker> {
    let store = Arc::new(MemoryStore::new());
    Broker::start(store, Arc::new(MemoryDefinitions::new()), 0).unwrap()
}

fn external(name: &'static str, user: &'static str, quick: bool) -> Source {
    Source::External(Arc::new(Knows { name, user, quick }))
}

fn step(authentication: Source, authorisation: Option<Source>) -> Step {
    Step {
        authentication,
        authorisation,
    }
}

fn credentials<'a>(user: &'a str, password: &'a str) -> Credentials<'a> {
    Credentials {
        user,
        password: Some(password.as_bytes()),
    }
}

#[test]
fn without_a_chain_the_brokers_own_users_log_in() {
    let broker = broker();
    assert!(broker.has_internal_users_only());
    let guest = broker.log_in(&credentials("guest", "guest")).unwrap();
    assert_eq!(&**guest.name(), "guest");
    assert_eq!(guest.tags(), ["administrator"]);
    assert!(guest.is_internal() && !guest.expires());
    let refused = broker.log_in(&credentials("guest", "x")).unwrap_err();
    assert_eq!(refused, Refusal::new("invalid credentials"));
}

#[test]
fn the_first_backend_that_lets_somebody_in_decides() {
    let broker = broker();
    let chain = vec![
        step(external("first", "ann", true), None),
        step(external("second", "ann", true), None),
        step(Source::Internal, None),
    ];
    assert!(broker.set_authentication(Chain::new(chain)));
    assert!(!broker.set_authentication(Chain::default()));
    let ann = broker.log_in(&credentials("ann", "")).unwrap();
    assert_eq!(ann.tags(), ["first"]);
    assert!(!ann.is_internal());
    let guest = broker.log_in_now(&credentials("guest", "guest")).unwrap();
    assert!(guest.unwrap().is_internal());
    let refused = broker.log_in(&credentials("bob", "secret")).unwrap_err();
    let reasons = "first: a stranger; second: a stranger; internal: invalid credentials";
    assert_eq!(refused.to_string(), reasons);
}

#[test]
fn what_takes_time_is_not_done_where_one_cannot_wait() {
    let broker = broker();
    let chain = vec![
        step(external("slow", "ann", false), None),
        step(Source::Internal, None),
    ];
    broker.set_authentication(Chain::new(chain));
    assert!(broker.log_in_now(&credentials("guest", "guest")).is_none());
    assert!(broker.log_in(&credentials("guest", "guest")).is_ok());
}

#[test]
fn a_slow_hash_is_not_compared_where_one_cannot_wait() {
    let broker = broker();
    let hash = hash_password(b"secret").unwrap();
    let password = NewPassword::Hash {
        hash: &hash,
        algorithm: crate::users::ARGON2ID,
    };
    broker.put_user("ann", password, &[], "test").unwrap();
    assert!(broker.log_in_now(&credentials("ann", "secret")).is_none());
    assert!(broker.log_in(&credentials("ann", "secret")).is_ok());
    // It is remembered.
    assert!(broker.log_in_now(&credentials("ann", "secret")).is_some());
}

#[test]
fn one_backend_may_say_who_it_is_and_another_what_they_may_do() {
    let broker = broker();
    let tags = ["management".to_owned()];
    broker
        .put_user("ann", NewPassword::None, &tags, "test")
        .unwrap();
    let chain = vec![
        step(external("outside", "ann", true), Some(Source::Internal)),
        step(Source::Internal, Some(external("outside", "guest", true))),
        step(external("other", "bob", true), Some(Source::Internal)),
    ];
    broker.set_authentication(Chain::new(chain));
    let ann = broker.log_in(&credentials("ann", "")).unwrap();
    assert!(ann.is_internal());
    assert_eq!(ann.tags(), ["outside", "management"]);
    let vhost: Arc<str> = "/".into();
    assert!(broker.access_of(&ann, &vhost).check_vhost(None).is_err());
    let permission = PermissionDefinition {
        user: "ann".to_owned(),
        vhost: "/".to_owned(),
        ..PermissionDefinition::default()
    };
    broker.set_permissions(&permission, "test").unwrap();
    assert!(broker.access_of(&ann, &vhost).check_vhost(None).is_ok());

    let guest = broker.log_in(&credentials("guest", "guest")).unwrap();
    assert!(!guest.is_internal());
    assert_eq!(guest.tags(), ["administrator"]);
    // Who is not known to the second one is not let in.
    assert!(broker.log_in(&credentials("bob", "")).is_err());
}

#[test]
fn what_somebody_outside_says_has_rabbitmqs_texts() {
    let broker = broker();
    broker.set_authentication(Chain::new(vec![step(external("out", "ann", true), None)]));
    let ann = broker.log_in(&credentials("ann", "")).unwrap();
    let access = broker.access_of(&ann, &"/".into());
    let check = |name| {
        let checked = access.check(Operation::Configure, Resource::Queue(name));
        checked.map_err(|error| error.to_string())
    };
    assert_eq!(check("yes"), Ok(()));
    let refused =
        |name| format!("configure access to queue '{name}' in vhost '/' refused for user 'ann'");
    assert_eq!(check("no"), Err(refused("no")));
    let because = format!("{} by backend a_backend: it is closed", refused("because"));
    assert_eq!(check("because"), Err(because));
    let fails = format!(
        "{}, backend a_backend returned an error: timeout",
        refused("fails")
    );
    assert_eq!(check("fails"), Err(fails));
    let topic = access.check_topic(Operation::Write, "amq.topic", "no");
    let text = "write access to topic 'no' in exchange topic 'amq.topic' in vhost '/' refused for user 'ann'";
    assert_eq!(topic.unwrap_err().to_string(), text);
}

#[test]
fn what_is_not_known_is_refused_until_it_was_asked_and_then_for_once() {
    let broker = broker();
    broker.set_authentication(Chain::new(vec![step(external("out", "ann", false), None)]));
    let ann = broker.log_in(&credentials("ann", "")).unwrap();
    let access = broker.access_of(&ann, &"/".into());
    let check = || access.check(Operation::Write, Resource::Queue("yes"));
    assert!(access.take_inquiry().is_none());
    assert!(check().is_err());
    let inquiry = access.take_inquiry().unwrap();
    access.learn(inquiry.ask());
    assert!(check().is_ok());
    assert!(access.take_inquiry().is_none());
    access.forget_answers();
    assert!(check().is_err());
    access.take_inquiry().unwrap();
    // Whoever can wait has it asked.
    assert!(access.decide(check).is_ok());
    assert!(
        access
            .decide(|| access.check_any(Resource::Queue("no")))
            .is_err()
    );
    assert!(broker.may_open(&ann, &"/".into(), [127, 0, 0, 1].into()));
}
