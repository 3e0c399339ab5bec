//! Builds the centroid graph with instant-distance, and flattens it for the shard.

use instant_distance::{Builder, Point};
use serde::Serialize;

use super::clusters::Centroids;
use super::links::LinkCollector;
use crate::error::ShardError;

/// Fewest lists that get a graph. Below, comparing all centroids takes about as long as walking a graph (ADR 0005).
const WORTH_A_GRAPH: usize = 2048;
/// Most links of a node; instant-distance makes up to 64 on the last layer.
const LINKS: usize = 32;
/// Nodes that are kept while searching for the links of a new one: twice the default of instant-distance, since a build
/// may take time for a better graph.
const EF_CONSTRUCTION: usize = 200;
/// Seed of the order of insertion; any number works.
const SEED: u64 = 42;

/// For each layer from the top, the links of each node.
pub(super) type Layers = Vec<Vec<Vec<u32>>>;

/// A centroid's number and code. It can be serialised because instant-distance asks for that; nothing does it.
#[derive(Clone, Serialize)]
struct CentroidPoint<'a> {
    number: u32,
    code: &'a [i8],
}

impl Point for CentroidPoint<'_> {
    fn distance(&self, other: &Self) -> f32 {
        // Exact integers, so that the graph does not depend on the CPU.
        let square = |(&a, &b): (&i8, &i8)| (i32::from(a) - i32::from(b)).pow(2);
        self.code.iter().zip(other.code).map(square).sum::<i32>() as f32
    }
}

/// Links the centroids and reorders them such that the nodes of each layer come first. Few centroids are returned
/// unchanged, without layers.
pub(super) fn link(centroids: Centroids) -> Result<(Centroids, Layers), ShardError> {
    if centroids.len() < WORTH_A_GRAPH {
        return Ok((centroids, Layers::new()));
    }
    let failed = |e: &dyn std::fmt::Display| ShardError::Build(format!("the centroid graph: {e}"));
    let stride = centroids.codes.len() / centroids.len();
    let nodes: Vec<CentroidPoint<'_>> =
        (0..).zip(centroids.codes.chunks_exact(stride)).map(|(number, code)| CentroidPoint { number, code }).collect();
    // On several threads the order of insertion, and so the graph, would be random.
    let thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| failed(&e))?;
    let builder = Builder::default().seed(SEED).ef_construction(EF_CONSTRUCTION);
    let index = thread.install(|| builder.build_hnsw(nodes).0);
    let mut layers = LinkCollector::collect(&index).map_err(|e| failed(&e))?;
    layers.iter_mut().flatten().for_each(|links| links.truncate(LINKS));
    let order: Vec<usize> = index.iter().map(|(_, node)| node.number as usize).collect();
    let counts: Vec<usize> = layers.iter().map(Vec::len).collect();
    if !counts.is_sorted() || counts.last() != Some(&order.len()) || order.len() != centroids.len() {
        return Err(failed(&format!("layers of {counts:?} nodes for {} centroids", centroids.len())));
    }

    let codes = order.iter().flat_map(|&number| centroids.codes[number * stride..][..stride].iter().copied()).collect();
    let biases = order.iter().map(|&number| centroids.biases[number]).collect();
    Ok((Centroids { codes, unit: centroids.unit, biases }, layers))
}
