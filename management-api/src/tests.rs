//! The frame, asked without a socket.

use std::net::SocketAddr;

use axum::{
    body::{Body, to_bytes},
    extract::connect_info::MockConnectInfo,
    http::{Method, Request, Response, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker_core::{
    alarms::Resource, broker::Broker, definitions::MemoryDefinitions, store::MemoryStore,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

mod levels;
mod page;
mod session;

const HERE: &str = "127.0.0.1:1";
const GUEST: Option<&str> = Some("guest:guest");

pub(crate) fn core() -> Arc<Broker> {
    let store = Arc::new(MemoryStore::new());
    Broker::start(store, Arc::new(MemoryDefinitions::new()), 0).unwrap()
}

pub(crate) fn node(core: Arc<Broker>) -> Node {
    Node {
        core,
        name: "leveret@here".into(),
        listeners: vec![Listener {
            protocol: "amqp",
            address: "127.0.0.1:5672".parse().unwrap(),
        }],
        store: StoreKind {
            engine: "journal",
            durability: "sync",
            sync_interval: None,
        },
        loopback_users: vec!["guest".into()],
        connection_max: 0,
        consumer_timeout: 0,
        configuration: "# none".to_owned(),
        data_dir: "/var/lib/leveret".into(),
        started_at: 0,
        clock: Arc::new(|| 0),
        limits: ResourceLimits::default(),
        metrics_authentication: false,
        sessions: Sessions::default(),
        certificates: Arc::new(Vec::new),
        events: Arc::new(EventLog::new(1)),
        log_level: Arc::new(FixedLevel),
    }
}

/// A log that is as it is.
struct FixedLevel;

impl LogLevel for FixedLevel {
    fn current(&self) -> String {
        "info".to_owned()
    }

    fn change(&self, _: &str) -> Result<(), String> {
        Err("stays as it is".to_owned())
    }
}

async fn send(method: Method, path: &str, user: Option<&str>, peer: &str) -> Response<Body> {
    send_to(core(), method, path, user, peer).await
}

async fn send_to(
    core: Arc<Broker>,
    method: Method,
    path: &str,
    user: Option<&str>,
    peer: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(user) = user {
        let encoded = STANDARD.encode(user);
        request = request.header(header::AUTHORIZATION, format!("Basic {encoded}"));
    }
    let peer: SocketAddr = peer.parse().unwrap();
    let router = router(node(core)).layer(MockConnectInfo(peer));
    let request = request.body(Body::empty()).unwrap();
    router.oneshot(request).await.unwrap()
}

pub(crate) async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_overview_has_rabbitmqs_fields() {
    let response = send(Method::GET, "/api/overview", GUEST, HERE).await;
    assert_eq!(response.status(), StatusCode::OK);
    let overview = json_of(response).await;
    assert_eq!(overview["product_name"], "Leveret");
    assert_eq!(overview["product_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(overview["rabbitmq_version"], "4.3.0");
    assert_eq!(overview["node"], "leveret@here");
    let store = json!({ "engine": "journal", "durability": "sync" });
    assert_eq!(overview["store"], store);
    assert_eq!(
        overview["listeners"],
        json!([{ "node": "leveret@here", "protocol": "amqp", "ip_address": "127.0.0.1", "port": 5672, "socket_opts": {}, "tls": false }])
    );
}

#[tokio::test]
async fn the_alarm_check_is_503_and_names_the_alarms() {
    let path = "/api/health/checks/alarms";
    let response = send(Method::GET, path, GUEST, HERE).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(json_of(response).await, json!({ "status": "ok" }));
    let core = core();
    core.set_alarm(Resource::Disk, true);
    core.set_alarm(Resource::Memory, true);
    let response = send_to(core, Method::GET, path, GUEST, HERE).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let failed = json_of(response).await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["alarms"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn without_good_credentials_the_answer_is_401_with_a_challenge() {
    for user in [None, Some("guest"), Some("guest:wrong"), Some("nobody:x")] {
        let response = send(Method::GET, "/api/overview", user, HERE).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{user:?}");
        let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str();
        assert!(challenge.unwrap().starts_with("Basic realm="));
        let body = json!({ "error": "not_authorized", "reason": "Not_Authorized" });
        assert_eq!(json_of(response).await, body);
    }
}

#[tokio::test]
async fn a_user_for_this_machine_only_is_refused_from_elsewhere() {
    let response = send(Method::GET, "/api/overview", GUEST, "192.0.2.1:1").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body = json!({ "error": "not_authorised", "reason": "User can only log in via localhost" });
    assert_eq!(json_of(response).await, body);
    // A loopback peer of a dual-stack socket is a loopback peer.
    let peer = "[::ffff:127.0.0.1]:1";
    let response = send(Method::GET, "/api/overview", GUEST, peer).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_user_without_one_of_the_apis_tags_is_refused() {
    let core = core();
    let password = broker_core::users::NewPassword::Clear("secret");
    core.put_user("app", password, &["mine".to_owned()], "test")
        .unwrap();
    let user = Some("app:secret");
    let response = send_to(Arc::clone(&core), Method::GET, "/api/overview", user, HERE).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body = json!({ "error": "not_authorised", "reason": "Not management user" });
    assert_eq!(json_of(response).await, body);
    core.set_user_tags("app", &["management".to_owned()], "test")
        .unwrap();
    let response = send_to(core, Method::GET, "/api/overview", user, HERE).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_path_is_404_in_json() {
    for path in ["/api/no/such", "/api/", "/api", "/metrics/no/such"] {
        let response = send(Method::GET, path, None, HERE).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            json_of(response).await,
            json!({ "error": "Object Not Found", "reason": "Not Found" })
        );
    }
}

#[tokio::test]
async fn a_slash_at_the_end_means_nothing() {
    for path in ["/api/overview/", "/api/overview/?columns=node"] {
        let response = send(Method::GET, path, GUEST, HERE).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn another_method_is_405_and_options_are_told() {
    let response = send(Method::DELETE, "/api/overview", GUEST, HERE).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(json_of(response).await["error"], "Method Not Allowed");
    let response = send(Method::OPTIONS, "/api/overview", None, HERE).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
}
