//! Errors as RFC 9457 problem documents: one type with what the client may know and what it should do.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Where the stable `type` of a problem is documented.
const TYPE_BASE: &str = "https://staunch.dev/problems/";

/// A refusal, as RFC 9457 `application/problem+json`.
///
/// The parts are boxed: a result that may hold a refusal stays small.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

/// The members of the document.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Document {
    /// Stable: `https://staunch.dev/problems/` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and what would be valid.
    detail: String,
    /// The part of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The plan as it is now, where the shown one no longer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Value>,
    /// What differs from the plan that was shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
    /// The storm as it is now, where it is no longer the one that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    storm: Option<Value>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem with its stable code and a sentence about this request.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            kind: format!("{TYPE_BASE}{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            plan: None,
            changes: Vec::new(),
            storm: None,
            retry_after_seconds: None,
        }))
    }

    /// 404.
    #[must_use]
    pub fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is no {what} {id:?}"))
    }

    /// 503 with a time after which trying again makes sense.
    #[must_use]
    pub fn unavailable(code: &str, detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.0.retry_after_seconds = Some(retry_after_seconds);
        problem
    }

    /// Names the part of the request that is wrong.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Adds the plan as it is now and what changed.
    #[must_use]
    pub fn with_plan(mut self, plan: Value, changes: Vec<String>) -> Self {
        self.0.plan = Some(plan);
        self.0.changes = changes;
        self
    }

    /// Adds the storm as it is now.
    #[must_use]
    pub fn with_storm(mut self, storm: Value) -> Self {
        self.0.storm = Some(storm);
        self
    }

    /// The stable code and the sentence.
    #[must_use]
    pub fn code_and_detail(&self) -> (&str, &str) {
        (self.0.kind.strip_prefix(TYPE_BASE).unwrap_or(&self.0.kind), &self.0.detail)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry_after = self.0.retry_after_seconds;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
