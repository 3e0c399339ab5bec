//! `magpie publish`

use std::path::PathBuf;

use magpie_release::publish::{Limits, Publication, ReleaseFolder, SecretKey, sign_manifest};

use super::table_args::{Table, TableArgs};
use crate::catalog::SkippedRow;
use crate::console::printable;
use crate::failure::Result;
use crate::publishing::{Outcome, PhotoStore, Publisher, add_pack};
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

pub(crate) fn run(args: &Args) -> Result<()> {
    let keys = args.key.iter().map(|path| Ok(SecretKey::open(path)?)).collect::<Result<Vec<_>>>()?;
    let release = ReleaseFolder::open(&args.to)?;
    let (last, known) = release.last()?.unzip();
    let (last, known): (_, Publication) = (last.as_ref(), known.unwrap_or_default());
    let usual = (!known.parts.is_empty()).then_some(&known.filters[..]);
    let Table { catalog, photos, conflicting, filters } = args.table.read(usual)?;
    let model = assets::model(args.table.model.as_ref())?;
    let store = PhotoStore::open(&release.work(), &model, args.table.thumbnails)?;
    let name = match (&args.name, last) {
        (Some(name), _) => name.clone(),
        (None, Some(manifest)) => manifest.catalog.clone(),
        (None, None) => args.table.file_name()?,
    };
    let publisher = Publisher {
        release: &release,
        model: &model,
        store: &store,
        name: &name,
        sequence: last.map_or(1, |manifest| manifest.sequence + 1),
        filters: &filters,
        thumbnails: args.table.thumbnails,
        shoppers: args.table.shoppers_photos()?.map(|photos| (photos, args.table.local_scaling)),
        strict: args.table.strict,
        quiet: args.json,
    };
    let limits = Limits { share: args.max_delta_share, deltas: args.max_deltas };
    let notes = catalog.notes.clone();
    let make = || publisher.make(catalog, &photos, &known, &limits, args.compact);
    let Outcome { made, listings, skipped, incomplete } = args.table.threads()?.install(make)?;

    let pack = if args.with_pack { add_pack(&release, args.table.model.as_deref())? } else { Vec::new() };
    let manifest = publisher.manifest(&made.publication, pack, args.valid_days, last)?;
    let signed = sign_manifest(&manifest, &keys)?;
    release.publish(&signed, &made.publication, args.keep)?;
    let sequence = manifest.sequence;
    let report = serde_json::json!({
        "to": output::path(&args.to), "catalog": name, "sequence": sequence, "kind": made.kind, "listings": listings,
        "changed": made.changed, "removed": made.removed, "photos_embedded": store.embedded(), "bytes": made.bytes,
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
    let what = match made.kind {
        "base" => format!("a base of {listings} listings"),
        "delta" => format!("a delta of {} listings, {} removed", made.changed, made.removed),
        _ => "nothing has changed".to_owned(),
    };
    outln!(
        "{}: publication {sequence} of '{}': {what}, {}; {} photos embedded",
        args.to.display(),
        printable(&name),
        output::bytes(made.bytes),
        store.embedded()
    );
    Ok(())
}
