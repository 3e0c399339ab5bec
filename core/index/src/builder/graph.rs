//! The graph that leads a search to the nearest centres: built by instant-distance, laid flat for the shard.

use instant_distance::{Builder, Point};
use serde::{Deserialize, Serialize, Serializer};

use super::clusters::Centres;
use crate::error::ShardError;

/// Fewer lists are scanned as quickly as a graph is walked.
const WORTH_A_GRAPH: usize = 2048;
/// Most links of a node.
const LINKS: usize = 32;
const EF_CONSTRUCTION: usize = 200;
const SEED: u64 = 42;
/// What instant-distance writes where there is no link.
const NONE: u32 = u32::MAX;

/// For each layer from the top, the links of each node.
pub(super) type Layers = Vec<Vec<Vec<u32>>>;

/// A centre's code; written as its number, which is how the graph gets out of instant-distance.
#[derive(Clone)]
struct Node<'a> {
    number: u32,
    code: &'a [i8],
}

impl Point for Node<'_> {
    fn distance(&self, other: &Self) -> f32 {
        // Exact integers: the graph must be the same wherever it is built.
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

/// Links the centres, and puts them into the graph's order: the nodes of each layer come first. Few centres stay as
/// they are, without layers.
pub(super) fn link(centres: Centres) -> Result<(Centres, Layers), ShardError> {
    if centres.len() < WORTH_A_GRAPH {
        return Ok((centres, Layers::new()));
    }
    let failed = |e: &dyn std::fmt::Display| ShardError::Build(format!("the centroid graph: {e}"));
    let stride = centres.codes.len() / centres.len();
    let nodes: Vec<Node<'_>> =
        (0..).zip(centres.codes.chunks_exact(stride)).map(|(number, code)| Node { number, code }).collect();
    // On several threads the order of insertion, and so the graph, would be chance.
    let thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| failed(&e))?;
    let builder = Builder::default().seed(SEED).ef_construction(EF_CONSTRUCTION);
    let extract = thread.install(|| serde_json::to_value(builder.build_hnsw(nodes).0)).map_err(|e| failed(&e))?;
    let extract: Extract = serde_json::from_value(extract).map_err(|e| failed(&e))?;

    let flat = |nodes: Vec<Vec<u32>>| {
        let links = |links: Vec<u32>| links.into_iter().filter(|&link| link != NONE).take(LINKS).collect();
        nodes.into_iter().map(links).collect()
    };
    let layers = extract.layers.into_iter().rev().chain([extract.zero]).map(flat).collect();
    let code = |&number: &u32| &centres.codes[number as usize * stride..][..stride];
    let codes = extract.points.iter().flat_map(|number| code(number).iter().copied()).collect();
    let biases = extract.points.iter().map(|&number| centres.biases[number as usize]).collect();
    Ok((Centres { codes, unit: centres.unit, biases }, layers))
}
