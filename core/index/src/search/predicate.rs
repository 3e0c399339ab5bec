//! A filter bound to the columns of one shard.

use super::filter::{Comparison, Filter};
use super::part::{Part, PartColumn};
use crate::error::FilterError;
use crate::shard::{Column, ColumnKind, WordCodes};

/// A filter whose columns and values are resolved; evaluates the rows of one scan block at a time.
pub(super) enum Predicate<'a> {
    And(Vec<Predicate<'a>>),
    Or(Vec<Predicate<'a>>),
    Not(Box<Predicate<'a>>),
    /// The row's word is one of these word codes, which are sorted. Words that the shard lacks have no code.
    Word(WordCodes<'a>, Vec<u32>),
    /// The row's number compares like this with a constant.
    Number(&'a [f64], Comparison, f64),
    /// The row's number has one of these bit patterns, which are sorted; those of -0 and 0 are the same.
    Bits(&'a [f64], Vec<u64>),
    /// The row has no number.
    NoNumber(&'a [f64]),
}

impl<'a> Predicate<'a> {
    pub(super) fn bind(filter: &Filter, part: &Part<'a>) -> Result<Self, FilterError> {
        let all =
            |inner: &[Filter]| inner.iter().map(|inner| Predicate::bind(inner, part)).collect::<Result<Vec<_>, _>>();
        match filter {
            Filter::And(inner) => Ok(Predicate::And(all(inner)?)),
            Filter::Or(inner) => Ok(Predicate::Or(all(inner)?)),
            Filter::Not(inner) => Ok(Predicate::Not(Box::new(Predicate::bind(inner, part)?))),
            Filter::Compare { column, comparison, value } => compare(part, column, *comparison, value),
            Filter::In { column, values } => {
                let equal = |value: &String| compare(part, column, Comparison::Equal, value);
                let parts = values.iter().map(equal).collect::<Result<Vec<_>, _>>()?;
                Ok(one_of(parts))
            }
        }
    }

    /// Returns a bit for each of `count` rows from `first` on (at most 32), set where the row passes. The lowest bit is
    /// the first row.
    pub(super) fn mask(&self, first: usize, count: usize) -> u32 {
        match self {
            Predicate::And(parts) => parts.iter().fold(bits(count), |mask, part| match mask {
                0 => 0,
                mask => mask & part.mask(first, count),
            }),
            Predicate::Or(parts) => parts.iter().fold(0, |mask, part| mask | part.mask(first, count)),
            Predicate::Not(part) => bits(count) & !part.mask(first, count),
            Predicate::Word(values, wanted) => match values {
                WordCodes::One(values) => words(rows(values, first, count), wanted),
                WordCodes::Two(values) => words(rows(values, first, count), wanted),
                WordCodes::Four(values) => words(rows(values, first, count), wanted),
            },
            Predicate::Number(values, comparison, wanted) => {
                let values = rows(values, first, count);
                match comparison {
                    Comparison::Equal => marks(values, |value| value == *wanted),
                    Comparison::NotEqual => marks(values, |value| value != *wanted),
                    Comparison::Less => marks(values, |value| value < *wanted),
                    Comparison::LessOrEqual => marks(values, |value| value <= *wanted),
                    Comparison::Greater => marks(values, |value| value > *wanted),
                    Comparison::GreaterOrEqual => marks(values, |value| value >= *wanted),
                }
            }
            Predicate::NoNumber(values) => marks(rows(values, first, count), f64::is_nan),
            Predicate::Bits(values, wanted) => {
                marks(rows(values, first, count), |value| wanted.binary_search(&number_bits(value)).is_ok())
            }
        }
    }
}

/// Returns the bits of a number; those of -0 and 0 are the same.
pub(super) fn number_bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

/// Returns a mask with the lowest `count` bits set.
fn bits(count: usize) -> u32 {
    u32::MAX.checked_shr(32 - count.min(32) as u32).unwrap_or(0)
}

fn rows<T>(values: &[T], first: usize, count: usize) -> &[T] {
    debug_assert!(first + count <= values.len());
    values.get(first..first + count).unwrap_or_default()
}

fn marks<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> u32 {
    // The first loop compiles to vector instructions; the product gathers eight flags into one byte.
    let mut flags = [0u8; 32];
    flags.iter_mut().zip(values).for_each(|(flag, &value)| *flag = u8::from(holds(value)));
    let byte = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    flags.as_chunks().0.iter().rev().fold(0, |mask, eight| mask << 8 | byte(eight) as u32)
}

/// Marks the rows whose word code is in `wanted`, which is sorted.
fn words<T: Copy + Into<u32> + TryFrom<u32> + PartialEq>(values: &[T], wanted: &[u32]) -> u32 {
    match wanted {
        [] => 0,
        [one] => T::try_from(*one).map_or(0, |one| marks(values, |value| value == one)),
        many => marks(values, |value| many.binary_search(&value.into()).is_ok()),
    }
}

/// Merges equality conditions on one column of words into a single look-up.
fn one_of(parts: Vec<Predicate<'_>>) -> Predicate<'_> {
    let mut wanted = Vec::new();
    let mut column = None;
    for part in &parts {
        let Predicate::Word(values, codes) = part else { return Predicate::Or(parts) };
        column = Some(*values);
        wanted.extend(codes);
    }
    wanted.sort_unstable();
    column.map_or(Predicate::Or(Vec::new()), |values| Predicate::Word(values, wanted))
}

fn compare<'a>(part: &Part<'a>, name: &str, comparison: Comparison, value: &str) -> Result<Predicate<'a>, FilterError> {
    let wrong = |detail: String| FilterError::WrongType { column: name.to_owned(), detail };
    let column = part.column(name).ok_or_else(|| FilterError::unknown_column(name, part.columns()))?;
    let mut number = 0.0;
    match (column.kind(), comparison) {
        (ColumnKind::Number, _) => {
            let parsed = value.parse().ok().filter(|number: &f64| number.is_finite());
            let expected = || wrong(format!("holds numbers, '{}' is not a number", value.escape_debug()));
            number = parsed.ok_or_else(expected)?;
        }
        (ColumnKind::Word, Comparison::Equal | Comparison::NotEqual) => {}
        (ColumnKind::Word, other) => {
            let symbol = other.symbol();
            return Err(wrong(format!("holds words, which '{symbol}' cannot compare; use =, != or in")));
        }
    }
    let equal = match column {
        PartColumn::Stored(Column::Number { values }) => return Ok(Predicate::Number(values, comparison, number)),
        PartColumn::Stored(Column::Word { values, words }) => {
            Predicate::Word(values, words.code(value).into_iter().collect())
        }
        PartColumn::Missing(_) => Predicate::Or(Vec::new()),
    };
    Ok(if comparison == Comparison::NotEqual { Predicate::Not(Box::new(equal)) } else { equal })
}
