//! The `rabbitmqadmin` in Python that comes with RabbitMQ 3: every command of it.
//!
//! It is in no package registry, so the test takes the one of Debian's `rabbitmq-server`, or the one that
//! `LEVERET_RABBITMQADMIN` names.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{broker::Broker, openapi::Consumer, requests::http};

/// The tool, and the broker that it speaks to.
struct Admin {
    broker: Broker,
    tool: PathBuf,
}

impl Admin {
    fn start() -> Self {
        let named = std::env::var_os("LEVERET_RABBITMQADMIN").map(PathBuf::from);
        let tool = named.unwrap_or_else(|| "/usr/bin/rabbitmqadmin".into());
        assert!(
            tool.exists(),
            "no {}: install rabbitmq-server, or say where rabbitmqadmin is with LEVERET_RABBITMQADMIN",
            tool.display()
        );
        Self {
            broker: Broker::start(),
            tool,
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let port = http(&self.broker).port().to_string();
        let mut command = Command::new("python3");
        command
            .arg(&self.tool)
            .args(["-H", "127.0.0.1", "-P", &port]);
        command.args(arguments).output().unwrap()
    }

    /// Runs a command that succeeds, and gives what it prints.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}{errors}");
        text
    }

    fn shows(&self, arguments: &[&str], words: &[&str]) {
        let text = self.ok(arguments);
        for word in words {
            assert!(text.contains(word), "{arguments:?} shows no {word}: {text}");
        }
    }
}

#[test]
fn every_object_is_declared_listed_and_deleted() {
    let admin = Admin::start();
    for (declare, list, shown, delete) in [
        ("vhost name=v", "vhosts", "v", "vhost name=v"),
        (
            "user name=u password=secret tags=monitoring",
            "users",
            "monitoring",
            "user name=u",
        ),
        (
            "permission vhost=/ user=guest configure=.* write=^w read=.*",
            "permissions",
            "^w",
            "permission vhost=/ user=guest",
        ),
    ] {
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        admin.ok(&[vec!["declare"], words(declare)].concat());
        admin.shows(&["list", list], &[shown]);
        if !delete.starts_with("permission") {
            admin.ok(&[vec!["delete"], words(delete)].concat());
        }
    }
    admin.ok(&[
        "declare",
        "permission",
        "vhost=/",
        "user=guest",
        "configure=.*",
        "write=.*",
        "read=.*",
    ]);
    admin.ok(&[
        "declare",
        "exchange",
        "name=x",
        "type=topic",
        "arguments={\"alternate-exchange\":\"amq.fanout\"}",
    ]);
    admin.shows(&["list", "exchanges", "name", "type"], &["x", "topic"]);
    admin.ok(&["declare", "queue", "name=q", "durable=true"]);
    admin.shows(&["list", "queues", "name", "messages"], &["q"]);
    admin.ok(&[
        "declare",
        "binding",
        "source=x",
        "destination=q",
        "routing_key=a.#",
    ]);
    admin.shows(&["list", "bindings"], &["a.#", "x"]);
    admin.ok(&[
        "declare",
        "policy",
        "name=p",
        "pattern=^q",
        "definition={\"max-length\":5}",
        "apply-to=queues",
    ]);
    admin.shows(&["list", "policies"], &["max-length"]);
    admin.ok(&[
        "declare",
        "operator_policy",
        "name=o",
        "pattern=^q",
        "definition={\"max-length\":9}",
        "apply-to=queues",
    ]);
    admin.shows(&["list", "operator_policies"], &["o"]);
    admin.shows(&["list", "parameters"], &["operator_policy"]);
    admin.ok(&[
        "declare",
        "vhost_limit",
        "vhost=/",
        "name=max-queues",
        "value=50",
    ]);
    admin.shows(&["list", "vhost_limits"], &["max-queues"]);
    admin.ok(&["delete", "vhost_limit", "vhost=/", "name=max-queues"]);
    admin.ok(&["delete", "operator_policy", "name=o"]);
    admin.ok(&["delete", "policy", "name=p"]);
    admin.ok(&[
        "delete",
        "binding",
        "source=x",
        "destination_type=queue",
        "destination=q",
        "properties_key=a.%23",
    ]);
    admin.ok(&["delete", "queue", "name=q"]);
    admin.ok(&["delete", "exchange", "name=x"]);
    for list in ["connections", "channels", "consumers", "nodes"] {
        admin.ok(&["list", list]);
    }
    admin.shows(&["show", "overview"], &["4.3"]);
}

#[test]
fn a_parameter_of_a_plugin_that_is_missing_is_refused_in_rabbitmqs_words() {
    let admin = Admin::start();
    let refused = admin.run(&[
        "declare",
        "parameter",
        "component=shovel",
        "name=s",
        "value={}",
    ]);
    assert!(!refused.status.success());
    let text = String::from_utf8([refused.stdout, refused.stderr].concat()).unwrap();
    assert!(text.contains("component shovel not found"), "{text}");
}

#[test]
fn messages_are_published_taken_and_purged() {
    let admin = Admin::start();
    admin.ok(&["declare", "queue", "name=q"]);
    admin.shows(
        &["publish", "routing_key=q", "payload=hello"],
        &["Message published"],
    );
    admin.shows(
        &["publish", "routing_key=nowhere", "payload=x"],
        &["NOT routed"],
    );
    admin.shows(&["get", "queue=q", "ackmode=ack_requeue_true"], &["hello"]);
    admin.shows(
        &["get", "queue=q", "ackmode=ack_requeue_false"],
        &["hello", "True"],
    );
    admin.ok(&["publish", "routing_key=q", "payload=more"]);
    admin.ok(&["purge", "queue", "name=q"]);
    admin.shows(&["get", "queue=q"], &["No items"]);
}

#[test]
fn an_export_is_imported() {
    let admin = Admin::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let file = file.to_str().unwrap();
    admin.ok(&["declare", "exchange", "name=kept", "type=direct"]);
    admin.ok(&["export", file]);
    admin.ok(&["delete", "exchange", "name=kept"]);
    admin.ok(&["import", file]);
    admin.shows(&["list", "exchanges"], &["kept"]);
}

#[test]
fn a_connection_is_closed() {
    let admin = Admin::start();
    admin.ok(&["declare", "queue", "name=q"]);
    let _consumer = Consumer::of(&admin.broker, "q");
    let shown = admin.ok(&["--format=bash", "list", "connections", "name"]);
    let name = format!("name={}", shown.trim_end());
    admin.shows(&["close", "connection", &name], &["connection closed"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while admin.ok(&["list", "connections"]).contains("->") {
        assert!(Instant::now() < deadline, "the connection is still there");
    }
}
