//! Builds the centroid graph with instant-distance, and flattens it for the shard.

use instant_distance::{Builder, Point};
use serde::{Deserialize, Serialize, Serializer};

use super::clusters::Centroids;
use crate::error::ShardError;

/// Fewest lists that get a graph. Below, comparing all centroids takes about as long as walking a graph (ADR 0005).
const WORTH_A_GRAPH: usize = 2048;
/// Most links of a node; instant-distance makes up to 64 on the last layer.
const LINKS: usize = 32;
/// Nodes that are kept while searching for the links of a new one: twice the default of instant-distance, since a build may
/// take time for a better graph.
const EF_CONSTRUCTION: usize = 200;
/// Seed of the order of insertion; any number works.
const SEED: u64 = 42;
/// What instant-distance writes for an unused link.
const NONE: u32 = u32::MAX;

/// For each layer from the top, the links of each node.
pub(super) type Layers = Vec<Vec<Vec<u32>>>;

/// A centroid's code; written as its number, which is how the graph gets out of instant-distance.
#[derive(Clone)]
struct Node<'a> {
    number: u32,
    code: &'a [i8],
}

impl Point for Node<'_> {
    fn distance(&self, other: &Self) -> f32 {
        // Exact integers, so that the graph does not depend on the CPU.
        let square = |(&a, &b): (&i8, &i8)| (i32::from(a) - i32::from(b)).pow(2);
        self.code.iter().zip(other.code).map(square).sum::<i32>() as f32
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(self.number)
    }
}

/// What instant-distance serialises, as far as it is needed.
#[derive(Deserialize)]
struct Extract {
    points: Vec<u32>,
    zero: Vec<Vec<u32>>,
    layers: Vec<Vec<Vec<u32>>>,
}

/// Links the centroids and reorders them such that the nodes of each layer come first. Few centroids are returned
/// unchanged, without layers.
pub(super) fn link(centroids: Centroids) -> Result<(Centroids, Layers), ShardError> {
    if centroids.len() < WORTH_A_GRAPH {
        return Ok((centroids, Layers::new()));
    }
    let failed = |e: &dyn std::fmt::Display| ShardError::Build(format!("the centroid graph: {e}"));
    let stride = centroids.codes.len() / centroids.len();
    let nodes: Vec<Node<'_>> =
        (0..).zip(centroids.codes.chunks_exact(stride)).map(|(number, code)| Node { number, code }).collect();
    // On several threads the order of insertion, and so the graph, would be random.
    let thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| failed(&e))?;
    let builder = Builder::default().seed(SEED).ef_construction(EF_CONSTRUCTION);
    let extract = thread.install(|| serde_json::to_value(builder.build_hnsw(nodes).0)).map_err(|e| failed(&e))?;
    let extract: Extract = serde_json::from_value(extract).map_err(|e| failed(&e))?;

    let flat = |nodes: Vec<Vec<u32>>| {
        let links = |links: Vec<u32>| links.into_iter().filter(|&link| link != NONE).take(LINKS).collect();
        nodes.into_iter().map(links).collect()
    };
    let layers = extract.layers.into_iter().rev().chain([extract.zero]).map(flat).collect();
    let code = |&number: &u32| &centroids.codes[number as usize * stride..][..stride];
    let codes = extract.points.iter().flat_map(|number| code(number).iter().copied()).collect();
    let biases = extract.points.iter().map(|&number| centroids.biases[number as usize]).collect();
    Ok((Centroids { codes, unit: centroids.unit, biases }, layers))
}
