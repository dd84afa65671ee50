//! The keys with which tokens are signed, as sets of JSON Web Keys (RFC 7517).
//!
//! They are remembered. A token that names another key makes the broker look again, for issuers change their keys; but
//! when that has brought nothing new it does not look for a while, so that tokens that somebody has made up do not make
//! it ask again and again. While nobody answers, or somebody is looking just now, those that were known stay good: users
//! with good tokens do not wait for a server that is down.

use std::{
    collections::HashMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;

use super::options::{KeySource, Options};
use crate::{Error, client::Client};

/// How long keys are taken for those of their issuer: one that was withdrawn is not good for longer.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// The same for those of a file.
const FILE_GOOD_FOR: Duration = Duration::from_secs(2);

/// How long it takes after a search that brought nothing until there may be another one.
const PAUSE: Duration = Duration::from_secs(10);

/// The most bytes of a set of keys, or of an issuer's metadata.
const MOST: u64 = 1 << 20;

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    /// The one that it is for, if it says so.
    pub(super) algorithm: Option<Algorithm>,
}

/// The keys of one name. Mostly it is one; those without name may be several.
pub(super) type Named = Arc<[Key]>;

/// The keys that are known.
#[derive(Debug)]
pub(super) struct Keys {
    source: KeySource,
    client: Client,
    known: Mutex<Known>,
    /// One looks at a time.
    looking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// By name; those without have the empty one.
    keys: HashMap<String, Named>,
    read_at: Option<Instant>,
    /// When the last search ended that has not brought what was looked for.
    nothing_new_at: Option<Instant>,
}

/// The part of an issuer's metadata that says where its keys are.
#[derive(Deserialize)]
struct Metadata {
    jwks_uri: String,
}

impl Keys {
    /// Reads the keys if they are in a file. Addresses are asked later: the issuer may start after the broker.
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let keys = Self {
            source: options.keys.clone(),
            client: Client::new(&options.client, 3)?,
            known: Mutex::default(),
            looking: Mutex::default(),
        };
        if matches!(keys.source, KeySource::File(_)) {
            let read = keys.read()?;
            keys.replace(read, "", Instant::now());
        }
        Ok(keys)
    }

    /// The keys of this name, if they are known.
    pub(super) fn known(&self, name: &str) -> Option<Named> {
        self.known_at(name, Instant::now())
    }

    fn known_at(&self, name: &str, now: Instant) -> Option<Named> {
        let known = self.known.lock();
        let read = |good_for| known.read_at.is_some_and(|at| now < at + good_for);
        let good = match self.source {
            KeySource::File(_) => read(FILE_GOOD_FOR),
            // After a search in vain there is nothing better for a while.
            _ => read(GOOD_FOR) || !known.may_look(now),
        };
        good.then(|| known.keys.get(name).cloned()).flatten()
    }

    /// The keys of this name. Waits for whoever has to be asked.
    pub(super) fn find(&self, name: &str) -> Result<Named, String> {
        self.find_at(name, Instant::now())
    }

    fn find_at(&self, name: &str, now: Instant) -> Result<Named, String> {
        let Some(_turn) = self.turn_to_look(name) else {
            return self.kept(name);
        };
        if let Some(keys) = self.known_at(name, now) {
            return Ok(keys);
        }
        if self.known.lock().may_look(now) {
            let begun = Instant::now();
            match self.read() {
                Ok(keys) => self.replace(keys, name, now),
                Err(error) => {
                    tracing::error!("cannot read the keys of tokens: {error}");
                    let ended = now + begun.elapsed();
                    self.known.lock().nothing_new_at = Some(ended);
                }
            }
        }
        self.kept(name)
    }

    /// Waits until nobody else looks; `None` if these keys are known from before, so that they need not be waited for.
    fn turn_to_look(&self, name: &str) -> Option<MutexGuard<'_, ()>> {
        let at_hand = !matches!(self.source, KeySource::File(_)) && self.kept(name).is_ok();
        match at_hand {
            true => self.looking.try_lock(),
            false => Some(self.looking.lock()),
        }
    }

    /// Those that are too old are better than none, while nobody gives newer ones.
    fn kept(&self, name: &str) -> Result<Named, String> {
        let keys = self.known.lock().keys.get(name).cloned();
        keys.ok_or_else(|| "key_not_found".to_owned())
    }

    fn replace(&self, keys: HashMap<String, Named>, wanted: &str, now: Instant) {
        let mut known = self.known.lock();
        known.nothing_new_at = (!keys.contains_key(wanted)).then_some(now);
        known.keys = keys;
        known.read_at = Some(now);
    }

    fn read(&self) -> Result<HashMap<String, Named>, Error> {
        let (place, text) = match &self.source {
            KeySource::File(path) => {
                let text = fs::read_to_string(path).map_err(|error| Error::File {
                    path: path.clone(),
                    problem: error.to_string(),
                })?;
                (path.clone(), text)
            }
            KeySource::Url(url) => (url.clone(), self.ask(url)?),
            KeySource::Discovery(issuer) => {
                let issuer = issuer.trim_end_matches('/');
                let url = format!("{issuer}/.well-known/openid-configuration");
                let text = self.ask(&url)?;
                let metadata = serde_json::from_str(&text);
                let metadata: Metadata = metadata.map_err(|error| Error::Answer {
                    url,
                    problem: format!("says not where the keys are: {error}"),
                })?;
                let text = self.ask(&metadata.jwks_uri)?;
                (metadata.jwks_uri, text)
            }
        };
        parse(&text).map_err(|problem| Error::Answer {
            url: place,
            problem,
        })
    }

    fn ask(&self, url: &str) -> Result<String, Error> {
        let reply = self.client.get(url, url, MOST)?;
        match reply.status {
            200 => Ok(reply.text),
            status => Err(Error::Status {
                url: url.to_owned(),
                status,
            }),
        }
    }
}

