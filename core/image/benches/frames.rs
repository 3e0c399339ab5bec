//! Times how camera frames of 1920 x 1080 pixels become the network's input and the live gate's picture.
//!
//! Run it with `cargo bench -p magpie-image --bench frames`. The cases are run in turn, and the median of the CPU time
//! is printed. `--smoke` runs each case once, as a test.
#![allow(clippy::unwrap_used, missing_docs)] // a benchmark may stop at the first error

use std::time::Duration;

use magpie_image::recipe::Recipe;
use magpie_image::{Frame, Pixels, Plane, QuarterTurn};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;

type Case<'a> = (String, Box<dyn Fn() + 'a>);

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--smoke") { 1 } else { 101 };
    let recipe = Recipe::new(144, 144);
    // Smooth colours with sensor noise, the same with saturated edges, and pure noise: the more colours have to be
    // clamped, the longer YUV takes.
    let pictures = [("smooth", picture(3, false)), ("edges", picture(3, true)), ("noise", picture(256, false))];
    let stored: Vec<_> = pictures.iter().map(|(name, rgb)| (*name, Stored::new(rgb, *name == "noise"))).collect();
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (name, stored) in &stored {
        for (layout, frame) in stored.frames() {
            let recipe = &recipe;
            cases.push((
                format!("{layout}, {name}: input"),
                Box::new(move || drop(frame.input_rgb(None, recipe).unwrap())),
            ));
            cases.push((format!("{layout}, {name}: luma"), Box::new(move || drop(frame.luma(160, 90).unwrap()))));
        }
    }
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, case), times) in cases.iter().zip(&mut times) {
            let started = cpu_time();
            case();
            times.push(cpu_time() - started);
        }
    }
    println!("{WIDTH} x {HEIGHT} to 144 x 144 (luma 160 x 90), bilinear; median of {rounds}, thread CPU time");
    for ((name, _), times) in cases.iter().zip(&mut times) {
        times.sort_unstable();
        println!("{name:<28} {:>8.3} ms", times[times.len() / 2].as_secs_f64() * 1e3);
    }
}

/// RGB pixels of smooth colours with noise of `noise` levels, optionally with saturated stripes.
fn picture(noise: u32, edges: bool) -> Vec<u8> {
    let mut state = 1u32;
    let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let wave = ((x as f32 / 90.0).sin() * (y as f32 / 130.0).cos() * 60.0) as i32;
            let stripe = edges && (x / 200 + y / 150) % 4 == 0;
            let colour = if stripe { [250, 5, 10] } else { [120 + wave, 110 + wave / 2, 140 - wave] };
            rgb.extend(colour.map(|value| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                (value + ((state >> 16) % noise) as i32 - noise as i32 / 2).clamp(0, 255) as u8
            }));
        }
    }
    rgb
}

/// One picture in every pixel format.
struct Stored {
    bgra: Vec<u8>,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    vu: Vec<u8>,
}

impl Stored {
    /// With `raw`, chroma is noise too instead of the mean of four pixels.
    fn new(rgb: &[u8], raw: bool) -> Self {
        let bgra = rgb.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0], 255]).collect();
        let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        let y = rgb.chunks_exact(3).map(|p| luma(p).round() as u8).collect();
        let (mut u, mut v) = (Vec::new(), Vec::new());
        for row in 0..HEIGHT / 2 {
            for column in 0..WIDTH / 2 {
                let at = |dx, dy| &rgb[3 * ((2 * row + dy) * WIDTH + 2 * column + dx)..][..3];
                let four = [at(0, 0), at(1, 0), at(0, 1), at(1, 1)];
                let mean = |f: &dyn Fn(&[u8]) -> f32| four.iter().map(|p| f(p)).sum::<f32>() / 4.0;
                let (cb, cr) = (
                    mean(&|p| (f32::from(p[2]) - luma(p)) / 1.772 + 128.0),
                    mean(&|p| (f32::from(p[0]) - luma(p)) / 1.402 + 128.0),
                );
                let (cb, cr) = if raw { (at(0, 0)[0], at(0, 0)[1]) } else { (cb.round() as u8, cr.round() as u8) };
                u.push(cb);
                v.push(cr);
            }
        }
        let vu = u.iter().zip(&v).flat_map(|(u, v)| [*v, *u]).collect();
        Stored { bgra, y, u, v, vu }
    }

    fn frames(&self) -> [(&'static str, Frame<'_>); 3] {
        let plane = |bytes, row_stride, pixel_stride| Plane { bytes, row_stride, pixel_stride };
        let y = plane(&self.y, WIDTH, 1);
        let frame = |pixels| Frame {
            pixels,
            width: WIDTH as u32,
            height: HEIGHT as u32,
            rotation: QuarterTurn::Quarter,
            mirrored: false,
        };
        [
            ("BGRA", frame(Pixels::Bgra(plane(&self.bgra, 4 * WIDTH, 4)))),
            ("NV21", frame(Pixels::nv21(y, plane(&self.vu, WIDTH, 2)))),
            ("I420", frame(Pixels::i420(y, plane(&self.u, WIDTH / 2, 1), plane(&self.v, WIDTH / 2, 1)))),
        ]
    }
}

/// CPU time of this thread. The conversion starts no other.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
