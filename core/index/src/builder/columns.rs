//! Derives filter columns from the texts of listings.

use std::collections::BTreeMap;

use crate::shard::writer::{ColumnData, RecordData};
use crate::shard::{ColumnKind, text_at};

/// Returns the column of the field at a position, with a value for each photo: numbers where all values are numbers,
/// otherwise words. `kind` asks for words, or for numbers where there are no values.
pub(super) fn column(
    records: &[RecordData],
    at: usize,
    photo_listings: &[u32],
    kind: Option<ColumnKind>,
) -> ColumnData {
    let values: Vec<&str> = records.iter().map(|record| text_at(&record.values, at)).collect();
    of(&values, photo_listings, kind)
}

fn of(values: &[&str], photo_listings: &[u32], kind: Option<ColumnKind>) -> ColumnData {
    let present = || values.iter().filter(|value| !value.is_empty());
    let photos = || photo_listings.iter().map(|&listing| listing as usize);
    let all_numbers = || present().all(|value| number(value).is_some());
    let numbers = match kind {
        Some(ColumnKind::Word) => false,
        Some(ColumnKind::Number) => all_numbers(),
        None => present().next().is_some() && all_numbers(),
    };
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
        let all = |values: &[&str]| (0..values.len() as u32).collect::<Vec<_>>();
        let wanted = |values: &[&str], kind| of(values, &all(values), Some(kind));
        let of = |values: &[&str]| of(values, &all(values), None);
        assert!(matches!(of(&["1", "", "2.5"]), ColumnData::Number(v) if v[0] == 1.0 && v[1].is_nan() && v[2] == 2.5));
        let words = of(&["red", "", "1", "red"]);
        assert!(matches!(words, ColumnData::Word(w, v) if w == ["1", "red"] && v == [2, 0, 1, 2]));
        assert!(matches!(of(&["", ""]), ColumnData::Word(w, v) if w.is_empty() && v == [0, 0]));
        assert!(matches!(of(&["nan"]), ColumnData::Word(..)));
        assert!(matches!(wanted(&["1"], ColumnKind::Word), ColumnData::Word(w, v) if w == ["1"] && v == [1]));
        assert!(matches!(wanted(&[""], ColumnKind::Number), ColumnData::Number(v) if v[0].is_nan()));
        assert!(matches!(wanted(&["red"], ColumnKind::Number), ColumnData::Word(..)));
    }
}
