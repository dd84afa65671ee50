use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

use amqp_codec::AMQPValue;

use super::*;
use crate::{
    broker::scene::{Scene, text},
    definitions::PermissionDefinition,
    message::Message,
    queue::{Entry, Peek, Queue, Work},
    store::{Position, QueueId},
    users::NewPassword,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with a clock.
struct Moving {
    scene: Scene,
    clock: Arc<AtomicU64>,
    work: Work,
}

impl Deref for Moving {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl Moving {
    fn new() -> Self {
        Self {
            scene: Scene::new(),
            clock: Arc::new(AtomicU64::new(1_000_000)),
            work: Work::default(),
        }
    }

    fn now(&self) -> Millis {
        self.clock.load(Ordering::Relaxed)
    }

    /// Publishes messages with these keys to the default exchange's `queue`, as if `x` were the exchange.
    fn publish<'a>(&mut self, queue: &Arc<Queue>, keys: impl IntoIterator<Item = &'a str>) {
        let (now, mut refused) = (self.now(), Vec::new());
        let messages = keys
            .into_iter()
            .map(|key| Message::new("x", key, &[0x10, 0, 2], key.as_bytes(), true));
        queue.publish(messages, now, &mut self.work, &mut refused);
        assert!(refused.is_empty());
    }

    /// Takes the first message and lets it die.
    fn reject(&mut self, queue: &Arc<Queue>) {
        let now = self.now();
        let (entry, _) = queue.get(false, now, &mut self.work).unwrap().unwrap();
        queue.reject(None, std::iter::once(entry), now, &mut self.work);
        self.scene.vhost.bury(now, &mut self.work);
    }

    fn order(&self, queue: &str, target: Target) -> Order {
        Order {
            vhost: "/".into(),
            queue: queue.to_owned(),
            filter: Filter::default(),
            target,
            rate: None,
            limit: None,
            dry_run: false,
            user: "guest".into(),
        }
    }

    fn start(&self, order: Order) -> Result<Arc<Move>, Error> {
        let access = self.broker.access(&order.user, &"/".into());
        let clock = Arc::clone(&self.clock);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        self.broker.start_move(order, access, clock)
    }

    fn carry_out(&self, order: Order) -> Progress {
        let started = self.start(order).unwrap();
        started.wait(PATIENCE);
        let progress = started.progress();
        assert!(progress.phase.is_over(), "{progress:?}");
        progress
    }

    fn places(&self, queue: QueueId) -> Vec<Position> {
        let stored = self.stored(queue).into_iter();
        stored.map(|stored| stored.position).collect()
    }
}

fn into(queue: &str) -> Target {
    Target::Queue(queue.to_owned())
}

fn peek(queue: &Queue) -> Vec<Entry> {
    let all = Peek {
        offset: 0,
        count: usize::MAX,
        most_bytes: usize::MAX,
        most_examined: usize::MAX,
    };
    let found = queue.peek(&all, |_| true).unwrap();
    found.messages.into_iter().map(|(_, entry)| entry).collect()
}

fn keys(queue: &Queue) -> Vec<String> {
    let entries = peek(queue);
    let keys = entries.iter().map(|entry| entry.message.routing_key());
    keys.map(str::to_owned).collect()
}

#[test]
fn what_the_filter_means_leaves_and_the_rest_keeps_its_order() {
    let mut scene = Moving::new();
    let (from, to) = (scene.queue("from", &[]), scene.queue("to", &[]));
    scene.publish(&from, ["a.1", "b.1", "a.2", "c.1", "a.3"]);
    let mut order = scene.order("from", into("to"));
    order.filter.routing_key = Some("a.*".to_owned());
    let progress = scene.carry_out(order);
    assert_eq!(progress.phase, Phase::Done);
    assert_eq!(
        (progress.examined, progress.matched, progress.moved),
        (5, 3, 3)
    );
    assert_eq!(keys(&from), ["b.1", "c.1"]);
    assert_eq!(keys(&to), ["a.1", "a.2", "a.3"]);
    // The store knows the same.
    assert_eq!(scene.places(from.id), [2, 4]);
    assert_eq!(scene.places(to.id).len(), 3);
    // Into a queue messages go as they are.
    assert!(
        peek(&to)
            .iter()
            .all(|entry| entry.message.exchange() == "x")
    );
}

#[test]
fn dry_run_counts_and_moves_nothing() {
    let mut scene = Moving::new();
    let (from, to) = (scene.queue("from", &[]), scene.queue("to", &[]));
    scene.publish(&from, ["a", "b", "a"]);
    let mut order = scene.order("from", into("to"));
    order.filter.routing_key = Some("a".to_owned());
    order.dry_run = true;
    assert_eq!(scene.carry_out(order).moved, 2);
    assert_eq!((from.counts().ready, to.counts().ready), (3, 0));
}

#[test]
fn limit_takes_the_first_ones() {
    let mut scene = Moving::new();
    let (from, to) = (scene.queue("from", &[]), scene.queue("to", &[]));
    scene.publish(&from, ["1", "2", "3", "4"]);
    let mut order = scene.order("from", into("to"));
    order.limit = Some(3);
    assert_eq!(scene.carry_out(order).moved, 3);
    assert_eq!(keys(&from), ["4"]);
    assert_eq!(keys(&to), ["1", "2", "3"]);
}

#[test]
fn long_move_goes_in_slices_and_looks_at_each_message_once() {
    let mut scene = Moving::new();
    let from = scene.queue("from", &[]);
    scene.queue("k", &[]);
    let many: Vec<&str> = std::iter::repeat_n("from", 5000).collect();
    scene.publish(&from, many);
    // Published to where they are, they go to the end of their queue; there they are not looked at again.
    let target = Target::Exchange {
        exchange: String::new(),
        routing_key: None,
    };
    let progress = scene.carry_out(scene.order("from", target));
    assert_eq!((progress.examined, progress.moved), (5000, 5000));
    assert_eq!(from.counts().ready, 5000);
    assert_eq!(scene.places(from.id).first(), Some(&5001));
    assert!(
        peek(&from)
            .iter()
            .all(|entry| entry.message.exchange().is_empty())
    );
}

#[test]
fn what_no_queue_would_get_stays() {
    let mut scene = Moving::new();
    let (from, to) = (scene.queue("from", &[]), scene.queue("to", &[]));
    scene.publish(&from, ["nobody", "to", "nobody"]);
    let target = Target::Exchange {
        exchange: String::new(),
        routing_key: None,
    };
    let progress = scene.carry_out(scene.order("from", target));
    assert_eq!((progress.moved, progress.unroutable), (1, 2));
    assert_eq!((from.counts().ready, to.counts().ready), (2, 1));
}

#[test]
fn dead_letters_go_back_to_where_they_died_first() {
    let mut scene = Moving::new();
    let dead_letters = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    let (one, two) = (
        scene.queue("one", &dead_letters),
        scene.queue("two", &dead_letters),
    );
    let dead = scene.queue("dead", &[]);
    scene.publish(&one, ["key.1"]);
    scene.publish(&two, ["key.2"]);
    scene.publish(&dead, ["never died"]);
    scene.reject(&one);
    scene.reject(&two);
    assert_eq!(keys(&dead), ["never died", "dead", "dead"]);

    let mut order = scene.order("dead", Target::OriginalQueue);
    order.filter.death_queue = Some("one".to_owned());
    assert_eq!(scene.carry_out(order).moved, 1);
    assert_eq!(keys(&one), ["key.1"]);
    let back = peek(&one).remove(0).message;
    let published = Message::new("x", "key.1", &[0x10, 0, 2], b"key.1", true);
    assert_eq!(back.packed(), published.packed());

    let progress = scene.carry_out(scene.order("dead", Target::OriginalQueue));
    assert_eq!(
        (progress.matched, progress.moved, progress.not_dead),
        (2, 1, 1)
    );
    assert_eq!(keys(&two), ["key.2"]);
    assert_eq!(keys(&dead), ["never died"]);
}

#[test]
fn full_queue_is_waited_for_and_nothing_is_lost() {
    let mut scene = Moving::new();
    let from = scene.queue("from", &[]);
    let full = [
        ("x-max-length", AMQPValue::LongInt(3)),
        ("x-overflow", text("reject-publish")),
    ];
    let to = scene.queue("to", &full);
    scene.publish(&from, ["1", "2", "3", "4", "5"]);
    let started = scene.start(scene.order("from", into("to"))).unwrap();
    while started.progress().phase != Phase::Waiting {
        started.wait(Duration::from_millis(1));
    }
    assert_eq!((started.progress().moved, to.counts().ready), (3, 3));
    let reason = started.progress().reason;
    assert_eq!(reason.as_deref(), Some("queue 'to' in vhost '/' is full"));
    let now = scene.now();
    to.purge(now, &mut scene.work);
    started.wait(PATIENCE);
    assert_eq!(started.progress().phase, Phase::Done);
    assert_eq!(keys(&to), ["4", "5"]);
}

#[test]
fn rate_holds_a_move_back_and_cancelling_ends_it() {
    let mut scene = Moving::new();
    let (from, to) = (scene.queue("from", &[]), scene.queue("to", &[]));
    scene.publish(&from, ["1", "2", "3", "4", "5"]);
    let mut order = scene.order("from", into("to"));
    order.rate = Some(10);
    let started = scene.start(order).unwrap();
    // The clock is ours: in 200 milliseconds two messages are due.
    while started.progress().matched < 5 {
        started.wait(Duration::from_millis(1));
    }
    assert_eq!(started.progress().moved, 0);
    scene.clock.fetch_add(200, Ordering::Relaxed);
    while started.progress().moved < 2 {
        started.wait(Duration::from_millis(1));
    }
    started.cancel();
    started.wait(PATIENCE);
    let progress = started.progress();
    assert_eq!((progress.phase, progress.moved), (Phase::Cancelled, 2));
    assert_eq!((keys(&from).len(), keys(&to).len()), (3, 2));
    assert_eq!(scene.broker.find_move(started.id).unwrap().id, started.id);
}

#[test]
fn expired_messages_are_left_to_expire() {
    let mut scene = Moving::new();
    let from = scene.queue("from", &[("x-message-ttl", AMQPValue::LongInt(1000))]);
    let to = scene.queue("to", &[]);
    scene.publish(&from, ["old"]);
    scene.clock.fetch_add(999, Ordering::Relaxed);
    scene.publish(&from, ["new"]);
    scene.clock.fetch_add(1, Ordering::Relaxed);
    assert_eq!(scene.carry_out(scene.order("from", into("to"))).moved, 1);
    assert_eq!(keys(&to), ["new"]);
}

#[test]
fn moving_needs_permission_to_read_here_and_to_write_there() {
    let mut scene = Moving::new();
    let from = scene.queue("from", &[]);
    scene.queue("to", &[]);
    scene.publish(&from, ["a"]);
    let broker = &scene.broker;
    broker
        .put_user("carol", NewPassword::None, &[], "test")
        .unwrap();
    let refused = |target: Target, read: &str, write: &str| {
        let permission = PermissionDefinition {
            user: "carol".to_owned(),
            vhost: "/".to_owned(),
            configure: String::new(),
            write: write.to_owned(),
            read: read.to_owned(),
        };
        broker.set_permissions(&permission, "test").unwrap();
        let mut order = scene.order("from", target);
        order.user = "carol".into();
        scene
            .start(order)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let exchange = || Target::Exchange {
        exchange: "amq.direct".to_owned(),
        routing_key: None,
    };
    let read = "read access to queue 'from' in vhost '/' refused for user 'carol'";
    let queue = "write access to queue 'to' in vhost '/' refused for user 'carol'";
    let publish = "write access to exchange 'amq.direct' in vhost '/' refused for user 'carol'";
    assert_eq!(refused(into("to"), "", ".*"), Err(read.to_owned()));
    assert_eq!(refused(into("to"), ".*", "from"), Err(queue.to_owned()));
    assert_eq!(refused(exchange(), ".*", "from"), Err(publish.to_owned()));
    assert_eq!(refused(into("to"), "from", "to"), Ok(()));
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let scene = Moving::new();
    scene.queue("from", &[]);
    let refused = |queue: &str, target| {
        scene
            .start(scene.order(queue, target))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused("none", into("from")),
        "no queue 'none' in vhost '/'"
    );
    assert_eq!(
        refused("from", into("none")),
        "no queue 'none' in vhost '/'"
    );
    assert_eq!(
        refused("from", into("from")),
        "queue 'from' in vhost '/' is the source too"
    );
    let internal = Target::Exchange {
        exchange: "amq.rabbitmq.trace".to_owned(),
        routing_key: None,
    };
    let text = "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'";
    assert_eq!(refused("from", internal), text);
}
