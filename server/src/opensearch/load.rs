//! Loading shards into an index: adapts its concurrency to the cluster, and resumes interrupted loads.
//!
//! A load creates a new index, named after its contents. Searches use an alias, which is switched to the new index once
//! it is complete: no search sees a partial catalogue, and none fails during the switch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use magpie_core::shard::Shard;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::bulk::{Batch, SentBatch, send};
use super::cluster::{Call, Cluster, ClusterError};
use super::records::Records;
use super::schema::{self, IndexMeta};

/// Target size of a bulk request, in bytes and documents.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_DOCUMENTS: usize = 500;
/// How often the progress is saved in the index.
const REMEMBER: Duration = Duration::from_secs(5);
/// Timeout for merging.
const MERGE: Duration = Duration::from_secs(3600);
/// After this many batches in a row without pushback, the concurrency grows by one.
const STEP: u32 = 8;

/// The options of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// The alias that servers search.
    pub alias: String,
    /// Number of shards of the index.
    pub shards: u32,
    /// Number of replicas of each shard.
    pub replicas: u32,
    /// Whether to merge each shard into one segment at the end: searches get faster and find more, loading takes
    /// longer.
    pub merge: bool,
    /// How long to retry a failing request.
    pub patience: Duration,
}

/// The result of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The name of the index.
    pub index: String,
    /// The number of its listings.
    pub listings: u64,
    /// The number of their photos.
    pub photos: u64,
    /// Listings that an interrupted load had already sent.
    pub resumed: u64,
    /// Batches that were not fully accepted at the first attempt.
    pub pushed_back: u64,
    /// Requests that were retried.
    pub retries: u64,
}

/// Loads the shards of one catalogue into a new index and points the alias to it. Keeps the previous index, for servers
/// that still search it, and deletes older ones. Calls `progress` with the number of listings loaded so far.
///
/// Called again after a failure, it resumes the load.
///
/// # Errors
/// Which shard cannot be used, or OpenSearch's error.
pub async fn load(
    cluster: Arc<Cluster>,
    paths: &[PathBuf],
    options: &LoadOptions,
    progress: impl Fn(u64),
) -> Result<Loaded, String> {
    let (shards, digest) = open(paths)?;
    let mut meta = IndexMeta::of(&shards, 0, 0)?;
    let name = format!("{}-{}-s{}-{digest}", options.alias, meta.sequence, options.shards);
    let work = LoadTask { cluster, name, options };
    work.prepare(&mut meta).await?;
    let resumed = meta.loaded;
    let pushed_back = work.fill(&shards, &mut meta, progress).await?;
    work.publish(&mut meta).await?;
    let (listings, photos, retries) = (meta.listings, meta.photos, work.cluster.retries());
    Ok(Loaded { index: work.name, listings, photos, resumed, pushed_back, retries })
}

/// Opens and verifies the shards. Also returns a digest of their bytes.
fn open(paths: &[PathBuf]) -> Result<(Vec<Shard>, String), String> {
    let (mut shards, mut hasher) = (Vec::<Shard>::new(), blake3::Hasher::new());
    for path in paths {
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let shard = Shard::open(path).map_err(|e| fault(&e))?;
        shard.verify().map_err(|e| fault(&e))?;
        if let Some(first) = shards.first() {
            let header = |shard: &Shard| (shard.header().model_id, shard.header().dim, shard.catalog().to_owned());
            if header(first) != header(&shard) {
                return Err(fault(&"its catalogue or model differs from the first shard's"));
            }
        }
        let file = std::fs::File::open(path).map_err(|e| fault(&e))?;
        hasher.update_reader(file).map_err(|e| fault(&e))?;
        shards.push(shard);
    }
    Ok((shards, hasher.finalize().to_hex()[..8].to_owned()))
}

struct LoadTask<'a> {
    cluster: Arc<Cluster>,
    name: String,
    options: &'a LoadOptions,
}

