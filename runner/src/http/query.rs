//! Query parameters, refused in one way: 422 with the parameter's name.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The query parameters of a request.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        asked.map(|Query(asked)| Self(asked)).map_err(|rejection| refusal(&rejection.body_text()))
    }
}

/// The parser names the parameter in its message only: `limit: invalid digit`, or ``unknown field `colour` ``.
fn refusal(message: &str) -> Problem {
    let detail = message.strip_prefix("Failed to deserialize query string: ").unwrap_or(message);
    let quoted = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|words| Some(detail.split_once(words)?.1.split_once('`')?.0));
    let field = quoted.or_else(|| Some(detail.split_once(": ")?.0));
    let detail = detail.replacen("unknown field", "unknown parameter", 1);
    let detail = detail.replacen("missing field", "missing parameter", 1);
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail);
    match field {
        Some(field) => problem.at(field.chars().take(80).collect::<String>()),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Shape {
        index: u64,
        size: Option<u64>,
    }

    #[tokio::test]
    async fn every_wrong_parameter_is_named_with_422() {
        for (query, field, wanted) in [
            ("index=1&colour=red", "colour", "expected `index` or `size`"),
            ("size=1", "index", "missing parameter"),
            ("index=x", "index", "invalid digit"),
            ("index=1&size=-1", "size", "invalid digit"),
            ("index=1&index=2", "index", "duplicate"),
        ] {
            let (mut parts, ()) = Request::get(format!("/?{query}")).body(()).unwrap().into_parts();
            let problem = Asked::<Shape>::from_request_parts(&mut parts, &()).await.unwrap_err();
            let shown = serde_json::to_value(&problem).unwrap();
            assert_eq!(
                (shown["status"].as_u64(), shown["field"].as_str()),
                (Some(422), Some(field)),
                "{shown}"
            );
            assert!(shown["detail"].as_str().unwrap().contains(wanted), "{shown}");
        }
    }
}
