//! Where a release comes from: a folder, or a web server that serves one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use magpie_release::MAX_ENVELOPE_BYTES;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};

use crate::failure::{CommandFailure, Result};

/// Where a piece of a file stands, and its bytes.
type Take<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<()>;

pub(crate) enum ReleaseSource {
    Folder(PathBuf),
    Web { url: String, agent: Agent },
}

impl fmt::Display for ReleaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseSource::Folder(folder) => folder.display().fmt(f),
            ReleaseSource::Web { url, .. } => f.write_str(url),
        }
    }
}

impl ReleaseSource {
    pub(crate) fn new(from: &str) -> Result<ReleaseSource> {
        if !from.starts_with("http://") && !from.starts_with("https://") {
            return Ok(ReleaseSource::Folder(PathBuf::from(from)));
        }
        let parsed = from.parse::<Uri>().ok().filter(|uri| uri.host().is_some() && uri.query().is_none());
        parsed.ok_or_else(|| CommandFailure::usage(format!("--from: '{from}' is not the URL of a release")))?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::WebPki).build())
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // For one file. Where the server knows ranges, the next try goes on where this one stopped.
            .timeout_recv_body(Some(Duration::from_secs(6 * 3600)))
            .user_agent(concat!("magpie/", env!("CARGO_PKG_VERSION")));
        Ok(ReleaseSource::Web { url: from.trim_end_matches('/').to_owned(), agent: config.build().into() })
    }

    /// Fetches a manifest or keys document; `None` if the source does not have it.
    pub(crate) fn small(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let limit = MAX_ENVELOPE_BYTES as u64 + 1;
        let mut bytes = Vec::new();
        let failed = |e: io::Error| CommandFailure::new(format!("{self}/{path}: {e}"));
        match self {
            ReleaseSource::Folder(folder) => match File::open(folder.join(path)) {
                Ok(file) => file.take(limit).read_to_end(&mut bytes).map_err(failed)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(failed(e)),
            },
            ReleaseSource::Web { url, agent } => {
                let response = agent.get(format!("{url}/{path}")).header("accept-encoding", "identity").call();
                let response = response.map_err(|e| failed(io::Error::other(e)))?;
                match response.status().as_u16() {
                    200 => response.into_body().into_reader().take(limit).read_to_end(&mut bytes).map_err(failed)?,
                    404 | 410 => return Ok(None),
                    status => return Err(failed(io::Error::other(format!("HTTP status {status}")))),
                }
            }
        };
        Ok(Some(bytes))
    }

    /// Fetches a file from an offset on, or from its start where the server does not know ranges.
    pub(crate) fn fetch(&self, path: &str, offset: u64, take: Take<'_>) -> Result<()> {
        let failed = |e: io::Error| CommandFailure::new(format!("{self}/{path}: {e}"));
        match self {
            ReleaseSource::Folder(folder) => {
                let mut file = File::open(folder.join(path)).map_err(failed)?;
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                pour(&mut file, offset, take, &failed)
            }
            ReleaseSource::Web { url, agent } => {
                let request = agent.get(format!("{url}/{path}")).header("accept-encoding", "identity");
                let response = request.header("range", format!("bytes={offset}-")).call();
                let response = response.map_err(|e| failed(io::Error::other(e)))?;
                let offset = match response.status().as_u16() {
                    200 => 0,
                    206 => offset,
                    status => return Err(failed(io::Error::other(format!("HTTP status {status}")))),
                };
                pour(&mut response.into_body().into_reader(), offset, take, &failed)
            }
        }
    }
}

fn pour(
    from: &mut dyn Read,
    mut offset: u64,
    take: Take<'_>,
    failed: &dyn Fn(io::Error) -> CommandFailure,
) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        take(offset, &buffer[..count])?;
        offset += count as u64;
    }
}
