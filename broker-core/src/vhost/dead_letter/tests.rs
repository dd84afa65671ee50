use amqp_codec::{AMQPValue, FieldTable};

use super::*;
use crate::{
    broker::Broker,
    definitions::MemoryDefinitions,
    queue::ConnectionId,
    store::{MemoryStore, MessageStore, QueueId},
    vhost::QueueDeclaration,
};

struct Scene {
    store: Arc<MemoryStore>,
    vhost: Arc<Vhost>,
    _broker: Arc<Broker>,
}

impl Scene {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let definitions = Arc::new(MemoryDefinitions::new());
        let broker = Broker::start(Arc::clone(&store) as _, definitions, 0).unwrap();
        Self {
            store,
            vhost: broker.vhost("/").unwrap(),
            _broker: broker,
        }
    }

    /// A durable queue that dead-letters to another one.
    fn queue(&self, name: &str, next: Option<&str>, limits: Option<(i32, &str)>) -> Arc<Queue> {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut arguments = FieldTable::default();
        if let Some(next) = next {
            arguments.insert("x-dead-letter-exchange".into(), text(""));
            arguments.insert("x-dead-letter-routing-key".into(), text(next));
        }
        if let Some((length, overflow)) = limits {
            arguments.insert("x-max-length".into(), AMQPValue::LongInt(length));
            arguments.insert("x-overflow".into(), text(overflow));
        }
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        let by = ConnectionId(1);
        self.vhost.declare_queue(declaration, by).unwrap().0
    }

    /// Publishes messages to a queue and lets them die there.
    fn reject(&self, queue: &Arc<Queue>, bodies: &[&str]) {
        let (mut work, mut refused) = (Work::default(), Vec::new());
        let messages = bodies
            .iter()
            .map(|body| Message::new("", queue.name(), &[0, 0], body.as_bytes(), true));
        queue.publish(messages, 0, &mut work, &mut refused);
        for _ in bodies {
            let (entry, _) = queue.get(false, 0, &mut work).unwrap().unwrap();
            queue.reject(None, std::iter::once(entry), 0, &mut work);
        }
        self.vhost.bury(0, &mut work);
    }

    fn recorded(&self, queue: QueueId) -> Vec<String> {
        let mut bodies = Vec::new();
        let mut each = |stored: crate::store::StoredMessage| {
            bodies.push(String::from_utf8(stored.message.body().to_vec()).unwrap());
        };
        let all = usize::MAX;
        self.store.read(queue, 0, u64::MAX, all, &mut each).unwrap();
        bodies
    }
}

#[test]
fn dead_letters_enter_a_full_queue_that_refuses_publishes() {
    let scene = Scene::new();
    let full = scene.queue("full", None, Some((0, "reject-publish")));
    let source = scene.queue("source", Some("full"), None);
    scene.reject(&source, &["a", "b"]);
    assert_eq!(full.counts().ready, 2);
    assert_eq!(scene.recorded(full.id), ["a", "b"]);
    assert!(scene.recorded(source.id).is_empty());
}

#[test]
fn dead_letters_go_on_from_a_full_queue_that_dead_letters_what_it_refuses() {
    let scene = Scene::new();
    let last = scene.queue("last", None, None);
    let full = scene.queue("full", Some("last"), Some((0, "reject-publish-dlx")));
    let source = scene.queue("source", Some("full"), None);
    scene.reject(&source, &["a", "b"]);
    assert_eq!(full.counts().ready, 0);
    assert_eq!(scene.recorded(last.id), ["a", "b"]);
    for queue in [&full, &source] {
        assert!(scene.recorded(queue.id).is_empty());
    }
}
