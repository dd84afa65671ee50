//! A service that knows users (`auth_http`), asked over real sockets.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};

use serde_json::json;

use crate::{
    leveret_only,
    served::Served,
    support::{
        Broker, Login, PATIENCE, Peer, basic, connection, exchange, handshake::plain, http::Http,
        peer::method_bytes, queue,
    },
    web::{self, Answer, Request},
};

/// What the service was asked, in order.
type Asked = Arc<Mutex<Vec<Request>>>;

/// The service of most tests: `ann` may do everything but with what is named `secret`.
fn decide(request: &Request) -> Answer {
    let allowed = match request.path.as_str() {
        "/auth/user" if request.field("username") == "tagged" => {
            return (200, "allow administrator management".to_owned());
        }
        "/auth/user" => request.field("username") == "ann" && request.field("password") == "right",
        "/auth/vhost" => request.field("vhost") == "/",
        "/auth/resource" if request.field("name") == "broken" => {
            return (500, "out of order".to_owned());
        }
        "/auth/resource" if request.field("name") == "strange" => return (200, "maybe".to_owned()),
        "/auth/resource" => request.field("name") != "secret",
        "/auth/topic" => request.field("routing_key").starts_with("public."),
        _ => false,
    };
    let text = if allowed { "allow" } else { "deny" };
    (200, text.to_owned())
}

/// A broker that asks such a service.
fn scene(further: &[(&str, &str)]) -> (Served, Asked) {
    scene_with(further, decide)
}

fn scene_with(
    further: &[(&str, &str)],
    decide: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Served, Asked) {
    let (options, asked) = service(further, decide);
    (Served::start_configured(options), asked)
}

/// The program, asking such a service.
fn program(
    further: &[(&str, &str)],
    decide: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Broker, Asked) {
    let (options, asked) = service(further, decide);
    let options = options.iter();
    let options: Vec<_> = options.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    (Broker::start_with_options(&options), asked)
}

/// A service, and the options with which a broker asks it.
fn service(
    further: &[(&str, &str)],
    decide: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Vec<(String, String)>, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let address = web::serve(move |request| {
        log.lock().unwrap().push(request.clone());
        decide(request)
    });
    let mut options = vec![("LEVERET_AUTH_BACKENDS".to_owned(), "http".to_owned())];
    for what in ["user", "vhost", "resource", "topic"] {
        let name = format!("LEVERET_AUTH_HTTP_{}_PATH", what.to_uppercase());
        options.push((name, format!("http://{address}/auth/{what}")));
    }
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    options.extend(further.iter().map(owned));
    (options, asked)
}

fn log_in(served: &Served, user: &str, password: &str) -> Peer {
    let mut peer = served.tcp();
    peer.greet();
    let login = Login {
        response: plain(user, password),
        ..Login::default()
    };
    peer.send(0, login.start_ok());
    peer
}

fn ann(served: &Served) -> Peer {
    let mut peer = served.tcp().opened(&Login {
        response: plain("ann", "right"),
        ..Login::default()
    });
    peer.open_channel(1);
    peer
}

fn declare(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        ..queue::Declare::default()
    }
}

#[test]
fn the_service_decides_on_logins_vhosts_and_names() {
    for method in ["post", "get"] {
        let (served, asked) = scene(&[("LEVERET_AUTH_HTTP_HTTP_METHOD", method)]);
        log_in(&served, "ann", "wrong").expect_close_with_code(403);
        let mut peer = ann(&served);
        peer.declare(1, declare("mine"));
        peer.send(1, declare("secret"));
        let text = "ACCESS_REFUSED - configure access to queue 'secret' in vhost '/' refused for user 'ann'";
        peer.expect_channel_close::<queue::Declare>(1, 403, text);
        let asked = asked.lock().unwrap();
        assert!(
            asked
                .iter()
                .all(|it| it.method.eq_ignore_ascii_case(method))
        );
        let last = asked.last().unwrap();
        assert_eq!(
            last.form,
            "username=ann&vhost=%2F&resource=queue&name=secret&permission=configure&tags="
        );
        let vhost = asked.iter().find(|it| it.path == "/auth/vhost").unwrap();
        assert_eq!(vhost.form, "username=ann&vhost=%2F&ip=127.0.0.1&tags=");
    }
}

