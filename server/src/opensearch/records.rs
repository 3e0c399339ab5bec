//! Reads the listings of several shards as documents, ordered by id, each once.

use std::collections::VecDeque;

use magpie_core::search::stored_vector;
use magpie_core::shard::{Column, Record, Shard};
use magpie_core::vector::Rotation;
use magpie_core::{ListingRow, PhotoRow};
use serde_json::{Map, Value, json};

use super::schema::{IndexMeta, KIND, bytes, field};

/// Records to decompress at a time: neighbours share compressed blocks.
const AHEAD: u32 = 256;

/// A listing as a document.
pub(super) struct ListingDocument {
    pub(super) id: String,
    pub(super) body: Map<String, Value>,
    photos: u64,
}

impl ListingDocument {
    pub(super) fn photos(&self) -> u64 {
        self.photos
    }
}

/// A merge of the shards, each of which is sorted by id. A listing in two shards is taken from the later one.
pub(super) struct Records<'a> {
    cursors: Vec<ShardCursor<'a>>,
}

struct ShardCursor<'a> {
    shard: &'a Shard,
    /// Listing, ordinal within the listing, and row of each photo, sorted.
    photos: Vec<(u32, u16, u32)>,
    at: usize,
    row: u32,
    ahead: VecDeque<Record>,
    /// This shard's rotation, to undo, and the index's rotation, to apply; `None` if they are the same.
    rotations: Option<(Rotation, Rotation)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(shards: &'a [Shard], meta: &IndexMeta) -> Result<Records<'a>, String> {
        let seed = meta.rotation_seed().unwrap_or(0);
        let cursor = |shard: &'a Shard| {
            let rows = (0..).map(PhotoRow).zip(shard.photo_listings());
            let mut photos: Vec<(u32, u16, u32)> =
                rows.map(|(photo, &listing)| (listing, shard.ordinal_of(photo), photo.0)).collect();
            photos.sort_unstable();
            let (own, dim) = (shard.index().rotation_seed, shard.header().dim as usize);
            let rotations = (own != seed).then(|| (Rotation::new(dim, own), Rotation::new(dim, seed)));
            let mut cursor = ShardCursor { shard, photos, at: 0, row: 0, ahead: VecDeque::new(), rotations };
            cursor.fill().map(|()| cursor)
        };
        Ok(Records { cursors: shards.iter().map(cursor).collect::<Result<_, _>>()? })
    }

    /// Returns the next listing; `None` at the end.
    ///
    /// # Errors
    /// What is damaged in a shard.
    pub(super) fn next(&mut self) -> Result<Option<ListingDocument>, String> {
        let ids = self.cursors.iter().filter_map(|cursor| cursor.ahead.front().map(|record| record.id.as_str()));
        let Some(id) = ids.min().map(str::to_owned) else { return Ok(None) };
        let mut document = None;
        for cursor in &mut self.cursors {
            if cursor.ahead.front().is_some_and(|record| record.id == id) {
                document = cursor.next()?;
            }
        }
        Ok(document)
    }
}

impl ShardCursor<'_> {
    fn fill(&mut self) -> Result<(), String> {
        if self.ahead.is_empty() {
            let end = self.row.saturating_add(AHEAD).min(self.shard.header().listing_count);
            let rows: Vec<ListingRow> = (self.row..end).map(ListingRow).collect();
            self.ahead = self.shard.records(&rows).map_err(|e| e.to_string())?.into();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<ListingDocument>, String> {
        let Some(record) = self.ahead.pop_front() else { return Ok(None) };
        let row = self.row;
        self.row += 1;
        let from = self.at;
        while self.photos.get(self.at).is_some_and(|(listing, ..)| *listing == row) {
            self.at += 1;
        }
        let photos: Vec<PhotoRow> =
            self.photos.get(from..self.at).unwrap_or_default().iter().map(|&(.., photo)| PhotoRow(photo)).collect();
        self.fill()?;
        self.document(record, &photos).map(Some)
    }

    fn document(&self, record: Record, photos: &[PhotoRow]) -> Result<ListingDocument, String> {
        let Some(first) = photos.first().filter(|_| photos.len() == record.photos.len()) else {
            let (rows, names) = (photos.len(), record.photos.len());
            return Err(format!("the listing '{}' has {rows} photos, but {names} photo names", record.id));
        };
        let nested: Vec<Value> = photos.iter().map(|&photo| json!({ "vector": self.vector(photo) })).collect();
        let mut body = Map::new();
        body.insert("id".to_owned(), record.id.as_str().into());
        body.insert(KIND.0.to_owned(), KIND.1.into());
        body.insert("names".to_owned(), record.photos.into());
        body.insert("values".to_owned(), record.values.into());
        body.insert("photos".to_owned(), nested.into());
        let row = first.0 as usize;
        for (at, (name, _)) in self.shard.columns().enumerate() {
            let value = match self.shard.column(name) {
                Some(Column::Number { values }) => match values.get(row).filter(|number| number.is_finite()) {
                    // OpenSearch distinguishes 0.0 and -0.0; adding 0.0 turns the latter into the former.
                    Some(number) => Value::from(number + 0.0),
                    None => continue,
                },
                Some(Column::Word { values, words }) => match (values.get(row) as usize).checked_sub(1) {
                    Some(code) => words.get(code).map_or(Value::Null, Value::from),
                    None => continue,
                },
                None => continue,
            };
            body.insert(field(at), value);
        }
        Ok(ListingDocument { id: record.id, body, photos: photos.len() as u64 })
    }

    fn vector(&self, photo: PhotoRow) -> Vec<i8> {
        let mut vector = stored_vector(self.shard, photo);
        if let Some((own, target)) = &self.rotations {
            own.undo(&mut vector);
            target.turn(&mut vector);
        }
        bytes(&vector)
    }
}
