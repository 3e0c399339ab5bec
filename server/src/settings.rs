//! How to serve: flags, then environment, then a file, then defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Serves a catalogue over HTTP
#[derive(Debug, clap::Parser)]
#[command(
    name = "magpie-server",
    version,
    after_help = "Every setting can also stand in the file, under its flag's name, or in the environment.\n\
    SIGHUP reads shards and tokens again; SIGTERM ends without losing a request.\n\n\
    Example: magpie-server --shards catalog.magpie --listen 0.0.0.0:8080 --tokens tokens.txt"
)]
pub struct Args {
    /// A TOML file with settings
    #[arg(long, env = "MAGPIE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the OpenAPI document and end
    #[arg(long)]
    pub openapi: bool,
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// What there is to do beside serving.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Put shards into an OpenSearch cluster, and let searches change over to them
    ///
    /// Run again after a failure, it goes on where the last one ended. The index before stays, for servers that still
    /// search it; older ones are deleted.
    Load(LoadArgs),
}

/// How to load.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// The shards of one catalogue; of a listing that is in two, the later one counts
    #[arg(long, required = true, value_name = "FILE", value_delimiter = ',')]
    pub catalog: Vec<PathBuf>,
    /// Nodes of the cluster, http://HOST:PORT
    #[arg(long, required = true, env = "MAGPIE_OPENSEARCH", value_name = "URL", value_delimiter = ',')]
    pub opensearch: Vec<String>,
    /// The name that searches go to
    #[arg(long, env = "MAGPIE_INDEX", value_name = "NAME", default_value = INDEX, value_parser = index_name)]
    pub index: String,
    /// Shards of the index
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub index_shards: u32,
    /// Copies of each shard beside the first
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub index_replicas: u32,
    /// Merge each shard into one segment at the end: loading is slower, searches are quicker
    #[arg(long)]
    pub merge: bool,
    /// Seconds that a batch may go on failing
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
}

/// The name of an index where none is given.
const INDEX: &str = "magpie";

/// A name that is an index's everywhere, and cannot be mistaken for a path.
fn index_name(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if plain && text.len() <= 100 && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(text.to_owned());
    }
    Err("expected a small letter, and then small letters, digits and '-'".to_owned())
}

