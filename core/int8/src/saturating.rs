//! Packing for instruction sets whose dot product adds pairs of products in saturating 16-bit arithmetic
//! (`maddubs` of AVX2).
//!
//! With activations up to 255, a pair of products fits as long as the pair's weights of one sign add up to at most 128.
//! Trained filters have a few quads with larger pairs. Such a quad is permuted until its pairs fit:
//!
//! 1. by one permutation of the quad that fits all lanes, or else
//! 2. by a permutation for each lane, of this quad alone or together with another quad close to it: the weights are sorted,
//!    and the largest is paired with the smallest.
//!
//! The kernel shuffles the activations accordingly, which takes one more instruction; sums stay exact. A quad that no
//! permutation helps is split into two halves that are added one after the other.

use std::ops::Range;

/// The most that a pair's weights of one sign may add up to: 128 * 255 fits an i16.
const LARGEST: i16 = 128;

/// Quads that a lane can pick activations from: 16 bytes are what one shuffle instruction reaches.
const REACH: usize = 4;

/// The ways to pair up four weights other than as they are.
const PAIRINGS: [[usize; 4]; 2] = [[0, 2, 1, 3], [0, 3, 1, 2]];

/// Quads of a panel whose activations are shuffled in the same way, in the order of their packed weights.
#[derive(Debug, Default)]
struct PairedQuads {
    /// Indices of the quads, counted from the first input.
    order: Vec<u32>,
    packed: Vec<i8>,
}

/// Packs the columns `lanes` of a panel, with `n` lanes per vector and `quads` quads per column.
///
/// Returns the ranges in `order` of the three sorts of quads: as they are, permuted alike in all lanes, permuted lane by
/// lane. For each quad, `packed` gets four weights of every lane. Shuffle indices follow those of a permuted quad: one
/// vector of them for all lanes (`n` copies of the same four), or four for every lane. They are the positions of the
/// activations, counted from the quad's first.
pub(crate) fn pack(
    lanes: &[&[i8]],
    n: usize,
    quads: usize,
    order: &mut Vec<u32>,
    packed: &mut Vec<i8>,
) -> [Range<usize>; 3] {
    pair_up(lanes, n, quads).map(|sort| {
        let start = order.len();
        order.extend(sort.order);
        packed.extend(sort.packed);
        start..order.len()
    })
}

/// The quads as they are, those permuted alike in all lanes, and those permuted lane by lane.
fn pair_up(lanes: &[&[i8]], n: usize, quads: usize) -> [PairedQuads; 3] {
    let quad_of = |lane: &[i8], quad: usize| match lane.get(4 * quad..4 * quad + 4) {
        Some(&[a, b, c, d]) => [a, b, c, d],
        // Past the end of a column its weights count as zero.
        _ => std::array::from_fn(|at| lane.get(4 * quad + at).copied().unwrap_or(0)),
    };
    let all: Vec<[i8; 4]> = (0..quads).flat_map(|quad| lanes.iter().map(move |lane| quad_of(lane, quad))).collect();
    let of = |quad: usize| &all[quad * lanes.len()..][..lanes.len()];
    let large: Vec<bool> = (0..quads).map(|quad| !of(quad).iter().all(fits)).collect();
    let mut taken = vec![false; quads];
    let [mut plain, mut shared, mut per_lane] = [(); 3].map(|()| PairedQuads::default());
    for quad in (0..quads).filter(|&quad| large[quad]) {
        if std::mem::replace(&mut taken[quad], true) {
            continue;
        }
        let permuted = |places: [usize; 4]| of(quad).iter().map(move |weights| places.map(|place| weights[place]));
        if let Some(places) = PAIRINGS.into_iter().find(|&places| permuted(places).all(|weights| fits(&weights))) {
            shared.push(quad, permuted(places), (0..n).map(|_| places.map(|place| place as i8)));
            continue;
        }
        if let Some(lanes) = permute::<4>(of(quad).iter().map(|weights| std::array::from_fn(|at| (at, weights[at])))) {
            per_lane.push_permuted(quad, &lanes);
            continue;
        }
        // Preferably with another large quad, which has to be permuted anyway.
        let near = (quad.saturating_sub(REACH - 1)..(quad + REACH).min(quads)).filter(|&other| !taken[other]);
        let mut partners = near.clone().filter(|&other| large[other]).chain(near.filter(|&other| !large[other]));
        let together = partners.find_map(|other| {
            let (first, last) = (quad.min(other), quad.max(other));
            let eights = of(first).iter().zip(of(last)).map(|(a, b)| {
                std::array::from_fn(|at| if at < 4 { (at, a[at]) } else { (4 * (last - first) + at - 4, b[at - 4]) })
            });
            Some((other, first, permute::<8>(eights)?))
        });
        if let Some((other, first, lanes)) = together {
            taken[other] = true;
            per_lane.push_permuted(first, &lanes);
            continue;
        }
        for half in 0..2 {
            plain.push(quad, of(quad).iter().map(|&weights| split(weights)[half]), []);
        }
    }
    for quad in (0..quads).filter(|&quad| !taken[quad]) {
        plain.push(quad, of(quad).iter().copied(), []);
    }
    [plain, shared, per_lane]
}

