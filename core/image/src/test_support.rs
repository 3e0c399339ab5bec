//! Shared by the property tests.

use proptest::prelude::*;

use crate::recipe::ResizeFilter;
use crate::region::Region;

/// Whether the tests run in full: `MAGPIE_LONG=1`.
pub(crate) fn is_long() -> bool {
    std::env::var("MAGPIE_LONG").is_ok_and(|value| value == "1")
}

/// The number of cases of a property test: a tenth of `full`, or all of them with `MAGPIE_LONG=1`.
pub(crate) fn cases(full: u32) -> u32 {
    if is_long() { full } else { full / 10 }
}

pub(crate) fn any_filter() -> impl Strategy<Value = ResizeFilter> {
    proptest::sample::select(vec![
        ResizeFilter::Box,
        ResizeFilter::Bilinear,
        ResizeFilter::Bicubic,
        ResizeFilter::Lanczos,
    ])
}

/// Left and top edge, width and height of a region, as fractions of what is left of the picture; or the whole picture.
pub(crate) type Cut = Option<(f64, f64, f64, f64)>;

pub(crate) fn any_cut() -> impl Strategy<Value = Cut> {
    proptest::option::of((0.0f64..1.0, 0.0f64..1.0, 0.0f64..1.0, 0.0f64..1.0))
}

/// The region of a picture of this size.
pub(crate) fn region(cut: Cut, (width, height): (u32, u32)) -> Option<Region> {
    cut.map(|(x, y, w, h)| {
        let (x, y) = ((x * f64::from(width)) as u32, (y * f64::from(height)) as u32);
        let side = |share: f64, most: u32| ((share * f64::from(most)) as u32).max(1);
        Region { x, y, width: side(w, width - x), height: side(h, height - y) }
    })
}

/// A colour profile with three curves and a matrix.
#[derive(Debug, Clone)]
pub(crate) struct Icc {
    pub(crate) space: [u8; 4],
    /// XYZ of red, green and blue.
    pub(crate) columns: [[f64; 3]; 3],
    /// Exponent of the curve; 0 for the curve of sRGB.
    pub(crate) gamma: f64,
    /// Samples of the curve, instead.
    pub(crate) samples: Option<Vec<u16>>,
}

pub(crate) const SRGB: Icc = Icc {
    space: *b"RGB ",
    columns: [[0.4360, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7139]],
    gamma: 0.0,
    samples: None,
};
pub(crate) const LINEAR: Icc = Icc { gamma: 1.0, ..SRGB };
pub(crate) const P3: Icc =
    Icc { columns: [[0.5151, 0.2412, -0.0011], [0.2920, 0.6922, 0.0419], [0.1571, 0.0666, 0.7841]], ..SRGB };
pub(crate) const ADOBE_RGB: Icc = Icc {
    columns: [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]],
    gamma: 563.0 / 256.0,
    ..SRGB
};
pub(crate) const PROPHOTO: Icc = Icc {
    columns: [[0.7977, 0.2880, 0.0], [0.1352, 0.7119, 0.0], [0.0313, 0.0001, 0.8249]],
    gamma: 461.0 / 256.0,
    ..SRGB
};

impl Icc {
    /// The profile as a file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let fixed = |value: f64| ((value * 65_536.0).round() as i32).to_be_bytes();
        let xyz = |column: [f64; 3]| [&b"XYZ \0\0\0\0"[..], column.map(fixed).as_flattened()].concat();
        let curve = match &self.samples {
            Some(samples) => {
                let values: Vec<u8> = samples.iter().flat_map(|value| value.to_be_bytes()).collect();
                [b"curv\0\0\0\0", &(samples.len() as u32).to_be_bytes()[..], &values].concat()
            }
            None if self.gamma == 0.0 => {
                let numbers = [2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045].map(fixed);
                [&b"para\0\0\0\0\0\x03\0\0"[..], numbers.as_flattened()].concat()
            }
            None => {
                let gamma = ((self.gamma * 256.0).round() as u16).to_be_bytes();
                [&b"curv\0\0\0\0\0\0\0\x01"[..], &gamma, &[0, 0]].concat()
            }
        };
        let colours = [b"rXYZ", b"gXYZ", b"bXYZ"].into_iter().zip(self.columns.map(xyz));
        let curves = [b"rTRC", b"gTRC", b"bTRC", b"kTRC"].map(|name| (name, curve.clone()));
        let tags: Vec<(&[u8; 4], Vec<u8>)> = colours.chain(curves).collect();
        let mut header = vec![0; 128];
        header[16..20].copy_from_slice(&self.space);
        header[20..24].copy_from_slice(b"XYZ ");
        header[36..40].copy_from_slice(b"acsp");
        header.extend((tags.len() as u32).to_be_bytes());
        let mut body = Vec::new();
        for (name, tag) in &tags {
            let place = (128 + 4 + 12 * tags.len() + body.len()) as u32;
            header.extend([&name[..], &place.to_be_bytes(), &(tag.len() as u32).to_be_bytes()].concat());
            body.extend(tag);
        }
        [header, body].concat()
    }
}
