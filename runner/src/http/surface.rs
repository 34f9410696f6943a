//! Routes and their description from one list of handlers.
//!
//! `#[utoipa::path]` says of each handler where it is served. The routes are made when the daemon starts; the
//! description, which takes ten times as long, when somebody asks for it.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use utoipa::openapi::path::HttpMethod;

/// Makes of groups of handlers, each as its module and name, a function a group that makes its routes, and a type with
/// the API's description of all of them.
macro_rules! surface {
    (
        $(#[$of_api:meta])* struct $api:ident = info($($info:tt)*);
        $($(#[$of_group:meta])* routes $group:ident: $($module:ident::$handler:ident),+;)+
    ) => {
        $(#[$of_api])*
        #[derive(utoipa::OpenApi)]
        #[openapi(info($($info)*), paths($($($module::$handler),+),+))]
        struct $api;

        $(
            $(#[$of_group])*
            fn $group() -> axum::Router<$crate::http::App> {
                let router = axum::Router::new();
                pastey::paste! {
                    $(let router = $crate::http::surface::served::<$module::[<__path_ $handler>], _, _, _>(
                        router, &$module::$handler,
                    );)+
                }
                router
            }
        )+
    };
}
pub(super) use surface;

/// A router that also serves a handler where its description `P` says.
pub(super) fn served<P: utoipa::Path, H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    handler: &H,
) -> Router<S> {
    let at = P::path();
    let methods = P::methods();
    methods.iter().fold(router, |router, method| router.route(&at, on(filter(method), handler.clone())))
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
    }
}
