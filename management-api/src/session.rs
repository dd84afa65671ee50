//! Sessions of the web page: a cookie that stands for a user, so that the page need not keep a password.
//!
//! A session is a random number that only the browser and the broker know. What the user logged in with is kept in
//! memory and checked again at every request, so that a changed password, a deleted user or a token that has ended ends
//! the session too. Nothing of it survives a restart.
//!
//! A browser sends a cookie whoever made the page that asks for it. So what changes anything needs a header that no
//! other site can send, as no CORS header ever allows it ([OWASP](
//! https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html)).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, Method, header::COOKIE, request::Parts};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use broker_core::queue::Millis;

use crate::{Error, login::Credentials};

/// The name of the cookie.
pub(crate) const COOKIE_NAME: &str = "leveret_session";

/// The header that the web page sends with each of its requests.
pub(crate) const PAGE_HEADER: &str = "x-leveret-csrf";

/// How long a session lasts after its last request, in milliseconds: a working day.
const IDLE: Millis = 8 * 60 * 60 * 1000;

/// The most sessions at a time. One more ends the one that was idle longest.
const MOST: usize = 1000;

/// A request over TLS carries this: its cookies are for TLS alone.
#[derive(Debug, Clone, Copy)]
pub struct Secure;

/// The sessions that there are.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Id, Session>>);

type Id = [u8; 32];

struct Session {
    credentials: Credentials,
    last_used: Millis,
}

/// No log line shows a password.
impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Session of {}", self.credentials.user)
    }
}

impl Sessions {
    /// Begins a session; what the cookie says.
    pub(crate) fn begin(&self, credentials: Credentials, now: Millis) -> String {
        let id: Id = rand::random();
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MOST {
            let idlest = sessions.iter().min_by_key(|(_, it)| it.last_used);
            if let Some(idlest) = idlest.map(|(id, _)| *id) {
                sessions.remove(&idlest);
            }
        }
        let last_used = now;
        let session = Session {
            credentials,
            last_used,
        };
        sessions.insert(id, session);
        URL_SAFE_NO_PAD.encode(id)
    }

    /// What the user of this session logged in with.
    pub(crate) fn find(&self, cookie: &str, now: Millis) -> Option<Credentials> {
        let id = id_of(cookie)?;
        let mut sessions = self.lock();
        let session = sessions.get_mut(&id)?;
        if session.is_over(now) {
            sessions.remove(&id);
            return None;
        }
        session.last_used = now;
        Some(session.credentials.clone())
    }

    /// Ends a session.
    pub(crate) fn end(&self, cookie: &str) {
        if let Some(id) = id_of(cookie) {
            self.lock().remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_over(&self, now: Millis) -> bool {
        self.last_used.saturating_add(IDLE) < now
    }
}

fn id_of(cookie: &str) -> Option<Id> {
    URL_SAFE_NO_PAD.decode(cookie).ok()?.try_into().ok()
}

/// The cookie of a session that a request carries.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter();
    let texts = cookies.filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = texts.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// Whether a request comes from the web page, which shows a form of its own to those who are not logged in.
pub(crate) fn is_of_the_page(headers: &HeaderMap) -> bool {
    headers.contains_key(PAGE_HEADER) || cookie(headers).is_some()
}

/// Checks that no other web site has made the browser send this request.
///
/// # Errors
/// 403.
pub(crate) fn check_origin(parts: &Parts) -> Result<(), Error> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let refused = |reason: &str| Err(Error::Forbidden(reason.to_owned()));
    if parts
        .headers
        .get(PAGE_HEADER)
        .is_none_or(|value| value != "1")
    {
        return refused("a request with a session's cookie needs the header X-Leveret-CSRF: 1");
    }
    match parts.headers.get("sec-fetch-site") {
        Some(site) if site != "same-origin" => {
            refused("a request with a session's cookie has to come from this broker's own page")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            password: "secret".to_owned(),
        }
    }

    fn user(sessions: &Sessions, cookie: &str, now: Millis) -> Option<String> {
        sessions.find(cookie, now).map(|it| it.user)
    }

    #[test]
    fn a_session_ends_after_eight_hours_without_a_request() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(credentials("carol"), 0);
        assert_eq!(user(&sessions, &cookie, IDLE).as_deref(), Some("carol"));
        assert_eq!(user(&sessions, &cookie, 2 * IDLE).as_deref(), Some("carol"));
        assert_eq!(user(&sessions, &cookie, 3 * IDLE + 1), None);
        assert_eq!(user(&sessions, &cookie, 0), None, "it does not come back");
    }

    #[test]
    fn a_session_that_was_ended_is_known_no_more() {
        let sessions = Sessions::default();
        let (one, other) = (
            sessions.begin(credentials("one"), 0),
            sessions.begin(credentials("other"), 0),
        );
        assert_ne!(one, other);
        sessions.end(&one);
        sessions.end("nonsense");
        assert_eq!(user(&sessions, &one, 0), None);
        assert_eq!(user(&sessions, &other, 0).as_deref(), Some("other"));
    }

    #[test]
    fn one_session_too_many_ends_the_one_that_was_idle_longest() {
        let sessions = Sessions::default();
        let cookies: Vec<String> = (0..MOST as u64)
            .map(|now| sessions.begin(credentials("carol"), now))
            .collect();
        assert!(user(&sessions, &cookies[0], 5000).is_some());
        sessions.begin(credentials("dave"), 6000);
        assert_eq!(sessions.lock().len(), MOST);
        assert!(user(&sessions, &cookies[0], 6000).is_some());
        assert!(user(&sessions, &cookies[1], 6000).is_none());
    }

    #[test]
    fn the_cookie_is_found_among_others_and_no_part_of_a_name_counts() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, text.parse().unwrap());
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(of("a=b; leveret_session=x; c=d").as_deref(), Some("x"));
        assert_eq!(of("my_leveret_session=x"), None);
        assert_eq!(of("leveret_session"), None);
    }
}
