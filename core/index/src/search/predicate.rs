//! A filter bound to the columns of one shard.

use super::filter::{Comparison, Filter};
use crate::error::FilterError;
use crate::shard::{Column, Shard, WordCodes};

/// A filter whose columns and values are resolved; evaluates the rows of one scan block at a time.
pub(super) enum Predicate<'a> {
    And(Vec<Predicate<'a>>),
    Or(Vec<Predicate<'a>>),
    Not(Box<Predicate<'a>>),
    /// The row's word is one of these word codes, which are sorted. Words that the shard lacks have no code.
    Word(WordCodes<'a>, Vec<u32>),
    /// The row's number compares like this with a constant.
    Number(&'a [f64], Comparison, f64),
}

impl<'a> Predicate<'a> {
    pub(super) fn bind(filter: &Filter, shard: &'a Shard) -> Result<Self, FilterError> {
        let all =
            |parts: &[Filter]| parts.iter().map(|part| Predicate::bind(part, shard)).collect::<Result<Vec<_>, _>>();
        match filter {
            Filter::And(parts) => Ok(Predicate::And(all(parts)?)),
            Filter::Or(parts) => Ok(Predicate::Or(all(parts)?)),
            Filter::Not(part) => Ok(Predicate::Not(Box::new(Predicate::bind(part, shard)?))),
            Filter::Compare { column, comparison, value } => compare(shard, column, *comparison, value),
            Filter::In { column, values } => {
                let equal = |value: &String| compare(shard, column, Comparison::Equal, value);
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
        }
    }
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

fn compare<'a>(
    shard: &'a Shard,
    name: &str,
    comparison: Comparison,
    value: &str,
) -> Result<Predicate<'a>, FilterError> {
    let wrong = |detail: String| FilterError::WrongType { column: name.to_owned(), detail };
    match shard.column(name) {
        None => Err(FilterError::unknown_column(name, shard.columns().map(|(name, _)| name))),
        Some(Column::Number { values }) => {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            let number =
                number.ok_or_else(|| wrong(format!("holds numbers, '{}' is not a number", value.escape_debug())))?;
            Ok(Predicate::Number(values, comparison, number))
        }
        Some(Column::Word { values, words }) => {
            let equal = Predicate::Word(values, words.code(value).into_iter().collect());
            match comparison {
                Comparison::Equal => Ok(equal),
                Comparison::NotEqual => Ok(Predicate::Not(Box::new(equal))),
                other => {
                    let symbol = other.symbol();
                    Err(wrong(format!("holds words, which '{symbol}' cannot compare; use =, != or in")))
                }
            }
        }
    }
}
