//! Bodies whose frames come in parts.

use amqp_codec::Publish;
use broker_core::{
    authentication::{Admitted, Backend, Credentials, Identity, NotRenewed, Refusal, Source, Step},
    outbox::Event,
    permissions::{About, Answer, Authoriser, Question, Renewal},
    queue::Peek,
};

use super::*;

/// A publish into the queue `living`.
fn publish_bytes(body: &[u8]) -> Vec<u8> {
    let method = Publish {
        exchange: "",
        routing_key: "living",
        mandatory: false,
        immediate: false,
    };
    let mut bytes = Vec::new();
    encode::publish(&mut bytes, 1, &method);
    encode::content(&mut bytes, 1, FRAME_MAX as usize, &[0x10, 0, 2], body);
    bytes
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

impl Scene {
    /// What a socket does: what was not used comes again, with what follows.
    fn input_in_pieces(&mut self, bytes: &[u8], piece: usize) {
        let mut kept = Vec::new();
        for piece in bytes.chunks(piece) {
            kept.extend_from_slice(piece);
            let used = self.machine.handle_input(&kept, &mut self.batch);
            kept.drain(..used);
        }
        assert!(kept.is_empty() || self.machine.is_closed());
    }
}

fn bodies_in(queue: &Queue) -> Vec<Vec<u8>> {
    let all = Peek {
        offset: 0,
        count: usize::MAX,
        most_bytes: usize::MAX,
        most_examined: usize::MAX,
    };
    let found = queue.peek(&all, |entry| entry.message.persistent());
    let messages = found.unwrap().messages.into_iter();
    messages
        .map(|(_, entry)| entry.message.body().to_vec())
        .collect()
}

#[test]
fn bodies_arrive_whole_however_their_frames_are_cut() {
    let whole = FRAME_MAX as usize - 8;
    let bodies = [0, 1, 900, 70_000, whole, whole + 1, 3 * whole + 500, 16].map(body);
    let bytes: Vec<u8> = bodies.iter().flat_map(|it| publish_bytes(it)).collect();
    for piece in [13, 999, 4096, 70_001, 131_071, 131_072, 131_073, usize::MAX] {
        let mut scene = Scene::new();
        let queue = scene.queue("living", FieldTable::default());
        scene.input_in_pieces(&bytes, piece);
        assert!(bodies_in(&queue) == bodies, "pieces of {piece}");
    }
}

#[test]
fn what_arrived_of_a_frame_is_not_kept_twice() {
    let mut scene = Scene::new();
    let bytes = publish_bytes(&body(100_000));
    let part = &bytes[..90_000];
    assert_eq!(
        scene.machine.handle_input(part, &mut scene.batch),
        part.len()
    );
}

#[test]
fn the_rest_of_a_frame_is_passed_over_when_its_channel_was_closed_meanwhile() {
    let mut scene = Scene::with(|settings| settings.consumer_timeout = 60_000);
    let queue = scene.queue("living", FieldTable::default());
    publish(&queue, message(Properties::default(), b"held"), 0);
    scene.get("living");
    let bytes = publish_bytes(&body(100_000));
    let (part, rest) = bytes.split_at(50_000);
    scene.input(part);
    let told = scene.pass_to(3_600_000);
    assert!(told.contains("delivery acknowledgement on channel 1 timed out"));
    scene.input(rest);
    let answer = channel::AMQPMethod::CloseOk(channel::CloseOk {});
    scene.send(1, AMQPClass::Channel(answer));
    let open = channel::AMQPMethod::Open(channel::Open {});
    scene.send(1, AMQPClass::Channel(open));
    scene.input(&publish_bytes(b"next"));
    assert_eq!(queue.counts().ready, 2);
}

#[test]
fn a_client_that_is_told_to_go_while_it_sends_a_frame_is_understood_when_it_answers() {
    for arrived in [50_000, 90_000] {
        let mut scene = Scene::new();
        let bytes = publish_bytes(&body(100_000));
        let (part, rest) = bytes.split_at(arrived);
        scene.input(part);
        let outbox = Arc::clone(scene.machine.outbox());
        outbox.post(Event::Close("the operator says so".into()));
        scene.machine.deliver(&mut scene.batch);
        assert!(!scene.machine.is_closed());
        let mut rest = rest.to_vec();
        let answer = AMQPMethod::CloseOk(connection::CloseOk {});
        encode::method(&mut rest, 0, &AMQPClass::Connection(answer)).unwrap();
        scene.input_in_pieces(&rest, 9_999);
        assert!(scene.machine.is_closed());
    }
}

#[test]
fn a_long_frame_without_its_end_marker_is_501_with_the_start_of_its_payload() {
    for piece in [50_000, usize::MAX] {
        let mut scene = Scene::new();
        let mut bytes = publish_bytes(&body(100_000));
        *bytes.last_mut().unwrap() = 7;
        scene.input_in_pieces(&bytes, piece);
        let told = String::from_utf8_lossy(&scene.batch.out.frames).into_owned();
        let text = "FRAME_ERROR - type 3, first 16 octets = <<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>: \
                    {invalid_frame_end_marker,7}";
        assert!(told.contains(text), "{told}");
    }
}

/// Knows everybody, and has to think about everything.
#[derive(Debug)]
struct Slow;

impl Backend for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal> {
        Ok(Admitted {
            name: credentials.user.into(),
            tags: Vec::new(),
            authoriser: Arc::new(Self),
        })
    }

    fn authenticate_now(&self, credentials: &Credentials<'_>) -> Option<Result<Admitted, Refusal>> {
        Some(self.authenticate(credentials))
    }
}

impl Authoriser for Slow {
    fn backend(&self) -> &'static str {
        "slow"
    }

    fn answer_now(&self, _: &Identity, question: &Question) -> Option<Answer> {
        matches!(question.about, About::Vhost(_)).then_some(Answer::Allowed)
    }

    fn answer(&self, _: &Identity, _: &Question) -> Answer {
        Answer::Allowed
    }

    fn answers_count_for(&self) -> Option<Millis> {
        None
    }

    fn renew(&self, _: &[u8]) -> Result<Renewal, NotRenewed> {
        Err(NotRenewed::Refused("nothing ends here".to_owned()))
    }
}

#[test]
fn a_body_whose_last_frame_came_in_parts_waits_for_whoever_is_asked() {
    let chain = Chain::new(vec![Step {
        authentication: Source::External(Arc::new(Slow)),
        authorisation: None,
    }]);
    let mut scene = Scene::of(chain, |_| {});
    let queue = scene.queue("living", FieldTable::default());
    let body = body(100_000);
    let mut rest = publish_bytes(&body);
    rest.extend(publish_bytes(b"behind"));
    let (mut asked, mut at) = (0, 50_000);
    while !rest.is_empty() {
        let used = scene.machine.handle_input(&rest[..at], &mut scene.batch);
        rest.drain(..used);
        at = rest.len();
        while let Some(inquiry) = scene.machine.poll_inquiry() {
            let finding = inquiry.ask(scene.machine.broker(), || 0);
            scene.machine.handle_finding(finding, &mut scene.batch);
            asked += 1;
        }
    }
    assert!(asked > 0);
    assert_eq!(bodies_in(&queue), [body, b"behind".to_vec()]);
}
