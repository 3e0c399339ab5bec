//! The specification promises that a build with the same input gives the same file on every CPU.
#![cfg(feature = "build")]
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use magpie_index::builder::{BuildOptions, Field, Identity, LocalScaling, ShardBuilder};
use magpie_index::shard::Shard;
use magpie_index::{Embedding, ModelId};

const MODEL: ModelId = ModelId([5; 32]);
const DIM: usize = 24;

/// A vector near one of 400 directions. Made from integers, so that no mathematical function of the platform takes
/// part.
fn embedding(seed: u64) -> Embedding {
    let coordinate = |stream: u64, at: usize| {
        let mixed = (stream * 100 + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let near = |at: usize| coordinate(seed % 400, at) + 0.25 * coordinate(1000 + seed, at);
    Embedding::new(&std::array::from_fn::<f32, DIM, _>(near), MODEL).unwrap()
}

fn build(photos: u64, options: BuildOptions) -> Vec<u8> {
    let identity = Identity { model_id: MODEL, catalog: "bytes".into(), sequence: 7, writer: "test".into() };
    let fields = ["title", "price"].map(|name| Field { name: name.into(), filter: name == "price" }).to_vec();
    let mut builder = ShardBuilder::new(identity, DIM, fields).with_options(options);
    for photo in 0..photos {
        let listing = photo / 2;
        let values = [format!("Listing {listing}"), (listing % 50).to_string()];
        builder.add(&format!("{listing:05}"), &format!("{photo}.jpg"), &values, &embedding(photo)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes.magpie");
    builder.write(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn hash_of_section(bytes: &[u8], name: &str) -> String {
    let sections = Shard::from_bytes(bytes).unwrap().sections();
    let section = sections.iter().find(|section| section.name == name).unwrap();
    blake3::hash(&bytes[section.offset as usize..][..section.bytes as usize]).to_string()
}

/// The smallest number of lists that gets a graph. Another version of instant-distance may link centroids differently,
/// so it is pinned: an update that changes this hash changes every large shard.
#[test]
fn a_shard_with_a_centroid_graph_has_the_same_bytes() {
    let bytes = build(2500, BuildOptions::default().with_lists(2048));
    let sections = ["centroid graph", "index", "codes"].map(|name| hash_of_section(&bytes, name));
    let expected = [
        "ebec385f540f4430fc9138d581f27f9b4e085795e2c95b3362e3cc1dfe3a2ef1",
        "971b00b2e2de8ffd494ec23cdd5c77beec5eb67b8a6d3e611b2b5bfe64830a2f",
        "f7becfb4c09381e64434fb0343132de14fc49c53a3dd6f4e656441c3eca741ff",
    ];
    assert_eq!(sections, expected);
    // The whole file also depends on the version of zstd.
    assert_eq!(blake3::hash(&bytes).to_string(), "e4b94a44ace4586cbcccf0c10a1f53d2a36747dd2dbd478a35fe0edf5d5f559c");
}

#[test]
fn a_shard_with_local_scaling_has_the_same_bytes() {
    let shoppers: Vec<Embedding> = (10_000..10_100).map(embedding).collect();
    let options = BuildOptions::default().with_lists(8).with_local_scaling(LocalScaling::new(&shoppers, 0.3).unwrap());
    let hash = blake3::hash(&build(500, options)).to_string();
    assert_eq!(hash, "0a1cc086c4dca822a452475db562645a871c7019440423e8997e71c8067b3ddd");
}
