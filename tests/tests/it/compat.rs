//! Shards that earlier versions wrote can still be read: `compat/` has a file of every format version.

use std::path::PathBuf;

use magpie_core::listing::{self, Found};
use magpie_core::search::{Filter, search};
use magpie_core::shard::{FORMAT_OLDEST_READ, FORMAT_WRITTEN, Shard};
use magpie_core::{IndexError, ShardError};
use magpie_tests::{compat, repository, shards};

fn file(format: u32) -> PathBuf {
    repository().join(format!("tests/compat/v{format}.magpie"))
}

fn find(shard: &Shard, filter: Option<&str>, k: usize) -> Vec<Found> {
    let query = shards::embedding(&[0.8, 0.2, 0.1, 0.0, 0.2, -0.3, 0.4, 0.0]);
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    listing::fetch(shard, &search(shard, &query, filter.as_ref(), k).unwrap()).unwrap()
}

#[test]
fn shards_of_every_supported_format_are_searched() {
    for format in FORMAT_OLDEST_READ..=FORMAT_WRITTEN {
        let shard = Shard::open(file(format)).unwrap();
        let report = shard.verify().unwrap();
        assert_eq!((report.listings, report.photos), (3, 5));
        assert_eq!((shard.header().format, shard.header().sequence, shard.catalog()), (format, 7, "Ann's shop"));

        let found = find(&shard, None, 10);
        let ids: Vec<&str> = found.iter().map(|found| found.listing.id.as_str()).collect();
        assert_eq!(ids, ["mug-3", "bowl-1", "lamp-7"], "format {format}");
        assert_eq!(found[0].listing.photo, "mug-3/right.jpg");
        assert!(found[0].score > 0.99 && found[1].score < 0.5);
        assert_eq!((found[0].listing.get("price"), found[2].listing.get("price")), (Some("14.5"), None));
        assert_eq!(found[1].listing.get("title"), Some("Schüssel \"Ann's\""));

        let dear = find(&shard, Some("price > 20 and colour != blue"), 10);
        assert_eq!((dear.len(), dear[0].listing.id.as_str()), (1, "bowl-1"));
    }
}

#[test]
fn shards_of_older_formats_ask_for_a_rebuild() {
    for format in 1..FORMAT_OLDEST_READ {
        match Shard::open(file(format)).unwrap_err() {
            IndexError::Shard(ShardError::TooOld { found, oldest }) => {
                assert_eq!((found, oldest), (format, FORMAT_OLDEST_READ))
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn writing_the_same_catalogue_again_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.magpie");
    compat::write(&path).unwrap();
    let (new, kept) = (std::fs::read(path).unwrap(), std::fs::read(file(FORMAT_WRITTEN)).unwrap());
    assert!(new == kept, "the writer changed: see tests/compat/README.md");
}
