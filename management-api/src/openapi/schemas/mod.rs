//! What requests and answers look like, as types that only the OpenAPI document reads.
//!
//! A field that is an `Option` may be missing or `null`; all others are there whenever the client has not chosen fields
//! with `columns`. What a name does not say stands in the comment, which the document shows.
#![allow(
    dead_code,
    reason = "these types describe what is written elsewhere, field by field"
)]

pub(crate) mod access;
pub(crate) mod clients;
pub(crate) mod messages;
pub(crate) mod moving;
pub(crate) mod node;
pub(crate) mod queues;
pub(crate) mod settings;
pub(crate) mod topology;

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Any JSON value.
#[derive(ToSchema)]
pub(crate) struct Any(Value);

/// An object with any fields.
pub(crate) type Fields = BTreeMap<String, Any>;

/// What went wrong.
#[derive(ToSchema)]
pub(crate) struct Error {
    /// A word for the kind of error.
    error: String,
    /// What it is about: a text, or a list whose first part is a word.
    reason: Any,
}

/// How fast a count changes, and what it was.
#[derive(ToSchema)]
pub(crate) struct Details {
    /// By how much it changes in a second, over the last five.
    rate: f64,
    /// What it was, the latest first, if a range was asked for.
    samples: Option<Vec<Sample>>,
    /// The average of the samples.
    avg: Option<f64>,
    /// The average change in a second over the samples.
    avg_rate: Option<f64>,
}

/// What a count was.
#[derive(ToSchema)]
pub(crate) struct Sample {
    sample: u64,
    /// Milliseconds since 1970.
    timestamp: u64,
}

/// Makes a type of counts, each with its details.
macro_rules! counts {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $count:ident $details:ident,)+ }) => {
        $(#[$about])*
        #[derive(ToSchema)]
        pub(crate) struct $name {
            $(
                $(#[$what])*
                $count: Option<u64>,
                $details: Option<Details>,
            )+
        }
    };
}

counts! {
    /// Messages that went through, since the start. An object that has seen none of a kind may leave it out.
    MessageStats {
        /// Published.
        publish publish_details,
        /// Published and confirmed.
        confirm confirm_details,
        /// Sent back, because no queue was found for them.
        return_unroutable return_unroutable_details,
        /// Dropped, because no queue was found for them.
        drop_unroutable drop_unroutable_details,
        /// Read from the disk.
        disk_reads disk_reads_details,
        /// Written to the disk.
        disk_writes disk_writes_details,
        /// Got with `basic.get`, to be acknowledged.
        get get_details,
        /// Got with `basic.get`, without acknowledgement.
        get_no_ack get_no_ack_details,
        /// Delivered to consumers that acknowledge.
        deliver deliver_details,
        /// Delivered to consumers that do not.
        deliver_no_ack deliver_no_ack_details,
        /// Delivered once more.
        redeliver redeliver_details,
        /// Acknowledged.
        ack ack_details,
        /// Delivered or got.
        deliver_get deliver_get_details,
        /// `basic.get` that found nothing.
        get_empty get_empty_details,
        /// Published to an exchange.
        publish_in publish_in_details,
        /// Routed by an exchange to queues.
        publish_out publish_out_details,
    }
}

counts! {
    /// Messages that wait.
    QueueTotals {
        messages messages_details,
        messages_ready messages_ready_details,
        messages_unacknowledged messages_unacknowledged_details,
    }
}

counts! {
    /// What came and went.
    ChurnRates {
        connection_created connection_created_details,
        connection_closed connection_closed_details,
        channel_created channel_created_details,
        channel_closed channel_closed_details,
        queue_declared queue_declared_details,
        queue_created queue_created_details,
        queue_deleted queue_deleted_details,
    }
}