/// Settings that were given, in one place or another.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Overrides {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "MAGPIE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The shards of one catalogue
    #[arg(long, env = "MAGPIE_SHARDS", value_name = "FILE", value_delimiter = ',')]
    pub shards: Vec<PathBuf>,
    /// Nodes of an OpenSearch cluster to search instead of shards, http://HOST:PORT
    #[arg(long, env = "MAGPIE_OPENSEARCH", value_name = "URL", value_delimiter = ',')]
    pub opensearch: Vec<String>,
    /// The name of the catalogue in the cluster [default: magpie]
    #[arg(long, env = "MAGPIE_INDEX", value_name = "NAME")]
    pub index: Option<String>,
    /// Searches that the cluster works on at once; more wait [default: 64]
    #[arg(long, env = "MAGPIE_ENGINE_SEARCHES", value_name = "NUMBER")]
    pub engine_searches: Option<usize>,
    /// Read every byte of a shard before serving it
    #[arg(long, env = "MAGPIE_VERIFY", num_args = 0..=1, default_missing_value = "true")]
    pub verify: Option<bool>,
    /// A file with a line 'name token' for each app; without one, everyone may ask
    #[arg(long, env = "MAGPIE_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Requests a second that a token may make [default: 50]
    #[arg(long, env = "MAGPIE_RATE", value_name = "NUMBER")]
    pub rate: Option<f64>,
    /// Requests that a token may make at once [default: 100]
    #[arg(long, env = "MAGPIE_BURST", value_name = "NUMBER")]
    pub burst: Option<f64>,
    /// Threads that search [default: one for each core]
    #[arg(long, env = "MAGPIE_THREADS", value_name = "NUMBER")]
    pub threads: Option<usize>,
    /// Listings that a request may ask for [default: 200]
    #[arg(long, env = "MAGPIE_MAX_K", value_name = "NUMBER")]
    pub max_k: Option<u32>,
    /// Bytes of a request's body [default: 65536]
    #[arg(long, env = "MAGPIE_MAX_BODY", value_name = "BYTES")]
    pub max_body: Option<usize>,
    /// Requests under way at once; more are turned away [default: 256]
    #[arg(long, env = "MAGPIE_MAX_IN_FLIGHT", value_name = "NUMBER")]
    pub max_in_flight: Option<usize>,
    /// Open connections; more wait to be accepted [default: 4096]
    #[arg(long, env = "MAGPIE_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// A search that would wait longer for a thread is turned away [default: 15]
    #[arg(long, env = "MAGPIE_MAX_WAIT_MS", value_name = "MS")]
    pub max_wait_ms: Option<u64>,
    /// The deadline of a request that does not say its own [default: 2000]
    #[arg(long, env = "MAGPIE_DEADLINE_MS", value_name = "MS")]
    pub deadline_ms: Option<u64>,
    /// How often to look whether a shard was replaced; 0 for never [default: 5000]
    #[arg(long, env = "MAGPIE_WATCH_MS", value_name = "MS")]
    pub watch_ms: Option<u64>,
    /// How long to go on accepting after a signal to stop, while /readyz says no [default: 500]
    #[arg(long, env = "MAGPIE_LINGER_MS", value_name = "MS")]
    pub linger_ms: Option<u64>,
    /// How long requests under way may take after that [default: 15000]
    #[arg(long, env = "MAGPIE_DRAIN_MS", value_name = "MS")]
    pub drain_ms: Option<u64>,
    /// Serve a page to look at, at '/': needs --model, and a build with the feature 'page'
    #[arg(long, env = "MAGPIE_PAGE", num_args = 0..=1, default_missing_value = "true")]
    pub page: Option<bool>,
    /// The folder of the model pack that embeds the page's photos
    #[arg(long, env = "MAGPIE_MODEL", value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Photos of the page that are embedded at once [default: 1]
    #[arg(long, env = "MAGPIE_PAGE_PHOTOS", value_name = "NUMBER")]
    pub page_photos: Option<usize>,
    /// Write the log as JSON
    #[arg(long, env = "MAGPIE_LOG_JSON", num_args = 0..=1, default_missing_value = "true")]
    pub log_json: Option<bool>,
    /// What to log: error, warn, info or debug; info has a line for each request [default: info]
    #[arg(long, env = "MAGPIE_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
}

/// How to serve.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The shards of one catalogue; none where a cluster is searched.
    pub shards: Vec<PathBuf>,
    /// Nodes of the cluster to search.
    pub opensearch: Vec<String>,
    /// The name of the catalogue in the cluster.
    pub index: String,
    /// Searches that the cluster works on at once.
    pub engine_searches: usize,
    /// Read every byte of a shard before serving it.
    pub verify: bool,
    /// A file with tokens.
    pub tokens: Option<PathBuf>,
    /// Requests a second that a token may make.
    pub rate: f64,
    /// Requests that a token may make at once.
    pub burst: f64,
    /// Threads that search.
    pub threads: usize,
    /// Listings that a request may ask for.
    pub max_k: u32,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// Open connections.
    pub max_connections: usize,
    /// How long a search may wait for a thread.
    pub max_wait: Duration,
    /// The deadline of a request that does not say its own.
    pub default_deadline: Duration,
    /// How often to look whether a shard was replaced; zero for never.
    pub watch: Duration,
    /// How long to go on accepting after a signal to stop.
    pub linger: Duration,
    /// How long requests under way may take after that.
    pub drain: Duration,
    /// The folder of the model pack for the page; no page without one.
    pub page: Option<PathBuf>,
    /// Photos of the page that are embedded at once.
    pub page_photos: usize,
    /// Write the log as JSON.
    pub log_json: bool,
    /// What to log.
    pub log: tracing::Level,
}

impl Args {
    /// The settings, with those of the file where flags and environment say nothing.
    ///
    /// # Errors
    /// What cannot be read, or makes no sense.
    pub fn settings(&self) -> Result<Settings, String> {
        let file = match &self.config {
            None => Overrides::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?
            }
        };
        self.overrides.clone().or(file).settings()
    }
}