#[test]
fn the_service_decides_on_routing_keys() {
    let (served, asked) = scene(&[]);
    let mut peer = ann(&served);
    let queue = peer.fresh_queue(1, "topics");
    peer.bind(1, &queue, "amq.topic", "public.#");
    peer.publish(1, "amq.topic", "public.x", "good");
    peer.publish(1, "amq.topic", "private.x", "bad");
    let text = "ACCESS_REFUSED - write access to topic 'private.x' in exchange topic 'amq.topic' in vhost '/' refused \
                for user 'ann'";
    peer.expect_channel_close::<basic::Publish>(1, 403, text);
    peer.open_channel(1);
    assert_eq!(peer.drain(1, &queue), ["good"]);
    let asked = asked.lock().unwrap();
    let topic = asked.iter().rfind(|it| it.path == "/auth/topic").unwrap();
    assert_eq!(
        topic.form,
        "username=ann&vhost=%2F&resource=topic&name=amq.topic&permission=write&tags=&routing_key=private.x\
         &variable_map.username=ann&variable_map.vhost=%2F"
    );
}

#[test]
fn what_is_neither_yes_nor_no_is_refused_and_said_so() {
    let (served, _) = scene(&[]);
    let mut peer = ann(&served);
    for (name, problem) in [("broken", "status 500"), ("strange", "bad_response")] {
        peer.send(1, declare(name));
        let text = format!(
            "ACCESS_REFUSED - configure access to queue '{name}' in vhost '/' refused for user 'ann', backend \
             rabbit_auth_backend_http returned an error: {problem}"
        );
        peer.expect_channel_close::<queue::Declare>(1, 403, &text);
        peer.open_channel(1);
    }
}

#[test]
fn answers_count_for_a_while() {
    let (served, asked) = scene(&[("LEVERET_AUTH_CACHE_TTL_SECONDS", "3600")]);
    let mut peer = ann(&served);
    let queue = peer.fresh_queue(1, "many");
    let before = asked.lock().unwrap().len();
    for _ in 0..300 {
        peer.publish(1, "", &queue, "x");
        peer.publish(1, "amq.fanout", "", "x");
    }
    peer.round_trip();
    // One question for each exchange, whatever the number of messages.
    let questions = asked.lock().unwrap().split_off(before);
    let writes = questions
        .iter()
        .filter(|it| it.field("permission") == "write");
    assert_eq!(writes.count(), 2, "{questions:?}");
    // A second connection of the user needs no question at all.
    let before = asked.lock().unwrap().len();
    let mut second = ann(&served);
    second.publish(1, "", &queue, "x");
    second.round_trip();
    assert_eq!(asked.lock().unwrap().len(), before);
}

#[test]
fn without_a_cache_a_publisher_is_asked_for_again_and_again() {
    let (served, asked) = scene(&[("LEVERET_AUTH_CACHE_TTL_SECONDS", "0")]);
    let mut peer = ann(&served);
    let queue = peer.fresh_queue(1, "many");
    let before = asked.lock().unwrap().len();
    for _ in 0..20 {
        peer.publish(1, "", &queue, "x");
        peer.round_trip();
    }
    let questions = asked.lock().unwrap().len() - before;
    assert!((20..60).contains(&questions), "{questions}");
    assert_eq!(peer.drain(1, &queue).len(), 20);
}

