//! The server's settings, and their defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use magpie_core::search::MAX_K;
use serde::Deserialize;

use crate::limits::{connections, ms, open_files, within};

/// The default name of an index.
pub(crate) const INDEX: &str = "magpie";

/// Checks an index name: valid in OpenSearch, and safe to use in the path of a URL.
pub(crate) fn index_name(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if plain && text.len() <= 100 && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(text.to_owned());
    }
    Err("expected a lowercase letter, followed by lowercase letters, digits and '-'".to_owned())
}

/// The settings of one source; what it does not set is `None` or empty.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Overrides {
    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "MAGPIE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// A second address for /healthz, /readyz and /metrics alone, which answers even when clients use up all connections
    #[arg(long, env = "MAGPIE_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// The shards of one catalogue
    #[arg(long, env = "MAGPIE_SHARDS", value_name = "FILE", value_delimiter = ',')]
    pub shards: Vec<PathBuf>,
    /// The folder of a release, made by 'magpie publish' or 'magpie update': searched, and served to phones below /release
    #[arg(long, env = "MAGPIE_RELEASE", value_name = "FOLDER")]
    pub release: Option<PathBuf>,
    /// Public keys that have to have signed the release: 64 digits each
    #[arg(long, env = "MAGPIE_TRUST", value_name = "KEY", value_delimiter = ',')]
    pub trust: Vec<String>,
    /// Nodes of an OpenSearch cluster to search instead of shards, as http://HOST:PORT
    #[arg(long, env = "MAGPIE_OPENSEARCH", value_name = "URL", value_delimiter = ',')]
    pub opensearch: Vec<String>,
    /// The name of the catalogue in the cluster [default: magpie]
    #[arg(long, env = "MAGPIE_INDEX", value_name = "NAME")]
    pub index: Option<String>,
    /// Concurrent searches in the cluster; more have to wait [default: 64]
    #[arg(long, env = "MAGPIE_ENGINE_SEARCHES", value_name = "NUMBER")]
    pub engine_searches: Option<usize>,
    /// Read and check every byte of a catalogue before serving it [default: true]
    #[arg(long, env = "MAGPIE_VERIFY", num_args = 0..=1, default_missing_value = "true")]
    pub verify: Option<bool>,
    /// Read catalogues into memory instead of mapping them: for files that others may cut short or overwrite
    #[arg(long, env = "MAGPIE_LOAD", num_args = 0..=1, default_missing_value = "true")]
    pub load: Option<bool>,
    /// On a reload, also take another model, another catalogue, or an older sequence
    #[arg(long, env = "MAGPIE_RELOAD_ANY", num_args = 0..=1, default_missing_value = "true")]
    pub reload_any: Option<bool>,
    /// A file with one line 'NAME TOKEN [scope=search,admin] [expires=YYYY-MM-DD]' per app; without it, no token is required
    #[arg(long, env = "MAGPIE_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Rate limit of each token, in requests per second [default: 50]
    #[arg(long, env = "MAGPIE_RATE", value_name = "NUMBER")]
    pub rate: Option<f64>,
    /// Requests that a token may send in one burst [default: 100]
    #[arg(long, env = "MAGPIE_BURST", value_name = "NUMBER")]
    pub burst: Option<f64>,
    /// CPU time of a search that is paid for with its request; one that takes n times as long counts as n [default: 5]
    #[arg(long, env = "MAGPIE_SEARCH_COST_MS", value_name = "MS")]
    pub search_cost_ms: Option<f64>,
    /// Search threads [default: one per core]
    #[arg(long, env = "MAGPIE_THREADS", value_name = "NUMBER")]
    pub threads: Option<usize>,
    /// Maximum number of listings per search [default: 200]
    #[arg(long, env = "MAGPIE_MAX_K", value_name = "NUMBER")]
    pub max_k: Option<u32>,
    /// Maximum size of a request body [default: 65536]
    #[arg(long, env = "MAGPIE_MAX_BODY", value_name = "BYTES")]
    pub max_body: Option<usize>,
    /// Concurrent requests; more are rejected [default: 256]
    #[arg(long, env = "MAGPIE_MAX_IN_FLIGHT", value_name = "NUMBER")]
    pub max_in_flight: Option<usize>,
    /// Open connections; more have to wait [default: 4096, or what the limit on open files allows]
    #[arg(long, env = "MAGPIE_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// Maximum estimated time in the queue; a search that would wait longer is rejected [default: 15]
    #[arg(long, env = "MAGPIE_MAX_WAIT_MS", value_name = "MS")]
    pub max_wait_ms: Option<u64>,
    /// Deadline of a request that does not set its own [default: 2000]
    #[arg(long, env = "MAGPIE_DEADLINE_MS", value_name = "MS")]
    pub deadline_ms: Option<u64>,
    /// Interval of checks for a new catalogue; 0 to disable them [default: 5000]
    #[arg(long, env = "MAGPIE_WATCH_MS", value_name = "MS")]
    pub watch_ms: Option<u64>,
    /// How long to keep accepting after a signal to stop, while /readyz fails [default: 500]
    #[arg(long, env = "MAGPIE_LINGER_MS", value_name = "MS")]
    pub linger_ms: Option<u64>,
    /// How long to wait for requests in flight after that [default: 15000]
    #[arg(long, env = "MAGPIE_DRAIN_MS", value_name = "MS")]
    pub drain_ms: Option<u64>,
    /// Serve a demo page at '/'; needs --model, and a build with the feature 'page'
    #[arg(long, env = "MAGPIE_PAGE", num_args = 0..=1, default_missing_value = "true")]
    pub page: Option<bool>,
    /// Folder of the model pack that embeds the page's photos
    #[arg(long, env = "MAGPIE_MODEL", value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Photos of the page to embed concurrently [default: 1]
    #[arg(long, env = "MAGPIE_PAGE_PHOTOS", value_name = "NUMBER")]
    pub page_photos: Option<usize>,
    /// Write the log as JSON
    #[arg(long, env = "MAGPIE_LOG_JSON", num_args = 0..=1, default_missing_value = "true")]
    pub log_json: Option<bool>,
    /// Log level: error, warn, info or debug; info logs each request [default: info]
    #[arg(long, env = "MAGPIE_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
}

