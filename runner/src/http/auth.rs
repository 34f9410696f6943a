//! Who calls, and whether they may: bearer tokens, and `people.cedar` over every action.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use staunch_core::policy::{Object, Person, PersonAction};

use super::App;
use super::problem::Problem;
use crate::people::oidc::{Oidc, OidcError};

/// Retry-After while the identity provider is away, in seconds.
const ASK_AGAIN: u32 = 10;

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
        Self::of(app, &parts.headers).await
    }
}

impl Caller {
    /// Who sends these headers.
    ///
    /// # Errors
    /// 401, where nobody's good token is among them; 503 where only the identity provider could tell, and is away.
    pub async fn of(app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        let refuse = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "not-authentic", detail);
        let token =
            bearer(headers).ok_or_else(|| refuse("a token is needed: `Authorization: Bearer TOKEN`"))?;
        let (tokens, now) = (app.pipeline().tokens(), app.pipeline().clock().now());
        if let Some(person) = tokens.person(token, now) {
            return Ok(Self(person));
        }
        match app.identity().filter(|_| Oidc::is_jwt(token)) {
            Some(identity) => match identity.person(token, now).await {
                Ok((person, until)) => {
                    tokens.saw(&person, until);
                    Ok(Self(person))
                }
                Err(OidcError::Refused(why)) => Err(refuse(&format!("the JWT is not accepted: {why}"))),
                Err(OidcError::Unavailable(why)) => {
                    Err(Problem::unavailable("identity-unavailable", why, ASK_AGAIN))
                }
            },
            None => Err(refuse("the token is unknown, expired or revoked")),
        }
    }

    /// Asks `people.cedar`.
    ///
    /// # Errors
    /// 403, with what denied it.
    pub fn may(&self, app: &App, action: PersonAction, object: Object<'_>) -> Result<(), Problem> {
        let rules = app.pipeline().rules();
        let answer = rules.policies.people().may(&self.0, action, object, app.pipeline().clock().now());
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
