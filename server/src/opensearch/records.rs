//! The listings of several shards in the order of their ids, each once.

use std::collections::VecDeque;

use magpie_core::search::stored_vector;
use magpie_core::shard::{Column, Record, Shard};
use magpie_core::vector::Rotation;
use magpie_core::{ListingRow, PhotoRow};
use serde_json::{Map, Value, json};

use super::schema::{KIND, Meta, bytes, field};

/// Records that are decompressed at a time: neighbours share blocks.
const AHEAD: u32 = 256;

/// A listing as a document.
pub(super) struct Document {
    pub(super) id: String,
    pub(super) body: Map<String, Value>,
    photos: u64,
}

impl Document {
    pub(super) fn photos(&self) -> u64 {
        self.photos
    }
}

/// A merge of the shards: their listings are sorted by id. A listing that is in two comes from the later one.
pub(super) struct Records<'a> {
    cursors: Vec<Cursor<'a>>,
}

struct Cursor<'a> {
    shard: &'a Shard,
    /// Listing, place in the listing and row of each photo, sorted.
    photos: Vec<(u32, u16, u32)>,
    at: usize,
    row: u32,
    ahead: VecDeque<Record>,
    /// Undoes this shard's rotation and takes the index's, where the two differ.
    turns: Option<(Rotation, Rotation)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(shards: &'a [Shard], meta: &Meta) -> Result<Records<'a>, String> {
        let seed = meta.rotation_seed().unwrap_or(0);
        let cursor = |shard: &'a Shard| {
            let rows = (0..).map(PhotoRow).zip(shard.photo_listings());
            let mut photos: Vec<(u32, u16, u32)> =
                rows.map(|(photo, &listing)| (listing, shard.ordinal_of(photo), photo.0)).collect();
            photos.sort_unstable();
            let (own, dim) = (shard.rotation_seed(), shard.header().dim as usize);
            let turns = (own != seed).then(|| (Rotation::new(dim, own), Rotation::new(dim, seed)));
            let mut cursor = Cursor { shard, photos, at: 0, row: 0, ahead: VecDeque::new(), turns };
            cursor.fill().map(|()| cursor)
        };
        Ok(Records { cursors: shards.iter().map(cursor).collect::<Result<_, _>>()? })
    }

    /// The next listing.
    ///
    /// # Errors
    /// What is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Document>, String> {
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

impl Cursor<'_> {
    fn fill(&mut self) -> Result<(), String> {
        if self.ahead.is_empty() {
            let end = self.row.saturating_add(AHEAD).min(self.shard.header().listing_count);
            let rows: Vec<ListingRow> = (self.row..end).map(ListingRow).collect();
            self.ahead = self.shard.records(&rows).map_err(|e| e.to_string())?.into();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Document>, String> {
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

    fn document(&self, record: Record, photos: &[PhotoRow]) -> Result<Document, String> {
        let Some(first) = photos.first().filter(|_| photos.len() == record.photos.len()) else {
            let (there, named) = (photos.len(), record.photos.len());
            return Err(format!("the listing '{}' has {there} photos and {named} names of photos", record.id));
        };
        let nested: Vec<Value> =
            photos.iter().map(|&photo| Ok(json!({ "vector": self.vector(photo)? }))).collect::<Result<_, String>>()?;
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
                    // The engine tells the two zeros apart.
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
        Ok(Document { id: record.id, body, photos: photos.len() as u64 })
    }

    fn vector(&self, photo: PhotoRow) -> Result<Vec<i8>, String> {
        let mut vector = stored_vector(self.shard, photo).map_err(|e| e.to_string())?;
        if let Some((back, forth)) = &self.turns {
            back.undo(&mut vector);
            forth.rotate(&mut vector);
        }
        Ok(bytes(&vector))
    }
}
