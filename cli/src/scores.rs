//! Retrieval scores G1, G2 and C1 over a manifest of labelled photos.
//!
//! The definitions (and the rounding) are those of the data set's `score.py`, so that figures can be compared:
//! - G1, shopper's photo to catalogue photo: the queries are the shoppers' grocery photos of split `test`, the gallery
//!   is all product photos;
//! - G2, shopper's photo to other shoppers' photos: the same queries, the gallery is the shoppers' photos of splits
//!   `train` and `val`;
//! - C1, clothing, leave one out: each clothing photo is searched among all others but those of the same sender.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use magpie_core::builder::LocalScaling;
use magpie_core::{Embedding, ModelId};
use serde_json::{Map, Value};

use crate::failure::{CommandFailure, Result};
use crate::npy::EmbeddingRows;

/// How many results the mean average precision looks at.
const MAP_K: usize = 10;

/// The columns of a manifest that the scores use, one entry per row.
pub(crate) struct DatasetManifest {
    /// Paths of the photos.
    pub(crate) photos: Vec<PathBuf>,
    columns: HashMap<&'static str, Vec<String>>,
}

const COLUMNS: [&str; 10] =
    ["set", "split", "domain", "category", "coarse", "class_id", "colour", "shape", "material", "group"];

/// Optional columns, empty where a manifest does not have them: the source of a colour label, and the share of the
/// foreground for which it holds.
const OPTIONAL_COLUMNS: [&str; 2] = ["colour_src", COLOUR_SHARE];

const COLOUR_SHARE: &str = "colour_conf";

impl DatasetManifest {
    /// Reads manifests and appends their rows. Photo paths are relative to the folder of their manifest.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<DatasetManifest> {
        let mut manifest = DatasetManifest { photos: Vec::new(), columns: HashMap::new() };
        for path in paths {
            manifest.append(path).map_err(|e| CommandFailure::io(path, e))?;
        }
        Ok(manifest)
    }

    fn append(&mut self, path: &Path) -> Result<(), String> {
        let mut reader = csv::Reader::from_path(path).map_err(|e| e.to_string())?;
        let header = reader.headers().map_err(|e| e.to_string())?.clone();
        let at = |name: &str| {
            let found = header.iter().position(|column| column == name);
            found.ok_or_else(|| format!("the column '{name}' is missing"))
        };
        let photo = at("path")?;
        let mut columns = Vec::new();
        for name in COLUMNS {
            columns.push((name, Some(at(name)?)));
        }
        columns.extend(OPTIONAL_COLUMNS.map(|name| (name, at(name).ok())));
        let folder = path.parent().unwrap_or(Path::new(""));
        for record in reader.records() {
            let record = record.map_err(|e| e.to_string())?;
            self.photos.push(folder.join(&record[photo]));
            for &(name, at) in &columns {
                let value = at.map_or("", |at| &record[at]);
                if name == COLOUR_SHARE && !value.is_empty() && value.parse::<f32>().is_err() {
                    return Err(format!("{}: {name} is '{value}', expected a number", &record[photo]));
                }
                self.columns.entry(name).or_default().push(value.to_owned());
            }
        }
        Ok(())
    }

    /// Returns a column with one value per photo; an empty slice for columns that are not read.
    pub(crate) fn column(&self, name: &str) -> &[String] {
        self.columns.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the numbers of the rows to keep.
    pub(crate) fn select(&self, keep: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.photos.len()).filter(|&row| keep(row)).collect()
    }
}

/// The named scores of one task, in the order in which they are printed.
pub(crate) type Scores = Vec<(String, f64)>;

/// Makes the local scaling of the shoppers' grocery photos of split `train`.
pub(crate) fn local_scaling(
    manifest: &DatasetManifest,
    embeddings: &EmbeddingRows,
    strength: f32,
) -> Result<LocalScaling> {
    let is = |name: &'static str, value: &'static str, at: usize| manifest.column(name)[at] == value;
    let shoppers =
        manifest.select(|at| is("set", "grocery", at) && is("domain", "user", at) && is("split", "train", at));
    let row = |at: usize| &embeddings.values[at * embeddings.width..][..embeddings.width];
    // All rows come from the same model, so any id will do.
    let photos = shoppers.into_iter().filter_map(|at| Embedding::new(row(at), ModelId([0; 32])));
    LocalScaling::new(&photos.collect::<Vec<_>>(), strength).map_err(|e| CommandFailure::new(e.to_string()))
}

