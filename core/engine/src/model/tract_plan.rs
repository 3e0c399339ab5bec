//! A network that tract runs.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::fault::NetworkFault;
use magpie_int8::PlanError;

/// A network that tract runs.
pub(super) struct TractPlan {
    pub(super) plan: Arc<TypedRunnableModel>,
    pub(super) input: [usize; 4],
}

impl TractPlan {
    /// Runs the network on `[1, 3, height, width]` values; the outputs are in the order of the manifest.
    pub(super) fn run(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, NetworkFault> {
        let tensor = Tensor::from_shape(&self.input, input).map_err(fault)?;
        let outputs = self.plan.run(tvec!(tensor.into())).map_err(fault)?;
        outputs.iter().map(|output| values(output).map_err(fault)).collect()
    }
}

fn values(tensor: &Tensor) -> TractResult<Vec<f32>> {
    let tensor = tensor.cast_to::<f32>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

/// An error of tract's, with the text of its causes. It may come from a subgraph that tract hosts.
pub(super) fn fault(error: TractError) -> NetworkFault {
    let too_large = error.downcast_ref().is_some_and(PlanError::is_too_large);
    NetworkFault::Tract { text: format!("{error:#}"), too_large }
}
