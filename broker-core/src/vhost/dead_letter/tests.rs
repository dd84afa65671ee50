use amqp_codec::AMQPValue;

use super::*;
use crate::{
    broker::scene::{Scene, body, text},
    store::QueueId,
};

impl Scene {
    /// A queue that dead-letters to another one.
    fn dying(&self, name: &str, next: Option<&str>, limits: Option<(i32, &str)>) -> Arc<Queue> {
        let mut arguments = Vec::new();
        if let Some(next) = next {
            arguments.push(("x-dead-letter-exchange", text("")));
            arguments.push(("x-dead-letter-routing-key", text(next)));
        }
        if let Some((length, overflow)) = limits {
            arguments.push(("x-max-length", AMQPValue::LongInt(length)));
            arguments.push(("x-overflow", text(overflow)));
        }
        self.queue(name, &arguments)
    }

    /// Publishes messages to a queue, lets them die there and dead-letters them.
    fn reject(&self, queue: &Arc<Queue>, bodies: &[&str]) {
        self.vhost.bury(0, &mut self.die(queue, bodies));
    }

    /// Publishes messages to a queue and lets them die there.
    fn die(&self, queue: &Arc<Queue>, bodies: &[&str]) -> Work {
        let (mut work, mut refused) = (Work::default(), Vec::new());
        let messages = bodies
            .iter()
            .map(|body| Message::new("", queue.name(), &[0, 0], body.as_bytes(), true));
        queue.publish(messages, 0, &mut work, &mut refused);
        for _ in bodies {
            let (entry, _) = queue.get(false, 0, &mut work).unwrap().unwrap();
            queue.reject(None, std::iter::once(entry), 0, &mut work);
        }
        work
    }

    fn recorded(&self, queue: QueueId) -> Vec<String> {
        self.stored(queue).iter().map(body).collect()
    }
}

#[test]
fn dead_letters_enter_a_full_queue_that_refuses_publishes() {
    let scene = Scene::new();
    let full = scene.dying("full", None, Some((0, "reject-publish")));
    let source = scene.dying("source", Some("full"), None);
    scene.reject(&source, &["a", "b"]);
    assert_eq!(full.counts().ready, 2);
    assert_eq!(scene.recorded(full.id), ["a", "b"]);
    assert!(scene.recorded(source.id).is_empty());
}

#[test]
fn dead_letters_go_on_from_a_full_queue_that_dead_letters_what_it_refuses() {
    let scene = Scene::new();
    let last = scene.dying("last", None, None);
    let full = scene.dying("full", Some("last"), Some((0, "reject-publish-dlx")));
    let source = scene.dying("source", Some("full"), None);
    scene.reject(&source, &["a", "b"]);
    assert_eq!(full.counts().ready, 0);
    assert_eq!(scene.recorded(last.id), ["a", "b"]);
    for queue in [&full, &source] {
        assert!(scene.recorded(queue.id).is_empty());
    }
}

/// More than a thread takes on in one turn.
const MANY: usize = 5_000;

fn numbers() -> Vec<String> {
    (0..MANY).map(|number| number.to_string()).collect()
}

#[test]
fn very_many_dead_letters_go_in_several_turns_and_in_their_order() {
    let scene = Scene::new();
    let target = scene.dying("target", None, None);
    let source = scene.dying("source", Some("target"), None);
    let numbers = numbers();
    let bodies: Vec<&str> = numbers.iter().map(String::as_str).collect();
    scene.reject(&source, &bodies);
    let mut counts = vec![target.counts().ready];
    while counts.last() != Some(&MANY) {
        scene.broker.run_expiries(1);
        counts.push(target.counts().ready);
        assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    }
    assert!(counts.len() > 2, "{counts:?}");
    assert_eq!(scene.recorded(target.id), numbers);
    assert!(scene.recorded(source.id).is_empty());
}

#[test]
fn an_answer_that_promises_dead_letters_waits_for_all_of_them() {
    let scene = Scene::new();
    let target = scene.dying("target", None, None);
    let source = scene.dying("source", Some("target"), None);
    let numbers = numbers();
    let bodies: Vec<&str> = numbers.iter().map(String::as_str).collect();
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            scope.spawn(|| {
                let mut work = scene.die(&source, &bodies);
                let before = std::mem::take(&mut work.ticket);
                let died = source.died();
                scene.vhost.bury_for_sure(0, &mut work);
                assert!(work.ticket > before);
                assert!(target.counts().ready as u64 >= died);
            })
        });
        threads.into_iter().for_each(|it| it.join().unwrap());
    });
    assert_eq!(target.counts().ready, 4 * MANY);
}
