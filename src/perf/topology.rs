//! The queues and the exchange of a run: declared before it, deleted after it.

use amqp_codec::protocol::{exchange, queue};
use amqp_codec::{AMQPClass, ShortString};

use super::arguments::PerfArgs;
use super::connection::{CHANNEL, Connection, short};
use crate::error::Error;

/// Declares what the run needs. Queues are transient and auto-delete, or durable when messages are persistent.
pub async fn declare(connection: &mut Connection, arguments: &PerfArgs) -> Result<(), Error> {
    if arguments.fan_out {
        let declare = exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short(&arguments.prefix())?,
            kind: "fanout".into(),
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
        if arguments.fan_out {
            bind(connection, arguments, name).await?;
        }
    }
    Ok(())
}

async fn bind(
    connection: &mut Connection,
    arguments: &PerfArgs,
    queue: ShortString,
) -> Result<(), Error> {
    let bind = queue::AMQPMethod::Bind(queue::Bind {
        queue,
        exchange: short(&arguments.prefix())?,
        ..Default::default()
    });
    connection.ask(CHANNEL, &AMQPClass::Queue(bind)).await?;
    Ok(())
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
    if arguments.fan_out {
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
