//! The deep check: everything that opening leaves unread.

use serde::Serialize;

use super::columns::Column;
use super::format::{HEADER_LEN, Kind};
use super::reader::{Shard, invalid};
use crate::error::ShardError;

/// What a deep check looked at.
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
    /// Reads the whole file: checksums, padding, every row, word and record.
    ///
    /// # Errors
    /// The first thing that is wrong, with the section's name.
    pub fn verify(&self) -> Result<VerifyReport, ShardError> {
        self.verify_bytes()?;
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

    fn verify_photos(&self) -> Result<(), ShardError> {
        let dim = self.header().dim as usize;
        let codes = self.codes().chunks_exact(dim).zip(self.factors());
        for (row, (code, &factor)) in codes.enumerate() {
            if code.contains(&i8::MIN) {
                return Err(invalid(Kind::Codes, format!("photo {row} has -128, expected -127 to 127")));
            }
            let square: i64 = code.iter().map(|&c| i64::from(c) * i64::from(c)).sum();
            let expected = (1.0 / (square as f64).sqrt()) as f32;
            if factor.to_bits() != expected.to_bits() || !factor.is_finite() {
                return Err(invalid(Kind::Factors, format!("photo {row} has {factor}, its code gives {expected}")));
            }
        }
        for row in 0..self.header().photo_count {
            self.listing_of(crate::ids::PhotoRow(row))?;
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
                        return Err(invalid(Kind::ColumnValues, detail));
                    }
                },
            };
            words.check().map_err(|e| invalid(Kind::ColumnWords, format!("{name}: {e}")))?;
            if let Some(row) = values.iter().position(|&code| code as usize > words.len()) {
                let detail = format!("{name}: photo {row} has word {} of {}", values[row], words.len());
                return Err(invalid(Kind::ColumnValues, detail));
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
        let listings = self.block_reader()?.each(|row, record| {
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
        let listings = listings.map_err(|e| invalid(Kind::MetadataBlocks, e))?;
        if listings != self.header().listing_count {
            let expected = self.header().listing_count;
            return Err(invalid(Kind::MetadataBlocks, format!("{listings} records for {expected} listings")));
        }
        // Each photo of a listing has its own place: listing after listing, one flag a photo.
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
                let detail = format!("photo {row} is number {ordinal} of {count}, or another one is as well");
                return Err(invalid(Kind::PhotoOrdinals, detail));
            }
        }
        Ok(())
    }
}
