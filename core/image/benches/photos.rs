//! Times how decoded photos become the network's input, compared with the crate fast_image_resize on the same pixels.
//!
//! Run it with `cargo bench -p magpie-image --bench photos`. The cases are run in turn, and the median of the CPU time
//! is printed. `--smoke` runs each case once, as a test.
#![allow(clippy::unwrap_used, missing_docs)] // a benchmark may stop at the first error

use std::io::Cursor;
use std::time::Duration;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{ImageFormat, RgbImage};
use magpie_image::recipe::{Recipe, ResizeFilter};
use magpie_image::{DecodeLimits, decode};

const SIDE: u32 = 144;

fn main() {
    let smoke = std::env::args().any(|arg| arg == "--smoke");
    println!("to {SIDE} x {SIDE}; median of thread CPU time");
    let filters = [(ResizeFilter::Bilinear, FilterType::Bilinear), (ResizeFilter::Lanczos, FilterType::Lanczos3)];
    for (width, height, rounds) in [(400, 300, 401), (4000, 3000, 41)] {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let noise = (x * 31 + y * 17) ^ (x * y);
            image::Rgb([(x * 200 / width) as u8, (y * 200 / height) as u8, 100].map(|v| v + noise as u8 % 32))
        });
        // PNG, because a JPEG would be decoded at a lower resolution.
        let mut png = Vec::new();
        picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
        for (filter, theirs) in filters {
            let recipe = Recipe::new(SIDE, SIDE).with_filter(filter);
            let photo = decode(&png, None, &recipe, &DecodeLimits::default()).unwrap();
            let ours = || drop(photo.input_rgb(None, &recipe).unwrap());
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(theirs)).use_alpha(false);
            let theirs = || {
                let from = ImageRef::new(width, height, picture.as_raw(), PixelType::U8x3).unwrap();
                let mut to = Image::new(SIDE, SIDE, PixelType::U8x3);
                Resizer::new().resize(&from, &mut to, &options).unwrap();
            };
            let [ours, theirs] = medians([&ours, &theirs], if smoke { 1 } else { rounds });
            println!(
                "{width} x {height}, {filter:?}: {:.3} ms, fast_image_resize {:.3} ms",
                ours.as_secs_f64() * 1e3,
                theirs.as_secs_f64() * 1e3
            );
        }
    }
}

fn medians(cases: [&dyn Fn(); 2], rounds: usize) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (case, times) in cases.iter().zip(&mut times) {
            let started = cpu_time();
            case();
            times.push(cpu_time() - started);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

/// CPU time of this thread. Resizing starts no other.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
