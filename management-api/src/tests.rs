use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::MockConnectInfo;
use axum::http::{Method, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

#[derive(Default)]
struct Fake {
    alarms: Vec<&'static str>,
}

impl Broker for Fake {
    fn log_in(&self, user: &str, password: &str, peer: IpAddr) -> bool {
        user == "guest" && password == "a:b" && peer.is_loopback()
    }

    fn overview(&self) -> Overview {
        Overview {
            node: "leveret@here".into(),
            cluster_name: "ours".into(),
            object_totals: ObjectTotals {
                connections: 1,
                channels: 2,
                exchanges: 7,
                queues: 3,
                consumers: 4,
            },
            listeners: vec![Listener {
                protocol: "amqp",
                address: "127.0.0.1:5672".parse().unwrap(),
            }],
            store: StoreKind {
                engine: "journal",
                durability: "sync",
                sync_interval: None,
            },
        }
    }

    fn alarms(&self) -> Vec<&'static str> {
        self.alarms.clone()
    }
}

async fn send(method: Method, path: &str, user: Option<&str>, peer: &str) -> Response<Body> {
    send_to(Fake::default(), method, path, user, peer).await
}

async fn send_to(
    broker: Fake,
    method: Method,
    path: &str,
    user: Option<&str>,
    peer: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(user) = user {
        request = request.header(
            header::AUTHORIZATION,
            format!("Basic {}", STANDARD.encode(user)),
        );
    }
    let peer: SocketAddr = peer.parse().unwrap();
    let router = router(Arc::new(broker)).layer(MockConnectInfo(peer));
    router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_overview_has_rabbitmqs_fields() {
    let response = send(
        Method::GET,
        "/api/overview",
        Some("guest:a:b"),
        "127.0.0.1:1",
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    let overview = json_of(response).await;
    assert_eq!(overview["product_name"], "Leveret");
    assert_eq!(overview["product_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(overview["rabbitmq_version"], "4.3.0");
    assert_eq!(overview["node"], "leveret@here");
    assert_eq!(overview["cluster_name"], "ours");
    let store = serde_json::json!({"engine": "journal", "durability": "sync"});
    assert_eq!(overview["store"], store);
    assert_eq!(
        overview["object_totals"],
        json!({ "connections": 1, "channels": 2, "exchanges": 7, "queues": 3, "consumers": 4 })
    );
    assert_eq!(
        overview["listeners"],
        json!([{ "node": "leveret@here", "protocol": "amqp", "ip_address": "127.0.0.1", "port": 5672 }])
    );
}

#[tokio::test]
async fn the_alarm_check_is_ok_without_an_alarm() {
    let response = send(
        Method::GET,
        "/api/health/checks/alarms",
        Some("guest:a:b"),
        "127.0.0.1:1",
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(json_of(response).await, json!({ "status": "ok" }));
}

#[tokio::test]
async fn the_alarm_check_is_503_and_names_the_alarms() {
    let broker = Fake {
        alarms: vec!["disk", "memory"],
    };
    let (path, user) = ("/api/health/checks/alarms", Some("guest:a:b"));
    let response = send_to(broker, Method::GET, path, user, "127.0.0.1:1").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        json_of(response).await,
        json!({
            "status": "failed",
            "reason": "There are alarms in effect in the cluster",
            "alarms": [
                { "node": "leveret@here", "resource": "disk" },
                { "node": "leveret@here", "resource": "memory" },
            ],
        })
    );
}

#[tokio::test]
async fn without_good_credentials_the_answer_is_401_with_a_challenge() {
    for (user, peer) in [
        (None, "127.0.0.1:1"),
        (Some("guest"), "127.0.0.1:1"),
        (Some("guest:wrong"), "127.0.0.1:1"),
        (Some("guest:a:b"), "192.0.2.1:1"),
    ] {
        let response = send(Method::GET, "/api/overview", user, peer).await;
        assert_eq!(
            response.status(),
            StatusCode::UNAUTHORIZED,
            "{user:?} from {peer}"
        );
        assert!(
            response.headers()[header::WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .starts_with("Basic realm=")
        );
        assert_eq!(
            json_of(response).await,
            json!({ "error": "not_authorized", "reason": "Not_Authorized" })
        );
    }
}

#[tokio::test]
async fn a_loopback_peer_of_a_dual_stack_socket_is_a_loopback_peer() {
    let response = send(
        Method::GET,
        "/api/overview",
        Some("guest:a:b"),
        "[::ffff:127.0.0.1]:1",
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_path_is_404_in_json() {
    for path in ["/api/no/such", "/api/", "/api", "/no/such"] {
        let response = send(Method::GET, path, None, "127.0.0.1:1").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            json_of(response).await,
            json!({ "error": "Object Not Found", "reason": "Not Found" })
        );
    }
}

#[tokio::test]
async fn another_method_is_405() {
    let response = send(
        Method::DELETE,
        "/api/overview",
        Some("guest:a:b"),
        "127.0.0.1:1",
    )
    .await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(json_of(response).await["error"], "Method Not Allowed");
}

#[tokio::test]
async fn the_page_shows_the_version_and_loads_nothing_from_elsewhere() {
    let response = send(Method::GET, "/", None, "127.0.0.1:1").await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.starts_with("default-src 'none'"));
    let page = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(page.contains(env!("CARGO_PKG_VERSION")) && !page.contains("{version}"));
    assert!(!page.contains("http://") && !page.contains("https://"));
    let style = send(Method::GET, "/style.css", None, "127.0.0.1:1").await;
    assert_eq!(
        style.headers()[header::CONTENT_TYPE],
        "text/css; charset=utf-8"
    );
}
