//! The groups of listings that share a value of a column.

use super::params::Per;
use super::part::{Part, PartColumn};
use super::predicate::{Predicate, number_bits};
use super::results::Candidate;
use crate::error::FilterError;
use crate::shard::Column;

/// A value that listings share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Group<'a> {
    /// Its code, where one shard is searched.
    Code(u32),
    /// A word.
    Word(&'a str),
    /// The bits of a number.
    Number(u64),
}

/// The groups of a search: [`Per`], bound to its parts.
#[derive(Clone)]
pub(super) struct Groups<'a> {
    columns: Vec<PartColumn<'a>>,
    /// Most listings of a group.
    pub(super) most: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn bind(parts: &'a [Part<'a>], per: &Per) -> Result<Self, FilterError> {
        let column = |part: &Part<'a>| {
            part.column(&per.column).ok_or_else(|| FilterError::unknown_column(&per.column, part.columns()))
        };
        let columns = parts.iter().map(column).collect::<Result<_, _>>()?;
        Ok(Groups { columns, most: per.most })
    }

    /// Returns the group of a photo; `None` for one without a value.
    pub(super) fn of(&self, photo: &Candidate) -> Option<Group<'a>> {
        let row = photo.photo.0 as usize;
        match self.columns.get(photo.part)? {
            PartColumn::Stored(Column::Word { values, words }) => {
                let code = values.get(row);
                let at = code.checked_sub(1)? as usize;
                // The codes of several shards are not comparable. Where words are damaged, each code is a group.
                let word = if self.columns.len() > 1 { words.get(at) } else { None };
                Some(word.map_or(Group::Code(code), Group::Word))
            }
            PartColumn::Stored(Column::Number { values }) => {
                values.get(row).filter(|value| !value.is_nan()).map(|&value| Group::Number(number_bits(value)))
            }
            PartColumn::Missing(_) => None,
        }
    }

    /// Returns a condition that no photo of these groups meets; with `most` of 0, no photo with a value.
    pub(super) fn without(&self, part: usize, full: &[Group<'a>]) -> Option<Predicate<'a>> {
        let inner = match self.columns.get(part)? {
            PartColumn::Stored(Column::Word { values, .. }) if self.most == 0 => {
                return Some(Predicate::Word(*values, vec![0]));
            }
            PartColumn::Stored(Column::Word { values, words }) => {
                let code = |group: &Group<'a>| match group {
                    Group::Code(code) => Some(*code),
                    Group::Word(word) => words.code(word),
                    Group::Number(_) => None,
                };
                let mut codes: Vec<u32> = full.iter().filter_map(code).collect();
                codes.sort_unstable();
                Predicate::Word(*values, codes)
            }
            PartColumn::Stored(Column::Number { values }) => {
                if self.most == 0 {
                    return Some(Predicate::NoNumber(values));
                }
                let bits = |group: &Group<'a>| if let Group::Number(bits) = group { Some(*bits) } else { None };
                let mut wanted: Vec<u64> = full.iter().filter_map(bits).collect();
                wanted.sort_unstable();
                Predicate::Bits(values, wanted)
            }
            PartColumn::Missing(_) => return None,
        };
        Some(Predicate::Not(Box::new(inner)))
    }
}
