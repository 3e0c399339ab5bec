//! What a search sees of a shard: its photos, without those that are hidden, and its columns.

use crate::ids::ListingRow;
use crate::shard::{Column, ColumnKind, Shard, WordCodes, Words};
use crate::vector::layout::BLOCK;

/// One shard of a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) shard: &'a Shard,
    /// Listings that a later part replaces or removes; `None` where there are none.
    pub(crate) hidden: Option<&'a Hidden>,
    /// Columns that have other values than in the shard.
    pub(crate) settled: &'a [SettledColumn],
}

impl<'a> Part<'a> {
    /// A shard as it is.
    pub(crate) fn whole(shard: &'a Shard) -> Part<'a> {
        Part { shard, hidden: None, settled: &[] }
    }

    /// The number of photos, with those that are hidden.
    pub(super) fn photos(&self) -> usize {
        self.shard.header().photo_count as usize
    }

    /// Returns a bit for each photo of a scan block, set where it is not hidden.
    pub(super) fn visible(&self, block: usize) -> u32 {
        self.hidden.map_or(u32::MAX, |hidden| !hidden.photos.get(block).copied().unwrap_or(0))
    }

    /// Returns the filter column called `name`.
    pub(crate) fn column(&self, name: &str) -> Option<PartColumn<'a>> {
        match self.settled.iter().find(|settled| settled.name == name) {
            Some(settled) => settled.values.get(),
            None => self.shard.column(name).map(PartColumn::Stored),
        }
    }

    /// The names of the filter columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &'a str> {
        let missing = self.settled.iter().filter(|settled| matches!(settled.values, SettledValues::Missing(_)));
        self.shard.columns().map(|(name, _)| name).chain(missing.map(|settled| settled.name.as_str()))
    }
}

/// The listings and photos of a shard that a search passes over.
#[derive(Debug, Clone)]
pub(crate) struct Hidden {
    /// Sorted.
    listings: Vec<ListingRow>,
    /// A bit for each photo, block by block.
    photos: Vec<u32>,
    /// The number of hidden photos.
    count: usize,
}

impl Hidden {
    /// Hides the listings at these rows, which are sorted.
    pub(crate) fn new(shard: &Shard, listings: Vec<ListingRow>) -> Hidden {
        let mut is_hidden = vec![false; shard.header().listing_count as usize];
        for row in &listings {
            if let Some(hidden) = is_hidden.get_mut(row.0 as usize) {
                *hidden = true;
            }
        }
        let of = |row: &u32| is_hidden.get(*row as usize).copied().unwrap_or(false);
        let block = |rows: &[u32]| rows.iter().rev().fold(0u32, |bits, row| bits << 1 | u32::from(of(row)));
        let photos: Vec<u32> = shard.photo_listings().chunks(BLOCK).map(block).collect();
        let count = photos.iter().map(|bits| bits.count_ones() as usize).sum();
        Hidden { listings, photos, count }
    }

    /// The number of hidden listings.
    pub(crate) fn listing_count(&self) -> usize {
        self.listings.len()
    }

    /// The number of hidden photos.
    pub(crate) fn photo_count(&self) -> usize {
        self.count
    }

    /// Returns whether a listing is hidden.
    pub(crate) fn has_listing(&self, row: ListingRow) -> bool {
        self.listings.binary_search(&row).is_ok()
    }

    /// Returns whether a photo is hidden.
    pub(crate) fn has_photo(&self, row: usize) -> bool {
        self.photos.get(row / BLOCK).is_some_and(|bits| bits >> (row % BLOCK) & 1 == 1)
    }
}

/// A filter column of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PartColumn<'a> {
    /// Its values.
    Stored(Column<'a>),
    /// No photo of the part has a value, but some of another part have values of this kind.
    Missing(ColumnKind),
}

impl PartColumn<'_> {
    /// The kind of its values.
    pub(crate) fn kind(&self) -> ColumnKind {
        match self {
            PartColumn::Stored(Column::Number { .. }) => ColumnKind::Number,
            PartColumn::Stored(Column::Word { .. }) => ColumnKind::Word,
            PartColumn::Missing(kind) => *kind,
        }
    }
}

/// A column of a catalogue whose values in one shard are not those that the shard stores.
#[derive(Debug)]
pub(crate) struct SettledColumn {
    pub(crate) name: String,
    pub(crate) values: SettledValues,
}

/// The values of a [`SettledColumn`].
#[derive(Debug)]
pub(crate) enum SettledValues {
    /// None.
    Missing(ColumnKind),
    /// A number for each photo, NaN where it has none.
    Numbers(Vec<f64>),
    /// A word code for each photo, and the words as a shard stores them.
    Words(Vec<u32>, Vec<u32>),
}

impl SettledValues {
    fn get(&self) -> Option<PartColumn<'_>> {
        match self {
            SettledValues::Missing(kind) => Some(PartColumn::Missing(*kind)),
            SettledValues::Numbers(values) => Some(PartColumn::Stored(Column::Number { values })),
            SettledValues::Words(codes, words) => {
                let words = Words::read(bytemuck::cast_slice(words)).ok()?;
                Some(PartColumn::Stored(Column::Word { values: WordCodes::Four(codes), words }))
            }
        }
    }
}
