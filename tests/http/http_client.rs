//! The crate `rabbitmq_http_client`, on which the `rabbitmqadmin` in Rust stands: what it sends and what it can read.

use rabbitmq_http_client::{
    blocking_api::Client,
    commons::{
        BindingDestinationType, PolicyTarget, SupportedProtocol, UserLimitTarget,
        VirtualHostLimitTarget,
    },
    password_hashing::{base64_encoded_salted_password_hash_sha256, salt},
    requests::{
        BindingDeletionParams, EnforcedLimitParams, ExchangeParams, MessageProperties, Permissions,
        PolicyParams, QueueParams, TopicPermissions, UserParams, VirtualHostParams,
    },
};
use serde_json::{Map, Value, json};

use crate::{broker::Broker, openapi::Consumer, requests::http};

type Api = Client<String, &'static str, &'static str>;

fn client(broker: &Broker) -> Api {
    let address = http(broker);
    Client::new(format!("http://{address}/api"), "guest", "guest")
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn users_permissions_and_limits() {
    let broker = Broker::start();
    let api = client(&broker);
    let hash = base64_encoded_salted_password_hash_sha256(&salt(), "secret");
    api.create_user(&UserParams::new("u", &hash, "management"))
        .unwrap();
    assert_eq!(api.get_user("u").unwrap().name, "u");
    assert_eq!(api.list_users().unwrap().len(), 2);
    assert_eq!(api.list_users_without_permissions().unwrap().len(), 1);
    api.declare_permissions(&Permissions::full_access("u", "/"))
        .unwrap();
    assert_eq!(api.get_permissions("/", "u").unwrap().write, ".*");
    assert_eq!(api.list_permissions_of("u").unwrap().len(), 1);
    assert_eq!(api.list_permissions_in("/").unwrap().len(), 2);
    api.declare_topic_permissions(&TopicPermissions {
        user: "u",
        vhost: "/",
        write: "^w",
        read: "^r",
        exchange: "amq.topic",
    })
    .unwrap();
    assert_eq!(api.list_topic_permissions_of("u").unwrap().len(), 1);
    api.clear_topic_permissions("/", "u", false).unwrap();
    let limit = EnforcedLimitParams::new(UserLimitTarget::MaxChannels, 7);
    api.set_user_limit("u", limit).unwrap();
    assert_eq!(api.list_user_limits("u").unwrap().len(), 1);
    assert_eq!(api.list_all_user_limits().unwrap().len(), 1);
    api.clear_user_limit("u", UserLimitTarget::MaxChannels)
        .unwrap();
    api.clear_permissions("/", "u", false).unwrap();
    let user: Client<String, _, _> =
        Client::new(format!("http://{}/api", http(&broker)), "u", "secret");
    assert_eq!(user.current_user().unwrap().name, "u");
    assert!(user.list_users().is_err());
    api.delete_users(vec!["u"]).unwrap();
    assert!(api.get_user("u").is_err());
    api.delete_user("u", true).unwrap();
    assert!(api.delete_user("u", false).is_err());
}

#[test]
fn vhosts_their_limits_and_their_protection() {
    let broker = Broker::start();
    let api = client(&broker);
    let mut vhost = VirtualHostParams::named("v");
    vhost.description = Some("for tests");
    vhost.tags = Some(vec!["one", "two"]);
    api.create_vhost(&vhost).unwrap();
    assert_eq!(
        api.get_vhost("v").unwrap().description.as_deref(),
        Some("for tests")
    );
    assert_eq!(api.list_vhosts().unwrap().len(), 2);
    let limit = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 5);
    api.set_vhost_limit("v", limit).unwrap();
    assert_eq!(api.list_vhost_limits("v").unwrap().len(), 1);
    api.clear_vhost_limit("v", VirtualHostLimitTarget::MaxQueues)
        .unwrap();
    api.enable_vhost_deletion_protection("v").unwrap();
    assert!(api.delete_vhost("v", false).is_err());
    api.disable_vhost_deletion_protection("v").unwrap();
    api.delete_vhost("v", false).unwrap();
}

#[test]
fn policies_and_parameters() {
    let broker = Broker::start();
    let api = client(&broker);
    for target in [
        PolicyTarget::All,
        PolicyTarget::Queues,
        PolicyTarget::ClassicQueues,
        PolicyTarget::QuorumQueues,
        PolicyTarget::Exchanges,
    ] {
        let definition = match target {
            PolicyTarget::Exchanges => json!({ "alternate-exchange": "amq.fanout" }),
            _ => json!({ "max-length": 5 }),
        };
        let policy = PolicyParams {
            vhost: "/",
            name: "p",
            pattern: "^q",
            apply_to: target,
            priority: 3,
            definition: map(definition),
        };
        api.declare_policy(&policy).unwrap();
        assert_eq!(api.get_policy("/", "p").unwrap().apply_to, target);
    }
    let operator = PolicyParams {
        vhost: "/",
        name: "o",
        pattern: ".*",
        apply_to: PolicyTarget::Queues,
        priority: 0,
        definition: map(json!({ "max-length": 9 })),
    };
    api.declare_operator_policy(&operator).unwrap();
    assert_eq!(api.list_operator_policies().unwrap().len(), 1);
    assert_eq!(api.list_policies_in("/").unwrap().len(), 1);
    assert_eq!(api.list_runtime_parameters().unwrap().len(), 1);
    api.delete_operator_policy("/", "o", false).unwrap();
    api.delete_policy("/", "p", false).unwrap();
    let refused = PolicyParams {
        pattern: "(",
        ..operator
    };
    assert!(api.declare_policy(&refused).is_err());
    api.set_cluster_name("ours").unwrap();
    assert_eq!(api.get_cluster_name().unwrap().name, "ours");
    assert_eq!(api.list_global_runtime_parameters().unwrap().len(), 1);
}

