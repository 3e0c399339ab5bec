//! A network that tract runs.

use std::sync::Arc;

use tract_onnx::prelude::*;

/// A network that tract runs.
pub(super) struct TractPlan {
    pub(super) plan: Arc<TypedRunnableModel>,
    pub(super) input: [usize; 4],
}

impl TractPlan {
    /// Runs the network on `[1, 3, height, width]` values; the outputs are in the order of the manifest.
    pub(super) fn run(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, String> {
        let tensor = Tensor::from_shape(&self.input, input).map_err(text)?;
        let outputs = self.plan.run(tvec!(tensor.into())).map_err(text)?;
        outputs.iter().map(|output| values(output).map_err(text)).collect()
    }
}

fn values(tensor: &Tensor) -> TractResult<Vec<f32>> {
    let tensor = tensor.cast_to::<f32>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

/// The text of an error of tract's, with its causes.
pub(super) fn text(error: TractError) -> String {
    format!("{error:#}")
}
