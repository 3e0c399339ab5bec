//! The layouts of the sections that a search starts with: the index, the inverted lists and the centroid graph.

use std::ops::Range;

/// Most layers of the centroid graph. Each has at most a third of the nodes of the one below, so none has more.
const MAX_LAYERS: usize = 32;

/// The index section: the units of the numbers in the other sections, and the measured budgets.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct ListIndex {
    /// Number of inverted lists; at least 1 where there are photos.
    pub(crate) lists: u32,
    /// Dimension of the embeddings, which must be that of the header.
    pub(crate) dim: u32,
    /// Seed of the rotation of all vectors.
    pub(crate) rotation_seed: u64,
    /// Unit of a centroid's coordinates.
    pub(crate) centroid_unit: f32,
    /// Unit of a byte code's packed scale.
    pub(crate) scale_unit: f32,
    /// Unit of a packed slope.
    pub(crate) slope_unit: f32,
    /// Unit of a packed offset.
    pub(crate) offset_unit: f32,
    /// The offset that a packed 0 stands for.
    pub(crate) offset_origin: f32,
    pub(crate) reserved: [u32; 7],
    /// The measured budget for each of [`RECALLS`]; zeros where the recall was not reached or not measured.
    pub(crate) budgets: [Budget; RECALLS.len()],
}

/// The work of a search: lists to probe and photos to re-rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Budget {
    /// Lists to probe.
    pub(crate) probes: u32,
    /// Photos to re-rank by their byte codes.
    pub(crate) rerank: u32,
}

/// The recalls of the 10 nearest photos that [`ListIndex::budgets`] were measured for.
pub(crate) const RECALLS: [f32; 8] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];

impl ListIndex {
    pub(super) fn check(&self, photos: u32, dim: u32) -> Result<(), String> {
        if self.dim != dim {
            return Err(format!("codes of {} coordinates, expected {dim}", self.dim));
        }
        if self.lists > photos || (self.lists == 0) != (photos == 0) {
            return Err(format!("{} lists, expected 1 to {photos}, the number of photos", self.lists));
        }
        let units = [self.centroid_unit, self.scale_unit, self.slope_unit, self.offset_unit];
        let sound = |unit: f32| (0.0..1e6).contains(&unit);
        if !units.into_iter().all(sound) || !(-1e6..1e6).contains(&self.offset_origin) {
            return Err(format!("units {units:?} with origin {}, expected small numbers", self.offset_origin));
        }
        Ok(())
    }
}

/// The graph for finding the nearest centroids: HNSW (Malkov and Yashunin 2018). Layers are counted from the top. The
/// nodes of a layer are the first of all centroids, and the last layer has all of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CentroidGraph<'a> {
    /// Number of nodes of each layer.
    counts: &'a [u32],
    /// For each layer, where the links of each node start, and where those of the last one end.
    starts: &'a [u32],
    links: &'a [u32],
}

impl<'a> CentroidGraph<'a> {
    /// Reads a section and checks its counts; starts and links are checked when they are used.
    pub(super) fn read(words: &'a [u32], lists: u32) -> Result<Self, String> {
        let short = || format!("{} words are too few for its layers", words.len());
        let (&layers, rest) = words.split_first().ok_or_else(short)?;
        if layers == 0 && rest.is_empty() {
            return Ok(CentroidGraph::default());
        }
        let layers = usize::try_from(layers).ok().filter(|layers| (1..=MAX_LAYERS).contains(layers));
        let layers = layers.ok_or_else(|| format!("{} layers, expected at most {MAX_LAYERS}", words[0]))?;
        let (counts, rest) = rest.split_at_checked(layers).ok_or_else(short)?;
        if counts[0] == 0 || counts.last() != Some(&lists) || !counts.is_sorted() {
            return Err(format!("layers of {counts:?} nodes for {lists} lists"));
        }
        let starts = counts.iter().map(|&count| count as usize + 1).sum();
        let (starts, links) = rest.split_at_checked(starts).ok_or_else(short)?;
        if starts.last().map(|&end| end as usize) != Some(links.len()) {
            return Err(format!("links end at {:?}, there are {}", starts.last(), links.len()));
        }
        Ok(CentroidGraph { counts, starts, links })
    }

    /// Returns the words of the section. `layers` has, for each layer from the top, the links of each node.
    #[cfg(feature = "build")]
    pub(crate) fn write(layers: &[Vec<Vec<u32>>]) -> Vec<u32> {
        let mut words = vec![layers.len() as u32];
        words.extend(layers.iter().map(|layer| layer.len() as u32));
        let mut end = 0;
        for layer in layers {
            words.push(end);
            for links in layer {
                end += links.len() as u32;
                words.push(end);
            }
        }
        words.extend(layers.iter().flatten().flatten());
        words
    }

