//! The tiny catalogue stored in `tests/compat/`, one file for each version of the shard format.

use std::path::Path;

use magpie_core::IndexError;
use magpie_core::builder::BuildReport;

use crate::shards::{self, Photo};

/// The catalogue's photos: three listings, five photos, eight dimensions, a word and a number column, one text that is
/// not ASCII.
pub fn photos() -> Vec<Photo> {
    let mug = ["Stoneware mug", "blue", "14.5"];
    let bowl = ["Schüssel \"Ann's\"", "", "32"];
    let lamp = ["Reading lamp", "red", ""];
    vec![
        Photo::new("bowl-1", "bowl-1/top.jpg", &bowl, &[0.1, 0.9, 0.0, 0.2, -0.3, 0.0, 0.1, 0.0]),
        Photo::new("lamp-7", "lamp-7/on.jpg", &lamp, &[-0.5, 0.0, 0.8, 0.1, 0.0, 0.3, 0.0, -0.1]),
        Photo::new("mug-3", "mug-3/left.jpg", &mug, &[0.9, 0.1, 0.0, 0.0, 0.2, -0.4, 0.0, 0.1]),
        Photo::new("mug-3", "mug-3/right.jpg", &mug, &[0.8, 0.2, 0.1, 0.0, 0.2, -0.3, 0.5, 0.0]),
        Photo::new("lamp-7", "lamp-7/off.jpg", &lamp, &[-0.6, 0.1, 0.5, 0.2, 0.1, 0.4, 0.0, 0.2]),
    ]
}

/// Writes the catalogue in the format that this version writes.
///
/// # Errors
/// The builder's error.
pub fn write(path: &Path) -> Result<BuildReport, IndexError> {
    let mut fields = shards::filters(&["title", "colour", "price"]);
    fields[0].filter = false;
    shards::write(path, 8, fields, &photos())
}