/// Returns name, scores and number of queries of each task that has queries. `scaling` applies to catalogue photos.
pub(crate) fn tasks(
    manifest: &DatasetManifest,
    embeddings: &EmbeddingRows,
    scaling: Option<&LocalScaling>,
) -> Vec<(&'static str, Scores, usize)> {
    let mut unit = unit_rows(embeddings);
    if let Some(scaling) = scaling {
        for at in manifest.select(|at| manifest.column("domain")[at] == "product") {
            let row = &mut unit[at * embeddings.width..][..embeddings.width];
            let factor = scaling.factor(row);
            row.iter_mut().for_each(|v| *v *= factor);
        }
    }
    let width = embeddings.width;
    let row = |at: usize| &unit[at * width..(at + 1) * width];
    let is = |name: &'static str, value: &'static str| move |at: usize| manifest.column(name)[at] == value;
    let (grocery, shopper, test) = (is("set", "grocery"), is("domain", "user"), is("split", "test"));
    let mut results = Vec::new();

    let queries = manifest.select(|at| grocery(at) && shopper(at) && test(at));
    let product = is("domain", "product");
    let (train, val) = (is("split", "train"), is("split", "val"));
    for (name, gallery) in [
        ("G1", manifest.select(|at| grocery(at) && product(at))),
        ("G2", manifest.select(|at| grocery(at) && shopper(at) && (train(at) || val(at)))),
    ] {
        let task = RetrievalTask {
            manifest,
            label: "class_id",
            ranks: &[1, 5, 10],
            extras: &["coarse", "colour", "shape", "material"],
            leave_out: None,
        };
        results.extend(task.scores(&queries, &gallery, row).map(|scores| (name, scores, queries.len())));
    }

    let clothing = is("set", "clothing");
    let (unsure, other) = (is("coarse", "Not sure"), is("coarse", "Other"));
    let photos = manifest.select(|at| clothing(at) && !unsure(at) && !other(at));
    let task = RetrievalTask {
        manifest,
        label: "coarse",
        ranks: &[1, 10],
        extras: &["category", "colour"],
        leave_out: Some("group"),
    };
    results.extend(task.scores(&photos, &photos, row).map(|scores| ("C1", scores, photos.len())));
    results
}

struct RetrievalTask<'a> {
    manifest: &'a DatasetManifest,
    /// A result is right if it has the query's value in this column.
    label: &'static str,
    ranks: &'a [usize],
    /// Further columns for which the agreement with the query is scored.
    extras: &'a [&'static str],
    /// Results that have the query's value in this column are ranked last.
    leave_out: Option<&'static str>,
}

impl RetrievalTask<'_> {
    fn scores<'v>(&self, queries: &[usize], gallery: &[usize], row: impl Fn(usize) -> &'v [f32]) -> Option<Scores> {
        if queries.is_empty() || gallery.is_empty() {
            return None;
        }
        let mut sums: Scores = Vec::new();
        for &query in queries {
            let ranking = self.ranking(query, gallery, &row);
            for (at, (name, value)) in self.scores_of(query, &ranking).into_iter().enumerate() {
                match sums.get_mut(at) {
                    Some((_, sum)) => *sum += value,
                    None => sums.push((name, value)),
                }
            }
        }
        let count = queries.len() as f64;
        Some(sums.into_iter().map(|(name, sum)| (name, four_digits(sum / count))).collect())
    }

    /// Returns all gallery rows, best match first, ties in gallery order.
    fn ranking<'v>(&self, query: usize, gallery: &[usize], row: &impl Fn(usize) -> &'v [f32]) -> Vec<usize> {
        let left_out = |at: usize| {
            self.leave_out.is_some_and(|name| self.manifest.column(name)[at] == self.manifest.column(name)[query])
        };
        let score = |&at: &usize| if left_out(at) { f32::NEG_INFINITY } else { dot(row(query), row(at)) };
        let mut ranked: Vec<(f32, usize)> = gallery.iter().map(score).zip(gallery.iter().copied()).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.into_iter().map(|(_, at)| at).collect()
    }

    fn scores_of(&self, query: usize, ranking: &[usize]) -> Scores {
        let agrees = |name: &str| -> Vec<bool> {
            let column = self.manifest.column(name);
            ranking.iter().map(|&at| column[at] == column[query]).collect()
        };
        let right = agrees(self.label);
        let mut scores = Scores::new();
        for &rank in self.ranks {
            let top = &right[..rank.min(right.len())];
            scores.push((format!("hit@{rank}"), f64::from(u8::from(top.contains(&true)))));
            scores.push((format!("prec@{rank}"), share(top)));
        }
        let first = right.iter().position(|&right| right);
        scores.push(("mrr".to_owned(), first.map_or(0.0, |at| 1.0 / (at as f64 + 1.0))));
        let top = &right[..MAP_K.min(right.len())];
        let precisions = (0..top.len()).filter(|&at| top[at]).map(|at| share(&top[..=at]));
        let relevant = right.iter().filter(|&&right| right).count().clamp(1, MAP_K);
        scores.push((format!("mAP@{MAP_K}"), precisions.sum::<f64>() / relevant as f64));
        for name in self.extras {
            let same = agrees(name);
            scores.push((format!("{name}@1"), share(&same[..1])));
            scores.push((format!("{name}@5"), share(&same[..5.min(same.len())])));
        }
        scores
    }
}

