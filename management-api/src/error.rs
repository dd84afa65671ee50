//! What goes wrong with a request, as RabbitMQ's API says it: a status code and `{"error", "reason"}`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error of the HTTP API; `Display` is the `error` field of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401: no credentials, or wrong ones.
    #[error("not_authorized")]
    NotAuthorized,
    /// 404: no such path or object.
    #[error("Object Not Found")]
    NotFound,
    /// 405: the path exists, but not for this method.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
}

impl Error {
    fn status(self) -> StatusCode {
        match self {
            Self::NotAuthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::NotAuthorized => "Not_Authorized",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.to_string(), "reason": self.reason() }));
        match self {
            Self::NotAuthorized => {
                let challenge = [(
                    header::WWW_AUTHENTICATE,
                    r#"Basic realm="Leveret", charset="UTF-8""#,
                )];
                (self.status(), challenge, body).into_response()
            }
            _ => (self.status(), body).into_response(),
        }
    }
}