/// Permuted weights of a lane, and the positions of their activations.
#[derive(Clone, Copy)]
struct Permuted<const WEIGHTS: usize> {
    weights: [i8; WEIGHTS],
    places: [i8; WEIGHTS],
}

impl PairedQuads {
    fn push(
        &mut self,
        quad: usize,
        weights: impl IntoIterator<Item = [i8; 4]>,
        places: impl IntoIterator<Item = [i8; 4]>,
    ) {
        self.order.push(quad as u32);
        weights.into_iter().for_each(|weights| self.packed.extend_from_slice(&weights));
        places.into_iter().for_each(|places| self.packed.extend_from_slice(&places));
    }

    /// Adds the permuted weights of all lanes, four at a time; their positions count from quad `first`.
    fn push_permuted<const WEIGHTS: usize>(&mut self, first: usize, lanes: &[Permuted<WEIGHTS>]) {
        for at in 0..WEIGHTS / 4 {
            let quad = |values: &[i8; WEIGHTS]| values.as_chunks().0[at];
            self.push(first, lanes.iter().map(|lane| quad(&lane.weights)), lanes.iter().map(|lane| quad(&lane.places)));
        }
    }
}

/// Permutes each lane's weights so that every pair has a large and a small one, which gives the smallest sums possible.
/// `None` if a pair still does not fit.
fn permute<const WEIGHTS: usize>(
    lanes: impl Iterator<Item = [(usize, i8); WEIGHTS]>,
) -> Option<Vec<Permuted<WEIGHTS>>> {
    lanes
        .map(|lane| {
            // The weight in the high byte and its position in the low one: sorting these sorts by weight.
            let mut keys = lane.map(|(place, weight)| (i16::from(weight) << 8) | place as i16);
            keys.sort_unstable();
            let paired: [i16; WEIGHTS] =
                std::array::from_fn(|at| keys[if at % 2 == 0 { at / 2 } else { WEIGHTS - 1 - at / 2 }]);
            let weights = paired.map(|key| (key >> 8) as i8);
            let all_fit = weights.as_chunks::<2>().0.iter().all(|&[a, b]| pair_fits(a, b));
            all_fit.then_some(Permuted { weights, places: paired.map(|key| key as i8) })
        })
        .collect()
}

/// Whether the sum of two neighbouring products always fits 16 bits.
fn pair_fits(a: i8, b: i8) -> bool {
    let (a, b) = (i16::from(a), i16::from(b));
    a.max(0) + b.max(0) <= LARGEST && a.min(0) + b.min(0) >= -LARGEST
}

/// Whether both pairs of a quad fit.
fn fits(&[a, b, c, d]: &[i8; 4]) -> bool {
    pair_fits(a, b) && pair_fits(c, d)
}

