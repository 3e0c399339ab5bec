//! `magpie update`

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use magpie_core::shard::FORMAT_WRITTEN;
use magpie_release::{Error, Expected, Plan, Store, Update};

use super::key::trusted;
use crate::failure::{CommandFailure, Result};
use crate::output;
use crate::release_source::ReleaseSource;

/// How often a fetch that brings nothing, or wrong bytes, is tried.
const TRIES: usize = 3;

/// Install a release, or what is new of it, as a phone does
#[derive(clap::Args)]
#[command(after_help = "An update that was interrupted goes on where it stopped.\n\n\
        Example: magpie update --from https://shop.example/release/ --into catalog/ --trust shop.key.pub")]
pub(crate) struct Args {
    /// Folder or URL of the release
    #[arg(long)]
    from: String,
    /// Folder to install it in
    #[arg(long)]
    into: PathBuf,
    /// Public keys to trust: .pub files, or their 64 digits
    #[arg(long, required = true, value_delimiter = ',')]
    trust: Vec<String>,
    /// How many of them have to have signed
    #[arg(long, default_value_t = 1)]
    threshold: usize,
    /// Name that the catalogue must have [default: that of the installed one]
    #[arg(long)]
    name: Option<String>,
    /// Read what is installed, and fetch again what is damaged
    #[arg(long)]
    repair: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let source = ReleaseSource::new(&args.from)?;
    let keys = trusted(&args.trust)?.with_threshold(args.threshold);
    let store = Store::at(&args.into);
    let mut update = store.update(Expected::new(args.name.clone(), keys, FORMAT_WRITTEN))?;
    if args.repair {
        update.discard_damaged()?;
    }
    let plan = begin(&source, &mut update)?;
    let mut fetched = 0;
    let bar = output::progress(plan.bytes as usize, "fetching", args.json);
    let (mut idle, mut refused) = (0, 0);
    // The file that is fetched, and how far it has come. A source that begins it anew each time, and never comes further,
    // brings nothing.
    let mut furthest = (String::new(), 0);
    while let Some(fetch) = update.next_fetch()? {
        let (mut brought, mut wrong) = (0, false);
        if furthest.0 != fetch.path {
            furthest = (fetch.path.clone(), fetch.offset);
        }
        let result = source.fetch(&fetch.path, fetch.offset, &mut |offset, bytes| {
            if let Err(error) = update.receive(offset, bytes) {
                wrong = true;
                return Err(error.into());
            }
            let further = (offset + bytes.len() as u64).saturating_sub(furthest.1);
            furthest.1 += further;
            brought += further;
            bar.inc(further);
            Ok(())
        });
        fetched += brought;
        // A connection that is cut may bring a file in many pieces; wrong bytes will be wrong again.
        refused += usize::from(wrong);
        idle = if brought > 0 { 0 } else { idle + 1 };
        let failure = result.err();
        if let Some(failure) = &failure {
            log::debug!("{}: {}", fetch.path, failure.message);
        }
        if idle >= TRIES || refused >= TRIES {
            let silent = || CommandFailure::new(format!("{}: the source sends no more bytes", fetch.path));
            return Err(failure.unwrap_or_else(silent));
        }
    }
    bar.finish_and_clear();
    update.install()?;
    if args.json {
        return output::json(&serde_json::json!({
            "into": output::path(&args.into), "sequence": plan.sequence, "was_installed": plan.is_installed,
            "files": plan.files, "fetched_bytes": fetched,
        }));
    }
    let (into, sequence) = (args.into.display(), plan.sequence);
    match plan.is_installed {
        true => outln!("{into}: publication {sequence} is installed already"),
        false => {
            outln!("{into}: publication {sequence} installed; {} files, {}", plan.files, output::bytes(fetched))
        }
    }
    Ok(())
}

/// Fetches the manifest, and keys documents where it is signed by newer keys.
fn begin(source: &ReleaseSource, update: &mut Update) -> Result<Plan> {
    let manifest = source.small(magpie_release::MANIFEST_FILE)?;
    let missing = || CommandFailure::new(format!("{source}: there is no manifest; is this a release?"));
    let manifest = manifest.ok_or_else(missing)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    loop {
        match update.manifest(&manifest, now) {
            Err(Error::Untrusted { what, valid, needed }) => {
                let Some(keys) = source.small(&update.keys_path())? else {
                    return Err(Error::Untrusted { what, valid, needed }.into());
                };
                update.add_keys(&keys)?;
            }
            other => return Ok(other?),
        }
    }
}