#[test]
fn an_answer_counts_for_one_update_of_the_secret_only() {
    let closed = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&closed);
    let no_cache = ("LEVERET_AUTH_CACHE_TTL_SECONDS", "0");
    let (served, _) = scene_with(&[no_cache], move |request| match request.path.as_str() {
        "/auth/vhost" if asks.load(Ordering::SeqCst) => (200, "deny".to_owned()),
        _ => decide(request),
    });
    let mut peer = ann(&served);
    let update = || connection::UpdateSecret {
        new_secret: "whatever".into(),
        reason: "a test".into(),
    };
    peer.call::<_, connection::UpdateSecretOk>(0, update());
    // Nothing comes in between on any channel.
    closed.store(true, Ordering::SeqCst);
    peer.send(0, update());
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
    peer.expect_connection_close::<connection::UpdateSecret>(530, text);
}

#[test]
fn others_go_on_while_somebody_waits_for_the_service() {
    let (answer, answers) = mpsc::channel::<()>();
    let answers = Mutex::new(answers);
    let (served, asked) = scene_with(&[], move |request| {
        if request.field("name") == "late" {
            answers.lock().unwrap().recv_timeout(PATIENCE).ok();
        }
        decide(request)
    });
    let mut waiting = ann(&served);
    let mut other = ann(&served);
    let queue = other.fresh_shared_queue(1, "living");
    waiting.consume_no_ack(1, &queue, "c");
    waiting.send_bytes(&method_bytes(1, declare("late")));
    let deadline = Instant::now() + PATIENCE;
    while !asked
        .lock()
        .unwrap()
        .iter()
        .any(|it| it.field("name") == "late")
    {
        assert!(Instant::now() < deadline, "nobody asked");
        crate::support::pause();
    }
    // Another connection works, and what it publishes reaches the one that waits.
    for number in 0..100 {
        other.publish(1, "", &queue, &number.to_string());
    }
    other.round_trip();
    for number in 0..100 {
        assert_eq!(waiting.expect_delivery(1).text(), number.to_string());
    }
    answer.send(()).unwrap();
    waiting.expect::<queue::DeclareOk>(1);
}

#[test]
fn a_service_that_does_not_answer_in_time_refuses() {
    let seconds = ("LEVERET_AUTH_HTTP_REQUEST_TIMEOUT_SECONDS", "1");
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (served, _) = scene_with(&[seconds], move |request| {
        if request.field("name") == "late" {
            held.lock().unwrap().recv_timeout(10 * PATIENCE).ok();
        }
        decide(request)
    });
    let mut peer = ann(&served);
    let start = Instant::now();
    peer.send(1, declare("late"));
    let text = "ACCESS_REFUSED - configure access to queue 'late' in vhost '/' refused for user 'ann', backend \
                rabbit_auth_backend_http returned an error: it could not be asked";
    peer.expect_channel_close::<queue::Declare>(1, 403, text);
    assert!(start.elapsed() < PATIENCE, "it was waited for");
    drop(hold);
}

#[test]
fn tags_come_with_the_answer_and_reasons_are_told_if_that_is_configured() {
    let disclose = ("LEVERET_AUTH_HTTP_AUTHORIZATION_FAILURE_DISCLOSURE", "true");
    let (served, asked) = scene_with(&[disclose], |request| match request.path.as_str() {
        "/auth/resource" => (200, "deny it is night".to_owned()),
        _ => decide(request),
    });
    let mut peer = served.tcp().opened(&Login {
        response: plain("tagged", ""),
        ..Login::default()
    });
    peer.open_channel(1);
    peer.send(
        1,
        exchange::Delete {
            exchange: "x".into(),
            ..exchange::Delete::default()
        },
    );
    let text = "ACCESS_REFUSED - configure access to exchange 'x' in vhost '/' refused for user 'tagged' by backend \
                rabbit_auth_backend_http: it is night";
    peer.expect_channel_close::<exchange::Delete>(1, 403, text);
    let asked = asked.lock().unwrap();
    assert_eq!(
        asked.last().unwrap().field("tags"),
        "administrator management"
    );
}

