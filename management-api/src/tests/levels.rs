//! What a user may see and do, by tags and permissions: RabbitMQ's rules, row by row.

use broker_core::{definitions::PermissionDefinition, users::NewPassword};

use super::*;

/// Users, each with a tag, with or without permissions in vhost `/`, in the order of the columns below.
const USERS: [(&str, &str, bool); 7] = [
    ("none", "", true),
    ("management", "management", true),
    ("stranger", "management", false),
    ("policymaker", "policymaker", true),
    ("outsider", "policymaker", false),
    ("monitoring", "monitoring", false),
    ("administrator", "administrator", false),
];

/// Method, path, body, and the status for each user.
type Row = (Method, &'static str, &'static str, [u16; 7]);

const POLICY: &str = r#"{"pattern":"^q","definition":{"max-length":1}}"#;

#[rustfmt::skip]
const ROWS: [Row; 25] = [
    (Method::GET,    "whoami",                   "",     [401, 200, 200, 200, 200, 200, 200]),
    (Method::GET,    "users",                    "",     [401, 401, 401, 401, 401, 401, 200]),
    (Method::GET,    "permissions",              "",     [401, 401, 401, 401, 401, 401, 200]),
    (Method::PUT,    "users/x",                  r#"{"tags":""}"#, [401, 401, 401, 401, 401, 401, 201]),
    (Method::GET,    "vhosts",                   "",     [401, 200, 200, 200, 200, 200, 200]),
    (Method::GET,    "vhosts/%2F",               "",     [401, 401, 401, 401, 401, 401, 200]),
    (Method::PUT,    "vhosts/x",                 "{}",   [401, 401, 401, 401, 401, 401, 201]),
    (Method::GET,    "exchanges",                "",     [401, 200, 200, 200, 200, 200, 200]),
    (Method::GET,    "exchanges/%2F",            "",     [401, 200, 404, 200, 404, 404, 200]),
    (Method::GET,    "exchanges/%2F/amq.topic",  "",     [401, 200, 404, 200, 404, 404, 200]),
    (Method::GET,    "exchanges/gone",           "",     [401, 404, 404, 404, 404, 404, 404]),
    // An administrator sees everything and may not do everything.
    (Method::PUT,    "exchanges/%2F/x",          "{}",   [401, 201, 404, 204, 404, 404, 401]),
    (Method::GET,    "bindings/%2F",             "",     [401, 200, 404, 200, 404, 404, 200]),
    (Method::GET,    "policies/%2F",             "",     [401, 200, 404, 200, 404, 404, 200]),
    (Method::PUT,    "policies/%2F/p",           POLICY, [401, 401, 401, 201, 404, 401, 204]),
    (Method::GET,    "policies/%2F/p",           "",     [401, 401, 401, 200, 404, 401, 200]),
    (Method::PUT,    "operator-policies/%2F/p",  POLICY, [401, 401, 401, 401, 401, 401, 201]),
    (Method::GET,    "parameters",               "",     [401, 401, 401, 200, 200, 401, 200]),
    (Method::GET,    "global-parameters",        "",     [401, 401, 401, 200, 200, 401, 200]),
    (Method::GET,    "vhost-limits",             "",     [401, 200, 200, 200, 200, 200, 200]),
    (Method::GET,    "vhost-limits/%2F",         "",     [401, 200, 404, 200, 404, 200, 200]),
    (Method::PUT,    "vhost-limits/%2F/max-queues", r#"{"value":9}"#, [401, 401, 401, 401, 401, 401, 204]),
    (Method::GET,    "definitions",              "",     [401, 401, 401, 401, 401, 401, 200]),
    (Method::GET,    "auth/attempts/leveret@here", "",   [401, 401, 401, 401, 401, 200, 200]),
    (Method::GET,    "health/checks/alarms",     "",     [401, 200, 200, 200, 200, 200, 200]),
];

/// A broker with these users; their passwords are their names.
fn core_with_users() -> Arc<Broker> {
    let core = core();
    for (name, tag, permitted) in USERS {
        // A hash that takes no time to check.
        let hash = broker_core::users::hash_public_password(name.as_bytes());
        let password = NewPassword::Hash {
            hash: &hash,
            algorithm: broker_core::users::SHA_256,
        };
        let tags: Vec<String> = [tag.to_owned()]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        core.put_user(name, password, &tags, "test").unwrap();
        if permitted {
            let everything = PermissionDefinition::everything(name, "/");
            core.set_permissions(&everything, "test").unwrap();
        }
    }
    core
}

async fn status(core: &Arc<Broker>, user: &str, (method, path, body): (Method, &str, &str)) -> u16 {
    let encoded = STANDARD.encode(format!("{user}:{user}"));
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/{path}"))
        .header(header::AUTHORIZATION, format!("Basic {encoded}"))
        .body(Body::from(body.to_owned()))
        .unwrap();
    let peer: SocketAddr = HERE.parse().unwrap();
    let router = router(node(Arc::clone(core))).layer(MockConnectInfo(peer));
    router.oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn tags_and_permissions_decide_as_in_rabbitmq() {
    let core = core_with_users();
    for (method, path, body, expected) in ROWS {
        for ((user, ..), expected) in USERS.into_iter().zip(expected) {
            let request = (method.clone(), path, body);
            let status = status(&core, user, request).await;
            assert_eq!(status, expected, "{method} {path} as {user}");
        }
    }
}

#[tokio::test]
async fn a_list_shows_what_its_reader_may_see() {
    let core = core_with_users();
    let names = async |user: &str, path: &str| {
        let user = format!("{user}:{user}");
        let response = send_to(Arc::clone(&core), Method::GET, path, Some(&user), HERE).await;
        json_of(response).await.as_array().unwrap().len()
    };
    assert_eq!(names("management", "/api/vhosts").await, 1);
    assert_eq!(names("stranger", "/api/vhosts").await, 0);
    assert_eq!(names("monitoring", "/api/vhosts").await, 1);
    assert_eq!(names("management", "/api/exchanges").await, 7);
    assert_eq!(names("monitoring", "/api/exchanges").await, 0);
    assert_eq!(names("administrator", "/api/exchanges").await, 7);
}