/// The resolved and checked settings.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// A second address for monitoring alone.
    pub admin_listen: Option<SocketAddr>,
    /// The shards of one catalogue; empty if something else is searched.
    pub shards: Vec<PathBuf>,
    /// The folder of a release to search and serve.
    pub release: Option<PathBuf>,
    /// Public keys that have to have signed the release.
    pub trust: Vec<String>,
    /// The nodes of the cluster to search; empty if shards are searched.
    pub opensearch: Vec<String>,
    /// The name of the catalogue in the cluster.
    pub index: String,
    /// Concurrent searches in the cluster.
    pub engine_searches: usize,
    /// Read and check every byte of a catalogue before serving it.
    pub verify: bool,
    /// Read catalogues into memory.
    pub load: bool,
    /// On a reload, also take another model, another catalogue, or an older sequence.
    pub reload_any: bool,
    /// The token file; without it, no token is required.
    pub tokens: Option<PathBuf>,
    /// The rate limit of each token, in requests per second.
    pub rate: f64,
    /// Requests that a token may send in one burst.
    pub burst: f64,
    /// CPU time of a search that is paid for with its request.
    pub search_cost: Duration,
    /// Search threads.
    pub threads: usize,
    /// Maximum number of listings per search.
    pub max_k: u32,
    /// Maximum size of a request body, in bytes.
    pub max_body: usize,
    /// Maximum number of concurrent requests.
    pub max_in_flight: usize,
    /// Maximum number of open connections.
    pub max_connections: usize,
    /// How long a search may wait in the queue.
    pub max_wait: Duration,
    /// The deadline of a request that does not set its own.
    pub default_deadline: Duration,
    /// Interval of checks for a new catalogue; zero disables them.
    pub watch: Duration,
    /// How long to keep accepting after a signal to stop.
    pub linger: Duration,
    /// How long to wait for requests in flight after that.
    pub drain: Duration,
    /// The folder of the page's model pack; `None` disables the page.
    pub page: Option<PathBuf>,
    /// Photos of the page to embed concurrently.
    pub page_photos: usize,
    /// Write the log as JSON.
    pub log_json: bool,
    /// The log level.
    pub log: tracing::Level,
}

