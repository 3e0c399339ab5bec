//! The colours of a file, and rows of them as RGB.

use super::segments::Segments;

/// What the components of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    /// Four inks, inverted: 255 means no ink, as Adobe's programs write it.
    Cmyk,
    /// The same, with the first three as luma and chroma, which are not inverted.
    Ycck,
}

impl Colours {
    /// Tells the colours by what the file says, in the order of libjpeg: JFIF, Adobe, the names of the components.
    pub(super) fn of(file: &Segments<'_>) -> Colours {
        let ids: Vec<u8> =
            file.frame.iter().flat_map(|frame| &frame.components).map(|component| component.id).collect();
        match (ids.as_slice(), file.adobe) {
            ([_], _) => Colours::Grey,
            ([_, _, _], _) if file.jfif => Colours::YCbCr,
            ([_, _, _], Some(0)) | (b"RGB", None) => Colours::Rgb,
            ([_, _, _], _) => Colours::YCbCr,
            (_, Some(2)) => Colours::Ycck,
            _ => Colours::Cmyk,
        }
    }

    /// Writes a row of pixels from one row of each component.
    pub(super) fn write(self, rows: &[&[u8]], to: &mut [u8]) {
        let pixels = to.chunks_exact_mut(3);
        match (self, rows) {
            (Colours::Grey, [grey, ..]) => pixels.zip(*grey).for_each(|(to, &grey)| to.fill(grey)),
            (Colours::Rgb, [red, green, blue, ..]) => {
                for (((to, &r), &g), &b) in pixels.zip(*red).zip(*green).zip(*blue) {
                    to.copy_from_slice(&[r, g, b]);
                }
            }
            (Colours::YCbCr, [y, cb, cr, ..]) => {
                for (((to, &y), &cb), &cr) in pixels.zip(*y).zip(*cb).zip(*cr) {
                    to.copy_from_slice(&rgb(y, cb, cr));
                }
            }
            (Colours::Cmyk, [c, m, y, k, ..]) => {
                for ((((to, &c), &m), &y), &k) in pixels.zip(*c).zip(*m).zip(*y).zip(*k) {
                    to.copy_from_slice(&[c, m, y].map(|light| under(light, k)));
                }
            }
            (Colours::Ycck, [y, cb, cr, k, ..]) => {
                for ((((to, &y), &cb), &cr), &k) in pixels.zip(*y).zip(*cb).zip(*cr).zip(*k) {
                    to.copy_from_slice(&rgb(y, cb, cr).map(|ink| under(255 - ink, k)));
                }
            }
            // The frame has as many components as its colours need.
            _ => {}
        }
    }
}

/// BT.601 in full range, with 16 bits after the point.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// Light that passes black ink; both are 255 for all of it.
fn under(light: u8, black: u8) -> u8 {
    (u32::from(light) * u32::from(black) / 255) as u8
}
