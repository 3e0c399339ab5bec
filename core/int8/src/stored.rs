//! A [`LayerGraph`] as bytes: a list of its layers in JSON, followed by their weights.
//!
//! Numbers are little-endian. The bytes start with the length of the JSON in bytes, a `u32`. Positions in the JSON (`at`)
//! count from the end of the JSON. The weights of a layer are `outputs * depth` bytes, then for each output a bias (`i32`),
//! then for each output a factor (`f32`). A lookup table is 256 bytes. The JSON has the factors of scales as the bits of
//! their `f32`, so that they are not rounded. No two layers share bytes: the weights and tables of all layers together must
//! not be longer than what follows the JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::graph::{Filters, Geometry, Layer, LayerGraph, LayerKind, Scale, is_sound};

/// The longest JSON that is read, in bytes.
const MAX_JSON: usize = 8 << 20;

/// Why bytes are not a stored graph, or why a graph cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// The bytes end too early.
    #[error("it is cut short")]
    CutShort,
    /// The list of layers is too long to be read.
    #[error("the list of its layers has {length} bytes, expected at most {MAX_JSON}")]
    TooLong {
        /// Length of the JSON in bytes.
        length: usize,
    },
    /// The list of layers is not as [`write`](fn@write) makes it.
    #[error("its layers: {0}")]
    Layers(String),
    /// The weights of a layer lie outside of the bytes.
    #[error("the weights of layer '{}' lie beyond its end", .name.escape_debug())]
    Weights {
        /// The layer's name.
        name: String,
    },
    /// The layers claim more bytes than there are, because several share a place. Each would be copied: a file of a megabyte
    /// could take gigabytes.
    #[error("the weights of its layers take more than the {length} bytes that follow the list, from layer '{}' on: no \
             two layers may share a place", .name.escape_debug())]
    SharedPlace {
        /// The first layer beyond what there is.
        name: String,
        /// Bytes after the JSON.
        length: usize,
    },
    /// A layer's factor or its range of bytes is not valid.
    #[error("the scale or range of layer '{}' is not valid", .name.escape_debug())]
    Scale {
        /// The layer's name.
        name: String,
    },
    /// The numbers of weights, biases and factors of a layer do not match.
    #[error("layer '{name}' has {weights} weights for {outputs} outputs")]
    Filters {
        /// The layer's name.
        name: String,
        /// Weights that there are.
        weights: usize,
        /// Outputs: entries of the bias.
        outputs: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredGraph {
    layers: Vec<StoredLayer>,
    outputs: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLayer {
    name: String,
    kind: StoredKind,
    from: Vec<usize>,
    factor_bits: u32,
    zero: u8,
    range: [u8; 2],
}

#[derive(Serialize, Deserialize)]
/// The names are part of the format.
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredKind {
    Quantise { input: usize },
    Dequantise,
    Convolution { filters: StoredFilters, geometry: Geometry },
    Depthwise { filters: StoredFilters, geometry: Geometry },
    Linear { filters: StoredFilters },
    LinearFloats { filters: StoredFilters },
    Add,
    Multiply,
    Average,
    Largest { geometry: Geometry },
    Table { at: usize },
    Flatten,
}

/// Where the weights of a layer lie.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFilters {
    at: usize,
    outputs: usize,
    depth: usize,
}

/// Writes a graph as bytes, in the format that [the module](self) describes.
///
/// # Errors
/// [`StoredError::Filters`] if the weights of a layer do not match its outputs, [`StoredError::TooLong`] if there are too
/// many layers.
pub fn write(graph: &LayerGraph) -> Result<Vec<u8>, StoredError> {
    let mut data = Vec::new();
    let layers = graph.layers.iter().map(|layer| stored(layer, &mut data)).collect::<Result<Vec<_>, _>>()?;
    let json = serde_json::to_vec(&StoredGraph { layers, outputs: graph.outputs.clone() });
    let json = json.map_err(|e| StoredError::Layers(e.to_string()))?;
    let length = u32::try_from(json.len()).map_err(|_| StoredError::TooLong { length: json.len() })?;
    Ok([&length.to_le_bytes()[..], &json, &data].concat())
}

/// Reads a graph from bytes. What the layers compute is checked only when the graph is planned.
///
/// # Errors
/// [`StoredError`] if the bytes are not what [`write`](fn@write) makes.
pub fn read(bytes: &[u8]) -> Result<LayerGraph, StoredError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(StoredError::CutShort)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_JSON {
        return Err(StoredError::TooLong { length });
    }
    let (json, data) = rest.split_at_checked(length).ok_or(StoredError::CutShort)?;
    let graph = serde_json::from_slice(json).map_err(|e| StoredError::Layers(e.to_string()))?;
    let StoredGraph { layers, outputs } = graph;
    let mut left = data.len();
    let layers = layers.into_iter().map(|layer| {
        let layer = loaded(layer, data)?;
        match left.checked_sub(stored_bytes(&layer.kind)) {
            Some(rest) => left = rest,
            None => return Err(StoredError::SharedPlace { name: layer.name, length: data.len() }),
        }
        Ok(layer)
    });
    let layers = layers.collect::<Result<_, _>>()?;
    Ok(LayerGraph { layers, outputs })
}

