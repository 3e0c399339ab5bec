//! The deep check of a shard: everything that opening does not read.

use serde::Serialize;

use super::columns::Column;
use super::format::{HEADER_LEN, SectionKind};
use super::reader::{Shard, invalid};
use crate::error::ShardError;
use crate::vector::layout::{BLOCK, signs_len};
use crate::vector::sign::is_set;

/// What [`Shard::verify`] has checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Sections whose checksums match.
    pub sections: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Photos whose rows were checked.
    pub photos: u32,
    /// Listings whose records were read.
    pub listings: u32,
}

impl Shard {
    /// Reads the whole file and checks the checksums, the padding, and every row, word and record.
    ///
    /// # Errors
    /// The first fault, with the name of its section.
    pub fn verify(&self) -> Result<VerifyReport, ShardError> {
        self.verify_bytes()?;
        self.verify_index()?;
        self.verify_photos()?;
        self.verify_columns()?;
        self.verify_listings()?;
        let header = self.header();
        Ok(VerifyReport {
            sections: self.entries.len(),
            bytes: header.file_len,
            photos: header.photo_count,
            listings: header.listing_count,
        })
    }

    fn verify_bytes(&self) -> Result<(), ShardError> {
        let zero = |from: usize, to: usize, before: &str| match self.bytes()[from..to].iter().position(|&b| b != 0) {
            None => Ok(()),
            Some(at) => Err(ShardError::Invalid {
                part: format!("padding before {before}"),
                detail: format!("byte {} is not 0", from + at),
            }),
        };
        let mut end = HEADER_LEN;
        for entry in &self.entries {
            let (from, to) = (entry.offset as usize, (entry.offset + entry.len) as usize);
            zero(end, from, &self.name_of(entry))?;
            if *blake3::hash(&self.bytes()[from..to]).as_bytes() != entry.checksum {
                return Err(ShardError::Checksum { part: self.name_of(entry) });
            }
            end = to;
        }
        zero(end, self.bytes().len(), "the end of the file")
    }

    fn verify_index(&self) -> Result<(), ShardError> {
        let index = self.index();
        let (starts, photos) = (self.list_starts(), self.header().photo_count);
        if starts.first() != Some(&0) || !starts.is_sorted() || starts.last() != Some(&photos) {
            return Err(invalid(SectionKind::ListStarts, format!("not ascending from 0 to {photos}")));
        }
        if let Some(list) = self.list_biases().iter().position(|bias| !bias.is_finite()) {
            return Err(invalid(SectionKind::ListBiases, format!("list {list} has {}", self.list_biases()[list])));
        }
        if self.centroids().contains(&i8::MIN) {
            return Err(invalid(SectionKind::Centroids, "-128, expected -127 to 127".to_owned()));
        }
        self.graph().check().map_err(|e| invalid(SectionKind::CentroidGraph, e))?;
        match index.budgets.iter().find(|budget| budget.probes > index.lists || budget.rerank > photos) {
            Some(budget) => Err(invalid(SectionKind::Index, format!("a budget of {budget:?} lists and photos"))),
            None => Ok(()),
        }
    }

    /// Checks that padding of coordinates and photos is zero, and the listings and thumbnails of photos.
    fn verify_photos(&self) -> Result<(), ShardError> {
        let (dim, photos) = (self.header().dim as usize, self.header().photo_count as usize);
        for (row, code) in self.codes().chunks_exact(self.stride()).enumerate() {
            if code.iter().skip(dim).any(|&c| c != 0) {
                return Err(invalid(SectionKind::Codes, format!("photo {row} has more than {dim} coordinates")));
            }
        }
        let coordinates = signs_len(dim) / 4;
        for (block, bytes) in self.scan_blocks().chunks_exact(self.block_len()).enumerate() {
            let padding = (0..BLOCK).filter_map(|at| match block * BLOCK + at < photos {
                true => (dim..coordinates).find(|&c| is_set(bytes, at, c)),
                false => (0..coordinates).find(|&c| is_set(bytes, at, c)),
            });
            if let Some(coordinate) = padding.into_iter().next() {
                let detail = format!("block {block} has a sign in its padding, at coordinate {coordinate}");
                return Err(invalid(SectionKind::ScanBlocks, detail));
            }
        }
        for row in 0..self.header().photo_count {
            self.listing_of(crate::ids::PhotoRow(row))?;
        }
        let ends = self.thumbnail_ends();
        if !ends.is_sorted() {
            return Err(invalid(SectionKind::ThumbnailEnds, "not ascending".to_owned()));
        }
        Ok(())
    }

    fn verify_columns(&self) -> Result<(), ShardError> {
        for (at, (name, _)) in self.columns().enumerate() {
            let (values, words) = match self.column_at(at)? {
                Column::Word { values, words } => (values, words),
                Column::Number { values } => match values.iter().position(|value| value.is_infinite()) {
                    None => continue,
                    Some(row) => {
                        let detail = format!("{name}: photo {row} has {}", values[row]);
                        return Err(invalid(SectionKind::ColumnValues, detail));
                    }
                },
            };
            words.check().map_err(|e| invalid(SectionKind::ColumnWords, format!("{name}: {e}")))?;
            let photos = self.header().photo_count as usize;
            if let Some(row) = (0..photos).find(|&row| values.get(row) as usize > words.len()) {
                let detail = format!("{name}: photo {row} has word {} of {}", values.get(row), words.len());
                return Err(invalid(SectionKind::ColumnValues, detail));
            }
        }
        Ok(())
    }

    fn verify_listings(&self) -> Result<(), ShardError> {
        let mut last_id: Option<String> = None;
        let mut photo_counts = vec![0usize; self.header().listing_count as usize];
        for &listing in self.photo_listings() {
            photo_counts[listing as usize] += 1;
        }
        let mut reader = self.block_reader()?;
        reader.check_expansion(self.header().file_len)?;
        let listings = reader.each(|row, record| {
            if last_id.as_ref().is_some_and(|last| *last >= record.id) {
                return Err(format!("listing {row} ('{}') is not in ascending order", record.id.escape_debug()));
            }
            let expected = photo_counts.get(row as usize).copied().unwrap_or(0);
            if record.photos.len() != expected {
                return Err(format!("listing {row} names {} photos, the shard has {expected}", record.photos.len()));
            }
            last_id = Some(record.id);
            Ok(())
        });
        let listings = listings.map_err(|e| invalid(SectionKind::MetadataBlocks, e))?;
        if listings != self.header().listing_count {
            let expected = self.header().listing_count;
            return Err(invalid(SectionKind::MetadataBlocks, format!("{listings} records for {expected} listings")));
        }
        // The photos of a listing have different ordinals: one flag for each photo, listing after listing.
        let mut starts = Vec::with_capacity(photo_counts.len());
        let mut start = 0;
        for &count in &photo_counts {
            starts.push(start);
            start += count;
        }
        let mut taken = vec![false; start];
        for (row, (&listing, &ordinal)) in self.photo_listings().iter().zip(self.photo_ordinals()).enumerate() {
            let (count, ordinal) = (photo_counts[listing as usize], usize::from(ordinal));
            if ordinal >= count || std::mem::replace(&mut taken[starts[listing as usize] + ordinal], true) {
                let detail = format!("photo {row} is number {ordinal} of {count}, or another one is too");
                return Err(invalid(SectionKind::PhotoOrdinals, detail));
            }
        }
        Ok(())
    }
}
