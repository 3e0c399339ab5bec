//! A filter bound to the columns of one shard.

use super::filter::{Comparison, Filter};
use crate::error::FilterError;
use crate::shard::{Column, Shard};

/// A filter whose columns and values were looked up: asks one photo row at a time.
pub(super) enum Predicate<'a> {
    And(Vec<Predicate<'a>>),
    Or(Vec<Predicate<'a>>),
    Not(Box<Predicate<'a>>),
    /// The row's word is one of these (sorted); a word that the shard does not have is none of them.
    Word(&'a [u32], Vec<u32>),
    /// The row's number compares so.
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

    pub(super) fn holds(&self, row: usize) -> bool {
        match self {
            Predicate::And(parts) => parts.iter().all(|part| part.holds(row)),
            Predicate::Or(parts) => parts.iter().any(|part| part.holds(row)),
            Predicate::Not(part) => !part.holds(row),
            Predicate::Word(values, wanted) => wanted.binary_search(&values[row]).is_ok(),
            Predicate::Number(values, comparison, wanted) => {
                let value = values[row];
                match comparison {
                    Comparison::Equal => value == *wanted,
                    Comparison::NotEqual => value != *wanted,
                    Comparison::Less => value < *wanted,
                    Comparison::LessOrEqual => value <= *wanted,
                    Comparison::Greater => value > *wanted,
                    Comparison::GreaterOrEqual => value >= *wanted,
                }
            }
        }
    }
}

/// Joins equalities on one column: a list of words becomes one look-up instead of one test a word.
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
        None => {
            let known: Vec<&str> = shard.columns().map(|(name, _)| name).collect();
            let known = if known.is_empty() { "no column".to_owned() } else { known.join(", ") };
            Err(FilterError::UnknownColumn { column: name.to_owned(), known })
        }
        Some(Column::Number { values }) => {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            let number = number.ok_or_else(|| wrong(format!("holds numbers, '{}' is none", value.escape_debug())))?;
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
