//! `magpie key`

use std::path::{Path, PathBuf};

use magpie_release::publish::{ReleaseFolder, SecretKey, sign_keys};
use magpie_release::{KeySet, PublicKey};

use crate::failure::{CommandFailure, Result};
use crate::output;

/// Make the keys that sign releases, and replace them
#[derive(clap::Subcommand)]
#[command(after_help = "Example: magpie key new --out shop.key")]
pub(crate) enum KeyCommand {
    /// Make a new key: a secret file to sign with, and a public one, with the ending .pub, for apps to pin
    New {
        /// Secret key file to write; it must not exist
        #[arg(long)]
        out: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the keys that phones trust, by a keys document in the release
    #[command(after_help = "Publish with one of the new keys afterwards.\n\n\
        Example: magpie key rotate --to release/ --name shop --version 2 --trust new.key.pub --key old.key")]
    Rotate {
        /// Folder of the release
        #[arg(long)]
        to: PathBuf,
        /// Name of the catalogue
        #[arg(long)]
        name: String,
        /// Number of the keys document: 2 for the first, and one more for each further one
        #[arg(long, value_parser = clap::value_parser!(u64).range(2..))]
        version: u64,
        /// Public keys to trust from now on: .pub files, or their 64 digits
        #[arg(long, required = true, value_delimiter = ',')]
        trust: Vec<String>,
        /// How many of them have to sign a manifest
        #[arg(long, default_value_t = 1)]
        threshold: usize,
        /// Secret keys of those that were trusted before: more than half of them
        #[arg(long, required = true, value_delimiter = ',')]
        key: Vec<PathBuf>,
    },
}

pub(crate) fn run(command: &KeyCommand) -> Result<()> {
    match command {
        KeyCommand::New { out, json } => new(out, *json),
        KeyCommand::Rotate { to, name, version, trust, threshold, key } => {
            let signers = key.iter().map(|path| Ok(SecretKey::open(path)?)).collect::<Result<Vec<_>>>()?;
            let release = ReleaseFolder::open(to)?;
            // A thief of the old keys may have published higher numbers on phones, but not here.
            let sequence = release.last()?.map_or(1, |(manifest, _)| manifest.sequence + 1);
            let keys = KeySet { version: *version, sequence, ..trusted(trust)?.with_threshold(*threshold) };
            release.add_keys(*version, &sign_keys(name, &keys, &signers)?)?;
            outln!("{}: keys document {version} with {} keys", to.display(), keys.keys.len());
            Ok(())
        }
    }
}

fn new(out: &Path, json: bool) -> Result<()> {
    let key = SecretKey::new()?;
    let mut public = out.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    key.write(out)?;
    std::fs::write(&public, format!("{}\n", key.public())).map_err(|e| CommandFailure::io(&public, e))?;
    if json {
        let (out, file) = (output::path(out), output::path(&public));
        return output::json(&serde_json::json!({ "secret": out, "public": file, "key": key.public() }));
    }
    outln!("{}: secret; keep it off phones and out of repositories", out.display());
    outln!("{}: public, for apps to pin: {}", public.display(), key.public());
    Ok(())
}

/// Reads public keys that were given as files or as digits.
pub(crate) fn trusted(keys: &[String]) -> Result<KeySet> {
    let read = |given: &String| -> Result<PublicKey> {
        if let Ok(key) = given.parse() {
            return Ok(key);
        }
        let path = Path::new(given);
        let text = std::fs::read_to_string(path).map_err(|e| CommandFailure::io(path, e))?;
        text.trim().parse().map_err(|e| CommandFailure::io(path, e))
    };
    Ok(KeySet::new(keys.iter().map(read).collect::<Result<_>>()?))
}