fn stored(layer: &Layer, data: &mut Vec<u8>) -> Result<StoredLayer, StoredError> {
    let mut put = |filters: &Filters| -> Result<StoredFilters, StoredError> {
        let Filters { weights, bias, factors } = filters;
        let depth = weights.len() / bias.len().max(1);
        if weights.len() != depth * bias.len() || factors.len() != bias.len() {
            let (weights, outputs) = (weights.len(), bias.len());
            return Err(StoredError::Filters { name: layer.name.clone(), weights, outputs });
        }
        let place = StoredFilters { at: data.len(), outputs: bias.len(), depth };
        data.extend_from_slice(bytemuck::cast_slice(weights.as_slice()));
        bias.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes()));
        factors.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes()));
        Ok(place)
    };
    let kind = match &layer.kind {
        LayerKind::Quantise(input) => StoredKind::Quantise { input: *input },
        LayerKind::Dequantise => StoredKind::Dequantise,
        LayerKind::Convolution(filters, geometry) => {
            StoredKind::Convolution { filters: put(filters)?, geometry: *geometry }
        }
        LayerKind::Depthwise(filters, geometry) => {
            StoredKind::Depthwise { filters: put(filters)?, geometry: *geometry }
        }
        LayerKind::Linear(filters) => StoredKind::Linear { filters: put(filters)? },
        LayerKind::LinearFloats(filters) => StoredKind::LinearFloats { filters: put(filters)? },
        LayerKind::Add => StoredKind::Add,
        LayerKind::Multiply => StoredKind::Multiply,
        LayerKind::AveragePool => StoredKind::Average,
        LayerKind::MaxPool(geometry) => StoredKind::Largest { geometry: *geometry },
        LayerKind::Table(table) => {
            data.extend_from_slice(&table[..]);
            StoredKind::Table { at: data.len() - table.len() }
        }
        LayerKind::Flatten => StoredKind::Flatten,
    };
    let Layer { name, from, scale, range, .. } = layer;
    let factor_bits = scale.factor.to_bits();
    Ok(StoredLayer { name: name.clone(), kind, from: from.clone(), factor_bits, zero: scale.zero, range: *range })
}

fn loaded(layer: StoredLayer, data: &[u8]) -> Result<Layer, StoredError> {
    let StoredLayer { name, kind, from, factor_bits, zero, range } = layer;
    let cut = || StoredError::Weights { name: name.clone() };
    let filters = |place: StoredFilters| filters(&place, data).ok_or_else(cut);
    let kind = match kind {
        StoredKind::Quantise { input } => LayerKind::Quantise(input),
        StoredKind::Dequantise => LayerKind::Dequantise,
        StoredKind::Convolution { filters: place, geometry } => LayerKind::Convolution(filters(place)?, geometry),
        StoredKind::Depthwise { filters: place, geometry } => LayerKind::Depthwise(filters(place)?, geometry),
        StoredKind::Linear { filters: place } => LayerKind::Linear(filters(place)?),
        StoredKind::LinearFloats { filters: place } => LayerKind::LinearFloats(filters(place)?),
        StoredKind::Add => LayerKind::Add,
        StoredKind::Multiply => LayerKind::Multiply,
        StoredKind::Average => LayerKind::AveragePool,
        StoredKind::Largest { geometry } => LayerKind::MaxPool(geometry),
        StoredKind::Table { at } => {
            let table = data.get(at..).and_then(<[u8]>::first_chunk::<256>).ok_or_else(cut)?;
            LayerKind::Table(Box::new(*table))
        }
        StoredKind::Flatten => LayerKind::Flatten,
    };
    let gives_floats = matches!(kind, LayerKind::Dequantise | LayerKind::LinearFloats(_));
    if range[0] > range[1] || !(gives_floats || is_sound(f32::from_bits(factor_bits))) {
        return Err(StoredError::Scale { name });
    }
    Ok(Layer { name, kind, from, scale: Scale { factor: f32::from_bits(factor_bits), zero }, range })
}

