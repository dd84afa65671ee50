//! A message's properties as a client sees them: with the counts of its returns, and without what no client may see.
//!
//! Nearly every message is delivered as it was published, so this costs one comparison. The others are those that came
//! back (`rabbit_fifo_client:add_delivery_count_header`) and those with the header `BCC`.

use std::borrow::Cow;

use amqp_codec::{
    AMQPValue, Error, FieldTable, Properties, ShortString, encode_table, parse_table,
    properties::with_headers,
};

use super::{DeliveryCounts, Entry};
use crate::{
    arguments::without,
    message::{Flags, Message},
};

/// The header with keys that no client may see.
pub(crate) const BCC: &str = "BCC";

impl Entry {
    /// The message's raw properties as its consumer is to get them.
    #[inline]
    pub fn properties(&self) -> Cow<'_, [u8]> {
        delivered(&self.message, self.counts)
    }
}

impl Message {
    /// The raw properties as a client may see them that gets the message in another way than from a queue.
    #[inline]
    pub fn visible_properties(&self) -> Cow<'_, [u8]> {
        delivered(self, DeliveryCounts::default())
    }
}

#[inline]
fn delivered(message: &Message, counts: DeliveryCounts) -> Cow<'_, [u8]> {
    let raw = message.properties();
    if counts.acquired == 0 && !message.flags().contain(Flags::HIDDEN_COPIES) {
        return Cow::Borrowed(raw);
    }
    // What cannot be read was refused when it was published.
    changed(raw, counts).map_or(Cow::Borrowed(raw), Cow::Owned)
}

#[cold]
fn changed(raw: &[u8], counts: DeliveryCounts) -> Result<Vec<u8>, Error> {
    let headers = Properties::parse(raw)?.headers.map(parse_table);
    let mut headers: FieldTable = without(&headers.transpose()?.unwrap_or_default(), BCC);
    let counted = [
        ("x-acquired-count", counts.acquired),
        ("x-delivery-count", counts.failed),
    ];
    for (name, count) in counted {
        if count > 0
            && let Ok(name) = ShortString::try_new(name)
        {
            headers.insert(name, AMQPValue::LongLongInt(count.into()));
        }
    }
    let (mut table, mut out) = (Vec::new(), Vec::new());
    encode_table(&headers, &mut table)?;
    with_headers(raw, Some(&table), &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Requeued;

    fn message(headers: &[(&str, AMQPValue)], flags: Flags) -> Message {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let (mut raw, mut encoded) = (Vec::new(), Vec::new());
        encode_table(&table, &mut encoded).unwrap();
        let properties = Properties {
            headers: Some(&encoded),
            message_id: Some("id"),
            ..Properties::default()
        };
        properties.encode(&mut raw);
        Message::with_flags("", "q", &raw, b"", flags)
    }

    fn headers(raw: &[u8]) -> Vec<(String, AMQPValue)> {
        let properties = Properties::parse(raw).unwrap();
        assert_eq!(properties.message_id, Some("id"));
        let table = parse_table(properties.headers.unwrap()).unwrap();
        let entries = table.inner().iter();
        entries
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect()
    }

    #[test]
    fn a_message_that_never_came_back_is_delivered_as_it_was_published() {
        let message = message(&[("x-delivery-count", true.into())], Flags::default());
        let entry = Entry::new(1, message.clone(), 0);
        assert!(matches!(entry.properties(), Cow::Borrowed(raw) if raw == message.properties()));
    }

    #[test]
    fn counts_replace_headers_of_their_name() {
        let mine = [("x-acquired-count", true.into()), ("mine", true.into())];
        let mut entry = Entry::new(1, message(&mine, Flags::default()), 0);
        entry.counts.add(Requeued::Unprocessed);
        let expected = [
            ("mine".to_owned(), true.into()),
            ("x-acquired-count".to_owned(), AMQPValue::LongLongInt(1)),
        ];
        assert_eq!(headers(&entry.properties()), expected);
        entry.counts.add(Requeued::Failed);
        let [_, acquired, delivery] = headers(&entry.properties()).try_into().unwrap();
        assert_eq!(acquired.1, AMQPValue::LongLongInt(2));
        let expected = ("x-delivery-count".to_owned(), AMQPValue::LongLongInt(1));
        assert_eq!(delivery, expected);
    }

    #[test]
    fn hidden_keys_are_shown_to_nobody() {
        let table = [("BCC", true.into()), ("CC", true.into())];
        let message = message(&table, Flags::HIDDEN_COPIES);
        assert_eq!(
            headers(&message.visible_properties()),
            [("CC".to_owned(), true.into())]
        );
    }
}
