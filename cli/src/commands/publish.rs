//! `magpie publish`

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use magpie_core::builder::LocalScaling;
use magpie_core::model::Model;
use magpie_core::shard::{ColumnKind, FORMAT_WRITTEN, Shard};
use magpie_release::publish::{
    Change, Limits, Listings, Publication, PublishedPart, ReleaseFolder, SecretKey, sign_manifest,
};
use magpie_release::{Delta, Digest, FileEntry, Manifest, ModelEntry, PackFile};
use rayon::prelude::*;

use super::table_args::{Table, TableArgs};
use crate::catalog::{CatalogRow, CatalogTable, PhotoFolder, SkippedRow};
use crate::console::printable;
use crate::failure::{CommandFailure, Result};
use crate::photo_store::{KnownFile, PhotoHashes, PhotoStore};
use crate::shard_build::{BATCH, BuildPlan, IncompletePhoto, build_with};
use crate::{assets, output};

/// Publish a catalogue, or what has changed since it was published, as a signed release
#[derive(clap::Args)]
#[command(
    after_help = "The first time, all listings are published as a base. Later, what is new, changed or gone becomes a \
    delta, until a new base is better. Photos that are known are not embedded again. The folder of the release can be \
    served as it is by any web server; keep its subfolder .publisher.\n\n\
    Example: magpie publish --catalog catalog.csv --images photos/ --to release/ --key shop.key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Folder of the release
    #[arg(long)]
    to: PathBuf,
    /// Secret key file of 'magpie key new' to sign with; several if phones ask for several signatures
    #[arg(long, required = true, value_delimiter = ',')]
    key: Vec<PathBuf>,
    /// Name of the catalogue [default: as before, or the table's file name]
    #[arg(long)]
    name: Option<String>,
    /// Days until phones refuse this publication. Publish again before, even if nothing has changed
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    valid_days: u64,
    /// Publications whose files are kept, for phones that are in the middle of an update
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    keep: usize,
    /// Let the model pack travel with the release, for apps that have another one
    #[arg(long)]
    with_pack: bool,
    /// Publish a new base if deltas hold more than this share of the listings
    #[arg(long, value_name = "SHARE", default_value_t = Limits::default().share)]
    max_delta_share: f64,
    /// Publish a new base if there are more deltas than this
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().deltas, value_parser = deltas)]
    max_deltas: usize,
    /// Merge all deltas into one
    #[arg(long)]
    compact: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn deltas(text: &str) -> Result<usize, String> {
    let most = magpie_release::MAX_DELTAS;
    text.parse().ok().filter(|count| *count <= most).ok_or_else(|| format!("expected a number up to {most}"))
}

/// A row of the table whose photo can be used.
struct UsableRow {
    row: CatalogRow,
    path: PathBuf,
    file: KnownFile,
    /// Whether its photo was embedded just now, and was cut short.
    incomplete: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let keys = args.key.iter().map(|path| Ok(SecretKey::open(path)?)).collect::<Result<Vec<_>>>()?;
    let release = ReleaseFolder::open(&args.to)?;
    let last = release.last()?;
    let (before, known) = match &last {
        Some((manifest, known)) => (Some(manifest), known.clone()),
        None => (None, Publication::default()),
    };
    let usual = (!known.parts.is_empty()).then_some(&known.filters[..]);
    let Table { catalog, photos, conflicting, filters } = args.table.read(usual)?;
    let model = assets::model(args.table.model.as_ref())?;
    let store = PhotoStore::open(&release.work(), &model, args.table.thumbnails)?;
    let sequence = before.map_or(1, |manifest| manifest.sequence + 1);
    let name = match (&args.name, before) {
        (Some(name), _) => name.clone(),
        (None, Some(manifest)) => manifest.catalog.clone(),
        (None, None) => args.table.file_name()?,
    };
    let job = Job { args, model: &model, store: &store, release: &release, name: &name, sequence, filters: &filters };
    let notes = catalog.notes.clone();
    let (done, skipped, incomplete, listings) = args.table.threads()?.install(|| job.run(catalog, &photos, &known))?;

