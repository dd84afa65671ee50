//! Export and import of definitions files, whole or of one vhost (RabbitMQ: `rabbit_mgmt_wm_definitions`).

use std::sync::Arc;

use axum::{
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse as _, Response},
};
use broker_core::definitions_file::{DefinitionsFile, Scope as Exported};
use bytes::Bytes;

use crate::{
    Error, RABBITMQ_VERSION, Shared,
    body::{MAX_BODY_SIZE, RawBody, too_long},
    caller::{Administrator, Authorized, Scope},
    listing,
    openapi::{
        Routes, get,
        schemas::settings::{self as schemas, UploadForm},
    },
    request::Query,
};

pub(crate) fn routes() -> Routes {
    let all = || {
        get(export)
            .says("Everything that was declared, as a file")
            .gives::<schemas::Definitions>()
            .asks("download", "the name under which a browser stores it")
            .post(import)
            .says("Declare what a file says, all of it or nothing")
            .takes::<schemas::Definitions>()
            .takes_as::<UploadForm>("multipart/form-data")
            .answers(StatusCode::NO_CONTENT)
            .answers(StatusCode::SEE_OTHER)
    };
    Routes::about("Definitions")
        .route("/definitions", all())
        .route("/definitions/{vhost}", all())
        // The name of very old clients.
        .route("/all-configuration", all())
        // Bodies have our own bound, which is larger.
        .with(|router| router.layer(DefaultBodyLimit::disable()))
}

async fn export(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let scope = match auth.scope {
        Scope::All => Exported::All,
        Scope::One(vhost) => Exported::One(vhost),
        Scope::Missing => return Err(Error::BadRequest("vhost_not_found".to_owned())),
    };
    let document = node
        .elsewhere(move |node| {
            let cluster = node.cluster_name();
            node.core
                .export_definitions(&scope, RABBITMQ_VERSION, &cluster)
        })
        .await?;
    let mut response = listing::one(document, &query)?;
    if let Some(file) = query.get("download") {
        let value = HeaderValue::try_from(format!("attachment; filename={file}"));
        let value = value.map_err(|_| Error::BadRequest("no name of a file".to_owned()))?;
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn import(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    request: Request,
) -> Result<Response, Error> {
    let vhost = match auth.scope {
        Scope::All => None,
        Scope::One(vhost) => Some(Arc::clone(&vhost.name)),
        Scope::Missing => return Err(Error::NotFound("vhost_not_found".to_owned())),
    };
    let upload = Upload::of(request, &node).await?;
    let by = auth.caller.user;
    let imported = node.elsewhere(move |node| {
        let file = DefinitionsFile::parse(&upload.file)?;
        let imported = node.core.import_definitions(&file, vhost.as_deref(), &by)?;
        Ok::<_, broker_core::Error>((imported, upload.redirect))
    });
    let (imported, redirect) = imported.await??;
    node.durable(imported.ticket).await?;
    Ok(match redirect {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
    })
}

/// A document as it was sent: as the body, or as a part of a form.
struct Upload {
    file: Bytes,
    /// Where the browser that has sent a form is to go then.
    redirect: Option<String>,
}

impl Upload {
    async fn of(request: Request, node: &Shared) -> Result<Self, Error> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("multipart/form-data") {
            let RawBody(file) = RawBody::from_request(request, node).await?;
            let redirect = None;
            return Ok(Self { file, redirect });
        }
        // Taken as a whole first: so the bounds of every body hold for a form too.
        let (parts, body) = request.into_parts();
        let RawBody(body) = RawBody::from_request(Request::new(body), node).await?;
        let request = Request::from_parts(parts, body.into());
        Self::of_form(request, node).await
    }

    async fn of_form(request: Request, node: &Shared) -> Result<Self, Error> {
        let bad = |text: String| Error::BadRequest(text);
        let form = Multipart::from_request(request, node).await;
        let mut form = form.map_err(|error| bad(error.to_string()))?;
        let mut upload = Self {
            file: Bytes::new(),
            redirect: None,
        };
        while let Some(part) = form.next_field().await.map_err(|it| bad(it.to_string()))? {
            let name = part.name().unwrap_or_default().to_owned();
            let value = part.bytes().await.map_err(|it| bad(it.to_string()))?;
            match name.as_str() {
                "file" => upload.file = value,
                "redirect" => upload.redirect = String::from_utf8(value.to_vec()).ok(),
                _ => {}
            }
        }
        match upload.file.len() > MAX_BODY_SIZE {
            true => Err(too_long()),
            false => Ok(upload),
        }
    }
}