impl Overrides {
    /// Returns these settings, with those of `other` where these are not set.
    #[must_use]
    pub fn or(self, other: Overrides) -> Overrides {
        Overrides {
            listen: self.listen.or(other.listen),
            admin_listen: self.admin_listen.or(other.admin_listen),
            shards: if self.shards.is_empty() { other.shards } else { self.shards },
            release: self.release.or(other.release),
            trust: if self.trust.is_empty() { other.trust } else { self.trust },
            opensearch: if self.opensearch.is_empty() { other.opensearch } else { self.opensearch },
            index: self.index.or(other.index),
            engine_searches: self.engine_searches.or(other.engine_searches),
            verify: self.verify.or(other.verify),
            load: self.load.or(other.load),
            reload_any: self.reload_any.or(other.reload_any),
            tokens: self.tokens.or(other.tokens),
            rate: self.rate.or(other.rate),
            burst: self.burst.or(other.burst),
            search_cost_ms: self.search_cost_ms.or(other.search_cost_ms),
            threads: self.threads.or(other.threads),
            max_k: self.max_k.or(other.max_k),
            max_body: self.max_body.or(other.max_body),
            max_in_flight: self.max_in_flight.or(other.max_in_flight),
            max_connections: self.max_connections.or(other.max_connections),
            max_wait_ms: self.max_wait_ms.or(other.max_wait_ms),
            deadline_ms: self.deadline_ms.or(other.deadline_ms),
            watch_ms: self.watch_ms.or(other.watch_ms),
            linger_ms: self.linger_ms.or(other.linger_ms),
            drain_ms: self.drain_ms.or(other.drain_ms),
            page: self.page.or(other.page),
            model: self.model.or(other.model),
            page_photos: self.page_photos.or(other.page_photos),
            log_json: self.log_json.or(other.log_json),
            log: self.log.or(other.log),
        }
    }

