//! The OpenAPI document, generated from the routes. `openapi.json` is a copy of it; a test compares the two.

use magpie_core::remote::{ModelProblem, Problem, SearchReply, SearchRequest, WireListing, WirePer};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Header, RefOr, Required};
use utoipa::{Modify, OpenApi};

use crate::{api, downloads};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Magpie",
        description = "Visual search over the full catalogue: takes an embedding, never a photo, and returns listings.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(
        api::search,
        api::listing,
        api::catalog,
        api::reload,
        downloads::manifest,
        downloads::keys,
        downloads::file,
        api::healthz,
        api::readyz,
        api::metrics
    ),
    components(schemas(
        SearchRequest,
        WirePer,
        SearchReply,
        WireListing,
        Problem,
        ModelProblem,
        api::ListingReply,
        api::CatalogReply
    )),
    modifiers(&BearerScheme, &TraceHeaders)
)]
struct ApiDocument;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Adds the trace headers to every route.
struct TraceHeaders;

impl Modify for TraceHeaders {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let text = || Object::with_type(Type::String);
        let traceparent = ParameterBuilder::new()
            .name("traceparent")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The trace of the request, as defined by W3C Trace Context"))
            .schema(Some(text()))
            .build();
        let mut traceresponse = Header::new(text());
        traceresponse.description = Some("The trace and the server's span in it; part of every response".to_owned());
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.parameters.get_or_insert_default().push(RefOr::T(traceparent.clone()));
                if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
                    response.headers.insert("traceresponse".to_owned(), RefOr::T(traceresponse.clone()));
                }
            }
        }
    }
}

/// The OpenAPI document as JSON.
pub fn document() -> String {
    // Serialising strings, and maps with string keys, cannot fail.
    let mut text = ApiDocument::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
