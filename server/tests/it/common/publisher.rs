//! A publisher of releases, and a phone that fetches them over HTTP.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use magpie_core::builder::Identity;
use magpie_core::catalog::{Catalog, PartFiles};
use magpie_core::remote::SearchRequest;
use magpie_core::search::{SearchParams, SearchScratch};
use magpie_core::shard::FORMAT_WRITTEN;
use magpie_release::publish::{Publication, ReleaseFolder, SecretKey, sign_manifest};
use magpie_release::{Delta, Digest, Expected, FileEntry, KeySet, Manifest, ModelEntry, Plan, Store, read_removed};

use super::{CATALOG, MODEL, agent, embedding, shard_of};

/// A publisher, and its release.
pub(crate) struct Publisher {
    work: PathBuf,
    pub(crate) release: PathBuf,
    pub(crate) manifest: Manifest,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The publisher's key. Everybody knows it.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

impl Publisher {
    /// Publishes a base with these listings into the folder `release`.
    pub(crate) fn new(folder: &Path, listings: std::ops::Range<usize>) -> Publisher {
        let (work, release) = (folder.to_owned(), folder.join("release"));
        let base = add(&work, &release, listings, 1, None);
        let manifest = Manifest {
            format: magpie_release::FORMAT_WRITTEN,
            catalog: CATALOG.to_owned(),
            sequence: 1,
            issued: now() - 60,
            expires: now() + 3600,
            model: ModelEntry { id: Digest(MODEL.0), pack: Vec::new() },
            shard_format: FORMAT_WRITTEN,
            base,
            deltas: Vec::new(),
        };
        let publisher = Publisher { work, release, manifest };
        publisher.publish();
        publisher
    }

    /// Publishes a delta: these listings at another price, and those that are gone.
    pub(crate) fn delta(&mut self, listings: std::ops::Range<usize>, price: &str, gone: &[&str]) {
        self.manifest.sequence += 1;
        let sequence = self.manifest.sequence;
        let add = || add(&self.work, &self.release, listings.clone(), sequence, Some(price));
        // As `magpie publish` does: phones fetch the packed form.
        let packed = |file| ReleaseFolder::open(&self.release).unwrap().add_packed(file).unwrap();
        let shard = (!listings.is_empty()).then(add).map(packed);
        let gone: BTreeSet<String> = gone.iter().map(|id| (*id).to_owned()).collect();
        let folder = ReleaseFolder::open(&self.release).unwrap();
        let removed = (!gone.is_empty()).then(|| folder.add_removed(&gone).unwrap());
        drop(folder);
        self.manifest.deltas.push(Delta { base: self.manifest.base.hash, shard, removed });
        self.publish();
    }

    /// Signs the manifest and publishes it.
    pub(crate) fn publish(&self) {
        let signed = sign_manifest(&self.manifest, &[key()]).unwrap();
        let folder = ReleaseFolder::open(&self.release).unwrap();
        folder.publish(&signed, &Publication::default(), 10).unwrap();
    }

    pub(crate) fn path(&self, file: &FileEntry) -> PathBuf {
        self.release.join(file.path())
    }

    /// What a phone finds that has installed this publication.
    pub(crate) fn catalog(&self) -> Catalog {
        open(&self.release, &self.manifest)
    }
}

fn add(work: &Path, release: &Path, listings: std::ops::Range<usize>, sequence: u64, price: Option<&str>) -> FileEntry {
    let path = work.join("next.magpie");
    let identity = Identity { model_id: MODEL, catalog: CATALOG.to_owned(), sequence, writer: "tests".to_owned() };
    shard_of(&path, listings, identity, price);
    ReleaseFolder::open(release).unwrap().add_file(&path).unwrap()
}

fn open(folder: &Path, manifest: &Manifest) -> Catalog {
    let removed = |file: &FileEntry| read_removed(&std::fs::read(folder.join(file.path())).unwrap()).unwrap();
    let mut parts = vec![PartFiles { shard: Some(folder.join(manifest.base.path())), removed: Vec::new() }];
    for delta in &manifest.deltas {
        let shard = delta.shard.map(|file| folder.join(file.path()));
        parts.push(PartFiles { shard, removed: delta.removed.as_ref().map(removed).unwrap_or_default() });
    }
    Catalog::open(&parts).unwrap()
}

/// A phone: a folder into which a release is installed.
pub(crate) struct Phone {
    pub(crate) store: Store,
    /// Ends each connection after so many bytes.
    pub(crate) patience: usize,
}

impl Phone {
    pub(crate) fn new(folder: PathBuf) -> Phone {
        Phone { store: Store::at(folder), patience: usize::MAX }
    }

    /// Updates from a server, over as many connections as it takes. Returns the plan and the bytes that were fetched.
    pub(crate) fn update(&self, url: &str) -> (Plan, usize) {
        let keys = KeySet::new(vec![key().public()]);
        let expected = Expected::new(Some(CATALOG.to_owned()), keys, FORMAT_WRITTEN).with_model(Digest(MODEL.0));
        let mut update = self.store.update(expected).unwrap();
        let get = |path: &str, offset: u64| {
            let request = agent().get(format!("{url}/{path}")).header("accept-encoding", "identity");
            let request = if offset > 0 { request.header("range", format!("bytes={offset}-")) } else { request };
            let response = request.call().unwrap();
            assert_eq!(response.status(), if offset > 0 { 206 } else { 200 }, "{path}");
            response.into_body().into_reader()
        };
        let mut manifest = Vec::new();
        get("manifest", 0).read_to_end(&mut manifest).unwrap();
        let plan = update.manifest(&manifest, now()).unwrap();
        let mut fetched = 0;
        while let Some(fetch) = update.next_fetch().unwrap() {
            let mut reader = get(&fetch.path, fetch.offset);
            let (mut offset, mut piece, mut left) = (fetch.offset, [0; 1000], self.patience);
            while left > 0 {
                let count = reader.read(&mut piece).unwrap();
                if count == 0 {
                    break;
                }
                update.receive(offset, &piece[..count]).unwrap();
                offset += count as u64;
                fetched += count;
                left = left.saturating_sub(count);
            }
        }
        update.install().unwrap();
        (plan, fetched)
    }

    /// The ids and prices that the phone finds.
    pub(crate) fn finds(&self, seed: usize, k: usize) -> Vec<(String, String)> {
        let catalog = open(self.store.folder(), &self.store.manifest().unwrap());
        finds(&catalog, seed, k)
    }
}

/// The ids and prices that a search on a phone finds, with the query that a server gets.
pub(crate) fn finds(catalog: &Catalog, seed: usize, k: usize) -> Vec<(String, String)> {
    let query = SearchRequest::new(&embedding(seed), None, &SearchParams::new(k)).parse().unwrap();
    let mut searcher = catalog.searcher(SearchScratch::default());
    let found = catalog.fetch(&searcher.search(&query.embedding, None, &query.params).unwrap()).unwrap().into_iter();
    found.map(|found| (found.listing.id.clone(), found.listing.get("price").unwrap_or_default().to_owned())).collect()
}
