//! Every layout of blocks, damage to the data, and hostile files.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;

use super::*;
use crate::region::Region;
use crate::test_support::cases;

/// A picture of blocks of one colour each, which a file of any layout can hold.
#[derive(Debug, Clone)]
struct Blocks {
    size: (u32, u32),
    sampling: Vec<(usize, usize)>,
    progressive: bool,
    grouped: bool,
    restart: usize,
}

/// The header of a scan, and its intervals.
type ScanParts = (Vec<u8>, Vec<Vec<u8>>);

impl Blocks {
    fn plain(size: (u32, u32), restart: usize) -> Self {
        Blocks { size, sampling: vec![(1, 1); 3], progressive: false, grouped: true, restart }
    }

    fn largest(&self) -> (usize, usize) {
        let most = |of: fn(&(usize, usize)) -> usize| self.sampling.iter().map(of).max().unwrap();
        (most(|s| s.0), most(|s| s.1))
    }

    /// The colour of a block, on a slope that is as steep in all components.
    fn value(&self, component: usize, x: usize, y: usize) -> i32 {
        let (h, v) = self.sampling[component];
        let slope = x * self.largest().0 / h + y * self.largest().1 / v;
        60 + 20 * component as i32 + slope as i32
    }

    fn scans(&self) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..self.sampling.len()).collect();
        if self.grouped { vec![all] } else { all.into_iter().map(|at| vec![at]).collect() }
    }

    /// The file's parts: the header, and each scan as its header and its intervals.
    fn parts(&self) -> (Vec<u8>, Vec<ScanParts>) {
        let count = self.sampling.len() as u8;
        let mut header = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
        header.extend([8; 64]);
        let [h0, h1] = (self.size.1 as u16).to_be_bytes();
        let [w0, w1] = (self.size.0 as u16).to_be_bytes();
        header.extend([0xff, 0xc0 + 2 * u8::from(self.progressive), 0, 8 + 3 * count, 8, h0, h1, w0, w1, count]);
        for (id, (h, v)) in b"RGBK".iter().zip(&self.sampling) {
            header.extend([*id, (h << 4 | v) as u8, 0]);
        }
        // Twelve codes of four bits for differences; one code of one bit for the end of a block.
        header.extend([0xff, 0xc4, 0, 31, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend(0..12);
        header.extend([0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend([0xff, 0xdd, 0, 4]);
        header.extend((self.restart as u16).to_be_bytes());
        (header, self.scans().iter().map(|scan| self.scan(scan)).collect())
    }

    fn scan(&self, components: &[usize]) -> ScanParts {
        let mut header = vec![0xff, 0xda, 0, 6 + 2 * components.len() as u8, components.len() as u8];
        components.iter().for_each(|&c| header.extend([b"RGBK"[c], 0]));
        header.extend(if self.progressive { [0, 0, 0] } else { [0, 63, 0] });
        let single = components.len() == 1;
        let largest = self.largest();
        let groups = |side: u32, largest: usize, own: usize| {
            let own = if single { own } else { 1 };
            (side as usize * own).div_ceil(8 * largest)
        };
        let own = self.sampling[components[0]];
        let (across, down) = (groups(self.size.0, largest.0, own.0), groups(self.size.1, largest.1, own.1));
        let mut intervals = Vec::new();
        let (mut bits, mut last) = (String::new(), [0; 4]);
        for group in 0..across * down {
            for &c in components {
                let (h, v) = if single { (1, 1) } else { self.sampling[c] };
                for at in 0..h * v {
                    let (x, y) = (group % across * h + at % h, group / across * v + at / h);
                    let value = self.value(c, x, y) - 128;
                    let difference = value - std::mem::replace(&mut last[c], value);
                    let size = 32 - difference.unsigned_abs().leading_zeros();
                    bits += &format!("{size:04b}");
                    let coded = if difference < 0 { difference + (1 << size) - 1 } else { difference };
                    if size > 0 {
                        bits += &format!("{coded:0width$b}", width = size as usize);
                    }
                    if !self.progressive {
                        bits.push('0');
                    }
                }
            }
            if group + 1 == across * down || self.restart > 0 && (group + 1) % self.restart == 0 {
                intervals.push(bytes(&std::mem::take(&mut bits)));
                last = [0; 4];
            }
        }
        (header, intervals)
    }

    fn file(&self) -> Vec<u8> {
        let (mut file, scans) = self.parts();
        for (header, intervals) in scans {
            file.extend(header);
            for (at, interval) in intervals.iter().enumerate() {
                if at > 0 {
                    file.extend([0xff, 0xd0 + (at as u8 - 1) % 8]);
                }
                file.extend(interval);
            }
        }
        file.extend([0xff, 0xd9]);
        file
    }

    /// The largest difference of a decoded picture to what it shows.
    fn off(&self, photo: &Photo) -> i32 {
        let mut most = 0;
        for (x, y, pixel) in photo.rgb.enumerate_pixels() {
            let (width, height) = photo.rgb.dimensions();
            let full = |at: u32, side: u32, of: u32| (((2 * at + 1) * of) / (2 * side)).min(of - 1) as usize;
            let (x, y) = (full(x, width, self.size.0), full(y, height, self.size.1));
            for c in 0..3 {
                let (h, v) = self.sampling[c];
                let block = (x * h / (8 * self.largest().0), y * v / (8 * self.largest().1));
                most = most.max((i32::from(pixel[c]) - self.value(c, block.0, block.1)).abs());
            }
        }
        most
    }
}

fn bytes(bits: &str) -> Vec<u8> {
    let bits = bits.to_owned() + &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    let byte = |bits: &[u8]| bits.iter().fold(0u8, |byte, &bit| byte << 1 | (bit - b'0'));
    bits.as_bytes().chunks(8).map(byte).flat_map(|b| [b, 0].into_iter().take(1 + usize::from(b == 0xff))).collect()
}

/// Decodes for an input of this size, so that it decides the scale.
fn decoded(bytes: &[u8], input: (u32, u32)) -> Result<Photo, PhotoError> {
    decode(bytes, &Need { region: None, input }, &DecodeLimits::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1000)))]

    #[test]
    fn every_layout_shows_its_picture_at_every_scale(
        size in (1u32..120, 1u32..120),
        sampling in prop::collection::vec((1usize..=4, 1usize..=4), 3),
        (progressive, grouped) in any::<(bool, bool)>(),
        restart in 0usize..6,
    ) {
        let blocks = Blocks { size, sampling, progressive, grouped, restart };
        let file = blocks.file();
        for scale in [1, 2, 4, 8] {
            let photo = decoded(&file, (size.0 * scale / 16, size.1 * scale / 16)).unwrap();
            prop_assert!(!photo.is_incomplete());
            // A block and its neighbours, over which samples are interpolated, are up to four steps apart in each way.
            let off = blocks.off(&photo);
            prop_assert!(off <= 8, "{off} levels at {:?}", photo.decoded_size());
        }
    }

    #[test]
    fn damaged_files_neither_panic_nor_pass_as_whole(
        kind in 0usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 0..5),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
        side in 1u32..60,
    ) {
        let mut bytes = sample(kind);
        let whole = decoded(&bytes, (side, side)).unwrap();
        let untouched = changes.is_empty();
        for (at, early, value) in changes {
            let reach = if early { bytes.len().min(300) } else { bytes.len() };
            bytes[at.index(reach)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = DecodeLimits::default().with_max_pixels(4 << 20).with_max_blocks(1 << 20);
        let region = Some(Region { x: 20, y: 30, width: 9, height: 12 });
        let _ = decode(&bytes, &Need { region, input: (side, side) }, &limits);
        if let Ok(photo) = decode(&bytes, &Need { region: None, input: (side, side) }, &limits) {
            prop_assert!(!untouched || photo.is_incomplete() || photo.rgb == whole.rgb);
        }
    }

    #[test]
    fn random_bytes_do_not_panic(noise in prop::collection::vec(any::<u8>(), 0..400), kind in 0usize..6) {
        let sample = sample(kind);
        let start = sample.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 8;
        for head in [&[0xff, 0xd8][..], &sample[..start]] {
            let _ = decoded(&[head, &noise].concat(), (9, 9));
        }
    }

    /// Only the rows of the region are made, and they are those of the whole picture.
    #[test]
    fn a_region_has_the_pixels_of_the_whole(
        kind in 0usize..6, y in 0u32..80, height in 1u32..40, input in 1u32..50,
    ) {
        let bytes = sample(kind);
        let region = Region { x: 0, y: y.min(79), width: 100, height: height.min(80 - y) };
        let part = decode(&bytes, &Need { region: Some(region), input: (input, 0) }, &DecodeLimits::default()).unwrap();
        let whole = decoded(&bytes, (input, 0)).unwrap();
        prop_assert_eq!(part.decoded_size(), whole.decoded_size());
        let rows = region.scaled((100, 80), part.decoded_size());
        for y in rows.y..rows.y + rows.height {
            for x in 0..rows.width {
                prop_assert_eq!(part.rgb.get_pixel(x, y), whole.rgb.get_pixel(x, y));
            }
        }
    }
}

/// Encoded files of 100 x 80 pixels.
fn sample(kind: usize) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..80).flat_map(|y| (0..100).flat_map(move |x: u32| [2 * x, 3 * y, (x * y) % 256])).map(|v| v as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 85);
    let sampling = [SamplingFactor::F_1_1, SamplingFactor::F_2_2, SamplingFactor::F_2_1];
    encoder.set_sampling_factor(sampling[kind % 3]);
    encoder.set_progressive(kind > 2);
    if kind == 1 {
        encoder.set_restart_interval(7);
    }
    encoder.encode(&pixels, 100, 80, ColorType::Rgb).unwrap();
    bytes
}