    /// Fills in the defaults and checks the settings.
    ///
    /// # Errors
    /// Which setting is missing or makes no sense.
    pub fn settings(self) -> Result<Settings, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let level = self.log.as_deref().unwrap_or("info");
        let (rate, burst) = (self.rate.unwrap_or(50.0), self.burst.unwrap_or(100.0));
        let search_cost = self.search_cost_ms.unwrap_or(5.0);
        if !(rate > 0.0 && rate.is_finite() && burst >= 1.0 && burst.is_finite()) {
            return Err(format!("a rate of {rate} with a burst of {burst} would reject every request"));
        }
        if !(0.001..=3_600_000.0).contains(&search_cost) {
            return Err(format!("--search-cost-ms is {search_cost}, expected 0.001 to 3600000"));
        }
        let sources = [!self.shards.is_empty(), self.release.is_some(), !self.opensearch.is_empty()];
        match sources.iter().filter(|&&given| given).count() {
            0 => {
                let expected = "expected --shards FILE, --release FOLDER or --opensearch URL";
                return Err(format!("nothing to search: {expected}"));
            }
            1 => {}
            _ => return Err("only one of --shards, --release and --opensearch can be used".to_owned()),
        }
        if !self.trust.is_empty() && self.release.is_none() {
            return Err("--trust: shards have no signatures; it needs --release".to_owned());
        }
        let page = match (self.page.unwrap_or(false), self.model) {
            (true, _) if !cfg!(feature = "page") => {
                return Err("--page: this binary was built without the page; build it with --features page".to_owned());
            }
            (true, None) => return Err("--page needs a model for its photos: --model FOLDER".to_owned()),
            (true, model) => model,
            (false, _) => None,
        };
        let max_in_flight = within("--max-in-flight", self.max_in_flight, 256, 1..=1 << 20)?;
        Ok(Settings {
            listen: self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            admin_listen: self.admin_listen,
            shards: self.shards,
            release: self.release,
            trust: self.trust,
            opensearch: self.opensearch,
            index: index_name(self.index.as_deref().unwrap_or(INDEX)).map_err(|e| format!("--index: {e}"))?,
            engine_searches: within("--engine-searches", self.engine_searches, 64, 1..=1 << 16)?,
            verify: self.verify.unwrap_or(true),
            load: self.load.unwrap_or(false),
            reload_any: self.reload_any.unwrap_or(false),
            tokens: self.tokens,
            rate,
            burst,
            search_cost: Duration::from_secs_f64(search_cost / 1e3),
            threads: within("--threads", self.threads, cores.min(1024), 1..=1024)?,
            max_k: within("--max-k", self.max_k, 200, 1..=MAX_K as u32)?,
            max_body: within("--max-body", self.max_body, 64 << 10, 1 << 10..=64 << 20)?,
            max_in_flight,
            max_connections: connections(self.max_connections, open_files())?,
            max_wait: ms("--max-wait-ms", self.max_wait_ms, 15, 1)?,
            default_deadline: ms("--deadline-ms", self.deadline_ms, 2000, 1)?,
            watch: ms("--watch-ms", self.watch_ms, 5000, 0)?,
            linger: ms("--linger-ms", self.linger_ms, 500, 0)?,
            drain: ms("--drain-ms", self.drain_ms, 15_000, 0)?,
            page,
            page_photos: within("--page-photos", self.page_photos, 1, 1..=64)?,
            log_json: self.log_json.unwrap_or(false),
            log: level.parse().map_err(|_| format!("--log: expected error, warn, info or debug, got '{level}'"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(change: impl FnOnce(&mut Overrides)) -> String {
        let mut given = Overrides { shards: vec!["a".into()], ..Overrides::default() };
        change(&mut given);
        given.settings().expect_err("nonsense")
    }

    #[test]
    fn limits_that_make_no_sense_are_refused_by_name() {
        assert!(fault(|o| o.max_k = Some(0)).starts_with("--max-k is 0, expected 1 to 10000"));
        assert!(fault(|o| o.max_k = Some(10_001)).starts_with("--max-k"));
        assert!(fault(|o| o.max_body = Some(0)).starts_with("--max-body"));
        assert!(fault(|o| o.max_in_flight = Some(0)).starts_with("--max-in-flight"));
        assert!(fault(|o| o.max_connections = Some(0)).starts_with("--max-connections"));
        assert!(fault(|o| o.threads = Some(0)).starts_with("--threads"));
        assert!(fault(|o| o.deadline_ms = Some(0)).starts_with("--deadline-ms"));
        assert!(fault(|o| o.max_wait_ms = Some(u64::MAX)).starts_with("--max-wait-ms"));
        assert!(fault(|o| o.drain_ms = Some(u64::MAX)).starts_with("--drain-ms"));
        assert!(fault(|o| o.search_cost_ms = Some(0.0)).starts_with("--search-cost-ms"));
        assert!(fault(|o| o.search_cost_ms = Some(f64::NAN)).starts_with("--search-cost-ms"));
        assert!(fault(|o| o.burst = Some(0.5)).contains("burst"));
        assert!(fault(|o| o.trust = vec!["k".to_owned()]).starts_with("--trust"));
        assert!(fault(|o| o.release = Some("r".into())).contains("only one of"));
    }
}