impl LoadTask<'_> {
    async fn ask(&self, call: Call) -> Result<Value, ClusterError> {
        let reply = self.cluster.call(&call.patient(), Instant::now() + self.options.patience).await?;
        serde_json::from_slice(&reply).map_err(|e| ClusterError::Refused(e.to_string()))
    }

    async fn change(&self, method: &'static str, path: String, body: &Value) -> Result<Value, String> {
        self.ask(Call::json(method, path, body.to_string())).await.map_err(|e| e.to_string())
    }

    /// Creates the index, or reads the progress of an interrupted load.
    async fn prepare(&self, meta: &mut IndexMeta) -> Result<(), String> {
        let path = format!("/{}", self.name);
        let reply = self.cluster.call(&Call::get(path.clone()), Instant::now() + self.options.patience).await;
        match reply {
            Ok(reply) => {
                let (_, there, _) = schema::described(&reply)?;
                *meta = IndexMeta { loaded: there.loaded, ..meta.clone() };
                return Ok(());
            }
            Err(ClusterError::NotFound) => {}
            Err(other) => return Err(other.to_string()),
        }
        // The template is for manual restores and reindexing; it also applies to the index created below.
        let settings = json!({ "index": {
            "knn": true, "number_of_shards": self.options.shards, "number_of_replicas": self.options.replicas,
        }});
        let template = json!({
            "index_patterns": [format!("{}-{}-*", self.options.alias, meta.sequence)], "priority": 500,
            "template": { "settings": settings, "mappings": meta.mapping() },
        });
        self.change("PUT", format!("/_index_template/{}", self.options.alias), &template).await?;
        // With replicas from the start: acknowledged documents must survive the loss of a node. No refresh: there are
        // no searches yet.
        let body = json!({ "settings": { "index": { "refresh_interval": "-1" } } });
        self.change("PUT", path, &body).await?;
        Ok(())
    }

    /// Sends the records that are not loaded yet. Returns the number of batches that were pushed back.
    async fn fill(&self, shards: &[Shard], meta: &mut IndexMeta, progress: impl Fn(u64)) -> Result<u64, String> {
        let mut records = Records::new(shards, meta)?;
        let mut under_way: JoinSet<Result<SentBatch, String>> = JoinSet::new();
        // Additive increase, multiplicative decrease: the window adapts to what the cluster can take.
        let (mut window, most, mut taken, mut pushed_back) = (1, 2 * self.cluster.nodes().max(1), 0, 0);
        let (mut at, mut photos, mut remembered) = (0, 0, Instant::now());
        let mut ahead: BTreeMap<u64, u64> = BTreeMap::new();
        let mut next = true;
        let mut failed = None;
        while next || !under_way.is_empty() {
            if next && under_way.len() < window {
                let mut batch = Batch::new(at);
                // Blocks for a few milliseconds, to read and decompress a few hundred records.
                while batch.bytes() < BATCH_BYTES && batch.len() < BATCH_DOCUMENTS {
                    let Some(record) = records.next()? else {
                        next = false;
                        break;
                    };
                    photos += record.photos();
                    at += 1;
                    if at > meta.loaded {
                        batch.add(&record)?;
                    } else {
                        batch.start_at(at);
                    }
                }
                if batch.len() > 0 {
                    let (cluster, name) = (Arc::clone(&self.cluster), self.name.clone());
                    under_way.spawn(send(cluster, name, batch, self.options.patience));
                }
                continue;
            }
            let Some(sent) = under_way.join_next().await else { continue };
            match sent.map_err(|e| e.to_string()).and_then(|sent| sent) {
                Ok(SentBatch { from, to, pushes }) => {
                    ahead.insert(from, to);
                    while let Some(to) = ahead.remove(&meta.loaded) {
                        meta.loaded = to;
                    }
                    (window, taken) = match pushes {
                        0 if taken + 1 >= STEP => ((window + 1).min(most), 0),
                        0 => (window, taken + 1),
                        _ => ((window / 2).max(1), 0),
                    };
                    pushed_back += u64::from(pushes > 0);
                    progress(meta.loaded);
                }
                // Batches in flight may still succeed; no more are started.
                Err(fault) => (next, failed) = (false, failed.or(Some(fault))),
            }
            if remembered.elapsed() >= REMEMBER {
                self.remember(meta).await?;
                remembered = Instant::now();
            }
        }
        if let Some(fault) = failed {
            let kept = self.remember(meta).await.is_ok();
            let loaded = if kept { meta.loaded } else { 0 };
            return Err(format!("{fault}; {loaded} listings are loaded, and the same command resumes from there"));
        }
        (meta.listings, meta.photos) = (at, photos);
        Ok(pushed_back)
    }

    async fn remember(&self, meta: &IndexMeta) -> Result<(), String> {
        self.change("PUT", format!("/{}/_mapping", self.name), &json!({ "_meta": meta })).await.map(drop)
    }

    /// Checks that the index is complete, and points the alias to it.
    async fn publish(&self, meta: &mut IndexMeta) -> Result<(), String> {
        let (name, alias) = (&self.name, &self.options.alias);
        self.change("POST", format!("/{name}/_refresh"), &json!({})).await?;
        let count = self.ask(Call::get(format!("/{name}/_count"))).await.map_err(|e| e.to_string())?;
        if count.get("count").and_then(Value::as_u64) != Some(meta.listings) {
            // The next load starts from the beginning, and overwrites the documents.
            meta.loaded = 0;
            self.remember(meta).await?;
            return Err(format!("the index has {} listings, expected {}", count["count"], meta.listings));
        }
        meta.loaded = meta.listings;
        self.remember(meta).await?;
        if self.options.merge {
            let call = Call::json("POST", format!("/{name}/_forcemerge?max_num_segments=1"), String::new()).patient();
            self.cluster.call(&call, Instant::now() + MERGE).await.map_err(|e| e.to_string())?;
        }
        let settings = json!({ "index": { "refresh_interval": null, "number_of_replicas": self.options.replicas } });
        self.change("PUT", format!("/{name}/_settings"), &settings).await?;
        let seconds = self.options.patience.as_secs().clamp(1, 60);
        let wait = format!("/_cluster/health/{name}?wait_for_status=yellow&timeout={seconds}s");
        self.ask(Call::get(wait)).await.map_err(|e| e.to_string())?;
        let before = self.ask(Call::get(format!("/_alias/{alias}"))).await;
        let before: Vec<String> = match before {
            Ok(Value::Object(indexes)) => indexes.into_iter().map(|(index, _)| index).collect(),
            Ok(_) | Err(ClusterError::NotFound) => Vec::new(),
            Err(other) => return Err(other.to_string()),
        };
        let removed = before.iter().map(|index| json!({ "remove": { "index": index, "alias": alias } }));
        let added = json!({ "add": { "index": name, "alias": alias } });
        let actions: Vec<Value> = removed.chain([added]).collect();
        self.change("POST", "/_aliases".to_owned(), &json!({ "actions": actions })).await?;
        self.tidy(meta.sequence, &before).await
    }

    /// Deletes older indexes of the alias that a load made and that are no longer searched.
    async fn tidy(&self, sequence: u64, before: &[String]) -> Result<(), String> {
        #[derive(Deserialize)]
        struct IndexRow {
            index: String,
        }
        let alias = &self.options.alias;
        let list = Call::get(format!("/_cat/indices/{alias}-*?format=json&h=index"));
        let rows = self.ask(list).await.map_err(|e| e.to_string())?;
        let rows: Vec<IndexRow> = serde_json::from_value(rows).map_err(|e| e.to_string())?;
        for IndexRow { index } in rows {
            let old = number(alias, &index).is_some_and(|found| found <= sequence);
            if old && index != self.name && !before.contains(&index) {
                match self.ask(Call::json("DELETE", format!("/{index}"), String::new())).await {
                    Ok(_) | Err(ClusterError::NotFound) => {}
                    Err(other) => return Err(other.to_string()),
                }
            }
        }
        Ok(())
    }
}

/// Returns the sequence number in the name of an index that a load made; `None` for other names.
fn number(alias: &str, index: &str) -> Option<u64> {
    let mut parts = index.strip_prefix(alias)?.strip_prefix('-')?.split('-');
    let (sequence, shards, digest) = (parts.next()?, parts.next()?, parts.next()?);
    shards.strip_prefix('s')?.parse::<u32>().ok()?;
    let is_digest = digest.len() == 8 && digest.chars().all(|c| c.is_ascii_hexdigit());
    if parts.next().is_some() || !is_digest { None } else { sequence.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn only_names_given_by_a_load_have_a_sequence_number() {
        assert_eq!(number("shop", "shop-12-s3-0a1b2c3d"), Some(12));
        for other in ["shop", "shop-12", "shop-two-12-s3-0a1b2c3d", "shop-12-s3-0a1b2c3d-x", "shops-12-s3-0a1b2c3d"] {
            assert_eq!(number("shop", other), None, "{other}");
        }
    }
}
