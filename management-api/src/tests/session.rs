//! Sessions of the web page: who gets a cookie, what it is good for, and what other web sites cannot do with it.

use axum::http::{HeaderMap, header::SET_COOKIE};
use broker_core::users::NewPassword;

use super::*;

const PATH: &str = "/api/leveret/session";
const PAGE: (&str, &str) = ("x-leveret-csrf", "1");

/// A broker and those who ask it.
struct Scene {
    core: Arc<Broker>,
    router: Router,
}

impl Scene {
    fn new() -> Self {
        Self::of(|_| {})
    }

    fn of(change: impl FnOnce(&mut Node)) -> Self {
        let core = core();
        let password = NewPassword::Clear("secret");
        core.put_user("carol", password, &["administrator".to_owned()], "test")
            .unwrap();
        let mut node = node(Arc::clone(&core));
        change(&mut node);
        let peer: SocketAddr = HERE.parse().unwrap();
        let router = router(node).layer(MockConnectInfo(peer));
        Self { core, router }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = request.body(body).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn log_in(&self, user: &str, password: &str) -> Response<Body> {
        let body = json!({ "user": user, "password": password });
        self.ask(Method::POST, PATH, &[PAGE], body).await
    }

    /// What the browser sends from then on.
    async fn cookie(&self) -> String {
        let response = self.log_in("carol", "secret").await;
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = set_cookie(response.headers());
        cookie.split_once(';').unwrap().0.to_owned()
    }

    async fn overview(&self, cookie: &str) -> Response<Body> {
        let headers = [("cookie", cookie)];
        self.ask(Method::GET, "/api/overview", &headers, Value::Null)
            .await
    }

    /// Makes a vhost with these headers; the status.
    async fn change(&self, headers: &[(&str, &str)]) -> StatusCode {
        let response = self
            .ask(Method::PUT, "/api/vhosts/new", headers, json!({}))
            .await;
        response.status()
    }
}

fn set_cookie(headers: &HeaderMap) -> String {
    headers[SET_COOKIE].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_logs_in_gets_a_cookie_that_no_script_and_no_other_site_sees() {
    let scene = Scene::new();
    let response = scene.log_in("carol", "secret").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let cookie = set_cookie(response.headers());
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict");
    let id = pair.strip_prefix("leveret_session=").unwrap();
    assert_eq!(id.len(), 43, "256 bits in base64");
    let session = json_of(response).await;
    assert_eq!(session["name"], "carol");
    assert_eq!(session["tags"], json!(["administrator"]));
    let shown = scene
        .ask(Method::GET, PATH, &[("cookie", pair)], Value::Null)
        .await;
    assert_eq!(json_of(shown).await, session);
    assert_eq!(scene.overview(pair).await.status(), StatusCode::OK);
    assert_ne!(scene.cookie().await, scene.cookie().await);
}

#[tokio::test]
async fn a_cookie_over_tls_is_for_tls_alone() {
    let scene = Scene::new();
    let proxied = [PAGE, ("x-forwarded-proto", "https")];
    let body = json!({ "user": "carol", "password": "secret" });
    let response = scene.ask(Method::POST, PATH, &proxied, body.clone()).await;
    assert!(set_cookie(response.headers()).ends_with("; Secure"));
    let direct = scene.router.layer(axum::Extension(Secure));
    let request = Request::builder().method(Method::POST).uri(PATH);
    let request = request.header(PAGE.0, PAGE.1);
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = direct.oneshot(request).await.unwrap();
    assert!(set_cookie(response.headers()).ends_with("; Secure"));
}

#[tokio::test]
async fn the_page_is_refused_without_the_challenge_that_opens_the_browsers_own_form() {
    let scene = Scene::new();
    let wrong = scene.log_in("carol", "wrong").await;
    let nobody = scene
        .ask(Method::GET, "/api/overview", &[PAGE], Value::Null)
        .await;
    let old = scene.overview("leveret_session=AAAA").await;
    for response in [wrong, nobody, old] {
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
        assert!(!response.headers().contains_key(SET_COOKIE));
        let body = json!({ "error": "not_authorized", "reason": "Not_Authorized" });
        assert_eq!(json_of(response).await, body);
    }
}

#[tokio::test]
async fn a_user_who_may_not_use_the_api_gets_no_session() {
    let scene = Scene::new();
    scene.core.set_user_tags("carol", &[], "test").unwrap();
    let response = scene.log_in("carol", "secret").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(json_of(response).await["reason"], "Not management user");
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_pages_header_and_no_other_site() {
    let scene = Scene::new();
    let cookie = scene.cookie().await;
    let cookie = ("cookie", cookie.as_str());
    for headers in [
        &[cookie][..],
        &[cookie, ("x-leveret-csrf", "0")],
        &[cookie, PAGE, ("sec-fetch-site", "cross-site")],
        &[cookie, PAGE, ("sec-fetch-site", "same-site")],
        &[cookie, PAGE, ("sec-fetch-site", "none")],
    ] {
        assert_eq!(scene.change(headers).await, StatusCode::FORBIDDEN);
        assert!(scene.core.vhost("new").is_none());
    }
    let own = [cookie, PAGE, ("sec-fetch-site", "same-origin")];
    assert_eq!(scene.change(&own).await, StatusCode::CREATED);
    assert_eq!(
        scene.change(&[cookie, PAGE]).await,
        StatusCode::NO_CONTENT,
        "old browsers say nothing"
    );
}

#[tokio::test]
async fn nobody_is_logged_in_or_out_by_another_site() {
    let scene = Scene::new();
    let cookie = scene.cookie().await;
    let body = json!({ "user": "carol", "password": "secret" });
    let response = scene.ask(Method::POST, PATH, &[], body).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let headers = [("cookie", cookie.as_str())];
    let response = scene.ask(Method::DELETE, PATH, &headers, Value::Null).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(scene.overview(&cookie).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn who_logs_out_has_no_session_any_more() {
    let scene = Scene::new();
    let cookie = scene.cookie().await;
    let headers = [("cookie", cookie.as_str()), PAGE];
    let response = scene.ask(Method::DELETE, PATH, &headers, Value::Null).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(set_cookie(response.headers()).starts_with("leveret_session=; "));
    assert!(set_cookie(response.headers()).ends_with("; Max-Age=0"));
    assert_eq!(
        scene.overview(&cookie).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn who_logs_in_anew_ends_the_session_of_before() {
    let scene = Scene::new();
    let cookie = scene.cookie().await;
    let body = json!({ "user": "carol", "password": "secret" });
    let headers = [("cookie", cookie.as_str()), PAGE];
    let response = scene.ask(Method::POST, PATH, &headers, body).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        scene.overview(&cookie).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_user_is_checked_again_at_each_request() {
    let scene = Scene::new();
    let cookie = scene.cookie().await;
    scene.core.set_user_tags("carol", &[], "test").unwrap();
    let refused = scene.overview(&cookie).await;
    assert_eq!(json_of(refused).await["reason"], "Not management user");
    let password = NewPassword::Clear("another");
    scene
        .core
        .put_user("carol", password, &["administrator".to_owned()], "test")
        .unwrap();
    let refused = scene.overview(&cookie).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let password = NewPassword::Clear("secret");
    scene
        .core
        .put_user("carol", password, &["administrator".to_owned()], "test")
        .unwrap();
    let ended = scene.overview(&cookie).await;
    assert_eq!(ended.status(), StatusCode::UNAUTHORIZED, "it is over");
}

#[tokio::test]
async fn credentials_of_a_request_go_before_its_cookie() {
    let scene = Scene::new();
    let cookie = scene.cookie().await;
    let guest = format!("Basic {}", STANDARD.encode("guest:guest"));
    let headers = [
        ("cookie", cookie.as_str()),
        ("authorization", guest.as_str()),
    ];
    let response = scene
        .ask(Method::GET, "/api/whoami", &headers, Value::Null)
        .await;
    assert_eq!(json_of(response).await["name"], "guest");
    assert_eq!(
        scene.change(&headers).await,
        StatusCode::CREATED,
        "tools need no header"
    );
}
