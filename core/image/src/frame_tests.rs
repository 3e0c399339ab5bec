//! Compares frames with the slow way: every pixel is converted in floating point, then resized and rotated as a photo.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use image::RgbImage;
use proptest::prelude::*;

use super::frame::{Frame, QuarterTurn};
use super::oracle;
use super::picture::InputRgb;
use super::pixels::{Pixels, Plane};
use super::region::Region;
use super::rows::BLOCK;
use super::test_support::{self, any_cut, any_filter, cases};
use super::yuv::{ColourMatrix, YuvRange};
use super::yuv_tests;
use crate::error::PhotoError;
use crate::recipe::{Fit, Recipe, ResizeFilter};

/// The buffers that a camera provides for a frame, with their own padding and strides.
#[derive(Clone)]
struct Buffers {
    layout: BufferLayout,
    width: usize,
    height: usize,
    /// Bytes between the end of a row and the start of the next.
    padding: usize,
    range: YuvRange,
    bytes: [Vec<u8>; 3],
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum BufferLayout {
    Rgba,
    Bgra,
    /// Pixels of six bytes.
    WideRgba,
    Nv12,
    Nv21,
    I420,
    /// Chroma planes that overlap in one buffer, as on Android: the first one ends a byte before the buffer.
    Overlapping,
    /// Pixel strides of 2 for luma and 3 for chroma.
    Sparse,
}

const LAYOUTS: [BufferLayout; 8] = [
    BufferLayout::Rgba,
    BufferLayout::Bgra,
    BufferLayout::WideRgba,
    BufferLayout::Nv12,
    BufferLayout::Nv21,
    BufferLayout::I420,
    BufferLayout::Overlapping,
    BufferLayout::Sparse,
];

impl std::fmt::Debug for Buffers {
    /// Leaves out the bytes, so that a failure can be read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} x {} +{} {:?}", self.layout, self.width, self.height, self.padding, self.range)
    }
}

impl Buffers {
    /// Row stride and length of a plane that ends with its last sample.
    fn plane(columns: usize, rows: usize, stride: usize, sample: usize, padding: usize) -> (usize, usize) {
        let row = (columns - 1) * stride + sample;
        (row + padding, (row + padding) * (rows - 1) + row)
    }

    fn strides(&self) -> [usize; 2] {
        match self.layout {
            BufferLayout::Rgba | BufferLayout::Bgra => [4, 0],
            BufferLayout::WideRgba => [6, 0],
            BufferLayout::Nv12 | BufferLayout::Nv21 | BufferLayout::Overlapping => [1, 2],
            BufferLayout::I420 => [1, 1],
            BufferLayout::Sparse => [2, 3],
        }
    }

    /// Buffers of the right lengths with bytes from `fill`.
    fn new(
        layout: BufferLayout,
        (width, height): (usize, usize),
        padding: usize,
        range: YuvRange,
        mut fill: impl FnMut() -> u8,
    ) -> Self {
        let mut buffers = Buffers { layout, width, height, padding, range, bytes: Default::default() };
        let [luma, chroma] = buffers.strides();
        let (half_w, half_h) = (width.div_ceil(2), height.div_ceil(2));
        let lengths = match layout {
            BufferLayout::Rgba | BufferLayout::Bgra | BufferLayout::WideRgba => {
                [Self::plane(width, height, luma, 4, padding).1, 0, 0]
            }
            BufferLayout::Nv12 | BufferLayout::Nv21 | BufferLayout::Overlapping => {
                [Self::plane(width, height, luma, 1, padding).1, Self::plane(half_w, half_h, chroma, 2, padding).1, 0]
            }
            BufferLayout::I420 | BufferLayout::Sparse => {
                let half = Self::plane(half_w, half_h, chroma, 1, padding).1;
                [Self::plane(width, height, luma, 1, padding).1, half, half]
            }
        };
        buffers.bytes = lengths.map(|length| (0..length).map(|_| fill()).collect());
        buffers
    }

