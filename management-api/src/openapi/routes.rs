//! Routes that describe themselves: a path, its methods, and for each method the handler and what it is for.
//!
//! `Routes` stands where an axum router would, and [`get`], [`put`], [`post`] and [`delete`] where axum's functions of the
//! same names would. Nothing else adds a route below `/api`, so the OpenAPI document cannot leave one out. What is said
//! behind a method (`says`, `takes`, `gives` ...) is about the method that was named last.
//!
//! It is noted and carried out when the document is asked for. Described in full, the routes fill several MiB, and most
//! brokers are never asked.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::StatusCode,
    routing::{self, MethodRouter},
};
use utoipa::{
    PartialSchema as _, ToSchema,
    openapi::{HttpMethod, Ref, RefOr, Schema, path::Parameter, schema::ArrayBuilder},
};

use super::parameters;
use crate::Shared;

/// A schema that others refer to, by its name.
pub(super) type Named = (String, RefOr<Schema>);

/// A content type, and the schema of what is written in it.
pub(super) type Content = (&'static str, RefOr<Schema>);

/// Some routes, and what they are for.
pub(crate) struct Routes {
    tag: &'static str,
    router: Router<Shared>,
    outlines: Vec<Outline>,
}

/// A method of a path, and how to describe it.
pub(super) struct Outline {
    path: String,
    tag: &'static str,
    method: Undescribed,
}

/// A method of a path, described.
pub(super) struct Described {
    /// As axum and OpenAPI write it: `/queues/{vhost}`.
    pub(super) path: String,
    /// The group that it is shown in.
    pub(super) tag: &'static str,
    /// What it does.
    pub(super) operation: Operation,
}

impl Routes {
    /// None yet; the documentation shows them together, under this title.
    pub(crate) fn about(tag: &'static str) -> Self {
        Self {
            tag,
            router: Router::new(),
            outlines: Vec::new(),
        }
    }

    /// Adds a path.
    pub(crate) fn route(mut self, path: &str, methods: Methods) -> Self {
        self.router = self.router.route(path, methods.router);
        let outlines = methods.operations.into_iter().map(|method| Outline {
            path: path.to_owned(),
            tag: self.tag,
            method,
        });
        self.outlines.extend(outlines);
        self
    }

    /// Adds other routes, which keep their title.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.outlines.extend(other.outlines);
        self
    }

    /// Puts all of them below a path.
    pub(crate) fn below(mut self, prefix: &str) -> Self {
        self.router = Router::new().nest(prefix, self.router);
        for outline in &mut self.outlines {
            outline.path.insert_str(0, prefix);
        }
        self
    }

    /// Changes the router: layers and fallbacks.
    pub(crate) fn with(mut self, change: impl FnOnce(Router<Shared>) -> Router<Shared>) -> Self {
        self.router = change(self.router);
        self
    }

    /// The router, and what the document is made of.
    pub(super) fn into_parts(self) -> (Router<Shared>, Vec<Outline>) {
        (self.router, self.outlines)
    }
}

impl Outline {
    /// What was said about it.
    pub(super) fn described(&self) -> Described {
        let mut operation = Operation::new(self.method.method.clone());
        self.method
            .steps
            .iter()
            .for_each(|step| step(&mut operation));
        Described {
            path: self.path.clone(),
            tag: self.tag,
            operation,
        }
    }
}

/// The methods of a path.
#[derive(Clone)]
pub(crate) struct Methods {
    router: MethodRouter<Shared>,
    operations: Vec<Undescribed>,
}

/// A method of a path, and what was said about it so far.
#[derive(Clone)]
struct Undescribed {
    method: HttpMethod,
    steps: Vec<Step>,
}

/// One thing that was said about an operation.
type Step = Arc<dyn Fn(&mut Operation) + Send + Sync>;

/// What a method of a path does.
pub(super) struct Operation {
    pub(super) method: HttpMethod,
    /// What it is for, in one line.
    pub(super) summary: &'static str,
    pub(super) query: Vec<Parameter>,
    pub(super) headers: Vec<Parameter>,
    /// The content types of the body, each with its schema.
    pub(super) body: Vec<Content>,
    /// The status codes of success, and what comes with them.
    pub(super) answers: Vec<(StatusCode, Option<Content>)>,
    /// Whether it needs no login.
    pub(super) open: bool,
    /// What the schemas above refer to.
    pub(super) schemas: Vec<Named>,
}

/// A path with `GET`.
pub(crate) fn get<H: Handler<T, Shared>, T: 'static>(handler: H) -> Methods {
    Methods::from((HttpMethod::Get, routing::get(handler)))
}

/// A path with `PUT`.
pub(crate) fn put<H: Handler<T, Shared>, T: 'static>(handler: H) -> Methods {
    Methods::from((HttpMethod::Put, routing::put(handler)))
}

/// A path with `POST`.
pub(crate) fn post<H: Handler<T, Shared>, T: 'static>(handler: H) -> Methods {
    Methods::from((HttpMethod::Post, routing::post(handler)))
}

/// A path with `DELETE`.
pub(crate) fn delete<H: Handler<T, Shared>, T: 'static>(handler: H) -> Methods {
    Methods::from((HttpMethod::Delete, routing::delete(handler)))
}

impl From<(HttpMethod, MethodRouter<Shared>)> for Methods {
    fn from((method, router): (HttpMethod, MethodRouter<Shared>)) -> Self {
        Self {
            router,
            operations: vec![Undescribed {
                method,
                steps: Vec::new(),
            }],
        }
    }
}