impl Overrides {
    /// These, and the others where these say nothing.
    #[must_use]
    pub fn or(self, other: Overrides) -> Overrides {
        Overrides {
            listen: self.listen.or(other.listen),
            shards: if self.shards.is_empty() { other.shards } else { self.shards },
            opensearch: if self.opensearch.is_empty() { other.opensearch } else { self.opensearch },
            index: self.index.or(other.index),
            engine_searches: self.engine_searches.or(other.engine_searches),
            verify: self.verify.or(other.verify),
            tokens: self.tokens.or(other.tokens),
            rate: self.rate.or(other.rate),
            burst: self.burst.or(other.burst),
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

    /// The settings, with the defaults where nothing is said.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn settings(self) -> Result<Settings, String> {
        let ms = |given: Option<u64>, default| Duration::from_millis(given.unwrap_or(default));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let level = self.log.as_deref().unwrap_or("info");
        let (rate, burst) = (self.rate.unwrap_or(50.0), self.burst.unwrap_or(100.0));
        if !(rate > 0.0 && rate.is_finite() && burst >= 1.0 && burst.is_finite()) {
            return Err(format!("a rate of {rate} and a burst of {burst} let no request pass"));
        }
        match (self.shards.is_empty(), self.opensearch.is_empty()) {
            (true, true) => return Err("there is nothing to search: --shards FILE or --opensearch URL".to_owned()),
            (false, false) => return Err("--shards and --opensearch: expected one of the two".to_owned()),
            _ => {}
        }
        let page = match (self.page.unwrap_or(false), self.model) {
            (true, _) if !cfg!(feature = "page") => {
                return Err("--page: this program was built without it; build it with --features page".to_owned());
            }
            (true, None) => return Err("--page needs a model for its photos: --model FOLDER".to_owned()),
            (true, model) => model,
            (false, _) => None,
        };
        Ok(Settings {
            listen: self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            shards: self.shards,
            opensearch: self.opensearch,
            index: index_name(self.index.as_deref().unwrap_or(INDEX)).map_err(|e| format!("--index: {e}"))?,
            engine_searches: self.engine_searches.unwrap_or(64).clamp(1, 1 << 16),
            verify: self.verify.unwrap_or(false),
            tokens: self.tokens,
            rate,
            burst,
            threads: self.threads.unwrap_or(cores).clamp(1, 1024),
            max_k: self.max_k.unwrap_or(200),
            max_body: self.max_body.unwrap_or(64 << 10),
            max_in_flight: self.max_in_flight.unwrap_or(256).clamp(1, 1 << 20),
            max_connections: self.max_connections.unwrap_or(4096).clamp(1, 1 << 20),
            max_wait: ms(self.max_wait_ms, 15),
            default_deadline: ms(self.deadline_ms, 2000),
            watch: ms(self.watch_ms, 5000),
            linger: ms(self.linger_ms, 500),
            drain: ms(self.drain_ms, 15_000),
            page,
            page_photos: self.page_photos.unwrap_or(1).clamp(1, 64),
            log_json: self.log_json.unwrap_or(false),
            log: level.parse().map_err(|_| format!("'{level}' is no level: error, warn, info or debug"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn flags_come_before_the_file_and_the_file_before_defaults() {
        Args::command().debug_assert();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("server.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("a writable folder");
        let read = |more: &[&str]| {
            let mut args = vec!["magpie-server", "--config", path.to_str().expect("a plain name")];
            args.extend(more);
            Args::try_parse_from(args).map_err(|e| e.to_string()).and_then(|args| args.settings())
        };
        write("shards = [\"a.magpie\", \"b.magpie\"]\nmax-k = 50\nlisten = \"0.0.0.0:9000\"\n");
        let settings = read(&["--max-k", "20"]).expect("sound settings");
        assert_eq!((settings.max_k, settings.listen.port(), settings.burst), (20, 9000, 100.0));
        assert_eq!(settings.shards, ["a.magpie", "b.magpie"].map(PathBuf::from));
        assert_eq!(read(&["--shards", "c.magpie"]).expect("sound settings").shards, [PathBuf::from("c.magpie")]);
        for (text, fault) in [
            ("max-q = 1", "max-q"),
            ("rate = 0.0\nshards = [\"a\"]", "rate"),
            ("", "--shards"),
            ("page = true\nshards = [\"a\"]", "--page"),
        ] {
            write(text);
            assert!(read(&[]).expect_err(text).contains(fault), "{text}");
        }
    }
}
