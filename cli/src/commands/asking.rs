//! The part of `magpie search` that may ask a server.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use magpie_core::Error;
use magpie_core::attributes::Attributes;
use magpie_core::confidence::Confidence;
use magpie_core::engine::{AskOptions, Engine, SearchOptions, SearchResults};
use magpie_core::model::Model;
use magpie_core::remote::{Answer, Connectivity, Ended};
use serde::Serialize;

use crate::ask::{self, Server};
use crate::failure::{Failure, Result};
use crate::output;

#[derive(clap::Args)]
pub(crate) struct Asking {
    /// A server with the full catalogue, such as `https://shop.example`: asked where the shard has no good answer
    #[arg(long, value_name = "URL", conflicts_with = "more_like")]
    server: Option<String>,
    /// The token that the server wants
    #[arg(long, env = "MAGPIE_TOKEN", hide_env_values = true, requires = "server")]
    token: Option<String>,
    /// Certificates (PEM) of the authorities to trust in place of the public ones, for a server that has its own
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// Do as if there were no network
    #[arg(long, requires = "server", conflicts_with = "metered")]
    offline: bool,
    /// Do as on a network that costs by the byte: ask less, and once only
    #[arg(long, requires = "server")]
    metered: bool,
    /// Milliseconds that the server's answer may take with all retries
    #[arg(long, value_name = "MS", default_value_t = 1500, requires = "server")]
    deadline_ms: u64,
}

/// What was found here and there, and how long it took.
#[derive(Serialize)]
pub(crate) struct Asked {
    #[serde(flatten)]
    pub(crate) answer: Answer,
    /// In what the shard found, which the answer may not begin with.
    pub(crate) local_confidence: Option<Confidence>,
    pub(crate) attributes: Attributes,
    embed_ms: f64,
    search_ms: f64,
    ask_ms: f64,
}

impl Asking {
    /// The server, where one is named.
    pub(crate) fn server(&self) -> Result<Option<Server>> {
        let Some(url) = &self.server else { return Ok(None) };
        let trusted = self.ca.as_deref().map(ask::certificates).transpose().map_err(Failure::new)?;
        Server::new(url, self.token.clone(), trusted).map(Some).map_err(Failure::usage)
    }

    /// Searches the shard, and asks the server where the policy says so.
    pub(crate) fn search(
        &self,
        engine: &Engine,
        photo: &[u8],
        options: &SearchOptions,
        server: &mut Server,
    ) -> Result<Asked, Error> {
        let ask = AskOptions::on(match (self.offline, self.metered) {
            (true, _) => Connectivity::Offline,
            (_, true) => Connectivity::Metered,
            _ => Connectivity::Unmetered,
        });
        let ask = ask.with_deadline(Duration::from_millis(self.deadline_ms));
        let asking = engine.ask_photo(photo, options, &ask)?;
        let searched = Instant::now();
        let answer = server.ask(&asking);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let ask_ms = ms(searched.elapsed());
        let SearchResults { confidence: local_confidence, attributes, stages, .. } = asking.local;
        let (embed_ms, search_ms) =
            (ms(stages.decode + stages.prepare + stages.network), ms(stages.search + stages.listings));
        Ok(Asked { answer, local_confidence, attributes, embed_ms, search_ms, ask_ms })
    }
}

impl Asked {
    /// Whether what the shard found is no good match.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.local_confidence.is_some_and(|confidence| !confidence.enough)
    }

    /// What happened, in a line each.
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
        let confidence = confidence.map_or_else(String::new, |text| format!("here: {text}\n"));
        format!(
            "{confidence}the photo: {attributes}\nthe server: {reason}{ended}\nembedded in {embed:.1} ms, searched here in {search:.3} ms"
        )
    }
}
