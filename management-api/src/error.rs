//! What goes wrong with a request, as RabbitMQ's API says it: a status code and `{"error", "reason"}`.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An error of the HTTP API; `Display` is the `error` field of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401: no credentials, or wrong ones.
    #[error("not_authorized")]
    NotAuthenticated,
    /// 401 for the web page, which has a form of its own: without the challenge that makes browsers ask.
    #[error("not_authorized")]
    NoSession,
    /// 403: the request may have been made by another web site; with the reason.
    #[error("forbidden")]
    Forbidden(String),
    /// 401: the user may not do this; with the reason.
    #[error("not_authorised")]
    NotAuthorised(String),
    /// 404: no such path, or no object of that name.
    #[error("Object Not Found")]
    NoSuchPath,
    /// 404 with a reason.
    #[error("not_found")]
    NotFound(String),
    /// 405: the path exists, but not for this method.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    /// 400: the request makes no sense; with the reason.
    #[error("bad_request")]
    BadRequest(String),
    /// 400 with another word in `error`.
    #[error("{error}")]
    Invalid {
        /// The word.
        error: &'static str,
        /// The reason.
        reason: String,
    },
    /// 400 with a reason of several parts, which RabbitMQ gives as a list: `["not_boolean", "x"]`.
    #[error("bad_request")]
    BadTerm(Vec<Value>),
    /// 412: the state of the object does not allow it.
    #[error("precondition_failed")]
    PreconditionFailed(String),
    /// 501: a feature of RabbitMQ that does not exist here.
    #[error("not_implemented")]
    NotImplemented(String),
    /// 503: not at the moment.
    #[error("service_unavailable")]
    Unavailable(String),
    /// 500: the broker could not do its work.
    #[error("internal_server_error")]
    Internal(String),
}

impl Error {
    /// The same for the web page.
    pub(crate) fn without_challenge(self) -> Self {
        match self {
            Self::NotAuthenticated => Self::NoSession,
            other => other,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotAuthenticated | Self::NoSession | Self::NotAuthorised(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NoSuchPath | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) | Self::BadTerm(_) | Self::Invalid { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotAuthenticated | Self::NoSession => "Not_Authorized",
            Self::BadTerm(_) => "",
            Self::NoSuchPath => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::NotAuthorised(reason)
            | Self::Forbidden(reason)
            | Self::NotFound(reason)
            | Self::BadRequest(reason)
            | Self::Invalid { reason, .. }
            | Self::PreconditionFailed(reason)
            | Self::NotImplemented(reason)
            | Self::Unavailable(reason)
            | Self::Internal(reason) => reason,
        }
    }
}

/// What the core refuses, as `rabbit_mgmt_util:direct_request` tells it: a missing object is 404, a missing permission
/// 401 without details, and everything else that a client can be blamed for 400.
impl From<broker_core::Error> for Error {
    fn from(error: broker_core::Error) -> Self {
        use broker_core::Error as Core;
        match error {
            Core::NotFound(reason) => Self::NotFound(reason),
            Core::AccessRefused(_) | Core::NotAllowed(_) => {
                Self::NotAuthorised("Access refused.".to_owned())
            }
            Core::PreconditionFailed(reason)
            | Core::ResourceLocked(reason)
            | Core::CommandInvalid(reason)
            | Core::NotImplemented(reason) => Self::BadRequest(reason),
            Core::Internal(reason) => Self::Internal(reason),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let reason = self.reason();
        match &self {
            Self::Internal(_) => tracing::error!("HTTP API: {reason}"),
            Self::NotAuthorised(_) => {
                tracing::warn!(target: "audit", reason, "HTTP access denied");
            }
            _ => {}
        }
        let reason = match &self {
            Self::BadTerm(parts) => Value::Array(parts.clone()),
            other => other.reason().into(),
        };
        let body = Json(json!({ "error": self.to_string(), "reason": reason }));
        match self {
            Self::NotAuthenticated => {
                let challenge = [(
                    header::WWW_AUTHENTICATE,
                    r#"Basic realm="Leveret", charset="UTF-8""#,
                )];
                (status, challenge, body).into_response()
            }
            _ => (status, body).into_response(),
        }
    }
}
