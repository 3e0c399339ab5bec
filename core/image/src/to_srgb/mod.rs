//! Brings colours to sRGB, for which networks are trained: ICC profiles and shorter descriptions of colours.
//!
//! Conversion comes after resampling. Then it costs next to nothing, whatever the photo's size, and resampling happens
//! in the stored values, as in Pillow. Everything is sums, products and square roots of IEEE numbers in a fixed order, so
//! that every CPU gives the same bytes (`docs/adr/0014-colour-profiles.md`).

mod curve;
mod icc;
mod primaries;
#[cfg(test)]
mod tests;

use curve::Curve;
use icc::Profile;
use primaries::{Matrix, Primaries, product, xyz_to_srgb};

pub(crate) use icc::MAX_BYTES as MAX_ICC_BYTES;

/// Colours that differ from sRGB by no more than this many levels are sRGB: many of its profiles differ in details.
const TOLERANCE: u8 = 2;

/// Steps of the light in the first look at [`ToSrgb::first`].
const STEPS: usize = 4096;

/// The conversion of pixels to sRGB.
#[derive(Debug, Clone)]
pub(super) struct ToSrgb {
    /// The light of each stored value: red, green, blue.
    light: [[f32; 256]; 3],
    matrix: [[f32; 3]; 3],
    /// The light where each level of sRGB ends and the next begins.
    ends: [f32; 255],
    /// The level at each step of the light, from which on to look.
    first: [u8; STEPS + 1],
}

impl ToSrgb {
    /// The conversion from the colours of an ICC profile. `None` if they are sRGB, and if the profile is damaged or of a
    /// kind that is not read; then the pixels are to be left as they are.
    ///
    /// A grey profile holds for a grey picture.
    pub(super) fn of_icc(icc: &[u8], grey_picture: bool) -> Option<ToSrgb> {
        match icc::read(icc)? {
            Profile::Rgb(curves, to_xyz) => ToSrgb::new(&curves, &product(&xyz_to_srgb()?, &to_xyz)),
            Profile::Grey(curve) if grey_picture => ToSrgb::new(&[curve.clone(), curve.clone(), curve], &UNCHANGED),
            Profile::Grey(_) => None,
        }
    }

    /// The conversion from Adobe RGB (1998).
    pub(super) fn of_adobe_rgb() -> Option<ToSrgb> {
        ToSrgb::of(Primaries::ADOBE_RGB, &Curve::power(563.0 / 256.0))
    }

    /// The conversion from the code points of H.273, as PNG has them. `None` also for high dynamic range.
    pub(super) fn of_code_points(primaries: u8, transfer: u8) -> Option<ToSrgb> {
        let primaries = match primaries {
            1 => Primaries::SRGB,
            9 => Primaries::BT2020,
            12 => Primaries::DISPLAY_P3,
            _ => return None,
        };
        let curve = match transfer {
            1 | 6 | 14 | 15 => Curve::VIDEO,
            4 => Curve::power(2.2),
            5 => Curve::power(2.8),
            8 => Curve::power(1.0),
            13 => Curve::SRGB,
            _ => return None,
        };
        ToSrgb::of(primaries, &curve)
    }

    /// The conversion from chromaticities x and y of red, green, blue and white, and the exponent that gives light.
    pub(super) fn of_chromaticities(colours: [(f64, f64); 4], gamma: f64) -> Option<ToSrgb> {
        // What was meant by this number is sRGB.
        let curve = if (gamma - 2.2).abs() < 0.05 { Curve::SRGB } else { Curve::power(gamma) };
        (0.1..=16.0).contains(&gamma).then(|| ToSrgb::of(Primaries(colours), &curve)).flatten()
    }

    fn of(primaries: Primaries, curve: &Curve) -> Option<ToSrgb> {
        let to_srgb = product(&xyz_to_srgb()?, &primaries.to_xyz()?);
        ToSrgb::new(&[curve.clone(), curve.clone(), curve.clone()], &to_srgb)
    }

    fn new(curves: &[Curve; 3], to_srgb: &Matrix) -> Option<ToSrgb> {
        let [red, green, blue] = curves;
        // Most photos have a profile, and most profiles have one curve for all three.
        let of_red = red.table()?;
        let other = |curve: &Curve| if curve == red { Some(of_red) } else { curve.table() };
        let light = [of_red, other(green)?, other(blue)?];
        let mut between = [0.0; 255];
        between.iter_mut().enumerate().for_each(|(level, end)| *end = Curve::SRGB.light((level as f64 + 0.5) / 255.0));
        let ends = between.map(|light| light as f32);
        let mut level = 0;
        let first = std::array::from_fn(|step| {
            level += ends[level..].iter().take_while(|end| **end <= step as f32 / STEPS as f32).count();
            level as u8
        });
        let matrix = to_srgb.map(|row| row.map(|value| value as f32));
        Some(ToSrgb { light, matrix, ends, first }).filter(|to_srgb| !to_srgb.is_identity())
    }

    /// Whether the colours are sRGB already: greys, and colours of all kinds.
    fn is_identity(&self) -> bool {
        let near = |pixel: [u8; 3]| pixel.into_iter().zip(self.pixel(pixel)).all(|(a, b)| a.abs_diff(b) <= TOLERANCE);
        let axis = || (0..=255u8).step_by(51);
        let mut colours = axis().flat_map(|r| axis().flat_map(move |g| axis().map(move |b| [r, g, b])));
        (0..=255).all(|grey| near([grey; 3])) && colours.all(near)
    }

    /// Converts pixels in place: red, green and blue interleaved. Colours that sRGB does not have are cut off.
    pub(super) fn apply(&self, rgb: &mut [u8]) {
        for pixel in rgb.as_chunks_mut::<3>().0 {
            *pixel = self.pixel(*pixel);
        }
    }

    fn pixel(&self, [red, green, blue]: [u8; 3]) -> [u8; 3] {
        let [r, g, b] = &self.light;
        let [r, g, b] = [r[usize::from(red)], g[usize::from(green)], b[usize::from(blue)]];
        self.matrix.map(|row| self.level(row[0] * r + row[1] * g + row[2] * b))
    }

    /// The level of sRGB that is nearest to some light.
    fn level(&self, light: f32) -> u8 {
        let step = (light.clamp(0.0, 1.0) * STEPS as f32) as usize;
        let from = self.first[step];
        let further = self.ends[usize::from(from)..].iter().take_while(|end| **end <= light).count();
        from.saturating_add(further as u8)
    }
}

const UNCHANGED: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
