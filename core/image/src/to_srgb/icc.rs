//! Reads ICC profiles: the kind with a matrix and three curves, which cameras, phones and screens have, and grey ones.
//!
//! Profiles with tables of colours, of printers and scanners, are ignored.

use super::curve::Curve;
use super::primaries::{Matrix, transposed};

/// Largest size of a profile in bytes. The largest ones, of printers, have about two megabytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// A profile has about ten tags.
const MAX_TAGS: usize = 256;

/// What a profile says of the colours.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Profile {
    /// The curves of red, green and blue, and the matrix from their light to XYZ with the white of profiles.
    Rgb([Curve; 3], Matrix),
    Grey(Curve),
}

/// Reads a profile. `None` if it is damaged or of another kind.
pub(super) fn read(icc: &[u8]) -> Option<Profile> {
    if icc.len() > MAX_BYTES || icc.get(20..24)? != b"XYZ " {
        return None;
    }
    match icc.get(16..20)? {
        b"RGB " => {
            let columns = [xyz(tag(icc, b"rXYZ")?)?, xyz(tag(icc, b"gXYZ")?)?, xyz(tag(icc, b"bXYZ")?)?];
            let brightness: f64 = columns.iter().map(|xyz| xyz[1]).sum();
            let curves = [curve(tag(icc, b"rTRC")?)?, curve(tag(icc, b"gTRC")?)?, curve(tag(icc, b"bTRC")?)?];
            // White is white. A profile with another is damaged.
            (0.5..1.5).contains(&brightness).then(|| Profile::Rgb(curves, transposed(columns)))
        }
        b"GRAY" => Some(Profile::Grey(curve(tag(icc, b"kTRC")?)?)),
        _ => None,
    }
}

/// The contents of a tag.
fn tag<'a>(icc: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let count = (number(icc, 128)? as usize).min(MAX_TAGS);
    let entries = (0..count).map_while(|at| icc.get(132 + 12 * at..144 + 12 * at));
    let entry = entries.into_iter().find(|entry| entry.starts_with(name))?;
    let (start, length) = (number(entry, 4)? as usize, number(entry, 8)? as usize);
    icc.get(start..start.checked_add(length)?)
}

fn xyz(tag: &[u8]) -> Option<[f64; 3]> {
    (tag.get(..4)? == b"XYZ ").then_some(())?;
    Some([fixed(tag, 8)?, fixed(tag, 12)?, fixed(tag, 16)?])
}

fn curve(tag: &[u8]) -> Option<Curve> {
    match tag.get(..4)? {
        b"curv" => {
            let count = number(tag, 8)? as usize;
            let values = tag.get(12..)?.get(..count.checked_mul(2)?)?;
            let values: Vec<u16> = values.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
            match values.as_slice() {
                [] => Some(Curve::power(1.0)),
                [gamma] => exponent(f64::from(*gamma) / 256.0).map(Curve::power),
                _ => Some(Curve::Samples(values)),
            }
        }
        b"para" => {
            let count = [1, 3, 4, 5, 7].get(usize::from(*tag.get(9)?)).filter(|_| tag[8] == 0)?;
            let mut p = [0.0; 7];
            for (at, value) in p.iter_mut().take(*count).enumerate() {
                *value = fixed(tag, 12 + 4 * at)?;
            }
            let [gamma, a, b, c, d, e, f] = p;
            let gamma = exponent(gamma)?;
            Some(match count {
                1 => Curve::power(gamma),
                3 => Curve::parts(gamma, a, b, 0.0, -b / a),
                4 => Curve::Parts { gamma, a, b, c: 0.0, d: -b / a, e: c, f: c },
                5 => Curve::parts(gamma, a, b, c, d),
                _ => Curve::Parts { gamma, a, b, c, d, e, f },
            })
        }
        _ => None,
    }
}

fn exponent(gamma: f64) -> Option<f64> {
    (gamma > 0.0 && gamma <= 16.0).then_some(gamma)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_be_bytes(*four))
}

/// A signed number with 16 bits after the point.
fn fixed(bytes: &[u8], at: usize) -> Option<f64> {
    number(bytes, at).map(|bits| f64::from(bits.cast_signed()) / 65_536.0)
}
