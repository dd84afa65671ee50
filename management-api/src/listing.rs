//! Answers with one object or with many: columns, order, pages, and a body that is written piece by piece.
//!
//! A list may have 50,000 items, so they are filtered and sorted by what is cheap to know of each ([`Listed::key`]), and
//! only the objects that are sent are made, a piece of the answer at a time. Parameters, their limits and the texts of
//! their errors are those of `rabbit_mgmt_util`.

use std::{cmp::Ordering, convert::Infallible, ops::Range, sync::Arc};

use axum::{
    body::Body,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY},
    response::{IntoResponse as _, Response},
};
use broker_core::pattern::Pattern;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Error, request::Query};

/// Items of a page unless the client says otherwise.
const DEFAULT_PAGE_SIZE: i64 = 100;

/// The most items of a page.
const MAX_PAGE_SIZE: i64 = 500;

/// The longest regular expression that names are filtered with.
const MAX_FILTER_LENGTH: usize = 1024;

/// Bytes of an answer that are made at once.
const PIECE: usize = 64 * 1024;

/// An item of a list.
pub(crate) trait Listed: Send + 'static {
    /// What the filter `name` looks at.
    fn name(&self) -> &str;

    /// Whether the filter, which says so of a text, means this item.
    fn is_meant(&self, filter: &dyn Fn(&str) -> bool) -> bool {
        filter(self.name())
    }

    /// The value of a field by which the list may be sorted without making the object; `None` if it takes the object.
    fn key(&self, field: &str) -> Option<Key>;

    /// The object. Fields that `columns` does not want are taken out of it; what is dear to know need not be put in.
    fn object(&self, columns: &Columns) -> impl Serialize;
}

/// A value to sort by, in the order of Erlang's terms: numbers, then atoms, then texts. What is missing counts as 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Key {
    /// A number.
    Number(f64),
    /// A flag, or nothing.
    Flag(bool),
    /// A list or an object: they are alike.
    Other,
    /// A text.
    Text(Arc<str>),
}

impl Key {
    /// What is missing.
    pub(crate) const NOTHING: Self = Self::Number(0.0);

    fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(number.as_f64().unwrap_or_default()),
            Value::Bool(flag) => Self::Flag(*flag),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Flag(_) => 1,
            Self::Other => 2,
            Self::Text(_) => 3,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Flag(one), Self::Flag(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// Which fields of an object are wanted, by their paths: `name,message_stats.publish_details.rate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Columns {
    /// All of them.
    All,
    /// These.
    Some(Vec<Vec<String>>),
}

impl Columns {
    /// Those that a query names.
    pub(crate) fn of(query: &Query) -> Self {
        let Some(columns) = query.get("columns") else {
            return Self::All;
        };
        let columns = columns.split(',').filter(|column| !column.is_empty());
        let path = |column: &str| {
            let parts = column.split('.').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        Self::Some(columns.map(path).collect())
    }

    /// Whether the field or something in it is wanted.
    pub(crate) fn want(&self, field: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(paths) => paths
                .iter()
                .any(|path| path.first().is_some_and(|first| first == field)),
        }
    }

    /// What is wanted inside a field.
    fn inside(&self, field: &str) -> Self {
        let Self::Some(paths) = self else {
            return Self::All;
        };
        let mut inside = Vec::new();
        for path in paths {
            match path.split_first() {
                Some((first, [])) if first == field => return Self::All,
                Some((first, rest)) if first == field => inside.push(rest.to_vec()),
                _ => {}
            }
        }
        Self::Some(inside)
    }