/// The bytes that a layer takes after the JSON.
fn stored_bytes(kind: &LayerKind) -> usize {
    match kind {
        LayerKind::Table(table) => table.len(),
        kind => kind.filters().map_or(0, |filters| filters.weights.len() + 8 * filters.bias.len()),
    }
}

/// The filters of a layer; `None` if they lie beyond the end.
fn filters(place: &StoredFilters, data: &[u8]) -> Option<Filters> {
    let &StoredFilters { at, outputs, depth } = place;
    let weights = outputs.checked_mul(depth)?;
    let (weights, rest) = data.get(at..)?.split_at_checked(weights)?;
    let (bias, rest) = rest.split_at_checked(outputs.checked_mul(4)?)?;
    let factors = rest.get(..bias.len())?;
    Some(Filters {
        weights: Arc::new(bytemuck::cast_slice(weights).to_vec()),
        bias: bias.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect(),
        factors: factors.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> LayerGraph {
        let filters = Filters { weights: Arc::new(vec![1, -2, 3, -4]), bias: vec![5, -6], factors: vec![0.5, 0.25] };
        let layer = |name: &str, kind, from| {
            let scale = Scale { factor: 0.1, zero: 3 };
            Layer { name: name.to_owned(), kind, from, scale, range: [3, 255] }
        };
        let layers = vec![
            layer("in", LayerKind::Quantise(0), vec![]),
            layer("table", LayerKind::Table(Box::new(std::array::from_fn(|at| 255 - at as u8))), vec![0]),
            layer("out", LayerKind::LinearFloats(filters), vec![1]),
        ];
        LayerGraph { layers, outputs: vec![2] }
    }

    #[test]
    fn a_graph_is_read_as_it_was_written() {
        let bytes = write(&graph()).expect("a sound graph");
        let read = read(&bytes).expect("what was written");
        assert_eq!(format!("{read:?}"), format!("{:?}", graph()));
    }

    #[test]
    fn bytes_that_are_not_a_graph_are_refused() {
        let bytes = write(&graph()).expect("a sound graph");
        for length in 0..bytes.len() {
            read(&bytes[..length]).expect_err("cut short");
        }
        let scale_of = |name: &str| StoredError::Scale { name: name.to_owned() };
        let mut reversed = graph();
        reversed.layers[1].range = [9, 8];
        assert_eq!(read(&write(&reversed).expect("written")).expect_err("refused"), scale_of("table"));
        let mut unsound = graph();
        unsound.layers[0].scale.factor = f32::NAN;
        assert_eq!(read(&write(&unsound).expect("written")).expect_err("refused"), scale_of("in"));
        let shared = |count: usize| {
            let mut graph = graph();
            let table = graph.layers[1].clone();
            graph.layers.splice(1..1, std::iter::repeat_n(table, count));
            let bytes = write(&graph).expect("written");
            let (json, length) = (&bytes[4..], u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
            // All tables at the place of the first one; the rest of the data stays.
            let mut json = String::from_utf8(json[..length].to_vec()).expect("JSON");
            for at in 1..=count {
                json = json.replace(&format!("{{\"at\":{}}}", 256 * at), "{\"at\":0}");
            }
            let data = &bytes[4 + length..][..512];
            [&(json.len() as u32).to_le_bytes()[..], json.as_bytes(), data].concat()
        };
        let error = read(&shared(40)).expect_err("refused");
        assert_eq!(error, StoredError::SharedPlace { name: "table".to_owned(), length: 512 });
        let huge = [&u32::MAX.to_le_bytes()[..], &bytes].concat();
        assert_eq!(read(&huge).expect_err("refused"), StoredError::TooLong { length: u32::MAX as usize });
    }
}
