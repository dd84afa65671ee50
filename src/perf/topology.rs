//! The queues and the exchange of a run: declared before it, deleted after it.

use amqp_codec::protocol::{exchange, queue};
use amqp_codec::{AMQPClass, ShortString, encode};

use super::arguments::PerfArgs;
use super::connection::{CHANNEL, Connection, short};
use crate::error::Error;

/// Declares what the run needs. Queues are transient and auto-delete, or durable when messages are persistent.
pub async fn declare(connection: &mut Connection, arguments: &PerfArgs) -> Result<(), Error> {
    if let Some(kind) = arguments.exchange() {
        let declare = exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short(&arguments.prefix())?,
            kind: kind.into(),
            durable: arguments.persistent,
            ..Default::default()
        });
        connection
            .ask(CHANNEL, &AMQPClass::Exchange(declare))
            .await?;
    }
    for index in 0..arguments.queues {
        let name = short(&arguments.queue(index))?;
        let declare = queue::AMQPMethod::Declare(queue::Declare {
            queue: name.clone(),
            durable: arguments.persistent,
            auto_delete: !arguments.persistent && !arguments.keep,
            ..Default::default()
        });
        connection.ask(CHANNEL, &AMQPClass::Queue(declare)).await?;
        if arguments.exchange().is_some() {
            let bind = bind(arguments, name, MATCHING, false)?;
            connection.ask(CHANNEL, &bind).await?;
        }
    }
    let others = arguments.topic_bindings.unwrap_or_default();
    for index in arguments.queues..others {
        let queue = short(&arguments.queue(index % arguments.queues))?;
        let last = index + 1 == others;
        let bind = bind(arguments, queue, &other(index), !last)?;
        match last {
            true => drop(connection.ask(CHANNEL, &bind).await?),
            false => encode::method(&mut connection.output, CHANNEL, &bind)?,
        }
    }
    Ok(())
}

/// The pattern that all keys of [`topic_key`] match. A fanout exchange does not look at it.
const MATCHING: &str = "stock.*.nyse.#";

/// The keys that publishers to a topic exchange take in turn: so many that a broker which remembers the last route gains
/// nothing by it.
pub fn topic_key(index: usize) -> String {
    format!("stock.usd.nyse.{index}")
}

/// A pattern that none of them matches, alike enough to be looked at.
fn other(index: usize) -> String {
    match index % 3 {
        0 => format!("stock.eur.exchange{index}.*"),
        1 => format!("stock.usd.exchange{index}.#"),
        _ => format!("*.gbp.*.{index}"),
    }
}

fn bind(
    arguments: &PerfArgs,
    queue: ShortString,
    pattern: &str,
    nowait: bool,
) -> Result<AMQPClass, Error> {
    Ok(AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue,
        exchange: short(&arguments.prefix())?,
        routing_key: short(pattern)?,
        nowait,
        ..Default::default()
    })))
}

/// Deletes what [`declare`] made. What is gone already does not matter.
pub async fn delete(connection: &mut Connection, arguments: &PerfArgs) -> Result<(), Error> {
    for index in 0..arguments.queues {
        let delete = queue::AMQPMethod::Delete(queue::Delete {
            queue: short(&arguments.queue(index))?,
            ..Default::default()
        });
        connection.ask(CHANNEL, &AMQPClass::Queue(delete)).await?;
    }
    if arguments.exchange().is_some() {
        let delete = exchange::AMQPMethod::Delete(exchange::Delete {
            exchange: short(&arguments.prefix())?,
            ..Default::default()
        });
        connection
            .ask(CHANNEL, &AMQPClass::Exchange(delete))
            .await?;
    }
    Ok(())
}