    fn frame(&self, rotation: QuarterTurn, mirrored: bool) -> Frame<'_> {
        let [stride, chroma] = self.strides();
        let half = self.width.div_ceil(2);
        let plane = |bytes, columns, pixel_stride, sample| Plane {
            bytes,
            row_stride: Self::plane(columns, 1, pixel_stride, sample, self.padding).0,
            pixel_stride,
        };
        let [first, second, third] = &self.bytes;
        let y = plane(first, self.width, stride, 1);
        let pixels = match self.layout {
            BufferLayout::Rgba | BufferLayout::WideRgba => Pixels::Rgba(plane(first, self.width, stride, 4)),
            BufferLayout::Bgra => Pixels::Bgra(plane(first, self.width, stride, 4)),
            BufferLayout::Nv12 => Pixels::nv12(y, plane(second, half, chroma, 2)),
            BufferLayout::Nv21 => Pixels::nv21(y, plane(second, half, chroma, 2)),
            BufferLayout::I420 | BufferLayout::Sparse => {
                Pixels::i420(y, plane(second, half, chroma, 1), plane(third, half, chroma, 1))
            }
            BufferLayout::Overlapping => {
                let whole = plane(second, half, chroma, 2);
                let u = Plane { bytes: &whole.bytes[..whole.bytes.len() - 1], ..whole };
                Pixels::i420(y, u, Plane { bytes: &whole.bytes[1..], ..whole })
            }
        };
        let pixels = pixels.with_range(self.range);
        Frame { pixels, width: self.width as u32, height: self.height as u32, rotation, mirrored }
    }
}

/// The bytes of a sample or pixel.
fn at<'a>(plane: &Plane<'a>, x: usize, y: usize) -> &'a [u8] {
    &plane.bytes[y * plane.row_stride + x * plane.pixel_stride..]
}

/// A pixel as RGB, converted by itself.
fn pixel(frame: &Frame<'_>, x: usize, y: usize) -> [u8; 3] {
    match &frame.pixels {
        Pixels::Rgba(plane) => [0, 1, 2].map(|c| at(plane, x, y)[c]),
        Pixels::Bgra(plane) => [2, 1, 0].map(|c| at(plane, x, y)[c]),
        Pixels::Yuv420 { y: luma, u, v, range } => {
            let chroma = [u, v].map(|plane| at(plane, x / 2, y / 2)[0]);
            yuv_tests::converted(&ColourMatrix::new(*range), &[at(luma, x, y)[0]; BLOCK], chroma)
                .map(|colour| colour[0])
        }
    }
}

fn converted(frame: &Frame<'_>) -> RgbImage {
    RgbImage::from_fn(frame.width, frame.height, |x, y| image::Rgb(pixel(frame, x as usize, y as usize)))
}

/// The input that a photo with these pixels gives.
fn as_photo(frame: &Frame<'_>, region: Option<Region>, recipe: &Recipe) -> InputRgb {
    oracle::input(&converted(frame), frame.orientation(), region, recipe)
}

fn recipe((width, height): (u32, u32), filter: ResizeFilter, fit: Fit) -> Recipe {
    Recipe::new(width, height).with_filter(filter).with_fit(fit)
}

fn furthest(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Bytes of different pictures: noise, smooth colours, and a few saturated spots on grey.
fn fill(kind: u8, seed: u32) -> impl FnMut() -> u8 {
    let (mut state, mut count) = (seed, 0u32);
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        count += 1;
        let noise = (state >> 24) as u8;
        match kind {
            0 => noise,
            1 => 96 + (count / 7 % 64) as u8 + noise % 4,
            _ if noise < 3 => {
                if state >> 20 & 1 == 0 {
                    255
                } else {
                    0
                }
            }
            _ => 120 + noise % 16,
        }
    }
}

fn rotation() -> impl Strategy<Value = QuarterTurn> {
    proptest::sample::select(vec![
        QuarterTurn::None,
        QuarterTurn::Quarter,
        QuarterTurn::Half,
        QuarterTurn::ThreeQuarters,
    ])
}

