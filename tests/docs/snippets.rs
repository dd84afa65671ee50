//! The programs on the pages run, each against a broker of its own, and do what the page says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::{node, python, run};
use crate::page::{self, Page};
use crate::support::Broker;

const RECEIVED: &str = "received: Hello World!";

/// What the pieces on the pages expect around them.
const PRELUDE: &str = "\
import os
import pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()
body = b'Hello World!'
";

#[test]
fn every_python_block_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut pieces = 0;
    for page in page::all() {
        for block in page.blocks_of("python") {
            let whole = block.text.contains("import pika");
            // whoever takes arguments has a test of its own
            if block.text.contains("sys.argv") {
                continue;
            }
            // a program on a page speaks to the broker on this machine unless it asks the environment
            let broker = Broker::start();
            let local = "amqp://guest:guest@localhost:5672/%2F";
            let text = match whole {
                true => block.text.replace(
                    &format!("\"{local}\")"),
                    &format!("\"{}\")", broker.amqp_uri()),
                ),
                false => format!("{PRELUDE}{}", block.text),
            };
            let name = format!(
                "{}-{}.py",
                page.path.file_stem().unwrap().display(),
                block.line
            );
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            run(Command::new(python()).arg(file), &broker.amqp_uri());
            pieces += 1;
        }
    }
    assert!(pieces > 5, "only {pieces} blocks were found");
}

#[test]
fn the_python_client_receives() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start());
    let file = written(folder.path(), "python", "hello.py");
    expect_received(Command::new(python()).arg(file), &broker);
}

#[test]
fn the_node_client_receives() {
    let broker = Broker::start();
    // Node looks for modules beside the program.
    let file = written(&node(), "js", "docs-hello.mjs");
    expect_received(Command::new("node").arg(file), &broker);
}

/// The example runs among the others, in the interoperability tests.
#[test]
fn the_rust_client_is_the_example() {
    let example = fs::read_to_string(page::root().join("examples/client.rs")).unwrap();
    let (_, program) = example.split_once("\n\n").unwrap();
    assert_eq!(
        client("rust"),
        program,
        "docs/clients.md and examples/client.rs differ"
    );
}

#[test]
fn messages_are_carried_from_one_broker_to_another() {
    let (folder, source, target) = (
        tempfile::tempdir().unwrap(),
        Broker::start(),
        Broker::start(),
    );
    let page = Page::read(Path::new("docs/migration.md"));
    let carry = page.blocks_of("python").next().unwrap();
    let program = folder.path().join("carry.py");
    fs::write(&program, &carry.text).unwrap();

    let before = "\
channel.queue_declare('dead', durable=True)
for number in range(100):
    properties = pika.BasicProperties(delivery_mode=2, headers={'number': number, 'CC': ['elsewhere']})
    channel.basic_publish('', 'dead', str(number).encode(), properties)
";
    let after = "\
for number in range(100):
    method, properties, body = channel.basic_get('dead', auto_ack=True)
    assert (body, properties.headers, properties.delivery_mode) == (str(number).encode(), {'number': number}, 2)
assert channel.basic_get('dead') == (None, None, None)
";
    let declare = "channel.queue_declare('dead', durable=True)\n";
    say(folder.path(), before, &source);
    say(folder.path(), declare, &target);
    let mut carry = Command::new(python());
    carry
        .arg(program)
        .args([source.amqp_uri(), target.amqp_uri(), "dead".to_owned()]);
    assert_eq!(run(&mut carry, ""), "dead: 100 carried");
    say(folder.path(), after, &target);
}

#[test]
#[ignore = "needs Debian's default-jdk-headless and librabbitmq-client-java"]
fn the_java_client_receives() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start());
    let file = written(folder.path(), "java", "Hello.java");
    let libraries = "/usr/share/java/amqp-client.jar:/usr/share/java/slf4j-api.jar";
    expect_received(
        Command::new("java").args(["-cp", libraries]).arg(file),
        &broker,
    );
}

#[test]
#[ignore = "needs Debian's golang-go and golang-github-rabbitmq-amqp091-go-dev"]
fn the_go_client_receives() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start());
    let file = written(folder.path(), "go", "hello.go");
    let mut go = Command::new("go");
    go.args(["run"]).arg(file).env("GO111MODULE", "off");
    go.env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", folder.path());
    expect_received(&mut go, &broker);
}

#[test]
#[ignore = "needs Debian's ruby-bunny"]
fn the_ruby_client_receives() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start());
    let file = written(folder.path(), "ruby", "hello.rb");
    expect_received(Command::new("ruby").arg(file), &broker);
}

#[test]
#[ignore = "needs Debian's php-cli and php-amqplib"]
fn the_php_client_receives() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start());
    let file = written(folder.path(), "php", "hello.php");
    let vendor = folder.path().join("vendor");
    fs::create_dir(&vendor).unwrap();
    let loader = "<?php require '/usr/share/php/PhpAmqpLib/autoload.php';";
    fs::write(vendor.join("autoload.php"), loader).unwrap();
    expect_received(Command::new("php").arg(file), &broker);
}

/// The program in a language of `docs/clients.md`.
fn client(language: &str) -> String {
    let page = Page::read(Path::new("docs/clients.md"));
    let mut blocks = page.blocks_of(language);
    let text = blocks.next().expect(language).text.clone();
    assert!(blocks.next().is_none(), "two programs in {language}");
    text
}

fn written(folder: &Path, language: &str, name: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, client(language)).unwrap();
    file
}

fn expect_received(program: &mut Command, broker: &Broker) {
    let printed = run(program, &broker.amqp_uri());
    assert!(printed.lines().any(|line| line == RECEIVED), "{printed}");
}

/// Runs a few lines of Python on a channel.
fn say(folder: &Path, lines: &str, broker: &Broker) {
    let file = folder.join("lines.py");
    fs::write(&file, format!("{PRELUDE}{lines}connection.close()\n")).unwrap();
    run(Command::new(python()).arg(file), &broker.amqp_uri());
}
