//! The coarse step: ranks the inverted lists by the distance of their centroids to the query. Few lists are all
//! compared; many are found by walking the centroid graph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::top_photos::key;
use crate::shard::Shard;
use crate::vector::CodeKernels;
use crate::vector::code::EncodedQuery;

/// The graph is walked for at most one in so many of the lists. A walk fetches centroids in random order, so for more
/// of them one pass over all, in the order of memory, is quicker.
const GRAPH_SHARE: usize = 8;
/// Lists whose scores are compared at once: 16 floats fill a 512-bit register.
const PIECE: usize = 16;

/// A list to scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) list: u32,
    /// Product of the query and the list's centroid.
    pub(super) product: f32,
}

/// The nearest lists, sorted as far as they were requested.
#[derive(Debug, Default)]
pub(super) struct Coarse {
    /// One key for each ranked list: smaller for a nearer list, with the list's number in the lower half.
    keys: Vec<u64>,
    /// Length of the sorted prefix of `keys`.
    sorted: usize,
    products: Vec<i32>,
    scores: Vec<f32>,
    columns: Vec<f32>,
    picked: Vec<u32>,
    seen: Vec<u64>,
    nearest: BinaryHeap<u64>,
    open: BinaryHeap<Reverse<u64>>,
}

impl Coarse {
    /// Ranks at least the `count` nearest lists, and all of them where `count` is large.
    pub(super) fn rank(&mut self, shard: &Shard, query: &EncodedQuery, kernels: CodeKernels, count: usize) {
        let lists = shard.index().lists as usize;
        let graph = shard.graph();
        self.sorted = 0;
        self.keys.clear();
        if graph.layers() > 0 && count <= lists / GRAPH_SHARE {
            self.walk(shard, query, kernels, count);
            // A damaged graph may reach too few lists.
            if self.keys.len() >= count {
                return;
            }
            self.keys.clear();
        }
        self.compare_all(shard, query, kernels);
        let unit = query.unit() * shard.index().centroid_unit;
        let pairs = self.products.iter().zip(shard.list_biases());
        self.scores.clear();
        // A damaged bias may be NaN. Its list then ranks last, but it is ranked.
        self.scores.extend(pairs.map(|(&product, bias)| (product as f32 * unit + bias).max(f32::NEG_INFINITY)));
        let threshold = threshold(&self.scores, count, &mut self.columns);
        for (scores, first) in self.scores.chunks(PIECE).zip((0..).step_by(PIECE)) {
            if scores.iter().fold(false, |any, &score| any | (score >= threshold)) {
                let near = scores.iter().zip(first..).filter(|(score, _)| **score >= threshold);
                self.keys.extend(near.map(|(&score, list)| key(score, list)));
            }
        }
    }

    /// Computes the products of the query and all centroids, for [`Coarse::product`].
    pub(super) fn compare_all(&mut self, shard: &Shard, query: &EncodedQuery, kernels: CodeKernels) {
        self.products.resize(shard.index().lists as usize, 0);
        kernels.dot_rows(shard.centroids(), query.values(), &mut self.products);
    }

    /// Returns the product of the query and a list's centroid, after [`Coarse::compare_all`].
    pub(super) fn product(&self, shard: &Shard, query: &EncodedQuery, list: u32) -> f32 {
        debug_assert!((list as usize) < self.products.len());
        let product = self.products.get(list as usize).copied().unwrap_or(0);
        product as f32 * (query.unit() * shard.index().centroid_unit)
    }

    /// The number of ranked lists.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the lists at positions `from..to` of the ranking, as far as it goes.
    pub(super) fn probes(
        &mut self,
        shard: &Shard,
        query: &EncodedQuery,
        kernels: CodeKernels,
        from: usize,
        to: usize,
    ) -> Vec<Probe> {
        let to = to.min(self.keys.len());
        if to > self.sorted {
            let rest = &mut self.keys[self.sorted..];
            let count = to - self.sorted;
            if count < rest.len() {
                rest.select_nth_unstable(count - 1);
            }
            rest[..count].sort_unstable();
            self.sorted = to;
        }
        debug_assert!(from <= to);
        let keys = self.keys.get(from..to).unwrap_or_default();
        self.picked.clear();
        self.picked.extend(keys.iter().map(|&key| key as u32));
        self.products.resize(self.products.len().max(self.picked.len()), 0);
        let products = &mut self.products[..self.picked.len()];
        kernels.dot_picked(shard.centroids(), query.values(), &self.picked, products);
        let unit = query.unit() * shard.index().centroid_unit;
        let probe = |(&list, &product): (&u32, &i32)| Probe { list, product: product as f32 * unit };
        self.picked.iter().zip(&*products).map(probe).collect()
    }