fn buffers(sides: std::ops::Range<usize>) -> impl Strategy<Value = Buffers> {
    let ranges = vec![YuvRange::Bt601Full, YuvRange::Bt601Video, YuvRange::Bt709Full, YuvRange::Bt709Video];
    let layout = proptest::sample::select(LAYOUTS.to_vec());
    (layout, sides.clone(), sides, 0usize..40, proptest::sample::select(ranges), 0u8..3, any::<u32>()).prop_map(
        |(layout, width, height, padding, range, kind, seed)| {
            Buffers::new(layout, (width, height), padding, range, fill(kind, seed))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(400)))]

    /// With a filter that overshoots, pixels are converted one by one, as for a photo, and nothing differs. The other
    /// filters take means. The means of rounded and of unrounded colours differ by half a level, and a little for fixed
    /// point: by one level at most after the rounding of the vertical pass. The horizontal pass, which takes means of
    /// these, cannot increase that.
    #[test]
    fn a_frame_is_within_a_level_of_a_photo(
        buffers in buffers(1..150), rotation in rotation(), mirrored: bool, to in (1u32..40, 1u32..40),
        cut in any_cut(), crop: bool,
        filter in any_filter(),
    ) {
        let frame = buffers.frame(rotation, mirrored);
        let region = test_support::region(cut, frame.upright_size());
        let recipe = recipe(to, filter, if crop { Fit::Crop(0.9) } else { Fit::Squash });
        let (fast, slow) = (frame.input_rgb(region, &recipe).unwrap(), as_photo(&frame, region, &recipe));
        prop_assert_eq!((fast.width, fast.height), (slow.width, slow.height));
        let most = match filter { ResizeFilter::Box | ResizeFilter::Bilinear => 1, _ => 0 };
        prop_assert!(furthest(&fast.rgb, &slow.rgb) <= most, "off by {}", furthest(&fast.rgb, &slow.rgb));
    }

    /// A frame with truncated buffers is refused. Bytes after the end of complete ones do not matter.
    #[test]
    fn short_buffers_are_refused_and_trailing_bytes_are_ignored(
        buffers in buffers(1..40), plane in 0usize..3, cut in 1usize..2000,
    ) {
        let small = recipe((5, 5), ResizeFilter::Bilinear, Fit::Squash);
        let whole = buffers.frame(QuarterTurn::None, false).input_rgb(None, &small).unwrap();

        let mut padded = buffers.clone();
        padded.bytes.iter_mut().filter(|bytes| !bytes.is_empty()).for_each(|bytes| bytes.extend([0xaa; 70]));
        if padded.layout != BufferLayout::Overlapping {
            prop_assert_eq!(&padded.frame(QuarterTurn::None, false).input_rgb(None, &small).unwrap(), &whole);
        }

        let mut short = buffers;
        let length = short.bytes[plane].len();
        prop_assume!(length > 2 && short.layout != BufferLayout::Overlapping);
        short.bytes[plane].truncate(length - cut.min(length - 1));
        let error = short.frame(QuarterTurn::None, false).input_rgb(None, &small).unwrap_err();
        prop_assert!(matches!(&error, PhotoError::BadFrame { what, .. } if what.ends_with("length")), "{}", error);
    }

    #[test]
    fn no_sides_or_strides_cause_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), numbers in proptest::array::uniform6(edge()),
        sides in (edge(), edge()), packed: bool, rotation in rotation(), to in (edge(), edge()),
    ) {
        let [a, b, c, d, e, f] = numbers;
        let plane = |row_stride, pixel_stride| Plane { bytes: &bytes, row_stride, pixel_stride };
        let pixels = match packed {
            true => Pixels::Rgba(plane(a, b)),
            false => Pixels::i420(plane(a, b), plane(c, d), plane(e, f)),
        };
        let frame = Frame { pixels, width: sides.0 as u32, height: sides.1 as u32, rotation, mirrored: true };
        let to = (to.0 as u32, to.1 as u32);
        let whole = frame.input_rgb(None, &recipe(to, ResizeFilter::Lanczos, Fit::Squash));
        let luma = frame.luma(to.0, to.1);
        prop_assert_eq!(whole.is_ok(), luma.is_ok());
    }

    /// Luma is the mean of the pixels that it covers, with red, green and blue weighted as in BT.601.
    #[test]
    fn luma_is_the_mean_of_the_pixels_it_covers(
        mut buffers in buffers(24..80), rotation in rotation(), mirrored: bool,
    ) {
        // Each mean covers whole pixels, so that the expected value is simple.
        let (columns, rows) = (buffers.width / 4, buffers.height / 4);
        let fill = fill(1, columns as u32);
        // BT.601 only: the luma of RGB pixels uses its weights.
        let range = match buffers.range { YuvRange::Bt709Full => YuvRange::Bt601Full, _ => YuvRange::Bt601Video };
        buffers = Buffers::new(buffers.layout, (columns * 4, rows * 4), buffers.padding, range, fill);
        let stored = buffers.frame(QuarterTurn::None, false);
        let small = stored.luma(columns as u32, rows as u32).unwrap();
        for (place, value) in small.values.iter().enumerate() {
            let (left, top) = (place % columns * 4, place / columns * 4);
            let mut sum = 0.0;
            for (x, y) in (0..16).map(|i| (left + i % 4, top + i / 4)) {
                sum += match &stored.pixels {
                    Pixels::Yuv420 { y: plane, .. } => {
                        let luma = f64::from(at(plane, x, y)[0]);
                        if range == YuvRange::Bt601Full { luma } else { (luma - 16.0) * 255.0 / 219.0 }
                    }
                    _ => {
                        let [red, green, blue] = pixel(&stored, x, y).map(f64::from);
                        0.299 * red + 0.587 * green + 0.114 * blue
                    }
                };
            }
            // It is rounded after each pass, and once more if it is computed from three colours.
            prop_assert!((f64::from(*value) - sum / 16.0).abs() <= 1.5, "{value}, expected {}", sum / 16.0);
        }
        // Rotating and mirroring only permute the values.
        let upright = buffers.frame(rotation, mirrored);
        let rotated = if upright.upright_size() == stored.upright_size() { (columns, rows) } else { (rows, columns) };
        let mut rotated = upright.luma(rotated.0 as u32, rotated.1 as u32).unwrap().values;
        let mut values = small.values;
        rotated.sort_unstable();
        values.sort_unstable();
        prop_assert_eq!(rotated, values);
    }
}

