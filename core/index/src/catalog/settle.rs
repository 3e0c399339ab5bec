//! Settles what each part's filter columns hold, so that they are as in one shard with all listings.
//!
//! A column holds numbers where all values are numbers. A part alone may look like that and the others not, and a part
//! may lack a column.

use std::collections::BTreeMap;

use super::unfit;
use crate::error::ShardError;
use crate::search::{Hidden, Part, SettledColumn, SettledValues};
use crate::shard::{Column, ColumnKind, Shard, WordCodes, Words};

/// Returns, for each part, the columns that are not as its shard has them.
pub(super) fn columns(parts: &[Part<'_>]) -> Result<Vec<Vec<SettledColumn>>, ShardError> {
    let mut settled: Vec<Vec<SettledColumn>> = parts.iter().map(|_| Vec::new()).collect();
    if let [one] = parts
        && one.hidden.is_none()
    {
        return Ok(settled);
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in parts.iter().flat_map(|part| part.shard.columns()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        let columns: Vec<Option<Column<'_>>> = parts.iter().map(|part| part.shard.column(name)).collect();
        let held = || parts.iter().zip(&columns).filter_map(|(part, column)| Some(held(part, column.as_ref()?)));
        let numbers = held().all(|held| held != Held::Words) && held().any(|held| held == Held::Numbers);
        let kind = if numbers { ColumnKind::Number } else { ColumnKind::Word };
        for ((part, column), settled) in parts.iter().zip(&columns).zip(&mut settled) {
            let values = match column {
                None => SettledValues::Missing(kind),
                Some(Column::Word { values, words }) if numbers => as_numbers(part.shard, *values, *words),
                Some(Column::Number { values }) if !numbers => as_words(part.shard, name, values)?,
                Some(_) => continue,
            };
            settled.push(SettledColumn { name: name.to_owned(), values });
        }
    }
    Ok(settled)
}

/// What the photos of a part that are not hidden have in a column.
#[derive(PartialEq)]
enum Held {
    Nothing,
    Numbers,
    Words,
}

fn held(part: &Part<'_>, column: &Column<'_>) -> Held {
    match (column, part.hidden) {
        (Column::Number { values }, hidden) => {
            let shown = |row: usize| hidden.is_none_or(|hidden| !hidden.has_photo(row));
            let any = values.iter().enumerate().any(|(row, value)| !value.is_nan() && shown(row));
            if any { Held::Numbers } else { Held::Nothing }
        }
        // The builder makes words of them because one is no number.
        (Column::Word { words, .. }, None) => {
            if words.is_empty() {
                Held::Nothing
            } else {
                Held::Words
            }
        }
        (Column::Word { values, words }, Some(hidden)) => {
            let visible = visible_words(part.shard, hidden, *values, *words);
            match visible.iter().all(|word| number(word).is_some()) {
                _ if visible.is_empty() => Held::Nothing,
                true => Held::Numbers,
                false => Held::Words,
            }
        }
    }
}

/// Returns the words of the photos that are not hidden, in order.
pub(super) fn visible_words<'a>(
    shard: &Shard,
    hidden: &Hidden,
    values: WordCodes<'a>,
    words: Words<'a>,
) -> Vec<&'a str> {
    let mut used = vec![false; words.len() + 1];
    for row in (0..shard.header().photo_count as usize).filter(|&row| !hidden.has_photo(row)) {
        if let Some(used) = used.get_mut(values.get(row) as usize) {
            *used = true;
        }
    }
    used.into_iter().skip(1).enumerate().filter(|(_, used)| *used).filter_map(|(at, _)| words.get(at)).collect()
}

fn as_numbers(shard: &Shard, values: WordCodes<'_>, words: Words<'_>) -> SettledValues {
    let numbers: Vec<f64> = (0..words.len()).map(|at| words.get(at).and_then(number).unwrap_or(f64::NAN)).collect();
    let of = |row: usize| (values.get(row) as usize).checked_sub(1).and_then(|at| numbers.get(at).copied());
    let photos = shard.header().photo_count as usize;
    SettledValues::Numbers((0..photos).map(|row| of(row).unwrap_or(f64::NAN)).collect())
}

/// Reads the texts of a column of numbers from the listings, because `12.50` is another word than `12.5`.
fn as_words(shard: &Shard, name: &str, numbers: &[f64]) -> Result<SettledValues, ShardError> {
    let field = shard.fields().iter().position(|field| field == name);
    let field = field.ok_or_else(|| unfit(format!("the listings lack the field '{}'", name.escape_debug())))?;
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    let mut texts: Vec<u32> = Vec::new();
    shard.each_record(|_, mut record| {
        let next = codes.len() as u32;
        let value = std::mem::take(&mut record.values[field]);
        texts.push(*codes.entry(value).or_insert(next));
        Ok(())
    })?;
    // Codes are 1 and more, in the order of words; a listing without a value has 0.
    let mut order = vec![0; codes.len()];
    let words = codes.keys().filter(|word| !word.is_empty());
    let section = Words::write(&words.collect::<Vec<_>>());
    let mut section = section.ok_or_else(|| unfit(format!("the words of '{}' are too long", name.escape_debug())))?;
    let present = codes.iter().filter(|(word, _)| !word.is_empty());
    present.zip(1..).for_each(|((_, &at), code)| order[at as usize] = code);
    let code = |(row, number): (usize, &f64)| {
        let listing = shard.photo_listings().get(row).and_then(|&listing| texts.get(listing as usize));
        if number.is_nan() { 0 } else { listing.map_or(0, |&at| order[at as usize]) }
    };
    section.resize(section.len().next_multiple_of(size_of::<u32>()), 0);
    let section = bytemuck::pod_collect_to_vec(&section);
    Ok(SettledValues::Words(numbers.iter().enumerate().map(code).collect(), section))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
