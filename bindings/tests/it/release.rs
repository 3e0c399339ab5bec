//! Releases as a publisher makes them: real shards of two listings, signed with a key that everybody knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::engine;
use magpie_core::image::DecodeLimits;
use magpie_core::{Embedding, ModelId};
use magpie_ffi::{CatalogStore, CatalogUpdate, InstalledCatalog, InstalledOptions, MagpieError, UpdateOptions};
use magpie_release::publish::{Publication, ReleaseFolder, SecretKey, sign_manifest};
use magpie_release::{Delta, Digest, FORMAT_WRITTEN, FileEntry, Manifest, ModelEntry, PackFile};
use magpie_tests::{default_model, pictures, repository, shards};
use tempfile::TempDir;

/// A time inside of the validity of all releases.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub(crate) fn photo() -> Vec<u8> {
    pictures::png(pictures::scene(96, 96))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

pub(crate) fn model_folder() -> String {
    text(&repository().join("models/packs/default"))
}

/// A publisher's folder, and a phone's.
pub(crate) struct Shop {
    folder: TempDir,
    pub(crate) manifest: Manifest,
}

impl Shop {
    /// Publication 1: a base with the listing `mug`, whose photo is [`photo`], and `bag`, of the default model.
    pub(crate) fn new() -> Shop {
        Shop::of_model(default_model().id())
    }

    /// The same with shards that say that they are of another model.
    pub(crate) fn of_model(model: ModelId) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let base = FileEntry::new(Digest([0; 32]), 1);
        let manifest = Manifest {
            format: FORMAT_WRITTEN,
            catalog: "shop".to_owned(),
            sequence: 1,
            issued: NOW - 1000,
            expires: NOW + 1000,
            model: ModelEntry { id: Digest(model.0), pack: Vec::new() },
            shard_format: 2,
            base,
            deltas: Vec::new(),
        };
        let mut shop = Shop { folder, manifest };
        shop.manifest.base = shop.shard(&[("mug", "18.00", 1.0), ("bag", "30.00", -1.0)]);
        shop.publish();
        shop
    }

    pub(crate) fn release(&self) -> PathBuf {
        self.folder.path().join("release")
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.release().join(self.manifest.base.path())
    }

    /// The base on the phone.
    pub(crate) fn installed_base(&self) -> PathBuf {
        self.folder.path().join("phone").join(self.manifest.base.path())
    }

    /// Path of the last delta's shard in the release.
    pub(crate) fn delta(&self) -> String {
        self.manifest.deltas.last().unwrap().shard.unwrap().path()
    }

    /// Adds a shard to the release; a listing has an id, a price, and a factor of the photo's embedding.
    fn shard(&self, listings: &[(&str, &str, f32)]) -> FileEntry {
        static EMBEDDING: OnceLock<Vec<f32>> = OnceLock::new();
        let vector = EMBEDDING.get_or_init(|| {
            let output = engine::embed(default_model(), &photo(), None, &DecodeLimits::default()).unwrap();
            output.embedding.values().to_vec()
        });
        let model_id = ModelId(self.manifest.model.id.0);
        let identity = Identity { model_id, catalog: "shop".to_owned(), ..shards::identity() };
        let mut builder = ShardBuilder::new(identity, vector.len(), vec![Field { name: "price".into(), filter: true }]);
        for (id, price, factor) in listings {
            let vector: Vec<f32> = vector.iter().map(|value| value * factor).collect();
            let embedding = Embedding::new(&vector, model_id).unwrap();
            builder.add(id, "photo.jpg", &[(*price).to_owned()], &embedding).unwrap();
        }
        let file = self.folder.path().join("new.magpie");
        builder.write(&file).unwrap();
        self.open().add_file(&file).unwrap()
    }

    fn open(&self) -> ReleaseFolder {
        ReleaseFolder::open(&self.release()).unwrap()
    }

    /// The next publication: the mug has another price.
    pub(crate) fn change_price(&mut self, price: &str) {
        let shard = Some(self.shard(&[("mug", price, 1.0)]));
        self.manifest.deltas.push(Delta { base: self.manifest.base.hash, shard, removed: None });
        self.manifest.sequence += 1;
        self.publish();
    }

    /// The next publication: no mug.
    pub(crate) fn remove_mug(&mut self) {
        let removed = Some(self.open().add_removed(&["mug".to_owned()].into()).unwrap());
        self.manifest.deltas.push(Delta { base: self.manifest.base.hash, shard: None, removed });
        self.manifest.sequence += 1;
        self.publish();
    }

    /// Lets a model pack travel with the next publication: the default one, under the manifest's model.
    pub(crate) fn with_pack(&mut self) {
        let pack = ["manifest.json", "model.onnx"].map(|name| {
            let bytes = fs::read(Path::new(&model_folder()).join(name)).unwrap();
            let FileEntry { hash, bytes, .. } = self.open().add_bytes(&bytes).unwrap();
            PackFile { name: name.to_owned(), hash, bytes }
        });
        self.manifest.model.pack = pack.into();
        self.manifest.sequence += 1;
        self.publish();
    }

    /// The next publication: a base of these bytes.
    pub(crate) fn with_base(&mut self, bytes: &[u8]) {
        self.manifest.base = self.open().add_bytes(bytes).unwrap();
        self.manifest.sequence += 1;
        self.publish();
    }

    fn publish(&self) {
        self.open().publish(&self.signed(), &Publication::default(), 10).unwrap();
    }

    pub(crate) fn signed(&self) -> Vec<u8> {
        sign_manifest(&self.manifest, &[key(1)]).unwrap()
    }

    /// The phone's folder.
    pub(crate) fn store(&self) -> Arc<CatalogStore> {
        CatalogStore::at(text(&self.folder.path().join("phone")))
    }

    pub(crate) fn begin(&self) -> Arc<CatalogUpdate> {
        self.store().update(options()).unwrap()
    }

    /// Updates the phone, in pieces of 1,000 bytes, and returns the paths of the files that were fetched.
    pub(crate) fn update(&self, options: UpdateOptions) -> Result<(InstalledCatalog, Vec<String>), MagpieError> {
        let update = self.store().update(options)?;
        let plan = update.manifest(&fs::read(self.release().join(update.manifest_path())).unwrap(), NOW)?;
        let (mut fetched, mut bytes) = (Vec::new(), 0);
        while let Some(fetch) = update.next_fetch()? {
            let file = fs::read(self.release().join(&fetch.path)).unwrap();
            assert_eq!(fetch.bytes, file.len() as u64);
            let mut offset = fetch.offset;
            for piece in file[offset as usize..].chunks(1000) {
                let complete = update.receive(offset, piece)?;
                offset += piece.len() as u64;
                assert_eq!(complete, offset == fetch.bytes);
            }
            bytes += offset - fetch.offset;
            fetched.push(fetch.path);
        }
        assert_eq!((plan.files as usize, plan.bytes), (fetched.len(), bytes));
        Ok((update.install()?, fetched))
    }
}

/// What the phone's app expects.
pub(crate) fn options() -> UpdateOptions {
    UpdateOptions {
        trusted_keys: vec![key(1).public().to_string()],
        threshold: 1,
        catalog: Some("shop".to_owned()),
        model_id: Some(default_model().id().to_string()),
        bundled_catalog: None,
        repair: false,
    }
}

pub(crate) fn installed(bundled: Option<&Path>) -> InstalledOptions {
    InstalledOptions { model_folder: model_folder(), bundled_catalog: bundled.map(text), threads: 1 }
}
