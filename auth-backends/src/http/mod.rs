//! Asking a service over HTTP (RabbitMQ: `rabbitmq_auth_backend_http`).
//!
//! It is asked four things, each at an address of its own: whether a user may log in, open a vhost, use a queue or
//! exchange, use a routing key. It answers `allow` (with the user's tags behind, for a login) or `deny` (perhaps with a
//! reason behind); anything else is an error, and refuses. Answers are remembered for a while.

mod answer;
mod form;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    authentication::{Admitted, Backend, Credentials, Identity, NotRenewed, Refusal},
    permissions::{About, Answer, Authoriser, Question, Renewal},
};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};

pub use crate::client::ClientOptions;
use crate::{
    Error,
    cache::Cache,
    client::{Client, check_address},
};

/// How the service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// What is asked is part of the address. The service's log may show passwords then.
    Get,
    /// What is asked is sent as a form.
    Post,
}

/// What is configured of the service (RabbitMQ: `auth_http.*`).
#[derive(Debug, Clone)]
pub struct Options {
    /// How it is asked.
    pub method: Method,
    /// Where users are asked for.
    pub user_path: String,
    /// Where vhosts are asked for.
    pub vhost_path: String,
    /// Where queues and exchanges are asked for.
    pub resource_path: String,
    /// Where routing keys are asked for.
    pub topic_path: String,
    /// Whether clients are told the reasons of refusals.
    pub disclose_reasons: bool,
    /// For how long an answer counts.
    pub cache: Duration,
    /// How addresses are asked.
    pub client: ClientOptions,
}

/// The most bytes of an answer.
const MOST: u64 = 64 * 1024;

/// What a login is remembered by: the user's name, and a hash of the password under a key that never leaves the process.
type LoginKey = (String, [u8; 32]);

/// What a permission is remembered by: user, tags and what was asked.
type PermissionKey = (Arc<str>, Vec<String>, Question);

/// The service.
#[derive(Debug)]
pub struct Service {
    options: Options,
    client: Client,
    key: hmac::Key,
    logins: Cache<LoginKey, Result<Vec<String>, Refusal>>,
    permissions: Cache<PermissionKey, Answer>,
}

/// The service, as a backend.
#[derive(Debug, Clone)]
pub struct HttpBackend(Arc<Service>);

impl HttpBackend {
    /// Prepares to ask. The service itself is asked later: it may start after the broker.
    ///
    /// # Errors
    /// A file cannot be used, or options are missing.
    pub fn new(options: Options) -> Result<Self, Error> {
        let paths = [
            ("auth_http.user_path", &options.user_path),
            ("auth_http.vhost_path", &options.vhost_path),
            ("auth_http.resource_path", &options.resource_path),
            ("auth_http.topic_path", &options.topic_path),
        ];
        for (option, path) in paths {
            check_address(option, path)?;
        }
        let mut secret = [0; 32];
        let random = SystemRandom::new().fill(&mut secret);
        random.map_err(|_| Error::Option {
            option: "auth_http",
            problem: "needs random numbers, and the system has none".to_owned(),
        })?;
        Ok(Self(Arc::new(Service {
            client: Client::new(&options.client, 0)?,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            logins: Cache::new(options.cache),
            permissions: Cache::new(options.cache),
            options,
        })))
    }

    fn admit(&self, user: &str, tags: Vec<String>) -> Admitted {
        Admitted {
            name: user.into(),
            tags,
            authoriser: Arc::new(self.clone()),
        }
    }
}

impl Service {
    fn login_key(&self, credentials: &Credentials<'_>) -> LoginKey {
        let mut hidden = [0; 32];
        if let Some(password) = credentials.password {
            let signed = hmac::sign(&self.key, password);
            let bytes = signed.as_ref().iter();
            hidden
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
        }
        (credentials.user.to_owned(), hidden)
    }

    fn ask(&self, path: &str, form: &str) -> Result<String, Error> {
        let reply = match self.options.method {
            Method::Get => self.client.get(&format!("{path}?{form}"), path, MOST),
            Method::Post => self.client.post(path, form, MOST),
        }?;
        match reply.status {
            200 | 201 => Ok(reply.text),
            status => Err(Error::Status {
                url: path.to_owned(),
                status,
            }),
        }
    }

    fn path(&self, about: &About) -> &str {
        match about {
            About::Vhost(_) => &self.options.vhost_path,
            About::Resource { .. } => &self.options.resource_path,
            About::Topic { .. } => &self.options.topic_path,
        }
    }
}

impl Backend for HttpBackend {
    fn name(&self) -> &'static str {
        "http"
    }

    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal> {
        if let Some(known) = self.authenticate_now(credentials) {
            return known;
        }
        let service = &self.0;
        let asked = service.ask(&service.options.user_path, &form::of_login(credentials));
        let text = asked.map_err(|error| {
            tracing::error!(user = credentials.user, "cannot ask for a user: {error}");
            Refusal::new(error.to_string())
        })?;
        let answer = answer::of_login(&text).map_err(Refusal::new)?;
        let key = service.login_key(credentials);
        service.logins.put(key, answer.clone(), Instant::now());
        answer.map(|tags| self.admit(credentials.user, tags))
    }

    fn authenticate_now(&self, credentials: &Credentials<'_>) -> Option<Result<Admitted, Refusal>> {
        let key = self.0.login_key(credentials);
        let answer = self.0.logins.get(&key, Instant::now())?;
        Some(answer.map(|tags| self.admit(credentials.user, tags)))
    }
}

impl Authoriser for HttpBackend {
    fn backend(&self) -> &'static str {
        "rabbit_auth_backend_http"
    }

    fn answer_now(&self, user: &Identity, question: &Question) -> Option<Answer> {
        let key = (
            Arc::clone(user.name()),
            user.tags().to_vec(),
            question.clone(),
        );
        self.0.permissions.get(&key, Instant::now())
    }

    fn answer(&self, user: &Identity, question: &Question) -> Answer {
        if let Some(known) = self.answer_now(user, question) {
            return known;
        }
        let service = &self.0;
        let form = form::of_question(user, question);
        let text = match service.ask(service.path(&question.about), &form) {
            Ok(text) => text,
            Err(Error::Status { status, .. }) => return Answer::Failed(format!("status {status}")),
            Err(error) => {
                tracing::error!("cannot ask for a permission: {error}");
                return Answer::Failed("it could not be asked".to_owned());
            }
        };
        let Some(answer) = answer::of_question(&text, service.options.disclose_reasons) else {
            return Answer::Failed("bad_response".to_owned());
        };
        let key = (
            Arc::clone(user.name()),
            user.tags().to_vec(),
            question.clone(),
        );
        service.permissions.put(key, answer.clone(), Instant::now());
        answer
    }

    fn answers_count_for(&self) -> Option<u64> {
        let counts = self.0.permissions.time_to_live().as_millis();
        Some(u64::try_from(counts).unwrap_or(u64::MAX))
    }

    fn renew(&self, _: &[u8]) -> Result<Renewal, NotRenewed> {
        Err(NotRenewed::Failed("a password is not renewed".to_owned()))
    }
}
