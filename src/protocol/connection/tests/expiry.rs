//! Logins that end by themselves: in a time of the test's own.

use std::sync::Arc;

use amqp_codec::{
    AMQPClass, Method, parse_frame, parse_method,
    protocol::connection::{self, AMQPMethod},
};
use broker_core::authentication::{
    Admitted, Backend, Credentials, Identity, NotRenewed, Refusal, Source, Step, unix_time,
};
use broker_core::permissions::{About, Answer, Authoriser, Operation, Question, Renewal};

use super::*;

/// What the token of the tests says: it is good for so many seconds, and for reading from these queues.
#[derive(Debug, Clone)]
struct Token {
    seconds: u64,
    reads: &'static str,
}

impl Backend for Token {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal> {
        Ok(Admitted {
            name: credentials.user.into(),
            tags: Vec::new(),
            authoriser: Arc::new(Until {
                end: unix_time() + self.seconds,
                reads: self.reads,
            }),
        })
    }

    fn authenticate_now(&self, credentials: &Credentials<'_>) -> Option<Result<Admitted, Refusal>> {
        Some(self.authenticate(credentials))
    }
}

#[derive(Debug)]
struct Until {
    end: u64,
    reads: &'static str,
}

impl Authoriser for Until {
    fn backend(&self) -> &'static str {
        "tokens"
    }

    fn answer_now(&self, user: &Identity, question: &Question) -> Option<Answer> {
        Some(self.answer(user, question))
    }

    fn answer(&self, _: &Identity, question: &Question) -> Answer {
        match &question.about {
            About::Resource {
                name,
                operation: Operation::Read,
                ..
            } if !self.reads.contains(&**name) => Answer::Refused,
            _ => Answer::Allowed,
        }
    }

    fn answers_count_for(&self) -> Option<Millis> {
        None
    }

    fn expires_at(&self) -> Option<u64> {
        Some(self.end)
    }

    fn renew(&self, secret: &[u8]) -> Result<Renewal, NotRenewed> {
        let authoriser: Arc<dyn Authoriser> = match secret {
            b"longer" => Arc::new(Until {
                end: self.end + 100,
                reads: self.reads,
            }),
            b"less" => Arc::new(Until {
                end: self.end,
                reads: "one",
            }),
            b"unanswered" => return Err(NotRenewed::Failed("nobody there".to_owned())),
            _ => return Err(NotRenewed::Refused("another user's".to_owned())),
        };
        Ok(Renewal {
            tags: Vec::new(),
            authoriser,
        })
    }
}

fn scene(seconds: u64) -> Scene {
    let token = Token {
        seconds,
        reads: "one two",
    };
    let chain = Chain::new(vec![Step {
        authentication: Source::External(Arc::new(token)),
        authorisation: None,
    }]);
    Scene::of(chain, |_| {})
}

/// The methods that were written.
fn written(scene: &mut Scene) -> Vec<AMQPClass> {
    let output = std::mem::take(&mut scene.batch.out);
    let mut rest = output.frames.as_slice();
    let mut methods = Vec::new();
    while let Some((frame, length)) = parse_frame(rest, FRAME_MAX as usize).unwrap() {
        if let Ok(Method::Other(method)) = parse_method(frame.payload) {
            methods.push(method);
        }
        rest = &rest[length..];
    }
    methods
}

fn close_text(scene: &mut Scene) -> String {
    let mut closes = written(scene)
        .into_iter()
        .filter_map(|method| match method {
            AMQPClass::Connection(AMQPMethod::Close(close)) => Some(close),
            _ => None,
        });
    let close = closes.next_back().expect("connection.close");
    format!("{} {}", close.reply_code, close.reply_text)
}

fn pass(scene: &mut Scene, to: Millis) {
    scene.batch.now = to;
    scene.machine.handle_timeout(&mut scene.batch);
}

/// Gives a new secret, and has it asked.
fn renew(scene: &mut Scene, secret: &str) {
    let update = connection::UpdateSecret {
        new_secret: secret.into(),
        reason: "a test".into(),
    };
    scene.send(0, AMQPClass::Connection(AMQPMethod::UpdateSecret(update)));
    assert!(!scene.machine.reads());
    let inquiry = scene.machine.poll_inquiry().expect("something to ask");
    let finding = inquiry.ask(scene.machine.broker(), || 0);
    scene.machine.handle_finding(finding, &mut scene.batch);
}

#[test]
fn a_connection_ends_when_its_credentials_expire() {
    let mut scene = scene(10);
    let end = scene.machine.poll_timeout().unwrap();
    assert!((9_000..=10_000).contains(&end), "{end}");
    pass(&mut scene, end - 1);
    assert!(scene.batch.out.is_empty());
    pass(&mut scene, end);
    assert_eq!(
        close_text(&mut scene),
        "320 CONNECTION_FORCED - credential expired"
    );
}

#[test]
fn a_new_secret_lets_the_connection_live_on() {
    let mut scene = scene(10);
    let end = scene.machine.poll_timeout().unwrap();
    renew(&mut scene, "longer");
    let answers = written(&mut scene);
    assert!(matches!(
        answers[..],
        [AMQPClass::Connection(AMQPMethod::UpdateSecretOk(_))]
    ));
    assert!(scene.machine.reads());
    pass(&mut scene, end);
    assert!(scene.batch.out.is_empty());
    let end = scene.machine.poll_timeout().unwrap();
    assert!((109_000..=110_000).contains(&end), "{end}");
    pass(&mut scene, end);
    assert_eq!(
        close_text(&mut scene),
        "320 CONNECTION_FORCED - credential expired"
    );
}

#[test]
fn a_secret_that_is_refused_or_cannot_be_checked_ends_the_connection() {
    for (secret, text) in [
        (
            "wrong",
            "530 NOT_ALLOWED - New secret was refused by one of the backends",
        ),
        ("unanswered", "530 NOT_ALLOWED - Secret update failed"),
    ] {
        let mut scene = scene(10);
        renew(&mut scene, secret);
        assert_eq!(close_text(&mut scene), text);
    }
}

#[test]
fn a_new_secret_that_permits_less_ends_the_consumers_that_it_does_not_permit() {
    let mut scene = scene(10);
    let one = scene.queue("one", FieldTable::default());
    let two = scene.queue("two", FieldTable::default());
    scene.consume("one");
    scene.consume("two");
    assert_eq!((one.counts().consumers, two.counts().consumers), (1, 1));
    renew(&mut scene, "less");
    assert_eq!((one.counts().consumers, two.counts().consumers), (1, 0));
    scene.consume("two");
    let refused = written(&mut scene).into_iter().any(|method| {
        matches!(method, AMQPClass::Channel(channel::AMQPMethod::Close(close)) if close.reply_code == 403)
    });
    assert!(refused);
}

#[test]
fn a_question_that_nobody_could_ask_ends_the_connection() {
    let mut scene = scene(10);
    let update = connection::UpdateSecret {
        new_secret: "longer".into(),
        reason: "a test".into(),
    };
    scene.send(0, AMQPClass::Connection(AMQPMethod::UpdateSecret(update)));
    scene.machine.poll_inquiry().unwrap();
    let lost = Finding::Lost;
    scene.machine.handle_finding(lost, &mut scene.batch);
    assert!(close_text(&mut scene).starts_with("541 INTERNAL_ERROR"));
}