fn share(hits: &[bool]) -> f64 {
    hits.iter().filter(|&&hit| hit).count() as f64 / hits.len() as f64
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the rows normalised to unit length, one after the other.
pub(crate) fn unit_rows(rows: &EmbeddingRows) -> Vec<f32> {
    let mut unit = rows.values.clone();
    for row in unit.chunks_exact_mut(rows.width.max(1)) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-9);
        row.iter_mut().for_each(|v| *v /= norm);
    }
    unit
}

/// Rounds as Python's `round(value, 4)` does: to the nearest decimal of the exact value.
fn four_digits(value: f64) -> f64 {
    format!("{value:.4}").parse().unwrap_or(value)
}

/// Formats a task's scores as the line that `score.py` prints.
pub(crate) fn line(task: &str, scores: &Scores, queries: usize) -> String {
    let scores: Vec<String> = scores.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{task} {:18} {} n={queries}", "all", scores.join(" "))
}

/// Returns the scores of all tasks as the object that `score.py` writes.
pub(crate) fn json(tasks: &[(&'static str, Scores, usize)]) -> Value {
    let object = tasks.iter().map(|(task, scores, queries)| {
        let mut all: Map<String, Value> = scores.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
        all.insert("n".to_owned(), (*queries).into());
        ((*task).to_owned(), serde_json::json!({ "all": all }))
    });
    Value::Object(object.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Returns embeddings made of labels and noise, so that every score lies between 0 and 1.
    fn embeddings(manifest: &DatasetManifest) -> EmbeddingRows {
        let width = 16;
        let mut values = Vec::new();
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        for at in 0..manifest.photos.len() {
            let text = format!("{}{}", manifest.column("class_id")[at], manifest.column("coarse")[at]);
            let hash = text.bytes().fold(17u64, |hash, byte| hash.wrapping_mul(0x100000001b3) ^ u64::from(byte));
            values.extend((0..width).map(|bit| if hash >> (2 * bit) & 1 == 1 { 0.6 } else { -0.6 } + noise()));
        }
        EmbeddingRows { width, values }
    }

    #[test]
    fn scores_are_those_of_the_data_sets_own_script() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/products");
        let (csv, script) = (data.join("manifest.csv"), data.join("score.py"));
        let python = std::env::var_os("MAGPIE_PYTHON").unwrap_or_else(|| "python3".into());
        let numpy = Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|o| o.status.success());
        if !script.exists() || !numpy {
            errln!("skipped: needs ../shared/data and a Python with numpy (set MAGPIE_PYTHON to its path)");
            return;
        }
        let manifest = DatasetManifest::open(std::slice::from_ref(&csv)).expect("a manifest");
        let rows = embeddings(&manifest);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let npy = folder.path().join("e.npy");
        crate::npy::write(&npy, &rows).expect("a writable file");
        let theirs = Command::new(python).arg(script).arg("--manifest").arg(csv).arg("--emb").arg(npy).output();
        let theirs = String::from_utf8(theirs.expect("python runs").stdout).expect("text");
        let ours = tasks(&manifest, &rows, None);
        let ours: String = ours.iter().map(|(task, scores, n)| line(task, scores, *n) + "\n").collect();
        assert_eq!(ours, theirs);
        assert_eq!(ours.lines().count(), 3);
    }
}
