//! The options of `magpie build` and `magpie publish` for the table, the photos and what is made of them.

use std::path::{Path, PathBuf};

use magpie_core::Embedding;
use magpie_core::builder::LocalScaling;
use magpie_core::model::Model;
use magpie_core::shard::MAX_COLUMNS;

use super::embed::{PhotoNotes, embed_usable};
use crate::catalog::{CatalogTable, ColumnNames, PhotoFetcher, PhotoFolder, is_stdin, list};
use crate::failure::{CommandFailure, Result};

#[derive(clap::Args)]
pub(crate) struct TableArgs {
    /// Table of listings: CSV with a header line (comma, semicolon, tab or bar), JSON Lines, or a feed in XML; may be
    /// compressed by gzip or Zstandard; - for standard input
    #[arg(long)]
    pub(crate) catalog: PathBuf,
    /// Column of the listing's id [default: listing_id, or the usual name of a feed]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,
    /// Column of the photo's name [default: photo, or the usual name of a feed]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) photo_column: Option<String>,
    /// Give a column of the table another name in the catalogue; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    pub(crate) map: Vec<(String, String)>,
    /// Insist that a column holds numbers: a value that is not a number is left out; may be repeated
    #[arg(long, value_name = "COLUMN=number", value_parser = number_column)]
    pub(crate) column: Vec<String>,
    /// Folder of the photos: the table's photo names are relative to it
    #[arg(long)]
    pub(crate) images: PathBuf,
    /// Look for photos whose address starts so in a folder, relative to --images; may be repeated
    #[arg(long, value_name = "ADDRESS=FOLDER", value_parser = pair)]
    pub(crate) url_prefix: Vec<(String, String)>,
    /// Fetch photos that are given by address (http or https), and keep them in a folder: none is fetched twice
    #[arg(long, value_name = "FOLDER")]
    pub(crate) fetch: Option<PathBuf>,
    /// Allow photos outside the folder of the photos
    #[arg(long)]
    pub(crate) allow_outside: bool,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    pub(crate) model: Option<PathBuf>,
    /// Columns that searches can filter by, at most 16 [default: numbers, and words with few different values]
    #[arg(long, value_delimiter = ',')]
    pub(crate) filters: Option<Vec<String>>,
    /// Fail at the first unusable row instead of skipping it
    #[arg(long)]
    pub(crate) strict: bool,
    /// Store a thumbnail of each photo, with SIZE pixels on the longer side: about 2 kB each for 128
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(u32).range(16..=1024))]
    pub(crate) thumbnails: Option<u32>,
    /// Folder of some hundreds of shoppers' photos of such goods. Listings whose photos are near to too many of them
    /// get lower scores (local scaling), so that products known from training do not hide new ones
    #[arg(long, value_name = "FOLDER")]
    pub(crate) shoppers: Option<PathBuf>,
    /// Strength of the local scaling, 0 to 1
    #[arg(long, value_name = "STRENGTH", requires = "shoppers", default_value_t = LocalScaling::STRENGTH)]
    pub(crate) local_scaling: f32,
    /// Threads to use [default: all cores]
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}

/// A table that was read, and its photos.
pub(crate) struct Table {
    pub(crate) catalog: CatalogTable,
    pub(crate) photos: PhotoFolder,
    /// Listings whose rows contradict each other.
    pub(crate) conflicting: Vec<String>,
    /// Columns that searches can filter by.
    pub(crate) filters: Vec<String>,
}

impl TableArgs {
    /// Reads the table. Without `--filters`, the filters are the `usual` ones as long as the table has such columns, and
    /// the default ones otherwise.
    pub(crate) fn read(&self, usual: Option<&[String]>) -> Result<Table> {
        let prefixes: Vec<(String, PathBuf)> =
            self.url_prefix.iter().map(|(prefix, folder)| (prefix.clone(), PathBuf::from(folder))).collect();
        let fetcher = self.fetch.as_deref().map(PhotoFetcher::new).transpose()?;
        let photos = PhotoFolder::open(&self.images, &prefixes, self.allow_outside)?.with_fetcher(fetcher);
        let (id, photo) = (self.id_column.clone(), self.photo_column.clone());
        let mut catalog = CatalogTable::open(&self.catalog, &ColumnNames { id, photo, renamed: self.map.clone() })?;
        if let Some(unknown) = self.column.iter().find(|name| !catalog.fields.contains(name)) {
            let known = list(catalog.fields.iter().map(String::as_str));
            return Err(CommandFailure::usage(format!(
                "--column: unknown column '{unknown}'; the columns are {known}"
            )));
        }
        catalog.split_photos();
        let conflicting = catalog.share_values();
        catalog.read_amounts(&self.column);
        catalog.note_odd_numbers();
        let filters = self.filters(&mut catalog, usual)?;
        Ok(Table { catalog, photos, conflicting, filters })
    }