/// Small numbers, and numbers near the limits of their types.
fn edge() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..20, Just(u32::MAX as usize), Just(usize::MAX), Just(usize::MAX / 2), Just(1 << 14)]
}

#[test]
fn a_row_stride_above_the_width_is_honoured() {
    for layout in
        [BufferLayout::Nv12, BufferLayout::Nv21, BufferLayout::I420, BufferLayout::Overlapping, BufferLayout::Bgra]
    {
        let buffers = Buffers::new(layout, (864, 480), 32, YuvRange::Bt601Full, fill(2, 7));
        let frame = buffers.frame(QuarterTurn::Quarter, true);
        if let Pixels::Yuv420 { y, .. } = &frame.pixels {
            assert_eq!(y.row_stride, 896);
        }
        let recipe = recipe((144, 144), ResizeFilter::Bilinear, Fit::Squash);
        let (fast, slow) = (frame.input_rgb(None, &recipe).unwrap(), as_photo(&frame, None, &recipe));
        assert!(furthest(&fast.rgb, &slow.rgb) <= 1, "{layout:?}: {}", furthest(&fast.rgb, &slow.rgb));
    }
}

/// Only the horizontal pass changes this row. If it were converted in fixed point, a green of 126.496 would become 127
/// instead of 126, and the third pixel two levels brighter.
#[test]
fn nothing_differs_where_only_the_horizontal_pass_overshoots() {
    let (luma, vu) = ([140, 139, 142, 141, 140, 140, 141, 140], [142, 142, 142, 144, 142, 145, 145, 145]);
    let plane = |bytes, pixel_stride| Plane { bytes, row_stride: 8, pixel_stride };
    let pixels = Pixels::nv21(plane(&luma, 1), plane(&vu, 2));
    let frame = Frame { pixels, width: 8, height: 1, rotation: QuarterTurn::None, mirrored: false };
    let region = Some(Region { x: 1, y: 0, width: 6, height: 1 });
    let recipe = recipe((7, 1), ResizeFilter::Bicubic, Fit::Squash);
    let fast = frame.input_rgb(region, &recipe).unwrap().rgb;
    assert_eq!(fast, as_photo(&frame, region, &recipe).rgb);
    let green: Vec<u8> = fast.iter().skip(1).step_by(3).copied().collect();
    assert_eq!(green, [124, 126, 125, 124, 124, 124, 123]);
}

