//! amqplib (Node.js).

use crate::clients::{run_node, scenarios};

scenarios!(
    run_node,
    "amqplib_client.mjs",
    [
        declares_binds_purges_and_deletes,
        confirms_and_returns,
        consumes_with_prefetch_and_requeues,
        shares_a_limit_of_the_whole_channel,
        gets_messages_with_all_their_properties,
        hears_that_its_consumer_is_cancelled,
        keeps_exclusive_queues_to_their_connection,
        routes_by_topic_and_headers,
        answers_through_direct_reply_to,
        dead_letters_expired_and_rejected_messages,
        reopens_a_channel_after_an_exception,
        closes_the_channel_on_an_unknown_delivery_tag,
        carries_large_messages_and_unicode_names,
        recovers_and_counts,
        keeps_heartbeats_and_hears_of_blocking,
    ]
);