impl Known {
    fn may_look(&self, now: Instant) -> bool {
        self.nothing_new_at.is_none_or(|at| now >= at + PAUSE)
    }
}

fn parse(text: &str) -> Result<HashMap<String, Named>, String> {
    let set: JwkSet =
        serde_json::from_str(text).map_err(|error| format!("is no set of keys: {error}"))?;
    let mut named: HashMap<String, Vec<Key>> = HashMap::new();
    for jwk in &set.keys {
        if let Some(key) = key(jwk) {
            let name = jwk.common.key_id.clone().unwrap_or_default();
            named.entry(name).or_default().push(key);
        }
    }
    if named.is_empty() {
        return Err("holds no key that could sign a token".to_owned());
    }
    let shared = named.into_iter().map(|(name, keys)| (name, keys.into()));
    Ok(shared.collect())
}

fn key(jwk: &Jwk) -> Option<Key> {
    let signs = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    let algorithm = jwk.common.key_algorithm;
    Some(Key {
        key: DecodingKey::from_jwk(jwk).ok().filter(|_| signs)?,
        // One of encryption is none of these.
        algorithm: match algorithm {
            Some(algorithm) => Some(super::signature::algorithm(&algorithm.to_string())?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientOptions;
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    /// How long an answer may take.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Longer than anything takes here.
    const PATIENCE: Duration = TIMEOUT;

    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"KID","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn set(kid: &str) -> String {
        format!(r#"{{"keys":[{}]}}"#, ED.replace("KID", kid))
    }

    /// Serves a set of keys, and counts how often.
    fn serve(text: Arc<Mutex<String>>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                counted.fetch_add(1, Ordering::SeqCst);
                let text = text.lock().clone();
                let length = text.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
                )
                .unwrap();
            }
        });
        (url, count)
    }

    fn keys(source: KeySource) -> Keys {
        let client = ClientOptions {
            ca_file: String::new(),
            timeout: TIMEOUT,
        };
        Keys {
            source,
            client: Client::new(&client, 3).unwrap(),
            known: Mutex::default(),
            looking: Mutex::default(),
        }
    }

    #[test]
    fn keys_are_asked_for_once_and_again_when_a_token_names_another_one() {
        let text = Arc::new(Mutex::new(set("one")));
        let (url, count) = serve(Arc::clone(&text));
        let keys = keys(KeySource::Url(url));
        let now = Instant::now();
        assert!(keys.known_at("one", now).is_none());
        for _ in 0..3 {
            keys.find_at("one", now).unwrap();
        }
        assert!(keys.known_at("one", now).is_some());
        assert_eq!(count.load(Ordering::SeqCst), 1);
        // The issuer has a new key.
        *text.lock() = set("two");
        keys.find_at("two", now).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert_eq!(keys.find_at("one", now).unwrap_err(), "key_not_found");
    }

    #[test]
    fn keys_that_nobody_has_are_not_asked_for_again_and_again() {
        let (url, count) = serve(Arc::new(Mutex::new(set("one"))));
        let keys = keys(KeySource::Url(url));
        let now = Instant::now();
        for number in 0..20 {
            assert!(keys.find_at(&format!("made up {number}"), now).is_err());
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        keys.find_at("one", now).unwrap();
        assert!(keys.find_at("made up", now + PAUSE).is_err());
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn keys_are_asked_for_again_after_an_hour_and_kept_while_nobody_answers() {
        let text = Arc::new(Mutex::new(set("one")));
        let (url, count) = serve(Arc::clone(&text));
        let keys = keys(KeySource::Url(url));
        let now = Instant::now();
        keys.find_at("one", now).unwrap();
        let later = now + GOOD_FOR;
        assert!(keys.known_at("one", later).is_none());
        *text.lock() = "nonsense".to_owned();
        keys.find_at("one", later).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
        // Nobody is asked again for a while, and nobody has to wait.
        assert!(keys.known_at("one", later + PAUSE / 2).is_some());
        *text.lock() = set("two");
        let later = later + PAUSE + PATIENCE;
        assert!(keys.known_at("one", later).is_none());
        assert!(keys.find_at("one", later).is_err());
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_server_that_is_down_is_not_waited_for_with_a_key_that_was_known() {
        // Takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", silent.local_addr().unwrap());
        let keys = Arc::new(keys(KeySource::Url(url)));
        let now = Instant::now();
        let known = parse(&set("one")).unwrap();
        keys.replace(known, "one", now);
        let later = now + GOOD_FOR;
        assert!(keys.known_at("one", later).is_none());
        let looking = {
            let keys = Arc::clone(&keys);
            thread::spawn(move || keys.find_at("one", later).is_ok())
        };
        // Somebody looks.
        let deadline = Instant::now() + PATIENCE;
        let (asked, _) = silent.accept().unwrap();
        while keys.looking.try_lock().is_some() {
            assert!(Instant::now() < deadline, "nobody looks");
        }
        let begun = Instant::now();
        for _ in 0..100 {
            keys.find_at("one", later).unwrap();
        }
        assert!(begun.elapsed() < TIMEOUT / 2, "{:?}", begun.elapsed());
        // It is down for good.
        drop((asked, silent));
        assert!(looking.join().unwrap());
        // The pause begins when the search has ended.
        assert!(keys.known_at("one", later + PAUSE).is_some());
    }

    #[test]
    fn keys_without_a_name_are_all_kept() {
        let without = ED.replace(r#""kid":"KID","#, "");
        let two = format!(r#"{{"keys":[{without},{without}]}}"#);
        assert_eq!(parse(&two).unwrap()[""].len(), 2);
    }

    #[test]
    fn a_file_of_keys_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, set("one")).unwrap();
        let keys = keys(KeySource::File(path.to_str().unwrap().to_owned()));
        let now = Instant::now();
        keys.find_at("one", now).unwrap();
        fs::write(&path, set("two")).unwrap();
        let later = now + FILE_GOOD_FOR;
        assert!(keys.find_at("one", later).is_err());
        keys.find_at("two", later).unwrap();
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused() {
        for text in ["", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"new"}]}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
        let encrypts = set("a").replace(r#""kty""#, r#""use":"enc","kty""#);
        assert!(parse(&encrypts).is_err());
        let both = set("a").replace("]}", r#",{"kty":"new","kid":"b"}]}"#);
        assert_eq!(parse(&both).unwrap().len(), 1);
    }
}
