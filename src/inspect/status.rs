//! What `leveret status` shows.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::Value;

use super::request::{Api, fault};
use crate::error::Error;

/// Counts in the order in which they are shown.
const TOTALS: [&str; 5] = [
    "connections",
    "channels",
    "exchanges",
    "queues",
    "consumers",
];

pub(super) fn of(api: &Api, user: &str, password: &str) -> Result<(String, ExitCode), Error> {
    let login = Some((user, password));
    let overview = api.get("/api/overview", login)?;
    if overview.status != 200 {
        let reason = overview.body.get("reason").and_then(Value::as_str);
        let reason = reason.unwrap_or("no reason given");
        return Err(fault(format!("user '{user}' may not ask: {reason}")));
    }
    let alarms = api.get("/api/health/checks/local-alarms", login)?.body;
    let alarms: Vec<&str> = alarms
        .get("alarms")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|alarm| alarm.get("resource")?.as_str())
        .collect();
    let code = match alarms.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    Ok((text(&overview.body, &alarms), code))
}

fn text(overview: &Value, alarms: &[&str]) -> String {
    let word = |key: &str| overview.get(key).and_then(Value::as_str).unwrap_or("?");
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("node", word("node"));
    line("cluster", word("cluster_name"));
    line(
        "version",
        &format!("{} {}", word("product_name"), word("product_version")),
    );
    line(
        "works like",
        &format!("RabbitMQ {}", word("rabbitmq_version")),
    );
    for listener in overview
        .get("listeners")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let field = |key: &str| {
            listener
                .get(key)
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        let address = format!("{} {}", field("ip_address"), field("port")).replace('"', "");
        let protocol = field("protocol").replace('"', "");
        line("listener", &format!("{protocol} on {address}"));
    }
    for name in TOTALS {
        let count = overview.pointer(&format!("/object_totals/{name}"));
        line(name, &count.map(ToString::to_string).unwrap_or_default());
    }
    match alarms {
        [] => line("alarms", "none"),
        some => line("alarms", &some.join(", ")),
    }
    text
}
