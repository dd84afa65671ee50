//! The `rabbitmqadmin` in Rust (<https://crates.io/crates/rabbitmqadmin>): every command of it that asks a broker.
//!
//! Nobody offers a built one in a package registry, and building it takes minutes. So this runs only when asked to;
//! `http_client.rs` always tries the crate on which the tool stands.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{
    broker::{Broker, pause},
    openapi::Consumer,
    requests::{http, send},
};

/// What is run, and what has to come of it.
const WALK: &str = include_str!("rabbitmqadmin_walk.txt");

/// Commands that are not walked: those that ask no broker, those of a product that is not ours, and one that the tool
/// itself does not know, although its help names it (2.35).
const LEFT_OUT: [&str; 4] = [
    "config_file",
    "shell",
    "tanzu",
    "health_check deprecated_features_in_use",
];

/// The program that `LEVERET_TEST_RABBITMQADMIN` names.
fn tool(arguments: &[&str]) -> Output {
    let program = std::env::var_os("LEVERET_TEST_RABBITMQADMIN").expect(
        "say where the tool is: `cargo install rabbitmqadmin`, then \
         LEVERET_TEST_RABBITMQADMIN=~/.cargo/bin/rabbitmqadmin",
    );
    let mut command = Command::new(program);
    command.args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    let both = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A line of the walk.
struct Step {
    succeeds: bool,
    arguments: Vec<String>,
    shown: String,
}

impl Step {
    fn of(line: &str) -> Self {
        let (command, shown) = line.split_once(" | ").unwrap_or((line, ""));
        let (sign, command) = command.split_once(' ').unwrap();
        Self {
            succeeds: sign == "+",
            arguments: command.split(' ').map(str::to_owned).collect(),
            shown: shown.to_owned(),
        }
    }

    /// What is wrong, if anything is.
    fn fault(&self, port: &str) -> Option<String> {
        let fixed = ["--non-interactive", "-H", "127.0.0.1", "-P", port];
        let arguments = fixed
            .into_iter()
            .chain(self.arguments.iter().map(|it| &**it));
        let output = tool(&arguments.collect::<Vec<_>>());
        let text = text(&output);
        let fine = output.status.success() == self.succeeds && text.contains(&self.shown);
        let command = self.arguments.join(" ");
        (!fine).then(|| format!("{command}: {}\n{text}", output.status))
    }
}

fn steps() -> impl Iterator<Item = &'static str> {
    WALK.lines().filter(|line| !line.starts_with('#'))
}

/// The commands in the help of a command.
fn commands(of: &[&str]) -> Vec<String> {
    let help = text(&tool(&[of, &["--help"]].concat()));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.is_empty() || line.starts_with("  "));
    let names = listed.filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    let names = names.filter_map(|line| line.split(' ').next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
#[ignore = "needs `cargo install rabbitmqadmin`, which takes minutes, and LEVERET_TEST_RABBITMQADMIN with its path"]
fn every_command_does_what_it_is_for() {
    let broker = Broker::start();
    assert_eq!(
        send(&broker, "PUT", "/api/queues/%2F/held", "{}").status,
        201
    );
    let _consumer = Consumer::of(&broker, "held");
    let deadline = Instant::now() + Duration::from_secs(60);
    let connection = loop {
        let connections = send(&broker, "GET", "/api/connections", "").body;
        if let Some(name) = connections[0]["name"].as_str() {
            break name.to_owned();
        }
        assert!(Instant::now() < deadline, "the connection is not there");
        pause();
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let port = http(&broker).port().to_string();
    let filled = [
        ("{node}", "leveret@localhost"),
        ("{port}", &port),
        ("{connection}", &connection),
        ("{file}", file.to_str().unwrap()),
    ];
    let fill = |text: &mut String| {
        for (name, value) in filled {
            *text = text.replace(name, value);
        }
    };
    let mut faults = Vec::new();
    for line in steps() {
        let mut step = Step::of(line);
        step.arguments.iter_mut().for_each(fill);
        fill(&mut step.shown);
        faults.extend(step.fault(&port));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[ignore = "needs `cargo install rabbitmqadmin`, which takes minutes, and LEVERET_TEST_RABBITMQADMIN with its path"]
fn every_command_that_the_tool_has_is_walked() {
    let walked: BTreeSet<String> = steps()
        .map(|line| Step::of(line).arguments[..2].join(" "))
        .collect();
    let mut missing = Vec::new();
    for group in commands(&[]) {
        for name in commands(&[&group]) {
            let command = format!("{group} {name}");
            if !LEFT_OUT.contains(&&*group)
                && !LEFT_OUT.contains(&&*command)
                && !walked.contains(&command)
            {
                missing.push(command);
            }
        }
    }
    assert!(walked.len() > 100 && missing.is_empty(), "{missing:?}");
}
