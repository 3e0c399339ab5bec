//! `openapi.json` matches the code.

use std::path::Path;

#[test]
fn the_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == magpie_server::document(),
        "the routes have changed: cargo run --package magpie-server -- --openapi > server/openapi.json"
    );
}