/// A photo that is rotated upright before it is resized gives the same: a region is where the user saw it.
#[test]
fn rotating_first_gives_the_same() {
    let buffers = Buffers::new(BufferLayout::Nv21, (121, 83), 7, YuvRange::Bt601Full, fill(1, 3));
    let recipe = recipe((24, 24), ResizeFilter::Bilinear, Fit::Squash);
    for rotation in [QuarterTurn::None, QuarterTurn::Quarter, QuarterTurn::Half, QuarterTurn::ThreeQuarters] {
        for mirrored in [false, true] {
            let frame = buffers.frame(rotation, mirrored);
            let mut upright = converted(&frame);
            for _ in 0..rotation as u8 {
                upright = image::imageops::rotate90(&upright);
            }
            if mirrored {
                image::imageops::flip_horizontal_in_place(&mut upright);
            }
            let size = upright.dimensions();
            assert_eq!(size, frame.upright_size());
            let region = Region { x: 11, y: 5, width: size.0 - 23, height: size.1 - 17 };
            let slow = oracle::input(&upright, image::metadata::Orientation::NoTransforms, Some(region), &recipe);
            let fast = frame.input_rgb(Some(region), &recipe).unwrap();
            assert!(furthest(&fast.rgb, &slow.rgb) <= 1, "{rotation:?} {mirrored}");
        }
    }
}

#[test]
fn errors_name_the_value_found_and_the_value_expected() {
    let buffers = Buffers::new(BufferLayout::Nv21, (10, 6), 3, YuvRange::Bt601Full, fill(0, 1));
    let frame = buffers.frame(QuarterTurn::None, false);
    let error = |frame: Frame<'_>| frame.check().unwrap_err().to_string();
    assert_eq!(frame.check(), Ok(()));
    assert_eq!(error(Frame { width: 0, ..frame }), "the frame's width is 0, expected 1 to 16384");
    assert_eq!(error(Frame { height: 16_385, ..frame }), "the frame's height is 16385, expected 1 to 16384");
    assert_eq!(error(Frame { width: 14, ..frame }), "the frame's Y row stride is 13, expected at least 14");
    assert_eq!(error(Frame { height: 7, ..frame }), "the frame's Y length is 75, expected at least 88");
    let Pixels::Yuv420 { y, u, v, range } = frame.pixels else { panic!("NV21 is YUV") };
    let with = |u| Frame { pixels: Pixels::Yuv420 { y, u, v, range }, ..frame };
    assert_eq!(error(with(Plane { pixel_stride: 0, ..u })), "the frame's U pixel stride is 0, expected at least 1");
    assert_eq!(error(with(Plane { row_stride: 8, ..u })), "the frame's U row stride is 8, expected at least 9");
    assert_eq!(error(with(Plane { bytes: &[], ..u })), "the frame's U length is 0, expected at least 35");
    assert_eq!(
        QuarterTurn::from_degrees(45).unwrap_err().to_string(),
        "the frame's rotation is 45 degrees, expected 0, 90, 180 or 270"
    );
    let region = Region { x: 6, y: 0, width: 5, height: 1 };
    let recipe = recipe((4, 4), ResizeFilter::Box, Fit::Squash);
    assert!(matches!(frame.input_rgb(Some(region), &recipe), Err(PhotoError::BadRegion { photo_width: 10, .. })));
    assert!(matches!(frame.luma(0, 4), Err(PhotoError::BadFrame { found: 0, .. })));
}
