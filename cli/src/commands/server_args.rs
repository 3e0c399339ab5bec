//! The part of `magpie search` that asks a server: its options, and the search with them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use magpie_core::Error;
use magpie_core::attributes::Attributes;
use magpie_core::confidence::Confidence;
use magpie_core::engine::{AskOptions, Engine, SearchOptions, SearchResults};
use magpie_core::model::Model;
use magpie_core::remote::{Answer, Connectivity, Ended};
use serde::Serialize;

use crate::failure::{CommandFailure, Result};
use crate::output;
use crate::server_client::{self, ServerClient};

#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// URL of a server with the full catalogue, which is asked if the shard has no good match
    #[arg(long, value_name = "URL", conflicts_with = "more_like")]
    server: Option<String>,
    /// Access token for the server
    #[arg(long, env = "MAGPIE_TOKEN", hide_env_values = true, requires = "server")]
    token: Option<String>,
    /// PEM file of the certificate authorities to trust instead of the public ones, for a server with its own authority
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// Behave as if there were no network
    #[arg(long, requires = "server", conflicts_with = "metered")]
    offline: bool,
    /// Behave as on a metered network: ask less often, and never send a second request while one is under way
    #[arg(long, requires = "server")]
    metered: bool,
    /// Milliseconds to wait for the server's answer, including all retries
    #[arg(long, value_name = "MS", default_value_t = 1500, requires = "server")]
    deadline_ms: u64,
}

/// What the shard and the server found, and how long it took.
#[derive(Serialize)]
pub(crate) struct ServerOutcome {
    #[serde(flatten)]
    pub(crate) answer: Answer,
    /// The confidence in the shard's own results; the answer may begin with another listing.
    pub(crate) local_confidence: Option<Confidence>,
    pub(crate) attributes: Attributes,
    pub(crate) photo_incomplete: bool,
    embed_ms: f64,
    search_ms: f64,
    ask_ms: f64,
}

impl ServerArgs {
    /// Returns the client for `--server`; `None` without that option.
    pub(crate) fn server(&self) -> Result<Option<ServerClient>> {
        let Some(url) = &self.server else { return Ok(None) };
        let trusted = self.ca.as_deref().map(server_client::certificates).transpose().map_err(CommandFailure::new)?;
        ServerClient::new(url, self.token.clone(), trusted).map(Some).map_err(CommandFailure::usage)
    }

    /// Searches the shard, and asks the server if the policy says so.
    pub(crate) fn search(
        &self,
        engine: &Engine,
        photo: &[u8],
        options: &SearchOptions,
        server: &mut ServerClient,
    ) -> Result<ServerOutcome, Error> {
        let ask = AskOptions::on(match (self.offline, self.metered) {
            (true, _) => Connectivity::Offline,
            (_, true) => Connectivity::Metered,
            _ => Connectivity::Unmetered,
        });
        let ask = ask.with_deadline(Duration::from_millis(self.deadline_ms));
        let asking = engine.ask_photo(photo, options, &ask)?;
        let searched = Instant::now();
        let answer = server.ask(&asking);
        let ask_ms = output::millis(searched.elapsed());
        let SearchResults { confidence: local_confidence, attributes, stages, photo_incomplete, .. } = asking.local;
        let embed_ms = output::millis(stages.decode + stages.prepare + stages.network);
        let search_ms = output::millis(stages.search + stages.listings);
        Ok(ServerOutcome { answer, local_confidence, attributes, photo_incomplete, embed_ms, search_ms, ask_ms })
    }
}

impl ServerOutcome {
    /// Whether the shard's first listing is not a good match.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.local_confidence.is_some_and(|confidence| !confidence.enough)
    }

    /// Describes the search, one line per step.
    pub(crate) fn summary(&self, model: &Model) -> String {
        let Answer { reason, ended, sends, .. } = &self.answer;
        let ended = match ended {
            None => String::new(),
            Some(ended) => {
                let requests = if *sends == 1 { "request" } else { "requests" };
                let end = match ended {
                    Ended::Answered => "it answered".to_owned(),
                    Ended::Failed(failure) => failure.to_string(),
                };
                format!("; {end} ({sends} {requests}, {:.1} ms)", self.ask_ms)
            }
        };
        let attributes = output::attributes(self.attributes.0.iter());
        let (embed, search) = (self.embed_ms, self.search_ms);
        let confidence = output::confidence(self.local_confidence, model.manifest());
        let confidence = confidence.map_or_else(String::new, |text| format!("the shard: {text}\n"));
        format!(
            "{confidence}the photo: {attributes}\nthe server: {reason}{ended}\n\
             embedded in {embed:.1} ms, searched the shard in {search:.3} ms"
        )
    }
}
