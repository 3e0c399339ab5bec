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