#[test]
fn exchanges_and_bindings() {
    let broker = Broker::start();
    let api = client(&broker);
    let arguments = Some(map(json!({ "alternate-exchange": "amq.fanout" })));
    api.declare_exchange("/", &ExchangeParams::durable_topic("x", arguments))
        .unwrap();
    api.declare_exchange("/", &ExchangeParams::durable_fanout("y", None))
        .unwrap();
    assert_eq!(api.get_exchange_info("/", "x").unwrap().name, "x");
    assert_eq!(api.list_exchanges_in("/").unwrap().len(), 9);
    let arguments = Some(map(json!({ "k": "v" })));
    api.bind_exchange("/", "y", "x", Some("a.#"), arguments.clone())
        .unwrap();
    let from = api.list_exchange_bindings_with_source("/", "x").unwrap();
    assert_eq!(from.len(), 1);
    let deletion = BindingDeletionParams {
        virtual_host: "/",
        source: "x",
        destination: "y",
        destination_type: BindingDestinationType::Exchange,
        routing_key: "a.#",
        arguments,
    };
    api.delete_binding(&deletion, false).unwrap();
    assert!(api.list_bindings_in("/").unwrap().is_empty());
    api.delete_exchanges("/", &["x", "y"], false).unwrap();
}

#[test]
fn queues_and_those_who_use_them() {
    let broker = Broker::start();
    let api = client(&broker);
    api.declare_queue("/", &QueueParams::new_durable_classic_queue("q", None))
        .unwrap();
    let _consumer = Consumer::of(&broker, "q");
    assert_eq!(api.list_queues_in("/").unwrap().len(), 1);
    assert_eq!(api.get_queue_info("/", "q").unwrap().name, "q");
    let connection = api.list_connections().unwrap().remove(0).name;
    assert_eq!(
        api.get_connection_info(&connection).unwrap().name,
        connection
    );
    let channels = api.list_channels_on(&connection).unwrap();
    assert_eq!(api.list_channels().unwrap().len(), channels.len());
    let consumer = api.list_consumers().unwrap().remove(0);
    assert_eq!(consumer.consumer_tag, "eater");
    assert_eq!(consumer.delivery_ack_timeout, 30 * 60 * 1000);
    assert_eq!(api.list_consumers_in("/").unwrap().len(), 1);
    let properties = MessageProperties::default();
    let published = api.publish_message("/", "", "q", "hello", properties);
    assert!(published.unwrap().routed);
    api.purge_queue("/", "q").unwrap();
    api.close_connection(&connection, Some("moving"), false)
        .unwrap();
    api.delete_queue("/", "q", false).unwrap();
}

#[test]
fn definitions() {
    let broker = Broker::start();
    let api = client(&broker);
    let definitions = json!({
        "queues": [{ "vhost": "/", "name": "q", "durable": true, "auto_delete": false, "arguments": {} }],
    });
    api.import_definitions(definitions).unwrap();
    let all = api.export_cluster_wide_definitions_as_data().unwrap();
    assert_eq!(all.queues.len(), 1);
    let of_vhost = api.export_vhost_definitions_as_data("/").unwrap();
    assert_eq!(of_vhost.queues.len(), 1);
}

#[test]
fn health_checks_and_what_is_known_of_the_broker() {
    let broker = Broker::start();
    let api = client(&broker);
    api.health_check_cluster_wide_alarms().unwrap();
    api.health_check_local_alarms().unwrap();
    api.health_check_if_node_is_quorum_critical().unwrap();
    api.health_check_port_listener(broker.amqp_port()).unwrap();
    assert!(api.health_check_port_listener(1).is_err());
    api.health_check_protocol_listener(SupportedProtocol::AMQP)
        .unwrap();
    assert!(api.server_version().unwrap().starts_with("4.3"));
    assert!(api.list_feature_flags().unwrap().0.is_empty());
    assert!(api.list_all_deprecated_features().unwrap().0.is_empty());
    api.enable_all_stable_feature_flags().unwrap();
    api.rebalance_queue_leaders().unwrap();
    assert!(
        !api.auth_attempts_statistics("leveret@localhost")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_memory_of_the_node() {
    let broker = Broker::start();
    let api = client(&broker);
    let node = api.list_nodes().unwrap().remove(0).name;
    let memory = api
        .get_node_memory_footprint(&node)
        .unwrap()
        .breakdown
        .unwrap();
    assert!(memory.total.rss > 0);
    assert_eq!(
        memory.other_procs + memory.classic_queue_procs,
        memory.total.rss
    );
}
