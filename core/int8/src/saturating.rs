//! Weights for instruction sets that add two neighbouring products in 16 bits.
//!
//! Products of two activations up to 255 fit while the weights of a pair add up to 128 at most, each sign for itself.
//! Trained filters have larger pairs here and there. There lanes pick their activations in another order: all of them
//! alike, where one pairing of a four fits all filters; otherwise each for itself, of a four or of two fours near each
//! other, whose weights are sorted so that the largest meets the least. Sums stay exact and take one instruction more.
//! What no order helps is cut in halves, which are added one after the other.

use std::ops::Range;

/// The largest sum of a pair's weights of one sign: 255 times it fits 16 bits, with a sign.
const LARGEST: i16 = 128;

/// Fours that lanes pick from: what one instruction can reach.
const WINDOW: usize = 4;

/// The pairings of four weights that are not their order.
const PAIRINGS: [[usize; 4]; 2] = [[0, 2, 1, 3], [0, 3, 1, 2]];

/// Fours that are added alike, in the order of their weights.
#[derive(Debug, Default)]
struct Kind {
    order: Vec<u32>,
    packed: Vec<i8>,
}

/// Packs a panel and returns where its fours stand in `order`, as `Panel::order` has it. `packed` gets four weights of
/// each lane for each four, then the places of their activations from the four on: four that all lanes have alike, or four
/// of each lane.
pub(super) fn pack(
    lanes: &[&[i8]],
    n: usize,
    quads: usize,
    order: &mut Vec<u32>,
    packed: &mut Vec<i8>,
) -> [Range<usize>; 3] {
    arrange(lanes, n, quads).map(|kind| {
        let start = order.len();
        order.extend(kind.order);
        packed.extend(kind.packed);
        start..order.len()
    })
}

/// Fours as they are, picked alike by all lanes, and picked by each for itself.
fn arrange(lanes: &[&[i8]], n: usize, quads: usize) -> [Kind; 3] {
    let four = |lane: &[i8], quad: usize| match lane.get(4 * quad..4 * quad + 4) {
        Some(&[a, b, c, d]) => [a, b, c, d],
        // Behind its end there are zeros.
        _ => std::array::from_fn(|at| lane.get(4 * quad + at).copied().unwrap_or(0)),
    };
    let fours: Vec<[i8; 4]> = (0..quads).flat_map(|quad| lanes.iter().map(move |lane| four(lane, quad))).collect();
    let of = |quad: usize| &fours[quad * lanes.len()..][..lanes.len()];
    let large: Vec<bool> = (0..quads).map(|quad| !of(quad).iter().all(fit)).collect();
    let mut taken = vec![false; quads];
    let [mut plain, mut alike, mut apart] = [(); 3].map(|()| Kind::default());
    for quad in (0..quads).filter(|&quad| large[quad]) {
        if std::mem::replace(&mut taken[quad], true) {
            continue;
        }
        let turned = |places: [usize; 4]| of(quad).iter().map(move |four| places.map(|place| four[place]));
        if let Some(places) = PAIRINGS.into_iter().find(|&places| turned(places).all(|four| fit(&four))) {
            alike.push(quad, turned(places), (0..n).map(|_| places.map(|place| place as i8)));
            continue;
        }
        if let Some(lanes) = pick::<4>(of(quad).iter().map(|four| std::array::from_fn(|at| (at, four[at])))) {
            apart.push_picked(quad, &lanes);
            continue;
        }
        // Another large one by preference: it has to be picked anyway.
        let near = (quad.saturating_sub(WINDOW - 1)..(quad + WINDOW).min(quads)).filter(|&other| !taken[other]);
        let mut partners = near.clone().filter(|&other| large[other]).chain(near.filter(|&other| !large[other]));
        let together = partners.find_map(|other| {
            let (first, last) = (quad.min(other), quad.max(other));
            let eights = of(first).iter().zip(of(last)).map(|(a, b)| {
                std::array::from_fn(|at| if at < 4 { (at, a[at]) } else { (4 * (last - first) + at - 4, b[at - 4]) })
            });
            Some((other, first, pick::<8>(eights)?))
        });
        if let Some((other, first, lanes)) = together {
            taken[other] = true;
            apart.push_picked(first, &lanes);
            continue;
        }
        for half in 0..2 {
            plain.push(quad, of(quad).iter().map(|&four| split(four)[half]), []);
        }
    }
    for quad in (0..quads).filter(|&quad| !taken[quad]) {
        plain.push(quad, of(quad).iter().copied(), []);
    }
    [plain, alike, apart]
}

/// Weights of a lane, and the places of their activations.
#[derive(Clone, Copy)]
struct Picked<const WEIGHTS: usize> {
    weights: [i8; WEIGHTS],
    places: [i8; WEIGHTS],
}

impl Kind {
    fn push(
        &mut self,
        quad: usize,
        weights: impl IntoIterator<Item = [i8; 4]>,
        places: impl IntoIterator<Item = [i8; 4]>,
    ) {
        self.order.push(quad as u32);
        weights.into_iter().for_each(|four| self.packed.extend_from_slice(&four));
        places.into_iter().for_each(|four| self.packed.extend_from_slice(&four));
    }

    /// Takes what all lanes picked, four at a time.
    fn push_picked<const WEIGHTS: usize>(&mut self, first: usize, lanes: &[Picked<WEIGHTS>]) {
        for at in 0..WEIGHTS / 4 {
            let four = |values: &[i8; WEIGHTS]| values.as_chunks().0[at];
            self.push(first, lanes.iter().map(|lane| four(&lane.weights)), lanes.iter().map(|lane| four(&lane.places)));
        }
    }
}

