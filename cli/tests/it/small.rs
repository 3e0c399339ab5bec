//! A small catalogue for the tests of the commands.

use std::fs;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::{demo, json};

/// A small catalogue of the demo's pictures, and the shard built from it. Made once.
pub(crate) struct Small {
    pub(crate) folder: TempDir,
    /// What `magpie build --json` printed.
    pub(crate) built: Value,
}

impl Small {
    pub(crate) fn get() -> &'static Small {
        static SMALL: OnceLock<Small> = OnceLock::new();
        SMALL.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let catalog = fs::read_to_string(demo("catalog.csv")).unwrap();
            let keep = |line: &&str| ["listing_id,", "mug-0", "chair-0", "hat-0"].iter().any(|p| line.starts_with(p));
            let mut text: String = catalog.lines().filter(keep).map(|line| format!("{line}\n")).collect();
            let columns = catalog.lines().next().unwrap().split(',').count();
            text.push_str(&format!("gone,missing.jpg{}\n", ",".repeat(columns - 2)));
            text.push_str(&format!("broken,broken.jpg{}\n", ",".repeat(columns - 2)));
            let photos = folder.path().join("photos");
            fs::create_dir(&photos).unwrap();
            for name in text.lines().skip(1).filter_map(|line| line.split(',').nth(1)) {
                let _ = fs::copy(demo("photos").join(name), photos.join(name));
            }
            fs::write(photos.join("broken.jpg"), "this is text").unwrap();
            fs::write(folder.path().join("catalog.csv"), text).unwrap();
            let mut small = Small { folder, built: Value::Null };
            small.built = json(&small.build_args(&["--json"]).iter().map(String::as_str).collect::<Vec<_>>());
            small
        })
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn build_args(&self, more: &[&str]) -> Vec<String> {
        let (catalog, images, out) = (self.path("catalog.csv"), self.path("photos"), self.path("small.magpie"));
        let args = ["build", "--catalog", &catalog, "--images", &images, "--out", &out];
        args.iter().chain(more).map(|&arg| arg.to_owned()).collect()
    }

    pub(crate) fn shard(&self) -> String {
        self.path("small.magpie")
    }

    pub(crate) fn search(&self, photo: &str, more: &[&str]) -> Value {
        let shard = self.shard();
        let mut args = vec!["search", "--shard", &shard, "--photo", photo, "--json"];
        args.extend(more);
        json(&args)
    }
}

/// Returns the path of one of the demo's queries.
pub(crate) fn query(name: &str) -> String {
    demo("queries").join(name).to_str().unwrap().to_owned()
}
