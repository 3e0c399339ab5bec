//! Fuzzes catalogue shards: opens, verifies and searches each in every way. Most have valid checksums, as an attacker's
//! would.

use magpie_tests::mutation::Random;
use magpie_tests::shards::{
    Section, fix_checksums, graph_bytes, listed_shop_bytes, put, sections, shop_bytes, use_in_every_way,
};

use super::Target;

pub(crate) const TARGET: Target = Target {
    name: "shard",
    extension: "magpie",
    // One search asks for ten thousand listings, and a block of texts may have 4 MiB.
    memory: 128 << 20,
    make_seeds: || vec![("one_list".to_owned(), shop_bytes()), ("five_lists".to_owned(), listed_shop_bytes())],
    large_seeds: || vec![graph_bytes()],
    damage,
    treat: use_in_every_way,
    compare: |_| Ok(()),
};

/// Numbers that readers may not expect. Others are derived from the file.
const NUMBERS: [u64; 14] =
    [0, 1, 2, 31, 32, 64, 255, 65_535, 65_536, 1 << 31, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX];

/// Bytes of the header up to its checksum, including the section table.
const HEADER: usize = 4064;

/// A copy of the shard, damaged in a few places, mostly with its checksums recomputed.
fn damage(shard: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = shard.to_vec();
    let sections = sections(shard);
    for _ in 0..=random.below(4) {
        let Some(&section) = random.of(&sections) else { return bytes };
        damage_once(&mut bytes, section, &sections, random);
    }
    if random.below(16) > 0 && bytes.len() >= 2 * HEADER {
        let count = u32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
        // `fix_checksums` trusts the number of sections.
        if count as usize > sections.len() {
            put(&mut bytes, 20, &shard[20..24]);
        }
        fix_checksums(&mut bytes);
    }
    bytes
}

fn damage_once(bytes: &mut Vec<u8>, section: Section, sections: &[Section], random: &mut Random) {
    let end = (section.offset + section.len).min(bytes.len());
    let start = section.offset.min(end);
    let numbers = [section.len as u64, section.offset as u64, bytes.len() as u64, random.draw(), random.draw() % 256];
    let number = if random.below(2) == 0 { random.of(&NUMBERS) } else { random.of(&numbers) };
    let number = number.copied().unwrap_or_default();
    match random.below(12) {
        // A byte in a section; below, a bit and an integer.
        0..=1 => set(bytes, start + random.below(end - start), 1, number),
        2 => {
            if let Some(byte) = bytes.get_mut(start + random.below(end - start)) {
                *byte ^= 1 << random.below(8);
            }
        }
        3..=5 => {
            let wide = if random.below(3) == 0 { 8 } else { 4 };
            set(bytes, start + random.below((end - start) / wide) * wide, wide, number);
        }
        // An integer in a section, plus or minus one.
        6 => {
            let at = start + random.below((end - start) / 4) * 4;
            if let Some(four) = bytes.get(at..at + 4) {
                let value = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                let step = if random.below(2) == 0 { 1 } else { u32::MAX };
                set(bytes, at, 4, u64::from(value.wrapping_add(step)));
            }
        }
        // The table entry: offset or length; below, kind or ordinal.
        7 => set(bytes, section.entry + 8 + 8 * random.below(2), 8, number),
        8 => set(bytes, section.entry + 4 * random.below(2), 4, number % 32),
        // Anywhere in the header.
        9 => set(bytes, 8 + random.below(HEADER / 4) * 4, 4, number),
        // The contents of another section.
        10 => {
            if let Some(other) = random.of(sections) {
                let from = other.offset.min(bytes.len())..(other.offset + other.len).min(bytes.len());
                let copy = bytes[from].to_vec();
                let len = copy.len().min(end - start);
                bytes[start..start + len].copy_from_slice(&copy[..len]);
            }
        }
        _ if random.below(4) == 0 => bytes.truncate(random.below(bytes.len())),
        _ => bytes[start..end].fill(number as u8),
    }
}

/// Writes the lowest `wide` bytes of a number, where they fit.
fn set(bytes: &mut [u8], at: usize, wide: usize, number: u64) {
    if let Some(place) = bytes.get_mut(at..at + wide) {
        place.copy_from_slice(&number.to_le_bytes()[..wide]);
    }
}
