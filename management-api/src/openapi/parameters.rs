//! Parameters that many requests have in common: names in the path, how a list is filtered and sorted, which samples are
//! wanted.

use utoipa::openapi::{
    RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::{ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type},
};

/// What the names in paths are. The same word is the same thing everywhere.
const NAMES: [(&str, &str); 25] = [
    ("vhost", "a virtual host; `/` is written `%2F`"),
    ("queue", "a queue"),
    ("exchange", "an exchange; the default one is `amq.default`"),
    (
        "source",
        "the exchange that is bound from; the default one is `amq.default`",
    ),
    ("dtype", "what is bound: `q` a queue, `e` an exchange"),
    ("destination", "the queue or exchange that is bound"),
    ("props", "the binding's `properties_key`"),
    ("connection", "the name of a connection"),
    ("channel", "the name of a channel"),
    ("username", "a user"),
    ("user", "a user"),
    ("node", "the node's name, as `/api/nodes` shows it"),
    ("name", "a name"),
    ("component", "`operator_policy` or `vhost-limits`"),
    ("password", "the password"),
    ("within", "a whole number"),
    ("unit", "`days`, `weeks`, `months` or `years`"),
    ("port", "the number of a port"),
    ("protocols", "names of protocols, with commas: `amqp,https`"),
    ("pattern", "a regular expression"),
    ("id", "the number of a move"),
    ("feature", "a feature"),
    ("file", "a file"),
    ("limit", "a limit's name"),
    ("path", "a path"),
];

fn parameter(
    place: ParameterIn,
    name: &str,
    what: &str,
    schema: impl Into<RefOr<Schema>>,
) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .parameter_in(place)
        .name(name)
        .required(required)
        .description(Some(what))
        .schema(Some(schema))
        .build()
}

fn of_type(kind: Type) -> Schema {
    ObjectBuilder::new().schema_type(kind).build().into()
}

fn number(least: usize, most: Option<usize>) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .maximum(most)
        .build()
        .into()
}

/// The names in a path.
pub(super) fn of_path(path: &str) -> Vec<Parameter> {
    let pieces = path.split('{').skip(1);
    let names = pieces.filter_map(|piece| piece.split('}').next());
    let each = names.map(|name| {
        let name = name.trim_start_matches('*');
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let what = known.map_or("a name", |(_, what)| what);
        parameter(ParameterIn::Path, name, what, of_type(Type::String))
    });
    each.collect()
}

/// A key of the query with any text.
pub(super) fn text(name: &str, what: &str) -> Parameter {
    parameter(ParameterIn::Query, name, what, of_type(Type::String))
}

/// A key of the query with a number.
pub(super) fn count(name: &str, least: usize, what: &str) -> Parameter {
    parameter(ParameterIn::Query, name, what, number(least, None))
}

/// A key of the query that says `true`.
pub(super) fn flag(name: &str, what: &str) -> Parameter {
    parameter(ParameterIn::Query, name, what, of_type(Type::Boolean))
}

/// A header.
pub(super) fn header(name: &str, what: &str) -> Parameter {
    parameter(ParameterIn::Header, name, what, of_type(Type::String))
}

/// What every list understands.
pub(super) fn of_lists() -> [Parameter; 3] {
    [
        text(
            "columns",
            "the fields that are wanted, with commas: `name,message_stats.publish_details.rate`. Others are left out, \
             whatever the schema requires",
        ),
        text("sort", "the field by which the list is sorted"),
        flag("sort_reverse", "the last first"),
    ]
}

/// What lists understand that come in pages.
pub(super) fn of_pages() -> [Parameter; 4] {
    let page = |name, what, most| parameter(ParameterIn::Query, name, what, number(1, most));
    [
        page(
            "page",
            "the page that is wanted, from 1. Without it everything comes",
            None,
        ),
        page(
            "page_size",
            "the length of a page, 100 if nothing is said",
            Some(500),
        ),
        text("name", "only what has this in its name"),
        flag("use_regex", "`name` is a regular expression"),
    ]
}

/// Which statistics are wanted.
pub(super) fn of_statistics() -> Vec<Parameter> {
    let ranges = [
        ("lengths_age", "samples of queue lengths of so many seconds"),
        ("lengths_incr", "the seconds between two of them"),
        ("msg_rates_age", "samples of messages of so many seconds"),
        ("msg_rates_incr", "the seconds between two of them"),
        ("data_rates_age", "samples of octets of so many seconds"),
        ("data_rates_incr", "the seconds between two of them"),
        (
            "node_stats_age",
            "samples of the process of so many seconds",
        ),
        ("node_stats_incr", "the seconds between two of them"),
    ];
    let ranges = ranges
        .map(|(name, what)| parameter(ParameterIn::Query, name, what, number(1, Some(86_400))));
    let mut all = vec![flag("disable_stats", "no statistics")];
    all.extend(ranges);
    all
}

/// The answer of a list that comes in pages: all of it without `page`, and with it a page.
pub(super) fn list_or_page(item: RefOr<Schema>) -> RefOr<Schema> {
    let items = || ArrayBuilder::new().items(item.clone()).build();
    let page = [
        "filtered_count",
        "item_count",
        "page",
        "page_count",
        "page_size",
        "total_count",
    ]
    .into_iter()
    .fold(ObjectBuilder::new(), |page, name| {
        page.property(name, number(0, None)).required(name)
    });
    let page = page.property("items", items()).required("items");
    Schema::OneOf(OneOfBuilder::new().item(items()).item(page).build()).into()
}
