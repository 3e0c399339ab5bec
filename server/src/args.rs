//! The command line: flags come first, then environment variables, then a TOML file, then defaults.

use std::path::PathBuf;

use crate::settings::{INDEX, Overrides, Settings, index_name};

/// Serves a catalogue over HTTP
#[derive(Debug, clap::Parser)]
#[command(
    name = "magpie-server",
    version,
    after_help = "Every setting can also be given in the file, under its flag's name, or in the environment.\n\
    SIGHUP reloads the catalogue and the tokens; SIGTERM shuts down gracefully.\n\n\
    Example: magpie-server --shards catalog.magpie --listen 0.0.0.0:8080 --tokens tokens.txt"
)]
pub struct Args {
    /// A TOML file with settings
    #[arg(long, env = "MAGPIE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the OpenAPI document and exit
    #[arg(long)]
    pub openapi: bool,
    /// Check the settings, the tokens and the catalogue, say what would be served, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Read a token from standard input, print its hash for the token file, and exit
    #[arg(long)]
    pub hash_token: bool,
    /// A command to run instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// The commands other than serving.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Load shards into an OpenSearch cluster, then switch searches over to them
    ///
    /// After a failure, the same command resumes the load. The previous index is kept for servers that still search it;
    /// older ones are deleted.
    Load(LoadArgs),
}

/// The flags of `load`.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// The shards of one catalogue; a listing in two of them is taken from the later one
    #[arg(long, required = true, value_name = "FILE", value_delimiter = ',')]
    pub catalog: Vec<PathBuf>,
    /// Nodes of the cluster, as http://HOST:PORT
    #[arg(long, required = true, env = "MAGPIE_OPENSEARCH", value_name = "URL", value_delimiter = ',')]
    pub opensearch: Vec<String>,
    /// The alias that servers search
    #[arg(long, env = "MAGPIE_INDEX", value_name = "NAME", default_value = INDEX, value_parser = index_name)]
    pub index: String,
    /// Number of shards of the index
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub index_shards: u32,
    /// Number of replicas of each shard
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub index_replicas: u32,
    /// Merge each shard into one segment at the end: slower to load, faster to search
    #[arg(long)]
    pub merge: bool,
    /// How long to retry a failing batch
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
}

impl Args {
    /// Resolves the settings of flags, environment and file.
    ///
    /// # Errors
    /// Why the file cannot be read, or which setting is invalid.
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
        let settings = |more: &[&str]| {
            let mut args = vec!["magpie-server", "--config", path.to_str().expect("a plain name")];
            args.extend(more);
            Args::try_parse_from(args).map_err(|e| e.to_string()).and_then(|args| args.settings())
        };
        write("shards = [\"a.magpie\", \"b.magpie\"]\nmax-k = 50\nlisten = \"0.0.0.0:9000\"\n");
        let resolved = settings(&["--max-k", "20"]).expect("valid settings");
        assert_eq!((resolved.max_k, resolved.listen.port(), resolved.burst), (20, 9000, 100.0));
        assert_eq!(resolved.shards, ["a.magpie", "b.magpie"].map(PathBuf::from));
        assert_eq!(settings(&["--shards", "c.magpie"]).expect("valid settings").shards, [PathBuf::from("c.magpie")]);
        for (text, fault) in [
            ("max-q = 1", "max-q"),
            ("rate = 0.0\nshards = [\"a\"]", "rate"),
            ("", "--shards"),
            ("page = true\nshards = [\"a\"]", "--page"),
        ] {
            write(text);
            assert!(settings(&[]).expect_err(text).contains(fault), "{text}");
        }
    }
}
