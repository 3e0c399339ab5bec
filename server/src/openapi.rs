//! The description of the routes, made from their code. `openapi.json` holds it; a test compares.

use magpie_core::remote::{ModelProblem, Problem, SearchReply, SearchRequest, WireListing, WirePer};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Header, RefOr, Required};
use utoipa::{Modify, OpenApi};

use crate::api;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Magpie",
        description = "Visual search over the full catalogue: an embedding comes in, listings go out. Never a photo.",
        license(name = "Apache-2.0 OR MIT")
    ),
    paths(api::search, api::listing, api::catalog, api::healthz, api::readyz, api::metrics),
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
    modifiers(&Token, &Traces)
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Every route takes a trace, and says which one it was.
struct Traces;

impl Modify for Traces {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let text = || Object::with_type(Type::String);
        let takes = ParameterBuilder::new()
            .name("traceparent")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The trace that the request belongs to, as W3C Trace Context has it"))
            .schema(Some(text()))
            .build();
        let mut says = Header::new(text());
        says.description = Some("The trace, and the server's span in it; every reply has it".to_owned());
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.parameters.get_or_insert_default().push(RefOr::T(takes.clone()));
                if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
                    response.headers.insert("traceresponse".to_owned(), RefOr::T(says.clone()));
                }
            }
        }
    }
}

/// The OpenAPI document as JSON.
pub fn document() -> String {
    // Texts and maps with texts as keys always become JSON.
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