    let manifest = job.manifest(&done, before)?;
    let signed = sign_manifest(&manifest, &keys)?;
    release.publish(&signed, &done.publication, args.keep)?;
    let report = serde_json::json!({
        "to": output::path(&args.to), "catalog": name, "sequence": sequence, "kind": done.kind, "listings": listings,
        "changed": done.changed, "removed": done.removed, "photos_embedded": store.embedded(), "bytes": done.bytes,
        "deltas": manifest.deltas.len(), "expires": manifest.expires, "skipped": skipped, "incomplete": incomplete, "conflicting": conflicting,
        "notes": notes,
    });
    if args.json {
        return output::json(&report);
    }
    for SkippedRow { line, reason } in &skipped {
        errln!("skipped line {line}: {}", printable(reason));
    }
    for row in &incomplete {
        errln!("{}", printable(&row.note()));
    }
    for note in &notes {
        errln!("{}", printable(note));
    }
    let what = match done.kind {
        "base" => format!("a base of {listings} listings"),
        "delta" => format!("a delta of {} listings, {} removed", done.changed, done.removed),
        _ => "nothing has changed".to_owned(),
    };
    outln!(
        "{}: publication {sequence} of '{}': {what}, {}; {} photos embedded",
        args.to.display(),
        printable(&name),
        output::bytes(done.bytes),
        store.embedded()
    );
    Ok(())
}

struct Job<'a> {
    args: &'a Args,
    model: &'a Model,
    store: &'a PhotoStore<'a>,
    release: &'a ReleaseFolder,
    name: &'a str,
    sequence: u64,
    filters: &'a [String],
}

/// What was made, before it is signed.
struct Done {
    kind: &'static str,
    publication: Publication,
    changed: usize,
    removed: usize,
    /// Bytes of the new files.
    bytes: u64,
}

