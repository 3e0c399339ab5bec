//! The region of interest: a rectangle in the upright photo.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::PhotoError;
use crate::recipe::Fit;

/// A rectangle in pixels of the upright, full-size photo. The origin is its top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

impl Region {
    /// The region, by default all of a photo of `width` x `height` pixels. Fails if it is empty or reaches outside.
    pub(super) fn of(region: Option<Region>, width: u32, height: u32) -> Result<Region, PhotoError> {
        let region = region.unwrap_or(Region { x: 0, y: 0, width, height });
        let inside =
            |start: u32, length: u32, end: u32| length > 0 && start.checked_add(length).is_some_and(|sum| sum <= end);
        if inside(region.x, region.width, width) && inside(region.y, region.height, height) {
            return Ok(region);
        }
        Err(PhotoError::BadRegion {
            x: region.x,
            y: region.y,
            width: region.width,
            height: region.height,
            photo_width: width,
            photo_height: height,
        })
    }

    /// The part of the region that a recipe uses for an input of `width` x `height` pixels.
    pub(super) fn fitted(self, fit: Fit, width: u32, height: u32) -> Region {
        let Fit::Crop(fraction) = fit else { return self };
        let (w, h) = (f64::from(self.width), f64::from(self.height));
        let aspect = f64::from(width) / f64::from(height);
        let (fit_w, fit_h) = if w / h > aspect { (h * aspect, h) } else { (w, w / aspect) };
        let side = |length: f64| ((length * f64::from(fraction)).round() as u32).max(1);
        let (width, height) = (side(fit_w).min(self.width), side(fit_h).min(self.height));
        Region { x: self.x + (self.width - width) / 2, y: self.y + (self.height - height) / 2, width, height }
    }

    /// The same region in a picture that was decoded at a lower resolution; `from` and `to` are its widths and heights.
    ///
    /// Edges are rounded to the nearest pixel, and at least one pixel is kept.
    pub(super) fn scaled(self, from: (u32, u32), to: (u32, u32)) -> Region {
        let axis = |start: u32, length: u32, from: u32, to: u32| {
            let edge = |at: u64| ((at * u64::from(to) * 2 + u64::from(from)) / (2 * u64::from(from))) as u32;
            let first = edge(u64::from(start)).min(to - 1);
            let last = edge(u64::from(start) + u64::from(length)).clamp(first + 1, to);
            (first, last - first)
        };
        let (x, width) = axis(self.x, self.width, from.0, to.0);
        let (y, height) = axis(self.y, self.height, from.1, to.1);
        Region { x, y, width, height }
    }
}

impl FromStr for Region {
    type Err = String;

    /// Reads `x,y,width,height`.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[x, y, width, height]) => Ok(Region { x, y, width, height }),
            _ => Err("expected four whole numbers x,y,width,height in pixels of the upright photo".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: Region = Region { x: 10, y: 20, width: 300, height: 200 };

    #[test]
    fn empty_and_outside_regions_are_refused_without_overflow() {
        for bad in [
            Region { width: 0, ..REGION },
            Region { height: 0, ..REGION },
            Region { x: 800, ..REGION },
            Region { x: u32::MAX, width: u32::MAX, ..REGION },
        ] {
            assert!(matches!(Region::of(Some(bad), 1000, 1000), Err(PhotoError::BadRegion { .. })), "{bad:?}");
        }
        assert_eq!(Region::of(Some(REGION), 310, 220), Ok(REGION));
    }

    #[test]
    fn centre_crop_has_the_aspect_ratio_of_the_input() {
        let fitted = REGION.fitted(Fit::Crop(0.5), 64, 64);
        assert_eq!(fitted, Region { x: 110, y: 70, width: 100, height: 100 });
        assert_eq!(REGION.fitted(Fit::Squash, 64, 64), REGION);
    }

    #[test]
    fn scaling_down_keeps_at_least_one_pixel() {
        let tiny = Region { x: 999, y: 0, width: 1, height: 1 };
        let scaled = tiny.scaled((1000, 1000), (125, 125));
        assert_eq!(scaled, Region { x: 124, y: 0, width: 1, height: 1 });
        assert_eq!(REGION.scaled((1000, 1000), (1000, 1000)), REGION);
    }
}
