//! Who calls, and whether they may: bearer tokens, and `people.cedar` over every action.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use staunch_core::policy::{Object, Person, PersonAction};

use super::App;
use super::problem::Problem;

/// Somebody whose token is good. What they may do is asked with [`Caller::may`].
#[derive(Debug, Clone)]
pub struct Caller(pub Person);

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Self::of(app, &parts.headers)
    }
}

impl Caller {
    /// Who sends these headers.
    ///
    /// # Errors
    /// 401, where nobody's good token is among them.
    pub fn of(app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        let refuse = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "not-authentic", detail);
        let token =
            bearer(headers).ok_or_else(|| refuse("a token is needed: `Authorization: Bearer TOKEN`"))?;
        let person = app.pipeline().tokens().person(token, app.pipeline().clock().now());
        person.map(Self).ok_or_else(|| refuse("the token is unknown, expired or revoked"))
    }

    /// Asks `people.cedar`.
    ///
    /// # Errors
    /// 403, with what denied it.
    pub fn may(&self, app: &App, action: PersonAction, object: Object<'_>) -> Result<(), Problem> {
        let rules = app.pipeline().rules();
        let answer = rules.policies.people().may(&self.0, action, object);
        if answer.permitted {
            return Ok(());
        }
        let detail = format!(
            "{} may not {}: {}",
            self.0.name,
            action.as_str(),
            answer.why(staunch_core::policy::people::FILE)
        );
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }
}
