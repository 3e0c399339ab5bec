//! Windows over a picture that need no product: im2col for dense convolutions, and max pooling.

use std::ops::Range;

use super::kernels::Int8Kernels;
use super::operands::WindowShape;

/// im2col: copies the window of each output pixel in `pixels` into a patch, the window's rows one after the other. Patches
/// start `step` bytes apart.
///
/// # Safety
/// `x` is valid for reads of the whole picture and 64 bytes behind it (read, not used), `patches` for writes of
/// `pixels.len()` steps and 64 bytes behind them (overwritten with arbitrary bytes).
pub(super) unsafe fn im2col(
    w: &WindowShape,
    channels: usize,
    padding: u8,
    x: *const u8,
    patches: *mut u8,
    step: usize,
    pixels: Range<usize>,
) {
    let row = w.kernel[1] * channels;
    let (mut oy, mut ox) = (pixels.start / w.out_width, pixels.start % w.out_width);
    let mut patch = patches;
    let mut to_do = pixels.len();
    while to_do > 0 {
        let left = (ox * w.stride[1]) as isize - w.padding[1] as isize;
        let top = (oy * w.stride[0]) as isize - w.padding[0] as isize;
        let inside = left >= 0 && left as usize + w.kernel[1] <= w.width;
        let mut done = 1;
        // SAFETY: reads start in a row of the picture and end at most 15 bytes behind the window. Rows of a patch are
        // written in order, so that what is written behind one is overwritten by the next; behind the last one is slack.
        unsafe {
            if inside && row <= 16 && w.kernel[0] == 3 && top >= 0 && top as usize + 3 <= w.height {
                // The first layer of nearly all networks: all further windows of this line that lie inside the picture.
                let windows = (w.width - w.kernel[1] - left as usize) / w.stride[1] + 1;
                done = windows.min(w.out_width - ox).min(to_do);
                let mut from = x.add((top as usize * w.width + left as usize) * channels);
                let mut to = patch;
                for _ in 0..done {
                    for ky in 0..3 {
                        let bytes = from.add(ky * w.width * channels).cast::<[u8; 16]>().read_unaligned();
                        to.add(ky * row).cast::<[u8; 16]>().write_unaligned(bytes);
                    }
                    (from, to) = (from.add(w.stride[1] * channels), to.add(step));
                }
            } else {
                for ky in 0..w.kernel[0] {
                    let (y, to) = (top + ky as isize, patch.add(ky * row));
                    if y < 0 || y as usize >= w.height {
                        to.write_bytes(padding, row);
                        continue;
                    }
                    let line = x.add(y as usize * w.width * channels);
                    if inside {
                        let from = line.add(left as usize * channels);
                        for at in (0..row).step_by(16) {
                            let bytes = from.add(at).cast::<[u8; 16]>().read_unaligned();
                            to.add(at).cast::<[u8; 16]>().write_unaligned(bytes);
                        }
                        continue;
                    }
                    for kx in 0..w.kernel[1] {
                        let (at, to) = (left + kx as isize, to.add(kx * channels));
                        if at < 0 || at as usize >= w.width {
                            to.write_bytes(padding, channels);
                        } else {
                            std::ptr::copy_nonoverlapping(line.add(at as usize * channels), to, channels);
                        }
                    }
                }
            }
            patch = patch.add(done * step);
        }
        to_do -= done;
        ox += done;
        if ox == w.out_width {
            (ox, oy) = (0, oy + 1);
        }
    }
}

/// One row of max pooling. Pixels outside the picture do not count.
///
/// # Safety
/// The CPU has the kernels' instruction set.
pub(super) unsafe fn max_pool(k: &Int8Kernels, w: &WindowShape, channels: usize, x: &[u8], oy: usize, out: &mut [u8]) {
    for (ox, out) in out.chunks_exact_mut(channels).enumerate() {
        let mut first = true;
        for ky in 0..w.kernel[0] {
            for kx in 0..w.kernel[1] {
                let y = (oy * w.stride[0] + ky).wrapping_sub(w.padding[0]);
                let at = (ox * w.stride[1] + kx).wrapping_sub(w.padding[1]);
                if y < w.height && at < w.width {
                    let pixel = &x[(y * w.width + at) * channels..][..channels];
                    if first {
                        out.copy_from_slice(pixel);
                        first = false;
                    } else {
                        // SAFETY: as the caller promises.
                        unsafe { (k.max)(pixel, out) };
                    }
                }
            }
        }
    }
}
