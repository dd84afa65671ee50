//! What the service is asked, as a form (RabbitMQ: `rabbit_auth_backend_http:q`).

use broker_core::{
    authentication::{Credentials, Identity},
    permissions::{About, Question},
};
use form_urlencoded::Serializer;

/// Whether somebody may log in. Without a password a certificate has said who it is.
pub(super) fn of_login(credentials: &Credentials<'_>) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("username", credentials.user);
    if let Some(password) = credentials.password {
        // Bytes that are no text are sent as they are.
        let encoded: String = form_urlencoded::byte_serialize(password).collect();
        let form = form.finish();
        return format!("{form}&password={encoded}");
    }
    form.finish()
}

/// Whether something is permitted.
pub(super) fn of_question(user: &Identity, question: &Question) -> String {
    let mut form = Serializer::new(String::new());
    let vhost = &*question.vhost;
    form.append_pair("username", user.name());
    form.append_pair("vhost", vhost);
    let tags = user.tags().join(" ");
    match &question.about {
        About::Vhost(peer) => {
            let ip = peer.map(|peer| peer.to_canonical().to_string());
            form.append_pair("ip", &ip.unwrap_or_default());
            form.append_pair("tags", &tags);
        }
        About::Resource {
            kind,
            name,
            operation,
        } => {
            form.append_pair("resource", kind);
            form.append_pair("name", name);
            form.append_pair("permission", &operation.to_string());
            form.append_pair("tags", &tags);
        }
        About::Topic {
            exchange,
            routing_key,
            operation,
        } => {
            form.append_pair("resource", "topic");
            form.append_pair("name", exchange);
            form.append_pair("permission", &operation.to_string());
            form.append_pair("tags", &tags);
            form.append_pair("routing_key", routing_key);
            form.append_pair("variable_map.username", user.name());
            form.append_pair("variable_map.vhost", vhost);
        }
    }
    form.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_core::permissions::Operation;

    #[test]
    fn the_questions_are_rabbitmqs() {
        let login = Credentials {
            user: "a b",
            password: Some(b"s&\xff"),
        };
        assert_eq!(of_login(&login), "username=a+b&password=s%26%FF");
        let login = Credentials {
            user: "ann",
            password: None,
        };
        assert_eq!(of_login(&login), "username=ann");

        let user = Identity::internal("ann", vec!["management".to_owned(), "x".to_owned()]);
        let ask = |about| {
            let vhost = "/".into();
            of_question(&user, &Question { vhost, about })
        };
        let peer = Some("::ffff:192.0.2.1".parse().unwrap());
        let vhost = "username=ann&vhost=%2F&ip=192.0.2.1&tags=management+x";
        assert_eq!(ask(About::Vhost(peer)), vhost);
        let resource = ask(About::Resource {
            kind: "exchange",
            name: "amq.default".to_owned(),
            operation: Operation::Write,
        });
        assert_eq!(
            resource,
            "username=ann&vhost=%2F&resource=exchange&name=amq.default&permission=write&tags=management+x"
        );
        let topic = ask(About::Topic {
            exchange: "amq.topic".to_owned(),
            routing_key: "a.b".to_owned(),
            operation: Operation::Read,
        });
        assert_eq!(
            topic,
            "username=ann&vhost=%2F&resource=topic&name=amq.topic&permission=read&tags=management+x&routing_key=a.b\
             &variable_map.username=ann&variable_map.vhost=%2F"
        );
    }
}
