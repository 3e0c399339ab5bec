//! Corrects a photo as Kotlin and Swift do.

use magpie_ffi::{Embedding, MagpieError};

use crate::server_search::{open, options, photo};

#[test]
fn a_correction_crosses_and_errors_say_what_to_do() {
    let (engine, folder) = (open(), tempfile::tempdir().unwrap());
    let request = |result: Result<(), MagpieError>| assert!(matches!(result, Err(MagpieError::Request { .. })));
    request(engine.remember_photo(&photo(), "here".to_owned(), options(2, None), None));
    request(engine.forget_all());
    assert_eq!(engine.corrections(), Ok(Vec::new()));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("other"), "a text").unwrap();
    assert!(matches!(engine.open_corrections(path("other")), Err(MagpieError::File { .. })));
    engine.open_corrections(path("corrections")).unwrap();
    request(engine.remember_photo(&photo(), "gone".to_owned(), options(2, None), None));
    let first = || engine.search_photo(&photo(), options(2, None), None).unwrap().listings.remove(0);
    assert!(!first().corrected);
    engine.remember_photo(&photo(), "here".to_owned(), options(2, None), None).unwrap();
    assert!(first().corrected);
    let correction = engine.corrections().unwrap().remove(0);
    assert!(correction.listing_id == "here" && correction.time > 0);
    assert_eq!((engine.forget("here".to_owned()), first().corrected), (Ok(1), false));

    let embedding = engine.embed_photo(&photo(), options(2, None), None).unwrap();
    engine.remember(embedding.clone(), "here".to_owned()).unwrap();
    assert!(first().corrected);
    request(engine.remember(Embedding { values: Vec::new(), ..embedding.clone() }, "here".to_owned()));
    request(engine.remember(Embedding { model_id: "x".to_owned(), ..embedding.clone() }, "here".to_owned()));
    let foreign = engine.remember(Embedding { model_id: "0".repeat(64), ..embedding }, "here".to_owned());
    assert!(matches!(foreign, Err(MagpieError::Model { .. })));
    engine.forget_all().unwrap();
    assert!(!first().corrected);
}