/// JSON.
const JSON: &str = "application/json";

impl Methods {
    /// Adds `PUT`.
    pub(crate) fn put<H: Handler<T, Shared>, T: 'static>(self, handler: H) -> Self {
        self.and(put(handler))
    }

    /// Adds `POST`.
    pub(crate) fn post<H: Handler<T, Shared>, T: 'static>(self, handler: H) -> Self {
        self.and(post(handler))
    }

    /// Adds `DELETE`.
    pub(crate) fn delete<H: Handler<T, Shared>, T: 'static>(self, handler: H) -> Self {
        self.and(delete(handler))
    }

    fn and(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }

    fn describe(mut self, change: impl Fn(&mut Operation) + Send + Sync + 'static) -> Self {
        if let Some(last) = self.operations.last_mut() {
            last.steps.push(Arc::new(change));
        }
        self
    }

    /// What the method is for, in one line.
    pub(crate) fn says(self, summary: &'static str) -> Self {
        self.describe(move |operation| operation.summary = summary)
    }

    /// It answers with 200 and this.
    pub(crate) fn gives<T: ToSchema + 'static>(self) -> Self {
        self.answers_with::<T>(StatusCode::OK)
    }

    /// It answers with 200 and a list, of which the client may choose fields and order.
    pub(crate) fn lists<T: ToSchema + 'static>(self) -> Self {
        self.describe(move |operation| {
            let items = ArrayBuilder::new().items(operation.reference::<T>());
            let items = Some((JSON, items.build().into()));
            operation.answers.push((StatusCode::OK, items));
            operation.query.extend(parameters::of_lists());
        })
    }

    /// It answers with 200 and a list, or a page of it if the client asks for one.
    pub(crate) fn pages<T: ToSchema + 'static>(self) -> Self {
        self.describe(move |operation| {
            let item = operation.reference::<T>();
            let page = Some((JSON, parameters::list_or_page(item)));
            operation.answers.push((StatusCode::OK, page));
            operation.query.extend(parameters::of_lists());
            operation.query.extend(parameters::of_pages());
        })
    }

    /// It answers with this text.
    pub(crate) fn gives_text(self, content_type: &'static str) -> Self {
        self.describe(move |operation| {
            let text = Some((content_type, String::schema()));
            operation.answers.push((StatusCode::OK, text));
        })
    }

    /// It answers with this status and nothing else.
    pub(crate) fn answers(self, status: StatusCode) -> Self {
        self.describe(move |operation| operation.answers.push((status, None)))
    }

    /// It answers with this status and this.
    pub(crate) fn answers_with<T: ToSchema + 'static>(self, status: StatusCode) -> Self {
        self.describe(move |operation| {
            let body = Some((JSON, operation.reference::<T>()));
            operation.answers.push((status, body));
        })
    }

    /// Its body is this.
    pub(crate) fn takes<T: ToSchema + 'static>(self) -> Self {
        self.takes_as::<T>(JSON)
    }

    /// Its body is this, written as this content type says.
    pub(crate) fn takes_as<T: ToSchema + 'static>(self, content_type: &'static str) -> Self {
        self.describe(move |operation| {
            let body = (content_type, operation.reference::<T>());
            operation.body.push(body);
        })
    }

    /// It understands this key of the query, with any text as the value.
    pub(crate) fn asks(self, name: &'static str, what: &'static str) -> Self {
        self.describe(move |operation| operation.query.push(parameters::text(name, what)))
    }

    /// It understands this key of the query, with a whole number as the value.
    pub(crate) fn counts(self, name: &'static str, least: usize, what: &'static str) -> Self {
        self.describe(move |operation| operation.query.push(parameters::count(name, least, what)))
    }

    /// It understands this key of the query, with `true` as the value.
    pub(crate) fn flag(self, name: &'static str, what: &'static str) -> Self {
        self.describe(move |operation| operation.query.push(parameters::flag(name, what)))
    }

    /// It looks at this header.
    pub(crate) fn header(self, name: &'static str, what: &'static str) -> Self {
        self.describe(move |operation| operation.headers.push(parameters::header(name, what)))
    }

    /// It shows statistics: samples over a time if the client asks for them, or none.
    pub(crate) fn with_statistics(self) -> Self {
        self.describe(move |operation| operation.query.extend(parameters::of_statistics()))
    }

    /// It always answers with 501: what it is for is not there.
    pub(crate) fn never(self) -> Self {
        self.answers_with::<super::schemas::Error>(StatusCode::NOT_IMPLEMENTED)
    }

    /// It needs no login.
    pub(crate) fn open(self) -> Self {
        self.describe(move |operation| operation.open = true)
    }
}

impl Operation {
    fn new(method: HttpMethod) -> Self {
        Self {
            method,
            summary: "",
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            answers: Vec::new(),
            open: false,
            schemas: Vec::new(),
        }
    }

    /// A reference to a schema, which the document shows once.
    fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        T::schemas(&mut self.schemas);
        match T::schema() {
            RefOr::T(Schema::Object(object)) if !object.properties.is_empty() => {
                let reference = Ref::from_schema_name(&name);
                self.schemas.push((name, Schema::Object(object).into()));
                reference.into()
            }
            // Of texts, any values and the like there is nothing to refer to.
            other => other,
        }
    }
}
