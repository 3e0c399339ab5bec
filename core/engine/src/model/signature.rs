//! The input and the outputs that a manifest promises.

use super::fault::NetworkFault;
use super::manifest::Manifest;

/// An output that the manifest promises.
#[derive(Clone, Copy)]
pub(super) struct ExpectedOutput<'a> {
    pub(super) name: &'a str,
    pub(super) values: usize,
    /// The unit of the values, for error messages.
    unit: &'static str,
}

/// The shape of the input: `[1, 3, height, width]`.
pub(super) fn input_shape(manifest: &Manifest) -> [usize; 4] {
    [1, 3, manifest.input.height as usize, manifest.input.width as usize]
}

/// The outputs that the manifest promises: the embedding, then the heads.
pub(super) fn expected_outputs(manifest: &Manifest) -> Vec<ExpectedOutput<'_>> {
    let embedding = &manifest.embedding;
    let embedding = ExpectedOutput { name: &embedding.output, values: embedding.dim as usize, unit: "" };
    let heads = manifest.heads.iter();
    let heads = heads.map(|head| ExpectedOutput { name: &head.output, values: head.labels.len(), unit: " labels" });
    std::iter::once(embedding).chain(heads).collect()
}

impl ExpectedOutput<'_> {
    /// Checks the number of values of the output.
    pub(super) fn check(&self, found: usize) -> Result<(), NetworkFault> {
        let &ExpectedOutput { name, values, unit } = self;
        if found == values {
            return Ok(());
        }
        Err(NetworkFault::OutputSize { name: name.to_owned(), found, expected: values, unit })
    }
}