impl Job<'_> {
    fn run(
        &self,
        mut catalog: CatalogTable,
        photos: &PhotoFolder,
        known: &Publication,
    ) -> Result<(Done, Vec<SkippedRow>, Vec<IncompletePhoto>, usize)> {
        let mut skipped = std::mem::take(&mut catalog.broken);
        self.stop_if_strict(&skipped)?;
        let rows = self.usable(std::mem::take(&mut catalog.rows), photos, &mut skipped)?;
        self.stop_if_strict(&skipped)?;
        skipped.sort_by_key(|row| row.line);
        let cut_short = rows.iter().filter(|row| row.incomplete).map(|row| &row.row);
        let incomplete: Vec<IncompletePhoto> =
            cut_short.map(|row| IncompletePhoto { line: row.line, photo: row.photo.clone() }).collect();
        if let ([], Some(SkippedRow { line, reason })) = (&rows[..], skipped.first()) {
            let count = skipped.len();
            return Err(CommandFailure::new(format!("none of the {count} rows can be used; line {line}: {reason}")));
        }
        let (scaling, scaling_hash) = self.scaling()?;
        let settings = serde_json::json!({
            "fields": catalog.fields, "filters": self.filters, "thumbnails": self.args.table.thumbnails,
            "model": self.model.id(), "scaling": scaling_hash, "name": self.name, "format": FORMAT_WRITTEN,
        });
        let settings = Digest::of(settings.to_string().as_bytes());
        let listings = fingerprints(&rows);
        let limits = Limits { share: self.args.max_delta_share, deltas: self.args.max_deltas };
        let count = listings.len();
        let change = known.change(settings, &listings, &limits, self.args.compact);
        let made = self.make(change, &catalog.fields, &rows, &listings, known, settings, scaling.as_ref())?;
        let done = match made {
            Some(done) => done,
            // The delta's columns do not fit those of the base.
            None => {
                let base = Change::Base;
                let made = self.make(base, &catalog.fields, &rows, &listings, known, settings, scaling.as_ref())?;
                made.ok_or_else(|| CommandFailure::new("a base does not fit itself"))?
            }
        };
        Ok((done, skipped, incomplete, count))
    }

    fn stop_if_strict(&self, skipped: &[SkippedRow]) -> Result<()> {
        match skipped.first().filter(|_| self.args.table.strict) {
            Some(SkippedRow { line, reason }) => Err(CommandFailure {
                message: format!("line {line}: {reason}"),
                hint: Some("--strict stops at the first row that cannot be used"),
                code: 1,
            }),
            None => Ok(()),
        }
    }

    /// The rows whose photos are known or can be embedded, which is done here.
    fn usable(
        &self,
        rows: Vec<CatalogRow>,
        photos: &PhotoFolder,
        skipped: &mut Vec<SkippedRow>,
    ) -> Result<Vec<UsableRow>> {
        let saved = self.release.work().join("photos.json");
        let hashes = PhotoHashes::open(&saved);
        let bar = output::progress(rows.len(), "embedding", self.args.json);
        let usable = |row: CatalogRow| {
            let line = row.line;
            let found = photos.path(&row.photo).and_then(|path| {
                let file = hashes.look(&path)?;
                let known = self.store.knows(&file.hash);
                let incomplete = !known && self.store.get(&file.hash, || photos.read(&row.photo))?.incomplete;
                Ok((path, file, incomplete))
            });
            bar.inc(1);
            match found {
                Ok((path, file, incomplete)) => Ok(UsableRow { row, path, file, incomplete }),
                Err(e) => Err(SkippedRow { line, reason: format!("{}: {}", row.photo, e.message) }),
            }
        };
        let mut found = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter();
        loop {
            let batch: Vec<CatalogRow> = rows.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            for row in batch.into_par_iter().map(usable).collect::<Vec<_>>() {
                match row {
                    Ok(row) => found.push(row),
                    Err(row) => skipped.push(row),
                }
            }
        }
        bar.finish_and_clear();
        PhotoHashes::save(&saved, found.iter().map(|row| (row.path.clone(), row.file)))?;
        Ok(found)
    }

    /// The local scaling, and a hash of what it is made of.
    fn scaling(&self) -> Result<(Option<LocalScaling>, Option<Digest>)> {
        let Some(photos) = self.args.table.shoppers_photos()? else { return Ok((None, None)) };
        let mut embeddings = Vec::new();
        let mut all = self.args.table.local_scaling.to_le_bytes().to_vec();
        for path in &photos {
            let Ok(bytes) = crate::catalog::read_photo(path) else { continue };
            let hash = Digest::of(&bytes);
            if let Ok(photo) = self.store.get(&hash, || Ok(bytes)) {
                embeddings.push(photo.embedding);
                all.extend(hash.0);
            }
        }
        let scaling = LocalScaling::new(&embeddings, self.args.table.local_scaling);
        Ok((Some(scaling?), Some(Digest::of(&all))))
    }

    /// Makes the files of a change; `None` where a delta's columns are not of the kinds of its base.
    #[allow(clippy::too_many_arguments)] // all of it is one publication
    fn make(
        &self,
        change: Change,
        fields: &[String],
        rows: &[UsableRow],
        listings: &Listings,
        known: &Publication,
        settings: Digest,
        scaling: Option<&LocalScaling>,
    ) -> Result<Option<Done>> {
        let (kind, kept, wanted, removed) = match change {
            Change::Nothing => {
                let publication = known.clone();
                return Ok(Some(Done { kind: "nothing", publication, changed: 0, removed: 0, bytes: 0 }));
            }
            Change::Delta { parts, listings, removed } => ("delta", parts, Some(listings), removed),
            Change::Base => ("base", 0, None, BTreeSet::new()),
        };
        let is_wanted = |id: &str| wanted.as_ref().is_none_or(|ids| ids.contains(id));
        let mut publication = Publication {
            settings: Some(settings),
            filters: self.filters.to_vec(),
            words: known.words.clone(),
            parts: known.parts[..kept].to_vec(),
        };
        let mut part = PublishedPart {
            listings: listings.iter().filter(|(id, _)| is_wanted(id)).map(|(id, hash)| (id.clone(), *hash)).collect(),
            removed,
            ..PublishedPart::default()
        };
        let mut bytes = 0;
        if !part.listings.is_empty() {
            let rows = rows.iter().filter(|row| is_wanted(&row.row.listing_id));
            let kinds = if kept == 0 { None } else { Some(&known.words[..]) };
            let Some((file, words)) = self.shard(fields, rows, kinds, scaling)? else { return Ok(None) };
            (part.shard, publication.words, bytes) = (Some(file), words, bytes + file.bytes);
        }
        if !part.removed.is_empty() {
            let file = self.release.add_removed(&part.removed)?;
            (part.removed_file, bytes) = (Some(file), bytes + file.bytes);
        }
        let (changed, removed) = (part.listings.len(), part.removed.len());
        if part.shard.is_some() || part.removed_file.is_some() {
            publication.parts.push(part);
        }
        Ok(Some(Done { kind, publication, changed, removed, bytes }))
    }

    /// Builds a shard of some rows, and returns its file and which filter columns hold words: those in `words`, where it
    /// is given, and `None` where that is impossible.
    fn shard<'r>(
        &self,
        fields: &[String],
        rows: impl Iterator<Item = &'r UsableRow>,
        words: Option<&[String]>,
        scaling: Option<&LocalScaling>,
    ) -> Result<Option<(FileEntry, Vec<String>)>> {
        let kind = |name: &String, words: &[String]| match words.contains(name) {
            true => ColumnKind::Word,
            false => ColumnKind::Number,
        };
        let kinds = words.map(|words| self.filters.iter().map(|name| (name.clone(), kind(name, words))).collect());
        let plan = BuildPlan {
            name: self.name,
            sequence: self.sequence,
            filters: self.filters,
            strict: true,
            thumbnails: self.args.table.thumbnails,
            scaling: scaling.cloned(),
            kinds: kinds.unwrap_or_default(),
            quiet: self.args.json,
        };
        let rows: Vec<&UsableRow> = rows.collect();
        let files: HashMap<(u64, &str), &UsableRow> =
            rows.iter().map(|row| ((row.row.line, row.row.photo.as_str()), *row)).collect();
        let photo = |row: &CatalogRow| {
            let missing = || CommandFailure::new("the row is not in the table");
            let usable = files.get(&(row.line, row.photo.as_str())).ok_or_else(missing)?;
            self.store.get(&usable.file.hash, || crate::catalog::read_photo(&usable.path))
        };
        let catalog = CatalogTable {
            fields: fields.to_vec(),
            rows: rows.iter().map(|row| row.row.clone()).collect(),
            ..CatalogTable::default()
        };
        let out = self.release.work().join("new.magpie");
        build_with(self.model, catalog, photo, &plan, &out)?;
        let shard = Shard::open(&out).map_err(|e| CommandFailure::of(&out, e))?;
        let found: Vec<String> =
            shard.columns().filter(|(_, kind)| *kind == ColumnKind::Word).map(|(name, _)| name.to_owned()).collect();
        drop(shard);
        if words.is_some_and(|words| found.iter().any(|name| !words.contains(name))) {
            return Ok(None);
        }
        Ok(Some((self.release.add_file(&out)?, found)))
    }

    fn manifest(&self, done: &Done, before: Option<&Manifest>) -> Result<Manifest> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        // Phones take the time of the newest manifest for the earliest possible one.
        let issued = before.map_or(now, |manifest| now.max(manifest.issued));
        let mut parts = done.publication.parts.iter();
        let base = parts.next().and_then(|part| part.shard);
        let base = base.ok_or_else(|| CommandFailure::new("there is nothing to publish"))?;
        let delta = |part: &PublishedPart| Delta { base: base.hash, shard: part.shard, removed: part.removed_file };
        let pack = if self.args.with_pack { self.pack()? } else { Vec::new() };
        Ok(Manifest {
            format: magpie_release::FORMAT_WRITTEN,
            catalog: self.name.to_owned(),
            sequence: self.sequence,
            issued,
            expires: issued + self.args.valid_days * 24 * 3600,
            model: ModelEntry { id: Digest(self.model.id().0), pack },
            shard_format: FORMAT_WRITTEN,
            base,
            deltas: parts.map(delta).collect(),
        })
    }

    /// Adds the files of the model pack.
    fn pack(&self) -> Result<Vec<PackFile>> {
        let folder = self.args.table.model.as_deref();
        let mut files = vec![("manifest.json".to_owned(), assets::manifest(folder)?)];
        let pack = assets::pack(folder)?;
        let network = pack.manifest().network.file.clone();
        files.push(match folder.map(|folder| folder.join(&network)).filter(|path| !path.is_file()) {
            None => (network, pack.network().to_vec()),
            // A compiled pack has no ONNX file.
            Some(path) => (compiled_name(&path)?, pack.compiled()?),
        });
        let add = |(name, bytes): (String, Vec<u8>)| {
            let FileEntry { hash, bytes } = self.release.add_bytes(&bytes)?;
            Ok(PackFile { name, hash, bytes })
        };
        files.into_iter().map(add).collect()
    }
}

/// The name of a pack's only file other than its manifest.
fn compiled_name(network: &Path) -> Result<String> {
    let folder = network.parent().unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).map_err(|e| CommandFailure::io(folder, e))?;
    let names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "manifest.json" && !name.starts_with('.')).collect();
    match (names.pop(), names.pop()) {
        (Some(name), None) => Ok(name),
        _ => Err(CommandFailure::io(folder, "expected manifest.json and one file with the network")),
    }
}

/// A hash for each listing over all that a shard holds of it.
fn fingerprints(rows: &[UsableRow]) -> Listings {
    let mut texts: HashMap<&str, Vec<u8>> = HashMap::new();
    for UsableRow { row, file, .. } in rows {
        let all = texts.entry(&row.listing_id).or_default();
        for text in row.values.iter().chain([&row.photo]) {
            all.extend((text.len() as u64).to_le_bytes());
            all.extend(text.as_bytes());
        }
        all.extend(file.hash.0);
    }
    texts.into_iter().map(|(id, all)| (id.to_owned(), Digest::of(&all))).collect()
}