    /// Takes out what is not wanted.
    pub(crate) fn select(&self, value: Value) -> Value {
        if *self == Self::All {
            return value;
        }
        match value {
            Value::Object(object) => {
                let wanted = object.into_iter().filter(|(field, _)| self.want(field));
                let selected = wanted.map(|(field, value)| {
                    let value = self.inside(&field).select(value);
                    (field, value)
                });
                Value::Object(selected.collect::<Map<_, _>>())
            }
            Value::Array(values) => values.into_iter().map(|it| self.select(it)).collect(),
            other => other,
        }
    }
}

/// Which page of a list is wanted, and of which names.
#[derive(Debug)]
struct Page {
    number: i64,
    size: i64,
    filter: Filter,
}

#[derive(Debug)]
enum Filter {
    Everything,
    /// Names with this in them, in small letters.
    Containing(String),
    Matching(Pattern),
    /// The regular expression is none.
    Nothing,
}

impl Page {
    fn of(query: &Query) -> Result<Option<Self>, Error> {
        let (number, size) = (integer(query, "page")?, integer(query, "page_size")?);
        let filter = Filter::of(query)?;
        let Some(number) = number else {
            return Ok(None);
        };
        let valid = number > 0 && size.is_none_or(|size| size > 0 && size <= MAX_PAGE_SIZE);
        if !valid {
            let size = size.map_or("undefined".to_owned(), |size| size.to_string());
            return Err(invalid_pagination(format!(
                "Invalid pagination parameters: page number {number}, page size {size}"
            )));
        }
        Ok(Some(Self {
            number,
            size: size.unwrap_or(DEFAULT_PAGE_SIZE),
            filter,
        }))
    }

    /// The first item of the page.
    ///
    /// # Errors
    /// 400: so many items there are not.
    fn start(&self, items: usize) -> Result<usize, Error> {
        let start = (self.number - 1).checked_mul(self.size);
        let start = start.and_then(|start| usize::try_from(start).ok());
        start
            .filter(|start| *start <= items)
            .ok_or_else(|| Error::Invalid {
                error: "page_out_of_range",
                reason: format!(
                    "Page out of range, page: {} page size: {}, len: {items}",
                    self.number, self.size
                ),
            })
    }

    /// What stands around the items, of so many in the whole list and so many that the filter admits.
    ///
    /// # Errors
    /// 400: there is no such page.
    fn envelope(&self, total: usize, filtered: usize) -> Result<Envelope, Error> {
        let start = self.start(filtered)?;
        let size = usize::try_from(self.size).unwrap_or_default();
        Ok(Envelope {
            total,
            filtered,
            start,
            items: size.min(filtered - start),
            number: self.number,
            size,
        })
    }
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Error> {
        let Some(name) = query.get("name").filter(|name| !name.is_empty()) else {
            return Ok(Self::Everything);
        };
        if !query.is_true("use_regex") {
            return Ok(Self::Containing(name.to_lowercase()));
        }
        if name.chars().count() > MAX_FILTER_LENGTH {
            let text = "name filter regex is too long".to_owned();
            return Err(invalid_pagination(text));
        }
        Ok(Pattern::compile_caseless(name).map_or(Self::Nothing, Self::Matching))
    }

    fn admits(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Containing(part) => name.to_lowercase().contains(part.as_str()),
            Self::Matching(pattern) => pattern.matches(name),
            Self::Nothing => false,
        }
    }
}

fn integer(query: &Query, key: &str) -> Result<Option<i64>, Error> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| Error::BadRequest("Pagination parameters are invalid".to_owned()))
    };
    query.get(key).map(parse).transpose()
}

fn invalid_pagination(reason: String) -> Error {
    Error::Invalid {
        error: "invalid_pagination_parameters",
        reason,
    }
}

/// Answers with one object.
///
/// # Errors
/// 500: it cannot be written as JSON.
pub(crate) fn one(object: impl Serialize, query: &Query) -> Result<Response, Error> {
    let columns = Columns::of(query);
    let bytes = match columns {
        Columns::All => serde_json::to_vec(&object),
        _ => serde_json::to_value(&object).and_then(|it| serde_json::to_vec(&columns.select(it))),
    };
    let bytes = bytes.map_err(|error| Error::Internal(error.to_string()))?;
    Ok(json(Body::from(bytes)))
}

/// Answers with all items, in the order of the fields `order` unless the client asks for another; for lists that
/// RabbitMQ has no pages of.
///
/// # Errors
/// 400: the parameters make no sense.
pub(crate) fn all<T: Listed>(
    items: Vec<T>,
    order: &[&str],
    query: &Query,
) -> Result<Response, Error> {
    Page::of(query)?;
    Ok(stream(items, None, order, query))
}

