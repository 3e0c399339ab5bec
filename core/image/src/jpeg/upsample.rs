//! Brings the rows of a component to the width and height of the picture, as libjpeg does.
//!
//! Where a component has half of the samples, the missing ones are interpolated with weights of 3/4 and 1/4: the samples
//! lie between the pixels. In all other cases they are repeated.

use super::frame::{Component, Frame};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Copy,
    /// Half of the columns.
    Wide,
    /// Half of the rows.
    Tall,
    /// Half of both.
    Both,
    Repeat,
}

/// The rows of one component at the picture's size.
pub(super) struct Upsampler<'a> {
    component: &'a Component,
    method: Method,
    /// Samples of the picture for those of the component, across and down, as fractions.
    across: (usize, usize),
    down: (usize, usize),
    width: usize,
    row: Vec<u8>,
    sums: Vec<u16>,
}

impl<'a> Upsampler<'a> {
    pub(super) fn new(frame: &Frame, component: &'a Component) -> Self {
        let across = (frame.largest.0 * frame.scale, component.sampling.0 * component.size);
        let down = (frame.largest.1 * frame.scale, component.sampling.1 * component.size);
        let wide = across.0 == 2 * across.1 && component.decoded.0 > 2;
        let tall = down.0 == 2 * down.1;
        // At 1/8 libjpeg decodes chroma at 2 x 2 samples where it can, which a progressive picture does not have here, and
        // repeats it elsewhere.
        let smooth = frame.scale > 1 || frame.progressive && wide && tall;
        let method = match (across.0 == across.1, down.0 == down.1) {
            (true, true) => Method::Copy,
            (false, true) if smooth && wide => Method::Wide,
            (true, false) if smooth && tall => Method::Tall,
            (false, false) if smooth && wide && tall => Method::Both,
            _ => Method::Repeat,
        };
        let width = frame.decoded.0;
        let row = vec![0; if method == Method::Copy { 0 } else { width.max(2 * component.decoded.0) }];
        Upsampler { component, method, across, down, width, row, sums: vec![0; component.decoded.0] }
    }

    /// A row of the picture.
    pub(super) fn row(&mut self, y: usize) -> &[u8] {
        let component = self.component;
        let (width, last) = (component.decoded.0, component.decoded.1 - 1);
        let samples = |y: usize| &component.samples[y.min(last) * component.stride()..][..width];
        // The nearer row of the component, and the one on the other side of the pixels.
        let (near, far) = (y / 2, if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 });
        match self.method {
            Method::Copy => return &samples(y)[..self.width],
            Method::Wide => wide(samples(y), &mut self.row),
            Method::Tall => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((to, &near), &far) in self.row.iter_mut().zip(samples(near)).zip(samples(far)) {
                    *to = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Method::Both => {
                for ((to, &near), &far) in self.sums.iter_mut().zip(samples(near)).zip(samples(far)) {
                    *to = 3 * u16::from(near) + u16::from(far);
                }
                both(&self.sums, &mut self.row);
            }
            Method::Repeat => {
                let from = samples(y * self.down.1 / self.down.0);
                for (x, to) in self.row[..self.width].iter_mut().enumerate() {
                    *to = from[(x * self.across.1 / self.across.0).min(width - 1)];
                }
            }
        }
        &self.row[..self.width]
    }
}

/// Twice as many samples in a row. The rounding alternates, so that it does not add up.
fn wide(from: &[u8], to: &mut [u8]) {
    let end = from.len() - 1;
    for (pair, triple) in to[2..2 * end].chunks_exact_mut(2).zip(from.windows(3)) {
        let [before, at, after] = [triple[0], triple[1], triple[2]].map(u16::from);
        pair[0] = ((3 * at + before + 1) >> 2) as u8;
        pair[1] = ((3 * at + after + 2) >> 2) as u8;
    }
    let mix = |at: u8, beside: u8, bias: u16| ((3 * u16::from(at) + u16::from(beside) + bias) >> 2) as u8;
    (to[0], to[1]) = (from[0], mix(from[0], from[1], 2));
    (to[2 * end], to[2 * end + 1]) = (mix(from[end], from[end - 1], 1), from[end]);
}

/// The same from sums of two rows, which are four times as large.
fn both(from: &[u16], to: &mut [u8]) {
    let end = from.len() - 1;
    for (pair, triple) in to[2..2 * end].chunks_exact_mut(2).zip(from.windows(3)) {
        pair[0] = ((3 * triple[1] + triple[0] + 8) >> 4) as u8;
        pair[1] = ((3 * triple[1] + triple[2] + 7) >> 4) as u8;
    }
    let mix = |at: u16, beside: u16, bias: u16| ((3 * at + beside + bias) >> 4) as u8;
    (to[0], to[1]) = (mix(from[0], from[0], 8), mix(from[0], from[1], 7));
    (to[2 * end], to[2 * end + 1]) = (mix(from[end], from[end - 1], 8), mix(from[end], from[end], 7));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolated_rows_have_the_samples_between_them() {
        let mut to = [0; 8];
        wide(&[0, 100, 100, 20], &mut to);
        assert_eq!(to, [0, 25, 75, 100, 100, 80, 40, 20]);
        both(&[0, 400, 400, 80], &mut to);
        assert_eq!(to, [0, 25, 75, 100, 100, 80, 40, 20]);
    }
}
