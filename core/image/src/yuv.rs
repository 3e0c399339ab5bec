//! Converts luma and chroma to RGB, in blocks of 32 pixels and mostly in 16-bit arithmetic.

use super::rows::{BLOCK, Rows};
use super::taps::FRACTION;

/// Colour matrix and value range of YUV pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum YuvRange {
    /// BT.601, 0 to 255, as in JPEG. Android's camera uses it, and iOS for most formats of type `420f`.
    #[default]
    Bt601Full,
    /// BT.601, luma 16 to 235, chroma 16 to 240.
    Bt601Video,
    /// BT.709, 0 to 255.
    Bt709Full,
    /// BT.709, luma 16 to 235, chroma 16 to 240. iOS uses it for `420v` in high definition.
    Bt709Video,
}

/// Chroma samples of a block: one for two pixels.
pub(super) const HALF: usize = BLOCK / 2;

/// Fractional bits of the factors: the largest of them, 2.11 for blue in BT.709's video range, still fits 16 bits.
const FACTOR: u32 = 13;

/// The factors that make RGB of luma and chroma.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColourMatrix {
    /// Exact factors: luma, red of V, green of U, green of V and blue of U.
    precise: [f32; 5],
    /// The luma of black, with [`FRACTION`] fractional bits. The factors below have [`FACTOR`] fractional bits.
    black: i16,
    luma: i16,
    red_v: i16,
    green_u: i16,
    green_v: i16,
    blue_u: i16,
}

/// The contribution of a block's chroma to red, green and blue of each pixel, not yet rounded.
type PreciseTints = [[f32; BLOCK]; 3];

/// 2^23. Added to a smaller number of at least 0, it leaves that number, rounded to an integer, in the lowest bits.
const ROUNDING: f32 = 8_388_608.0;

impl ColourMatrix {
    pub(super) fn new(range: YuvRange) -> Self {
        // The weights of red and blue in luma, as the standards define them.
        let (kr, kb) = match range {
            YuvRange::Bt601Full | YuvRange::Bt601Video => (0.299, 0.114),
            YuvRange::Bt709Full | YuvRange::Bt709Video => (0.2126, 0.0722),
        };
        let (black, luma, chroma) = match range {
            YuvRange::Bt601Full | YuvRange::Bt709Full => (0, 1.0, 1.0),
            YuvRange::Bt601Video | YuvRange::Bt709Video => (16, 255.0 / 219.0, 255.0 / 224.0),
        };
        let factor = |value: f64| (value * f64::from(1 << FACTOR)).round() as i16;
        let kg = 1.0 - kr - kb;
        let (red_v, blue_u) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
        let (green_u, green_v) = (-blue_u * kb / kg, -red_v * kr / kg);
        ColourMatrix {
            precise: [luma, red_v, green_u, green_v, blue_u].map(|value| value as f32),
            black: black << FRACTION,
            luma: factor(luma),
            red_v: factor(red_v),
            green_u: factor(green_u),
            green_v: factor(green_v),
            blue_u: factor(blue_u),
        }
    }

    #[inline(always)]
    fn precise_tints(&self, u: &[u8; HALF], v: &[u8; HALF]) -> PreciseTints {
        let [_, red_v, green_u, green_v, blue_u] = self.precise;
        let (mut wide_u, mut wide_v) = ([0.0; BLOCK], [0.0; BLOCK]);
        for (wide, chroma) in [(&mut wide_u, u), (&mut wide_v, v)] {
            for (pair, chroma) in wide.as_chunks_mut::<2>().0.iter_mut().zip(chroma) {
                *pair = [f32::from(*chroma) - 128.0; 2];
            }
        }
        let mut green = [0.0; BLOCK];
        for ((green, u), v) in green.iter_mut().zip(&wide_u).zip(&wide_v) {
            *green = u * green_u + v * green_v;
        }
        [each(&wide_v, |v| v * red_v), green, each(&wide_u, |u| u * blue_u)]
    }

    /// Converts a block pixel by pixel, rounded and clamped to 0 to 255.
    #[inline(always)]
    fn precisely(&self, luma: &[u8; BLOCK], tints: &PreciseTints) -> [[i16; BLOCK]; 3] {
        let black = f32::from(self.black >> FRACTION);
        let grey = each(luma, |luma| (f32::from(luma) - black) * self.precise[0]);
        let mut colours = [[0; BLOCK]; 3];
        for (colour, tint) in colours.iter_mut().zip(tints) {
            for ((colour, grey), tint) in colour.iter_mut().zip(&grey).zip(tint) {
                *colour = ((grey + tint).clamp(0.0, 255.0) + ROUNDING).to_bits() as i16 & 255;
            }
        }
        colours
    }