#[test]
fn both_sides_keep_what_the_input_needs() {
    let wide = Blocks::plain((800, 80), 0).file();
    assert_eq!(decoded(&wide, (50, 5)).unwrap().decoded_size(), (100, 10));
    assert_eq!(decoded(&wide, (50, 10)).unwrap().decoded_size(), (200, 20));
    assert_eq!(decoded(&wide, (50, 50)).unwrap().decoded_size(), (800, 80));
}

/// The file with its intervals arranged anew; the numbers are those of the markers before them.
fn rearranged(blocks: &Blocks, arrange: impl Fn(&[Vec<u8>]) -> Vec<(Option<u8>, Vec<u8>)>) -> Vec<u8> {
    let (mut file, scans) = blocks.parts();
    file.extend(&scans[0].0);
    for (marker, interval) in arrange(&scans[0].1) {
        file.extend(marker.into_iter().flat_map(|number| [0xff, 0xd0 + number % 8]));
        file.extend(interval);
    }
    file.extend([0xff, 0xd9]);
    file
}

#[test]
fn a_lost_interval_costs_only_its_own_rows() {
    // Twenty rows of blocks, one interval each.
    let blocks = Blocks::plain((80, 160), 10);
    let numbered = |intervals: &[Vec<u8>]| -> Vec<(Option<u8>, Vec<u8>)> {
        intervals.iter().zip(0u8..).map(|(data, at)| (at.checked_sub(1), data.clone())).collect()
    };
    let lost = rearranged(&blocks, |intervals| {
        let mut all = numbered(intervals);
        all.remove(7);
        all
    });
    let cut = rearranged(&blocks, |intervals| {
        let mut all = numbered(intervals);
        all[7].1.truncate(3);
        all
    });
    let whole = decoded(&blocks.file(), (80, 160)).unwrap();
    for bytes in [lost, cut] {
        let photo = decoded(&bytes, (80, 160)).unwrap();
        assert!(photo.is_incomplete());
        for (y, (found, expected)) in photo.rgb.rows().zip(whole.rgb.rows()).enumerate() {
            assert!(y / 8 == 7 || found.eq(expected), "row {y}");
        }
    }
    // A marker with a wrong number, and one that comes twice.
    let wrong = rearranged(&blocks, |intervals| {
        let mut all = numbered(intervals);
        all[7].0 = Some(2);
        all
    });
    assert_eq!(decoded(&wrong, (80, 160)).unwrap().rgb, whole.rgb);
    // More than a tenth is lost.
    let short = rearranged(&blocks, |intervals| numbered(&intervals[..15]));
    let error = decoded(&short, (80, 160)).unwrap_err().to_string();
    assert!(error.contains("it ends after 120 of 160 rows"), "{error}");
}