    /// The table's file name without its ending: the default name of the catalogue.
    pub(crate) fn file_name(&self) -> Result<String> {
        if is_stdin(&self.catalog) {
            return Ok("catalog".to_owned());
        }
        let no_name = || CommandFailure::usage(format!("{}: the table has no file name", self.catalog.display()));
        Ok(self.catalog.file_stem().ok_or_else(no_name)?.to_string_lossy().into_owned())
    }

    pub(crate) fn threads(&self) -> Result<rayon::ThreadPool> {
        pool(self.threads)
    }

    /// The photos of `--shoppers`, sorted by name.
    pub(crate) fn shoppers_photos(&self) -> Result<Option<Vec<PathBuf>>> {
        let Some(folder) = &self.shoppers else { return Ok(None) };
        let entries = std::fs::read_dir(folder).map_err(|e| CommandFailure::io(folder, e))?;
        let mut photos = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|e| CommandFailure::io(folder, e))?;
        // Hidden files are those of file managers.
        let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        photos.retain(|path| path.is_file() && !hidden(path));
        photos.sort();
        Ok(Some(photos))
    }

    /// Embeds the photos of `--shoppers` and makes the local scaling of them.
    pub(crate) fn local_scaling(&self, model: &Model, quiet: bool) -> Result<Option<LocalScaling>> {
        let (Some(photos), Some(folder)) = (self.shoppers_photos()?, &self.shoppers) else { return Ok(None) };
        let mut notes = PhotoNotes::default();
        let rows = embed_usable(model, &photos, quiet, &mut notes)?;
        let bad = notes.bad;
        if !bad.is_empty() && !quiet {
            errln!(
                "{} of the {} files in {} are not photos that can be used",
                bad.len(),
                photos.len(),
                folder.display()
            );
        }
        // The row of an unusable photo is zero, which is not an embedding.
        let photos = rows.values.chunks_exact(rows.width).filter_map(|row| Embedding::new(row, model.id()));
        let scaling = LocalScaling::new(&photos.collect::<Vec<_>>(), self.local_scaling);
        scaling.map(Some).map_err(|e| CommandFailure::of(folder, e))
    }

    fn filters(&self, catalog: &mut CatalogTable, usual: Option<&[String]>) -> Result<Vec<String>> {
        let Some(wanted) = &self.filters else {
            if let Some(usual) = usual.filter(|usual| usual.iter().all(|name| catalog.fields.contains(name))) {
                return Ok(usual.to_vec());
            }
            let choice = catalog.default_filters(MAX_COLUMNS);
            catalog.notes.extend(choice.note());
            return Ok(choice.chosen);
        };
        let wanted: Vec<String> = wanted.iter().filter(|name| !name.is_empty()).cloned().collect();
        if let Some(unknown) = wanted.iter().find(|name| !catalog.fields.contains(name)) {
            let known = list(catalog.fields.iter().map(String::as_str));
            return Err(CommandFailure::usage(format!(
                "--filters: unknown column '{unknown}'; the columns are {known}"
            )));
        }
        if wanted.len() > MAX_COLUMNS {
            return Err(CommandFailure::usage(format!(
                "--filters: {} columns given, at most {MAX_COLUMNS} are possible",
                wanted.len()
            )));
        }
        Ok(wanted)
    }
}

/// The threads of a command; all cores if no number is given.
pub(super) fn pool(threads: Option<usize>) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.build().map_err(|e| CommandFailure::new(e.to_string()))
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    // The last sign: an address may contain others.
    let parts = text.rsplit_once('=').filter(|(from, to)| !from.is_empty() && !to.is_empty());
    parts
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .ok_or_else(|| "expected two names with = between".to_owned())
}

fn number_column(text: &str) -> Result<String, String> {
    let name = text.strip_suffix("=number").filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| "expected COLUMN=number, such as price=number".to_owned())
}
