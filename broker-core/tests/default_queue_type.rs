//! The queue type of a vhost, for declarations that name none.
#![allow(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::sync::Arc;

use broker_core::{
    Error,
    arguments::{AMQPValue, FieldTable},
    broker::Broker,
    definitions::{Change, Definitions, MemoryDefinitions, VhostDefinition},
    queue::{ConnectionId, Queue, arguments::QueueType},
    store::MemoryStore,
    vhost::{QueueDeclaration, Vhost},
};

struct System {
    vhost: Arc<Vhost>,
    definitions: Arc<MemoryDefinitions>,
    _broker: Arc<Broker>,
}

impl System {
    fn start() -> Self {
        let definitions = Arc::new(MemoryDefinitions::new());
        let held = Arc::<MemoryDefinitions>::clone(&definitions);
        let broker = Broker::start(Arc::new(MemoryStore::new()), held, 0).unwrap();
        Self {
            vhost: broker.vhost("/").unwrap(),
            definitions,
            _broker: broker,
        }
    }

    fn set_default(&self, queue_type: Option<&str>) {
        let vhost = VhostDefinition {
            name: "/".to_owned(),
            default_queue_type: queue_type.map(str::to_owned),
            ..VhostDefinition::default()
        };
        let put = Change::put(&vhost).unwrap();
        self.definitions.apply(vec![put]).unwrap();
    }

    fn declare(&self, declaration: QueueDeclaration) -> Result<Arc<Queue>, Error> {
        let declared = self.vhost.declare_queue(declaration, ConnectionId(1));
        declared.map(|(queue, _)| queue)
    }
}

fn queue(name: &str) -> QueueDeclaration {
    QueueDeclaration {
        name: name.to_owned(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn of_type(queue_type: &str, declaration: QueueDeclaration) -> QueueDeclaration {
    let mut arguments = FieldTable::default();
    let value = AMQPValue::LongString(queue_type.into());
    arguments.insert("x-queue-type".into(), value);
    QueueDeclaration {
        arguments,
        ..declaration
    }
}

fn type_of(queue: &Queue) -> QueueType {
    queue.properties.arguments.queue_type
}

#[test]
fn a_queue_without_a_type_has_that_of_its_vhost() {
    let system = System::start();
    let before = system.declare(queue("before")).unwrap();
    assert_eq!(type_of(&before), QueueType::Classic);
    system.set_default(Some("quorum"));
    assert_eq!(&*system.vhost.default_queue_type(), "quorum");
    for declaration in [
        queue("a"),
        of_type("", queue("b")),
        of_type("undefined", queue("c")),
    ] {
        let queue = system.declare(declaration.clone()).unwrap();
        assert_eq!(type_of(&queue), QueueType::Quorum);
        let shown = queue.properties.table.inner().get("x-queue-type");
        assert_eq!(shown, Some(&AMQPValue::LongString("quorum".into())));
        assert!(system.declare(declaration).is_ok(), "declared again");
    }
    let classic = system.declare(of_type("classic", queue("d"))).unwrap();
    assert_eq!(type_of(&classic), QueueType::Classic);
}

#[test]
fn a_queue_that_cannot_be_replicated_stays_classic() {
    let system = System::start();
    system.set_default(Some("quorum"));
    let transient = QueueDeclaration {
        durable: false,
        ..queue("transient")
    };
    let exclusive = QueueDeclaration {
        exclusive: true,
        ..queue("exclusive")
    };
    let auto_delete = QueueDeclaration {
        auto_delete: true,
        ..queue("auto-delete")
    };
    for declaration in [transient, exclusive, auto_delete] {
        let queue = system.declare(declaration).unwrap();
        assert_eq!(type_of(&queue), QueueType::Classic);
    }
}

#[test]
fn a_queue_keeps_its_type_when_the_default_changes() {
    let system = System::start();
    system.set_default(Some("quorum"));
    let declared = system.declare(queue("q")).unwrap();
    system.set_default(None);
    assert_eq!(&*system.vhost.default_queue_type(), "classic");
    assert_eq!(type_of(&declared), QueueType::Quorum);
    let refused = system.declare(queue("q")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'quorum'"
    );
}

#[test]
fn a_default_that_is_not_built_is_refused_with_the_queue() {
    let system = System::start();
    system.set_default(Some("stream"));
    let refused = system.declare(queue("q")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'stream'\""
    );
}