    /// Scales luma to the range of RGB, rounded and clamped to 0 to 255. `luma` has [`FRACTION`] fractional bits.
    #[inline(always)] // into functions compiled for wider registers
    pub(super) fn grey(&self, luma: &[i16], into: &mut [u8]) {
        for (into, luma) in into.as_chunks_mut::<BLOCK>().0.iter_mut().zip(luma.as_chunks::<BLOCK>().0) {
            *into = each(&self.scaled_luma(luma), whole);
        }
    }

    /// Converts a row of luma, U and V, with [`FRACTION`] fractional bits, to a row of red, one of green and one of
    /// blue, rounded and clamped to 0 to 255.
    #[inline(always)] // into functions compiled for wider registers
    pub(super) fn colour(&self, [luma, u, v]: &[Vec<i16>; 3], into: &mut [u8]) {
        let (red, rest) = into.split_at_mut(luma.len());
        let (green, blue) = rest.split_at_mut(luma.len());
        let chroma = u.as_chunks::<HALF>().0.iter().zip(v.as_chunks::<HALF>().0);
        let rows = [red, green, blue].map(|row| row.as_chunks_mut::<BLOCK>().0);
        let [red, green, blue] = rows;
        let colours = red.iter_mut().zip(green).zip(blue);
        for ((luma, (u, v)), ((red, green), blue)) in luma.as_chunks::<BLOCK>().0.iter().zip(chroma).zip(colours) {
            let grey = self.scaled_luma(luma);
            for (into, tint) in [red, green, blue].into_iter().zip(self.tints(u, v)) {
                let pairs = into.as_chunks_mut::<2>().0.iter_mut().zip(grey.as_chunks::<2>().0);
                for ((into, grey), tint) in pairs.zip(tint) {
                    *into = grey.map(|grey| whole(grey.saturating_add(tint)));
                }
            }
        }
    }

    #[inline(always)]
    fn scaled_luma(&self, luma: &[i16; BLOCK]) -> [i16; BLOCK] {
        each(luma, |luma| scaled(i32::from(luma - self.black) * i32::from(self.luma)))
    }

    #[inline(always)]
    fn tints(&self, u: &[i16; HALF], v: &[i16; HALF]) -> [[i16; HALF]; 3] {
        let mut tints = [[0; HALF]; 3];
        let [red, green, blue] = &mut tints;
        for at in 0..HALF {
            let (u, v) = (i32::from(u[at] - (128 << FRACTION)), i32::from(v[at] - (128 << FRACTION)));
            red[at] = scaled(v * i32::from(self.red_v));
            green[at] = scaled(u * i32::from(self.green_u) + v * i32::from(self.green_v));
            blue[at] = scaled(u * i32::from(self.blue_u));
        }
        tints
    }

    /// Converts the rows of a block pixel by pixel and then takes their weighted sum, as for a photo. The weights have
    /// `shift` fractional bits.
    #[inline(always)] // into functions compiled for wider registers
    pub(super) fn convert_then_sum(&self, strip: &Strip<'_>, weights: &[i16], shift: u32) -> [[u8; BLOCK]; 3] {
        let mut sums = [[1i32 << shift >> 1; BLOCK]; 3];
        let mut tints = [[0.0; BLOCK]; 3];
        for (row, weight) in weights.iter().enumerate() {
            let position = row + usize::from(strip.odd);
            if row == 0 || position % 2 == 0 {
                let [u, v] = strip.chroma.map(|chroma| block(chroma, position / 2));
                tints = self.precise_tints(&u, &v);
            }
            let colours = self.precisely(&block(strip.luma, row), &tints);
            for (sums, colour) in sums.iter_mut().zip(colours) {
                for (sum, value) in sums.iter_mut().zip(colour) {
                    *sum += i32::from(value) * i32::from(*weight);
                }
            }
        }
        let mut colours = [[0; BLOCK]; 3];
        for (colour, sums) in colours.iter_mut().zip(&sums) {
            *colour = each(sums, |sum| (sum >> shift).clamp(0, 255) as u8);
        }
        colours
    }