    /// Best-first search of each layer of the graph, from the top. Each upper layer passes its nearest node down; the
    /// last one keeps `count`, and a quarter and 8 more, because a search that keeps a few more misses fewer.
    fn walk(&mut self, shard: &Shard, query: &EncodedQuery, kernels: CodeKernels, count: usize) {
        let (graph, lists) = (shard.graph(), shard.index().lists);
        let unit = query.unit() * shard.index().centroid_unit;
        let (centroids, biases) = (shard.centroids(), shard.list_biases());
        let mut start = 0;
        for layer in 0..graph.layers() {
            let last = layer + 1 == graph.layers();
            let keep = if last { count + count / 4 + 8 } else { 1 };
            let links = graph.layer(layer);
            // Each node is left once, so a walk of a sound graph follows each link at most once. In a damaged one, each node
            // could have all links.
            let mut unseen = graph.link_count();
            self.seen.clear();
            self.seen.resize(lists.div_ceil(64) as usize, 0);
            self.nearest.clear();
            self.open.clear();
            self.picked.clear();
            self.picked.push(start);
            self.seen[start as usize / 64] |= 1 << (start % 64);
            loop {
                self.products.resize(self.products.len().max(self.picked.len()), 0);
                let products = &mut self.products[..self.picked.len()];
                kernels.dot_picked(centroids, query.values(), &self.picked, products);
                for (&node, &product) in self.picked.iter().zip(&*products) {
                    debug_assert!((node as usize) < biases.len());
                    let bias = biases.get(node as usize).copied().unwrap_or(f32::MIN);
                    let key = key(product as f32 * unit + bias, node);
                    if self.nearest.len() < keep || self.nearest.peek().is_some_and(|&worst| key < worst) {
                        self.open.push(Reverse(key));
                        self.nearest.push(key);
                        if self.nearest.len() > keep {
                            self.nearest.pop();
                        }
                    }
                }
                let Some(Reverse(next)) = self.open.pop() else { break };
                if self.nearest.len() >= keep && self.nearest.peek().is_some_and(|&worst| next > worst) {
                    break;
                }
                self.picked.clear();
                let next = links.of(next as u32);
                let Some(rest) = unseen.checked_sub(next.len()) else {
                    self.nearest.clear();
                    return;
                };
                unseen = rest;
                for &link in next {
                    // A damaged link is not followed.
                    let Some(seen) = self.seen.get_mut(link as usize / 64).filter(|_| link < lists) else { continue };
                    if *seen & (1 << (link % 64)) == 0 {
                        *seen |= 1 << (link % 64);
                        self.picked.push(link);
                    }
                }
            }
            debug_assert!(!self.nearest.is_empty());
            start = self.nearest.iter().min().map_or(0, |&key| key as u32);
        }
        self.keys.extend(self.nearest.iter());
    }
}

/// Returns a threshold that at least `count` of the scores reach, and not many more. Sorting them all would take as
/// long as computing them. Instead the scores are written in rows four times as wide as `count`; at least `count`
/// scores reach the `count`-th of the columns' maxima.
fn threshold(scores: &[f32], count: usize, columns: &mut Vec<f32>) -> f32 {
    let width = count.min(scores.len()).next_multiple_of(PIECE) * 4;
    if width == 0 || width > scores.len() / 2 {
        return f32::NEG_INFINITY;
    }
    columns.clear();
    columns.resize(width, f32::NEG_INFINITY);
    for row in scores.chunks(width) {
        columns
            .iter_mut()
            .zip(row)
            .for_each(|(highest, &score)| *highest = if score > *highest { score } else { *highest });
    }
    *columns.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn enough_scores_reach_the_threshold(
            scores in prop::collection::vec(-2f32..2.0, 0..900), count in prop_oneof![0usize..200, Just(usize::MAX)],
        ) {
            let threshold = threshold(&scores, count, &mut Vec::new());
            let reach = scores.iter().filter(|&&score| score >= threshold).count();
            prop_assert!(reach >= count.min(scores.len()));
        }
    }
}