/// What each lane picks of its weights with their places: pairs of a large and a small one. No other pairs have smaller
/// sums. `None` where a pair does not fit.
fn pick<const WEIGHTS: usize>(lanes: impl Iterator<Item = [(usize, i8); WEIGHTS]>) -> Option<Vec<Picked<WEIGHTS>>> {
    lanes
        .map(|lane| {
            // A weight above its place: sorted as numbers.
            let mut keys = lane.map(|(place, weight)| (i16::from(weight) << 8) | place as i16);
            keys.sort_unstable();
            let paired: [i16; WEIGHTS] =
                std::array::from_fn(|at| keys[if at % 2 == 0 { at / 2 } else { WEIGHTS - 1 - at / 2 }]);
            let weights = paired.map(|key| (key >> 8) as i8);
            let fits = weights.as_chunks::<2>().0.iter().all(|&[a, b]| pair_fits(a, b));
            fits.then_some(Picked { weights, places: paired.map(|key| key as i8) })
        })
        .collect()
}

/// Whether the products of two neighbours cannot leave 16 bits.
fn pair_fits(a: i8, b: i8) -> bool {
    let (a, b) = (i16::from(a), i16::from(b));
    a.max(0) + b.max(0) <= LARGEST && a.min(0) + b.min(0) >= -LARGEST
}

/// Whether both pairs of a four do.
fn fit(&[a, b, c, d]: &[i8; 4]) -> bool {
    pair_fits(a, b) && pair_fits(c, d)
}

/// Cuts weights that do not fit in halves that do. The other half of those that fit is zeros.
pub(super) fn split(weights: [i8; 4]) -> [[i8; 4]; 2] {
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

    /// What the weights that were packed of some filters add up to, place by place.
    fn unpacked(filters: &[Vec<i8>], quads: usize) -> Vec<Vec<i8>> {
        let lanes: Vec<&[i8]> = filters.iter().map(|filter| &filter[..]).collect();
        let (mut order, mut packed) = (Vec::new(), Vec::new());
        let ranges = pack(&lanes, lanes.len(), quads, &mut order, &mut packed);
        let mut packed = packed.chunks_exact(4);
        let mut next = || -> Vec<&[i8]> { packed.by_ref().take(lanes.len()).collect() };
        let mut weights = vec![vec![0; 4 * (quads + WINDOW)]; lanes.len()];
        let kinds = ranges.into_iter().zip([false, true, true]);
        for (quad, picked) in kinds.flat_map(|(range, picked)| order[range].iter().map(move |quad| (quad, picked))) {
            let (fours, places) = (next(), if picked { next() } else { vec![&[0, 1, 2, 3][..]; lanes.len()] });
            for ((sums, four), places) in weights.iter_mut().zip(fours).zip(places) {
                assert!(fit(four.as_array().expect("four")), "{filters:?}");
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
            vec![vec![127; 24]],                                                        // no order helps
            vec![[127, 127, 127, -128, -128, -128, -128, 127].repeat(3)],               // orders help
            vec![[vec![1; 12], vec![127; 4], vec![-128; 8]].concat()],                  // one with a small four
            vec![(0..64).map(|at| (at * 37 % 256) as u8 as i8).collect(), vec![1; 64]], // all kinds
            vec![vec![127, 127, 0, 0, 1, 1, 1, 1], vec![127, 0, 127, 0, 1, 1, 1, 1]],   // each its own
            vec![vec![-128]],
        ];
        for filters in cases {
            let quads = filters[0].len().div_ceil(4);
            let mut whole = filters.clone();
            whole.iter_mut().for_each(|filter| filter.resize(4 * quads, 0));
            assert_eq!(unpacked(&filters, quads), whole);
        }
    }

    #[test]
    fn large_fours_are_picked_before_they_are_halved() {
        let kinds = |filters: &[&[i8]]| arrange(filters, 1, filters[0].len() / 4).map(|kind| kind.order);
        let alike = |filters: &[&[i8]]| arrange(filters, 1, 1)[1].packed.clone();
        assert_eq!(kinds(&[&[127, 100, 2, 1]]), [vec![], vec![0], vec![]]);
        assert_eq!(alike(&[&[127, 100, 2, 1]]), [127, 1, 100, 2, 0, 3, 1, 2]);
        assert_eq!(alike(&[&[127, 100, 1, 1], &[127, 1, 1, 100]]), [127, 1, 100, 1, 127, 1, 1, 100, 0, 2, 1, 3]);
        assert_eq!(kinds(&[&[99, 99, 0, 0], &[99, 0, 99, 0], &[99, 0, 0, 99]]), [vec![], vec![], vec![0]]);
        // With a large one, with a small one, by nothing but halves, and with one that is not too far away.
        let large = [127, 127, 127, 0, 9, 9, 9, 9, -127, -127, -127, 0];
        assert_eq!(kinds(&[&large]), [vec![1], vec![], vec![0, 0]]);
        assert_eq!(kinds(&[&[127, 127, 127, 0, 1, 1, 1, 1, 1, 1, 1, 1]]), [vec![2], vec![], vec![0, 0]]);
        assert_eq!(kinds(&[&[127; 8]]), [vec![0, 0, 1, 1], vec![], vec![]]);
        let far = [[127; 4], [80; 4], [80; 4], [80; 4], [-127; 4]].concat();
        assert_eq!(kinds(&[&far]), [vec![0, 0, 2, 2, 3, 3], vec![], vec![1, 1]]);
    }
}