    /// Determines for each block whether the colour of a pixel may have to be clamped.
    ///
    /// It may say so without need: for colours within a quarter of a level of the limit, since it computes with four
    /// fractional bits, and for extremes of luma and chroma that never occur in the same pixel.
    #[inline(always)] // into functions compiled for wider registers
    pub(super) fn leaves_gamut(&self, [luma, u, v]: &[Extremes; 3], into: &mut [bool]) {
        /// Fractional bits of the products: 7 + [`FACTOR`] - 16.
        const ROUGH: u32 = 4;
        // `value` has 7 fractional bits; the lower 16 bits of the product are dropped.
        let times = |value: i16, factor: i16| ((i32::from(value) * i32::from(factor)) >> 16) as i16;
        let black = self.black << (7 - FRACTION);
        let lows = u.low.as_chunks::<HALF>().0.iter().zip(v.low.as_chunks::<HALF>().0);
        let highs = u.high.as_chunks::<HALF>().0.iter().zip(v.high.as_chunks::<HALF>().0);
        let lumas = luma.low.as_chunks::<BLOCK>().0.iter().zip(luma.high.as_chunks::<BLOCK>().0);
        for (((into, (low, high)), (low_u, low_v)), (high_u, high_v)) in into.iter_mut().zip(lumas).zip(lows).zip(highs)
        {
            let mut outside = 0i16;
            for at in 0..HALF {
                let [low, high] = [low, high].map(|luma| u16::from_le_bytes([luma[2 * at], luma[2 * at + 1]]));
                let darkest = times(((((low & 255).min(low >> 8)) << 7) as i16) - black, self.luma);
                let brightest = times(((((high & 255).max(high >> 8)) << 7) as i16) - black, self.luma);
                let chroma = |value: u8| (i16::from(value) - 128) << 7;
                let [low_u, low_v, high_u, high_v] = [low_u, low_v, high_u, high_v].map(|row| chroma(row[at]));
                // The factors of green are negative: its lowest value comes from the highest chroma.
                let green = times(high_u, self.green_u) + times(high_v, self.green_v);
                let lowest = times(low_v, self.red_v).min(times(low_u, self.blue_u)).min(green);
                let green = times(low_u, self.green_u) + times(low_v, self.green_v);
                let highest = times(high_v, self.red_v).max(times(high_u, self.blue_u)).max(green);
                // Each product is rounded down, so the brightest colour is too low by less than 3 units (luma and the
                // two products of green); a fourth covers the rounding of the factors.
                outside |= i16::from(darkest + lowest < -(1 << ROUGH >> 1) + 1);
                outside |= i16::from(brightest + highest > (255 << ROUGH) + (1 << ROUGH >> 1) - 4);
            }
            *into = outside != 0;
        }
    }
}

/// The rows of a block, from its first column on: luma, and the chroma that goes with it.
pub(super) struct Strip<'a> {
    pub(super) luma: Rows<'a>,
    /// U and V.
    pub(super) chroma: [Rows<'a>; 2],
    /// Whether the first row of luma is the lower one of the two that share its chroma.
    pub(super) odd: bool,
}

/// The first `N` bytes of a row. Bytes past the end of the plane are 0 and belong to columns outside the picture.
#[inline(always)]
fn block<const N: usize>(rows: Rows<'_>, row: usize) -> [u8; N] {
    debug_assert!(row * rows.stride < rows.bytes.len(), "the row starts inside the plane");
    let from = rows.bytes.get(row * rows.stride..).unwrap_or_default();
    from.first_chunk().copied().unwrap_or_else(|| std::array::from_fn(|at| from.get(at).copied().unwrap_or_default()))
}

/// The lowest and highest sample of each column, over some rows.
pub(super) struct Extremes {
    low: Vec<u8>,
    high: Vec<u8>,
}

impl Extremes {
    /// The extremes over zero rows.
    pub(super) fn new(length: usize) -> Self {
        Extremes { low: vec![255; length], high: vec![0; length] }
    }

    pub(super) fn clear(&mut self) {
        self.low.fill(255);
        self.high.fill(0);
    }

    /// Includes another row.
    #[inline(always)] // into functions compiled for wider registers
    pub(super) fn add(&mut self, row: &[u8]) {
        for ((low, high), value) in self.low.iter_mut().zip(&mut self.high).zip(row) {
            *low = (*low).min(*value);
            *high = (*high).max(*value);
        }
    }
}

/// Like `map` of arrays, but as a loop, which compilers vectorise.
#[inline(always)]
fn each<T: Copy, U: Copy + Default, const N: usize>(values: &[T; N], of: impl Fn(T) -> U) -> [U; N] {
    let mut out = [U::default(); N];
    for (out, value) in out.iter_mut().zip(values) {
        *out = of(*value);
    }
    out
}

/// Rounds a value with [`FRACTION`] fractional bits and clamps it to a byte.
#[inline(always)]
fn whole(value: i16) -> u8 {
    (value.saturating_add(1 << (FRACTION - 1)) >> FRACTION).clamp(0, 255) as u8
}

/// Rounds a product with a factor back to the fractional bits of its value.
#[inline(always)]
fn scaled(product: i32) -> i16 {
    // It saturates only where a filter with negative lobes overshoots, and is clamped to a byte later anyway.
    ((product + (1 << (FACTOR - 1))) >> FACTOR).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
