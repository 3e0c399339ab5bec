//! Bulk requests: a batch is sent again until all of its documents are accepted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::cluster::{Call, Cluster, ClusterError};
use super::records::ListingDocument;
use super::schema::LONGEST_ID;

/// Initial pause after OpenSearch pushed back. It doubles with each attempt, up to the longest pause.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Documents to send in one bulk request.
pub(super) struct Batch {
    from: u64,
    lines: Vec<BulkLine>,
    bytes: usize,
}

struct BulkLine {
    id: String,
    /// The action and the document, one line each.
    text: Vec<u8>,
}

/// A batch whose documents were all accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentBatch {
    /// The position of its first record, and the position after its last one.
    pub(super) from: u64,
    pub(super) to: u64,
    /// How often OpenSearch accepted only part of it, or nothing.
    pub(super) pushes: u32,
}

impl Batch {
    /// An empty batch whose first document will be the record at `from`.
    pub(super) fn new(from: u64) -> Batch {
        Batch { from, lines: Vec::new(), bytes: 0 }
    }

    /// Moves the start: the records before `from` are in the index already.
    pub(super) fn start_at(&mut self, from: u64) {
        self.from = from;
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, document: &ListingDocument) -> Result<(), String> {
        if document.id.len() > LONGEST_ID {
            let start: String = document.id.chars().take(40).collect();
            return Err(format!("the listing id '{start}…' is longer than {LONGEST_ID} bytes"));
        }
        let mut text = json!({ "index": { "_id": document.id } }).to_string();
        text.push('\n');
        text.push_str(&serde_json::to_string(&document.body).map_err(|e| e.to_string())?);
        text.push('\n');
        self.bytes += text.len();
        self.lines.push(BulkLine { id: document.id.clone(), text: text.into_bytes() });
        Ok(())
    }
}

/// Sends a batch, and resends what was not accepted, until everything is.
///
/// # Errors
/// The document that OpenSearch rejects, or the last error when `patience` has passed.
pub(super) async fn send(
    cluster: Arc<Cluster>,
    index: String,
    batch: Batch,
    patience: Duration,
) -> Result<SentBatch, String> {
    let deadline = Instant::now() + patience;
    let (from, to) = (batch.from, batch.from + batch.lines.len() as u64);
    // Only the outcomes: the full response would be longer than the request.
    let path = format!("/{index}/_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason");
    let (mut lines, mut pushes, mut pause) = (batch.lines, 0, PAUSE);
    loop {
        let body = lines.iter().flat_map(|line| line.text.iter().copied()).collect();
        let fault = match cluster.call(&Call::lines(path.clone(), body), deadline).await {
            Ok(reply) => {
                lines = left_over(lines, &reply)?;
                if lines.is_empty() {
                    return Ok(SentBatch { from, to, pushes });
                }
                format!("{} documents were not accepted", lines.len())
            }
            Err(ClusterError::Busy) => ClusterError::Busy.to_string(),
            Err(other) => return Err(other.to_string()),
        };
        pushes += 1;
        if Instant::now() + pause > deadline {
            return Err(fault);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns the documents that have to be sent again.
fn left_over(lines: Vec<BulkLine>, reply: &[u8]) -> Result<Vec<BulkLine>, String> {
    #[derive(Deserialize)]
    struct BulkResponse {
        items: Vec<BulkItem>,
    }
    #[derive(Deserialize)]
    struct BulkItem {
        index: BulkOutcome,
    }
    #[derive(Deserialize)]
    struct BulkOutcome {
        status: u16,
        error: Option<BulkError>,
    }
    #[derive(Deserialize)]
    struct BulkError {
        #[serde(rename = "type")]
        kind: String,
        reason: String,
    }
    let BulkResponse { items } = serde_json::from_slice(reply).map_err(|e| format!("OpenSearch's response: {e}"))?;
    if items.len() != lines.len() {
        return Err(format!("OpenSearch's response has {} outcomes for {} documents", items.len(), lines.len()));
    }
    let mut left = Vec::new();
    for (line, BulkItem { index: BulkOutcome { status, error } }) in lines.into_iter().zip(items) {
        match status {
            200..=299 => {}
            429 | 500..=599 => left.push(line),
            _ => {
                let detail = error.map(|BulkError { kind, reason }| format!("{kind}: {reason}")).unwrap_or_default();
                let detail: String = detail.chars().take(300).collect();
                return Err(format!("the listing '{}' was rejected with status {status}: {detail}", line.id));
            }
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<BulkLine> {
        ["a", "b", "c"].map(|id| BulkLine { id: id.to_owned(), text: Vec::new() }).into()
    }

    #[test]
    fn throttled_documents_are_resent_and_rejected_ones_are_named() {
        let left =
            |reply: &str| left_over(lines(), reply.as_bytes()).map(|l| l.into_iter().map(|l| l.id).collect::<String>());
        let item = |status: u16| format!(r#"{{"index":{{"status":{status}}}}}"#);
        let reply = |statuses: [u16; 3]| format!(r#"{{"items":[{}]}}"#, statuses.map(item).join(","));
        assert_eq!(left(&reply([201, 200, 201])), Ok(String::new()));
        assert_eq!(left(&reply([429, 201, 503])), Ok("ac".to_owned()));
        assert!(left(&reply([201, 400, 201])).is_err_and(|e| e.contains("'b'")));
        assert!(left(r#"{"items":[]}"#).is_err_and(|e| e.contains("0 outcomes")));
        assert!(left("null").is_err() && left("{").is_err());
    }
}