    /// The number of layers; 0 for a shard without a graph, because it has few lists.
    pub(crate) fn layers(&self) -> usize {
        self.counts.len()
    }

    /// The number of nodes of a layer.
    pub(crate) fn nodes(&self, layer: usize) -> u32 {
        self.counts.get(layer).copied().unwrap_or(0)
    }

    /// The number of links of all layers.
    pub(crate) fn link_count(&self) -> usize {
        self.links.len()
    }

    /// The links of a layer.
    pub(crate) fn layer(&self, layer: usize) -> LayerLinks<'a> {
        let skip: usize = self.counts.iter().take(layer).map(|&count| count as usize + 1).sum();
        let len = self.counts.get(layer).map_or(0, |&count| count as usize + 1);
        LayerLinks { starts: self.starts.get(skip..skip + len).unwrap_or_default(), links: self.links }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut end = 0;
        for layer in 0..self.layers() {
            let links = self.layer(layer);
            if links.starts.first() != Some(&end) || !links.starts.is_sorted() {
                return Err(format!("the links of layer {layer} do not follow those before"));
            }
            debug_assert!(!links.starts.is_empty());
            end = links.starts.last().copied().unwrap_or(0);
            for node in 0..self.nodes(layer) {
                if let Some(wrong) = links.of(node).iter().find(|&&link| link >= self.nodes(layer) || link == node) {
                    return Err(format!("node {node} of layer {layer} links to {wrong} of {}", self.nodes(layer)));
                }
            }
        }
        Ok(())
    }
}

/// The links of one layer of the graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerLinks<'a> {
    starts: &'a [u32],
    links: &'a [u32],
}

impl<'a> LayerLinks<'a> {
    /// Returns the nodes that a node links to. In a damaged file there may be none, or nodes beyond the layer's end.
    pub(crate) fn of(&self, node: u32) -> &'a [u32] {
        let range = match self.starts.get(node as usize..) {
            Some([start, end, ..]) => *start as usize..*end as usize,
            _ => return &[],
        };
        self.links.get(range).unwrap_or_default()
    }
}

/// Returns the photos of a list; `None` where the starts are damaged.
pub(super) fn list(starts: &[u32], list: u32, photos: u32) -> Option<Range<u32>> {
    let range = match starts.get(list as usize..)? {
        [start, end, ..] => *start..*end,
        _ => return None,
    };
    (range.start <= range.end && range.end <= photos).then_some(range)
}

#[cfg(all(test, feature = "build"))]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_read_as_written_and_damage_is_detected() {
        let layers = vec![vec![vec![1], vec![0]], vec![vec![1, 2], vec![0], vec![]]];
        let words = CentroidGraph::write(&layers);
        let graph = CentroidGraph::read(&words, 3).expect("just written");
        assert_eq!((graph.layers(), graph.nodes(0), graph.nodes(1)), (2, 2, 3));
        assert_eq!(
            (graph.layer(1).of(0), graph.layer(0).of(1), graph.layer(1).of(3)),
            (&[1, 2][..], &[0][..], &[][..])
        );
        assert_eq!(graph.check(), Ok(()));
        assert!(CentroidGraph::read(&words, 4).is_err());
        for cut in 0..words.len() {
            assert!(CentroidGraph::read(&words[..cut], 3).is_err(), "{cut}");
        }
        for at in 0..words.len() {
            for wrong in [0, 3, 1 << 31, u32::MAX] {
                let mut damaged = words.clone();
                damaged[at] = wrong;
                let Ok(graph) = CentroidGraph::read(&damaged, 3) else { continue };
                let all = || (0..5).flat_map(|layer| (0..5).map(move |node| graph.layer(layer).of(node).len()));
                assert!(damaged == words || graph.check().is_err() || all().sum::<usize>() > 0);
            }
        }
        assert!(CentroidGraph::read(&[0], 7).is_ok_and(|graph| graph.layers() == 0));
    }

    #[test]
    fn lists_with_damaged_starts_are_rejected() {
        assert_eq!(list(&[0, 3, 9], 1, 9), Some(3..9));
        assert_eq!(list(&[0, 3, 9], 2, 9), None);
        assert_eq!((list(&[5, 3], 0, 9), list(&[0, 10], 0, 9), list(&[], 0, 9)), (None, None, None));
    }
}