/// The same with the page that the client asks for; all items if it asks for none.
///
/// # Errors
/// 400: the parameters make no sense, or there is no such page.
pub(crate) fn paged<T: Listed>(
    mut items: Vec<T>,
    order: &[&str],
    query: &Query,
) -> Result<Response, Error> {
    let Some(page) = Page::of(query)? else {
        return Ok(stream(items, None, order, query));
    };
    let total = items.len();
    items.retain(|item| item.is_meant(&|name| page.filter.admits(name)));
    let envelope = page.envelope(total, items.len())?;
    Ok(stream(items, Some(envelope), order, query))
}

/// A page of a list whose order is known: `names` are those of all items, and only what stands on the page is looked up
/// by `find`, which answers `None` for what has gone since. `None` if the client asks for no page, or for the order of a
/// field that is not one of `fields`.
///
/// # Errors
/// 400: the parameters make no sense, or there is no such page.
pub(crate) fn page_in_order<'n, N: 'n, T: Listed>(
    names: impl Iterator<Item = (&'n str, N)>,
    find: impl Fn(&N) -> Option<T>,
    fields: &[&str],
    query: &Query,
) -> Result<Option<Response>, Error> {
    let page = Page::of(query)?;
    let field = query.get("sort").filter(|field| !field.is_empty());
    let in_order = field.is_none_or(|field| fields.contains(&field));
    let Some(page) = page.filter(|_| in_order) else {
        return Ok(None);
    };
    let mut total = 0;
    let names = names.inspect(|_| total += 1);
    let names = names.filter(|(name, _)| page.filter.admits(name));
    let mut names: Vec<N> = names.map(|(_, item)| item).collect();
    if query.is_true("sort_reverse") {
        names.reverse();
    }
    let mut envelope = page.envelope(total, names.len())?;
    let wanted = names.get(envelope.wanted()).unwrap_or_default();
    let items: Vec<T> = wanted.iter().filter_map(find).collect();
    envelope.items = items.len();
    Ok(Some(written(items, Some(envelope), query)))
}

/// What stands around the items of a page.
struct Envelope {
    total: usize,
    filtered: usize,
    /// The first item.
    start: usize,
    /// How many there are on the page.
    items: usize,
    number: i64,
    size: usize,
}

impl Envelope {
    /// The places of its items in the whole list.
    fn wanted(&self) -> Range<usize> {
        self.start..self.start + self.items
    }

    fn before(&self) -> String {
        let (filtered, items) = (self.filtered, self.items);
        format!(r#"{{"filtered_count":{filtered},"item_count":{items},"items":["#)
    }

    fn after(&self) -> String {
        let (number, size, total) = (self.number, self.size, self.total);
        let pages = self.filtered.div_ceil(size.max(1));
        format!(
            r#"],"page":{number},"page_count":{pages},"page_size":{size},"total_count":{total}}}"#
        )
    }
}

fn stream<T: Listed>(
    items: Vec<T>,
    envelope: Option<Envelope>,
    order: &[&str],
    query: &Query,
) -> Response {
    let all = 0..items.len();
    let wanted = envelope.as_ref().map_or(all, Envelope::wanted);
    written(sorted(items, order, query, wanted), envelope, query)
}

/// An answer with exactly these items.
fn written<T: Listed>(items: Vec<T>, envelope: Option<Envelope>, query: &Query) -> Response {
    let (before, after) = match &envelope {
        Some(envelope) => (envelope.before(), envelope.after()),
        None => ("[".to_owned(), "]".to_owned()),
    };
    let pieces = Pieces {
        items: items.into_iter(),
        columns: Columns::of(query),
        next: before.into_bytes(),
        after: Some(after),
        first: true,
    };
    json(Body::from_stream(futures_util::stream::iter(
        pieces.map(Ok::<_, Infallible>),
    )))
}

/// Those items that are `wanted` of all in the order of the field that the query names, then of those of `order`, then
/// as they came. The others are not put in order among themselves: a page of a long list costs about one look at each.
fn sorted<T: Listed>(items: Vec<T>, order: &[&str], query: &Query, wanted: Range<usize>) -> Vec<T> {
    let named = query.get("sort").filter(|field| !field.is_empty());
    let fields: Vec<&str> = named
        .into_iter()
        .chain(order.iter().copied().filter(|field| named != Some(field)))
        .collect();
    let places = items.into_iter().enumerate();
    let mut places: Vec<_> = places
        .map(|(place, item)| (keys(&item, &fields), place, item))
        .collect();
    let reverse = query.is_true("sort_reverse");
    let compare = |one: &(Vec<Key>, usize, T), other: &(Vec<Key>, usize, T)| {
        let order = compare(&one.0, &other.0).then(one.1.cmp(&other.1));
        if reverse { order.reverse() } else { order }
    };
    if wanted.end < places.len() {
        places.select_nth_unstable_by(wanted.end, compare);
        places.truncate(wanted.end);
    }
    if wanted.start > 0 && wanted.start < places.len() {
        places.select_nth_unstable_by(wanted.start, compare);
    }
    places.drain(..wanted.start.min(places.len()));
    places.sort_unstable_by(compare);
    places.into_iter().map(|(_, _, item)| item).collect()
}

fn keys<T: Listed>(item: &T, fields: &[&str]) -> Vec<Key> {
    let mut object = None;
    let mut key = |field: &&str| {
        item.key(field).unwrap_or_else(|| {
            let object = object.get_or_insert_with(|| value(item, &Columns::All));
            let found = field.split('.').try_fold(&*object, |it, part| it.get(part));
            found.map_or(Key::NOTHING, Key::of)
        })
    };
    fields.iter().map(&mut key).collect()
}

fn compare(one: &[Key], other: &[Key]) -> Ordering {
    let pairs = one.iter().zip(other);
    let mut orders = pairs.map(|(one, other)| one.compare(other));
    orders.find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
}

fn value<T: Listed>(item: &T, columns: &Columns) -> Value {
    serde_json::to_value(item.object(columns)).unwrap_or_default()
}

/// The pieces of an answer with a list.
struct Pieces<T> {
    items: std::vec::IntoIter<T>,
    columns: Columns,
    /// What was written and not handed out yet.
    next: Vec<u8>,
    /// What comes behind the last item.
    after: Option<String>,
    first: bool,
}

impl<T: Listed> Pieces<T> {
    fn write(&mut self, item: &T) {
        if !std::mem::take(&mut self.first) {
            self.next.push(b',');
        }
        let length = self.next.len();
        let written = match &self.columns {
            Columns::All => serde_json::to_writer(&mut self.next, &item.object(&self.columns)),
            some => serde_json::to_writer(&mut self.next, &some.select(value(item, some))),
        };
        if let Err(error) = written {
            tracing::error!(%error, "cannot write an item of a list as JSON");
            self.next.truncate(length);
            self.next.extend_from_slice(b"null");
        }
    }
}

impl<T: Listed> Iterator for Pieces<T> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.next.len() < PIECE {
            let Some(item) = self.items.next() else {
                let after = self.after.take()?;
                self.next.extend_from_slice(after.as_bytes());
                break;
            };
            self.write(&item);
        }
        Some(std::mem::take(&mut self.next).into())
    }
}

/// The headers of every answer with objects.
fn json(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache"),
        (VARY, "accept, accept-encoding, origin"),
    ];
    (headers, body).into_response()
}

/// An object that is made already, for lists that are never long.
pub(crate) struct Ready(pub(crate) Value);

impl Listed for Ready {
    fn name(&self) -> &str {
        let name = self.0.get("name").and_then(Value::as_str);
        name.unwrap_or_default()
    }

    fn key(&self, field: &str) -> Option<Key> {
        let found = field.split('.').try_fold(&self.0, |it, part| it.get(part));
        Some(found.map_or(Key::NOTHING, Key::of))
    }

    fn object(&self, _: &Columns) -> impl Serialize {
        &self.0
    }
}

#[cfg(test)]
mod tests;
