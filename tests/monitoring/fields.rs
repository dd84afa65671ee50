//! The fields of the API's objects against those of RabbitMQ's management plugin. The lists were written down from
//! Debian's RabbitMQ 3.10.8, with what the sources of 4.3 add; what is missing here is named with it, and explained in `docs/compatibility.md`.

use serde_json::Value;

use crate::{http::started, support::durable_queue};

/// Fields that only Erlang could fill, in any object.
const ERLANG: [&str; 4] = [
    "garbage_collection",
    "reductions",
    "reductions_details",
    "backing_queue_status",
];

/// Fields of RabbitMQ 3.10 that RabbitMQ 4 does not have any more.
const GONE: [&str; 3] = [
    "recoverable_slaves",
    "release_series_support_status",
    "erlang_version",
];

#[track_caller]
fn check(object: &Value, rabbitmq: &str, missing: &[&str]) {
    let object = object
        .as_object()
        .unwrap_or_else(|| panic!("no object: {object}"));
    let expected = rabbitmq.split_whitespace().filter(|field| {
        !ERLANG.contains(field) && !GONE.contains(field) && !missing.contains(field)
    });
    let absent: Vec<&str> = expected
        .filter(|field| !object.contains_key(*field))
        .collect();
    assert!(absent.is_empty(), "not there: {absent:?}");
}

#[test]
fn objects_have_rabbitmqs_fields() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    peer.fill("q", &["a"]);
    peer.consume(1, "q", "eater");
    peer.expect_delivery(1);
    http.wait_for("/api/overview", |it| it["message_stats"]["deliver"] == 1);
    check(
        &http.get("/api/overview"),
        "management_version rates_mode sample_retention_policies exchange_types product_version product_name \
         rabbitmq_version cluster_name erlang_version release_series_support_status disable_stats \
         enable_queue_totals message_stats churn_rates queue_totals object_totals statistics_db_event_queue node \
         listeners contexts",
        &[],
    );
    let stats = "ack ack_details confirm confirm_details deliver deliver_details deliver_get deliver_get_details \
         deliver_no_ack deliver_no_ack_details drop_unroutable drop_unroutable_details get get_details get_empty \
         get_empty_details get_no_ack get_no_ack_details publish publish_details redeliver redeliver_details \
         return_unroutable return_unroutable_details";
    check(&http.get("/api/overview")["message_stats"], stats, &[]);
    check(
        &http.get("/api/nodes")[0],
        "partitions os_pid fd_total sockets_total mem_limit mem_alarm disk_free_limit disk_free_alarm proc_total \
         rates_mode uptime run_queue processors exchange_types auth_mechanisms applications contexts log_files db_dir \
         config_files net_ticktime enabled_plugins mem_calculation_strategy name type running mem_used \
         mem_used_details fd_used fd_used_details sockets_used sockets_used_details proc_used proc_used_details \
         disk_free disk_free_details connection_created channel_created queue_declared queue_created queue_deleted \
         cluster_links metrics_gc_queue_length",
        &[],
    );
    check(
        &http.get("/api/queues/%2F/q"),
        "arguments auto_delete backing_queue_status consumer_capacity consumer_details consumer_utilisation consumers \
         deliveries durable effective_policy_definition exclusive exclusive_consumer_tag garbage_collection \
         head_message_timestamp incoming internal internal_owner memory message_bytes message_bytes_paged_out message_bytes_persistent \
         message_bytes_ram message_bytes_ready message_bytes_unacknowledged message_stats messages messages_details \
         messages_paged_out messages_persistent messages_ram messages_ready messages_ready_details messages_ready_ram \
         messages_unacknowledged messages_unacknowledged_details messages_unacknowledged_ram name node operator_policy \
         policy recoverable_slaves reductions single_active_consumer_tag state type vhost",
        &[
            "message_bytes_paged_out",
            "message_bytes_persistent",
            "messages_persistent",
        ],
    );
    check(
        &http.get("/api/connections")[0],
        "auth_mechanism channel_max channels client_properties connected_at frame_max host name node peer_cert_issuer \
         peer_cert_subject peer_cert_validity peer_host peer_port port protocol recv_cnt recv_oct recv_oct_details \
         send_cnt send_oct send_oct_details send_pend ssl ssl_cipher ssl_hash ssl_key_exchange ssl_protocol state \
         timeout type user user_who_performed_action vhost",
        &[],
    );
    check(
        &http.get("/api/channels")[0],
        "acks_uncommitted confirm connection_details consumer_count global_prefetch_count idle_since message_stats \
         messages_unacknowledged messages_uncommitted messages_unconfirmed name node number pending_raft_commands \
         prefetch_count state transactional user user_who_performed_action vhost",
        &[],
    );
    check(&http.get("/api/channels")[0]["message_stats"], stats, &[]);
    check(
        &http.get("/api/consumers")[0],
        "arguments ack_required active activity_status channel_details consumer_tag consumer_timeout exclusive prefetch_count queue",
        &[],
    );
    check(
        &http.get("/api/vhosts/%2F"),
        "cluster_state default_queue_type description message_stats messages messages_details messages_ready \
         messages_ready_details messages_unacknowledged messages_unacknowledged_details metadata name recv_oct \
         recv_oct_details send_oct send_oct_details tags tracing",
        &[],
    );
}
