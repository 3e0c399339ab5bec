//! Windows over a picture without a product: patches of a dense convolution, and the maximum.

use std::ops::Range;

use super::kernels::Kernels;
use super::operands::Window;

/// Lays out the patches of some output pixels, `step` bytes each: the window's rows, one after the other.
///
/// # Safety
/// `x` is good for the window's input and 64 bytes more (read, not used), `patches` for `pixels.len()` steps and 64
/// bytes more (overwritten with anything).
pub(super) unsafe fn gather(
    w: &Window,
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
        // SAFETY: the patches are the caller's. Rows of a patch are written in order, so that what is written beyond
        // one is overwritten by the next; after the last one there is the slack. Sources are rows of the picture.
        unsafe {
            if inside && row <= 16 && w.kernel[0] == 3 && top >= 0 && top as usize + 3 <= w.height {
                // The first layer of nearly all networks: the rest of this line, as far as windows lie inside.
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

/// One row of max pooling. Pixels outside of the picture do not count.
///
/// # Safety
/// The CPU has the kernels' instruction set.
pub(super) unsafe fn largest(k: &Kernels, w: &Window, channels: usize, x: &[u8], oy: usize, out: &mut [u8]) {
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
                        unsafe { (k.larger)(pixel, out) };
                    }
                }
            }
        }
    }
}