#[test]
fn one_backend_after_the_other_is_asked_and_each_may_do_its_part() {
    let backends = ("LEVERET_AUTH_BACKENDS", "internal,http:internal");
    let (served, asked) = scene(&[backends]);
    // A user of the broker's own: the service is not asked.
    served.connect("guest").round_trip();
    assert!(asked.lock().unwrap().is_empty());
    // Known to the service, but not to the broker, who is to say what the user may do.
    log_in(&served, "ann", "right").expect_close_with_code(403);
    served.user_without_permissions("ann");
    let mut peer = log_in(&served, "ann", "right");
    peer.tune(&Login::default());
    let vhost = connection::Open {
        virtual_host: "/".into(),
    };
    peer.send(0, vhost);
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
    peer.expect_connection_close::<connection::Open>(530, text);
    served.permit("ann", "/", ["^mine", "", ""]);
    let mut peer = ann(&served);
    peer.declare(1, declare("mine"));
    peer.send(1, declare("yours"));
    let text =
        "ACCESS_REFUSED - configure access to queue 'yours' in vhost '/' refused for user 'ann'";
    peer.expect_channel_close::<queue::Declare>(1, 403, text);
    assert!(
        asked
            .lock()
            .unwrap()
            .iter()
            .all(|it| it.path == "/auth/user")
    );
}

#[test]
fn a_service_that_is_not_there_lets_nobody_in() {
    let nowhere = ("LEVERET_AUTH_HTTP_USER_PATH", "http://127.0.0.1:1/user");
    let (served, _) = scene(&[nowhere]);
    log_in(&served, "ann", "right").expect_close_with_code(403);
}

#[test]
fn the_service_decides_on_what_its_users_do_over_http_too() {
    leveret_only!("the service is configured");
    let (broker, asked) = program(&[], |request| match request.field("permission").as_str() {
        "write" if request.field("name") == "amq.fanout" => (200, "deny".to_owned()),
        _ => decide(request),
    });
    let tagged = Http::user(&broker, "tagged", "x");
    let refused = |method: &str, path: &str, body| {
        let answer = tagged.send(method, path, Some(body));
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    };
    tagged.done("PUT", "/api/queues/%2F/mine", Some(json!({})));
    refused("PUT", "/api/queues/%2F/secret", json!({}));
    // Bindings: the source's topic has to be readable.
    let bindings = "/api/bindings/%2F/e/amq.topic/q/mine";
    tagged.done("POST", bindings, Some(json!({ "routing_key": "public.#" })));
    refused("POST", bindings, json!({ "routing_key": "private.#" }));
    refused("POST", "/api/bindings/%2F/e/secret/q/mine", json!({}));
    // Publishing.
    let publish = |exchange: &str| format!("/api/exchanges/%2F/{exchange}/publish");
    let message = |key: &str| {
        json!({
            "routing_key": key, "payload": "x", "payload_encoding": "string", "properties": {},
        })
    };
    let routed = tagged.post(&publish("amq.topic"), message("public.x"));
    assert_eq!(routed, json!({ "routed": true }));
    refused("POST", &publish("amq.topic"), message("private.x"));
    refused("POST", &publish("amq.fanout"), message("x"));
    let asked = asked.lock().unwrap();
    let tags = asked.iter().filter(|it| it.path != "/auth/user");
    for question in tags {
        assert_eq!(question.field("tags"), "administrator management");
    }
}

#[test]
fn no_log_line_holds_a_password_whatever_is_logged() {
    leveret_only!("its log is read");
    for method in ["get", "post"] {
        let further = [
            ("LEVERET_AUTH_HTTP_HTTP_METHOD", method),
            ("LEVERET_LOG_LEVEL", "trace"),
        ];
        let (broker, asked) = program(&further, |_| (200, "allow".to_owned()));
        let secret = "hush-hush";
        let login = Login {
            response: plain("ann", secret),
            ..Login::default()
        };
        Peer::tcp_to(broker.amqp_address()).opened(&login).close();
        assert_eq!(asked.lock().unwrap()[0].field("password"), secret);
        broker.await_line("the end", |line| line.contains("connection ended"));
        let log = broker.log();
        // Nor where the lines show sixteen bytes each.
        let wanted = |line: &&String| line.contains(secret) || line.contains("hush");
        let shown: Vec<_> = log.iter().filter(wanted).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }
}
