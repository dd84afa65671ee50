//! The headers `CC` and `BCC`: further routing keys, which the sender chooses
//! (<https://www.rabbitmq.com/docs/sender-selected>).

use amqp_codec::{AMQPValue, FieldTable};

use crate::{
    Error,
    arguments::{lookup, text, type_name, without},
};

/// The keys by which a message with these headers is routed beside its routing key: those of `CC`, then those of `BCC`.
///
/// # Errors
/// 406 with RabbitMQ's text when one of the headers is no list.
pub fn carbon_copies(headers: &FieldTable) -> Result<Vec<String>, Error> {
    let mut keys = keys_of(headers, "CC")?;
    keys.append(&mut keys_of(headers, "BCC")?);
    Ok(keys)
}

/// The headers as everybody but the broker sees them, and as headers exchanges match them.
pub fn without_blind_copies(headers: &FieldTable) -> FieldTable {
    without(headers, "BCC")
}

fn keys_of(headers: &FieldTable, name: &str) -> Result<Vec<String>, Error> {
    match lookup(headers, name) {
        None => Ok(Vec::new()),
        Some(AMQPValue::FieldArray(keys)) => {
            let keys = keys.as_slice().iter().filter_map(text);
            Ok(keys.map(str::to_owned).collect())
        }
        Some(other) => Err(Error::PreconditionFailed(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
            type_name(other)
        ))),
    }
}