#[test]
fn careless_files_are_read() {
    let blocks = Blocks::plain((80, 80), 0);
    let (whole, file) = (decoded(&blocks.file(), (80, 80)).unwrap(), blocks.file());
    let inside = |at: usize, extra: &[u8]| [&file[..at], extra, &file[at..]].concat();
    let table = 2;
    for (name, bytes) in [
        ("no end marker", file[..file.len() - 2].to_vec()),
        ("data after the end", [&file[..], b"and so on"].concat()),
        ("an empty comment", inside(table, &[0xff, 0xfe, 0, 2])),
        ("a comment of length zero", inside(table, &[0xff, 0xfe, 0, 0])),
        ("fill bytes", inside(table, &[0xff; 5])),
        ("garbage between segments", inside(table, b"garbage\xff\0")),
    ] {
        let photo = decoded(&bytes, (80, 80)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(photo.rgb == whole.rgb && !photo.is_incomplete(), "{name}");
    }
}

#[test]
fn what_cannot_be_decoded_is_named() {
    let file = Blocks::plain((80, 80), 0).file();
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    for (at, value, expected) in [
        (1, 0xc3, "lossless coding"),
        (1, 0xc9, "arithmetic coding"),
        (1, 0xca, "arithmetic coding"),
        (1, 0xc5, "hierarchical coding"),
        (4, 12, "12 bits a sample"),
        (6, 0, "DNL: a height that comes after the picture"),
        (9, 2, "2 colour components"),
    ] {
        let mut bytes = file.clone();
        bytes[frame + at] = value;
        match decoded(&bytes, (80, 80)).unwrap_err() {
            PhotoError::Unsupported { detail, .. } => assert_eq!(detail, expected),
            other => panic!("{other}"),
        }
    }
}

/// Work is counted before it is done: a file of many scans is refused, whatever the machine.
#[test]
fn scans_without_end_are_refused() {
    let blocks = Blocks { progressive: true, ..Blocks::plain((800, 800), 0) };
    let (mut bytes, scans) = blocks.parts();
    let scan = [&scans[0].0[..], &scans[0].1.concat()].concat();
    (0..40).for_each(|_| bytes.extend(&scan));
    let need = Need { region: None, input: (800, 800) };
    let limits = DecodeLimits::default().with_max_blocks(1_000_000);
    decode(&bytes, &need, &DecodeLimits::default()).unwrap();
    let error = decode(&bytes, &need, &limits).unwrap_err();
    assert_eq!(error, PhotoError::TooMuchWork { blocks: 34 * 30_000, limit: 1_000_000 });
}
