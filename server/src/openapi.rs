//! The description of the routes, made from their code. `openapi.json` holds it; a test compares.

use magpie_core::remote::{ModelProblem, Problem, SearchReply, SearchRequest, WireListing, WirePer};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
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
    modifiers(&Token)
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The OpenAPI document as JSON.
pub fn document() -> String {
    // Texts and maps with texts as keys always become JSON.
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
