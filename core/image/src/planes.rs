//! Resamples the planes of a camera frame, by their format.

use super::passes::Area;
use super::pixels::Pixels;
use super::region::Region;
use super::simd::ResampleKernels;
use super::yuv::ColourMatrix;
use super::{packed, yuv420};
use crate::recipe::ResizeFilter;

/// Resizes the region to `to` and returns interleaved red, green and blue.
pub(super) fn rgb(
    pixels: &Pixels<'_>,
    region: Region,
    to: (u32, u32),
    filter: ResizeFilter,
    kernels: &ResampleKernels,
) -> Vec<u8> {
    let area = Area::new(region);
    match pixels {
        Pixels::Rgba(plane) => packed::rgb::<4>(plane, [0, 1, 2], &area, to, filter, kernels),
        Pixels::Bgra(plane) => packed::rgb::<4>(plane, [2, 1, 0], &area, to, filter, kernels),
        Pixels::Yuv420 { y, u, v, range } => {
            yuv420::rgb([y, u, v], ColourMatrix::new(*range), &area, to, filter, kernels)
        }
    }
}

/// Resizes the region to `to` and returns its luma, 0 to 255 whatever the range of the pixels.
pub(super) fn grey(
    pixels: &Pixels<'_>,
    region: Region,
    to: (u32, u32),
    filter: ResizeFilter,
    kernels: &ResampleKernels,
) -> Vec<u8> {
    if let Pixels::Yuv420 { y, range, .. } = pixels {
        return yuv420::grey(y, ColourMatrix::new(*range), &Area::new(region), to, filter, kernels);
    }
    let rgb = rgb(pixels, region, to, filter, kernels);
    let luma = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(u32::from);
        // BT.601's 0.299, 0.587 and 0.114 with 16 fractional bits.
        ((red * 19_595 + green * 38_470 + blue * 7_471 + (1 << 15)) >> 16) as u8
    };
    rgb.as_chunks::<3>().0.iter().map(luma).collect()
}