/// Splits a quad into two summands whose pairs fit. Pairs that fit already stay whole, with zeros in the second summand.
pub(crate) fn split(weights: [i8; 4]) -> [[i8; 4]; 2] {
    let half = std::array::from_fn(|at| {
        if pair_fits(weights[at / 2 * 2], weights[at / 2 * 2 + 1]) { weights[at] } else { weights[at] / 2 }
    });
    [half, std::array::from_fn(|at| weights[at] - half[at])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_fit_and_add_up() {
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let weights = [a, b, b, a];
                let halves = split(weights);
                for pair in halves.iter().flat_map(|half| half.chunks(2)) {
                    let sum = |sign: i32| pair.iter().map(|&w| 255 * (sign * i32::from(w)).max(0)).sum::<i32>();
                    assert!(sum(1) <= i32::from(i16::MAX) && sum(-1) <= -i32::from(i16::MIN), "{a} {b}");
                }
                assert_eq!([0, 1, 2, 3].map(|at| halves[0][at] + halves[1][at]), weights);
            }
        }
    }

    /// Adds up the packed weights of some columns, position by position.
    fn unpacked(columns: &[Vec<i8>], quads: usize) -> Vec<Vec<i8>> {
        let lanes: Vec<&[i8]> = columns.iter().map(|column| &column[..]).collect();
        let (mut order, mut packed) = (Vec::new(), Vec::new());
        let ranges = pack(&lanes, lanes.len(), quads, &mut order, &mut packed);
        let mut packed = packed.chunks_exact(4);
        let mut next = || -> Vec<&[i8]> { packed.by_ref().take(lanes.len()).collect() };
        let mut weights = vec![vec![0; 4 * (quads + REACH)]; lanes.len()];
        let sorts = ranges.into_iter().zip([false, true, true]);
        for (quad, permuted) in
            sorts.flat_map(|(range, permuted)| order[range].iter().map(move |quad| (quad, permuted)))
        {
            let (fours, places) = (next(), if permuted { next() } else { vec![&[0, 1, 2, 3][..]; lanes.len()] });
            for ((sums, four), places) in weights.iter_mut().zip(fours).zip(places) {
                assert!(fits(four.as_array().expect("four")), "{columns:?}");
                four.iter().zip(places).for_each(|(w, &place)| sums[4 * *quad as usize + place as usize] += w);
            }
        }
        assert_eq!(packed.next(), None);
        for sums in &mut weights {
            assert!(sums.drain(4 * quads..).all(|weight| weight == 0));
        }
        weights
    }

    #[test]
    fn every_weight_is_packed_once() {
        let cases: [Vec<Vec<i8>>; 6] = [
            vec![vec![127; 24]],                                                        // no permutation helps
            vec![[127, 127, 127, -128, -128, -128, -128, 127].repeat(3)],               // permutations help
            vec![[vec![1; 12], vec![127; 4], vec![-128; 8]].concat()],                  // one with a small quad
            vec![(0..64).map(|at| (at * 37 % 256) as u8 as i8).collect(), vec![1; 64]], // all sorts
            vec![vec![127, 127, 0, 0, 1, 1, 1, 1], vec![127, 0, 127, 0, 1, 1, 1, 1]],   // lane by lane
            vec![vec![-128]],
        ];
        for columns in cases {
            let quads = columns[0].len().div_ceil(4);
            let mut whole = columns.clone();
            whole.iter_mut().for_each(|column| column.resize(4 * quads, 0));
            assert_eq!(unpacked(&columns, quads), whole);
        }
    }

    #[test]
    fn large_quads_are_permuted_before_they_are_split() {
        let sorts = |columns: &[&[i8]]| pair_up(columns, 1, columns[0].len() / 4).map(|sort| sort.order);
        let shared = |columns: &[&[i8]]| pair_up(columns, 1, 1)[1].packed.clone();
        assert_eq!(sorts(&[&[127, 100, 2, 1]]), [vec![], vec![0], vec![]]);
        assert_eq!(shared(&[&[127, 100, 2, 1]]), [127, 1, 100, 2, 0, 3, 1, 2]);
        assert_eq!(shared(&[&[127, 100, 1, 1], &[127, 1, 1, 100]]), [127, 1, 100, 1, 127, 1, 1, 100, 0, 2, 1, 3]);
        assert_eq!(sorts(&[&[99, 99, 0, 0], &[99, 0, 99, 0], &[99, 0, 0, 99]]), [vec![], vec![], vec![0]]);
        // Together with a large quad, together with a small one, split, and together with the nearest possible one.
        let large = [127, 127, 127, 0, 9, 9, 9, 9, -127, -127, -127, 0];
        assert_eq!(sorts(&[&large]), [vec![1], vec![], vec![0, 0]]);
        assert_eq!(sorts(&[&[127, 127, 127, 0, 1, 1, 1, 1, 1, 1, 1, 1]]), [vec![2], vec![], vec![0, 0]]);
        assert_eq!(sorts(&[&[127; 8]]), [vec![0, 0, 1, 1], vec![], vec![]]);
        let far = [[127; 4], [80; 4], [80; 4], [80; 4], [-127; 4]].concat();
        assert_eq!(sorts(&[&far]), [vec![0, 0, 2, 2, 3, 3], vec![], vec![1, 1]]);
    }
}
