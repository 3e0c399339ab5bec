//! Derives filter columns from the texts of listings.

use std::collections::BTreeMap;

use crate::shard::text_at;
use crate::shard::writer::{ColumnData, RecordData};

/// Returns the column of the field at a position, with a value for each photo: numbers where all values are numbers,
/// otherwise words.
pub(super) fn column(records: &[RecordData], at: usize, photo_listings: &[u32]) -> ColumnData {
    let values: Vec<&str> = records.iter().map(|record| text_at(&record.values, at)).collect();
    of(&values, photo_listings)
}

fn of(values: &[&str], photo_listings: &[u32]) -> ColumnData {
    let present = || values.iter().filter(|value| !value.is_empty());
    let photos = || photo_listings.iter().map(|&listing| listing as usize);
    let numbers = present().next().is_some() && present().all(|value| number(value).is_some());
    if numbers {
        let numbers: Vec<f64> = values.iter().map(|value| number(value).unwrap_or(f64::NAN)).collect();
        return ColumnData::Number(photos().map(|listing| numbers[listing]).collect());
    }
    let codes: BTreeMap<&str, u32> = present().map(|value| (*value, 0)).collect();
    let codes: BTreeMap<&str, u32> = codes.into_keys().zip(1..).collect();
    let of_listings: Vec<u32> = values.iter().map(|value| codes.get(value).copied().unwrap_or(0)).collect();
    let words = codes.into_keys().map(str::to_owned).collect();
    ColumnData::Word(words, photos().map(|listing| of_listings[listing]).collect())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbers_only_where_all_values_are() {
        let of = |values: &[&str]| of(values, &(0..values.len() as u32).collect::<Vec<_>>());
        assert!(matches!(of(&["1", "", "2.5"]), ColumnData::Number(v) if v[0] == 1.0 && v[1].is_nan() && v[2] == 2.5));
        let words = of(&["red", "", "1", "red"]);
        assert!(matches!(words, ColumnData::Word(w, v) if w == ["1", "red"] && v == [2, 0, 1, 2]));
        assert!(matches!(of(&["", ""]), ColumnData::Word(w, v) if w.is_empty() && v == [0, 0]));
        assert!(matches!(of(&["nan"]), ColumnData::Word(..)));
    }
}
