//! A subgraph of quantised layers as a custom operator in a tract graph.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::internal::*;

use super::fuse::Subgraph;
use magpie_cpu::Isa;
use magpie_int8::{Network, RunScratch, Shape, output_shapes};

/// A subgraph whose input shapes are not known yet.
#[derive(Debug, Clone)]
pub(super) struct Hosted {
    pub(super) subgraph: Arc<Subgraph>,
    pub(super) isa: Isa,
    pub(super) threads: usize,
    /// Collects the planned networks for the load report.
    pub(super) planned: Arc<Mutex<Vec<Arc<Network>>>>,
}

impl Expansion for Hosted {
    fn name(&self) -> StaticName {
        self.subgraph.name.clone().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.subgraph.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.subgraph.inputs.len())?;
        check_output_arity(outputs, self.subgraph.outputs.len())?;
        for tensor in inputs.iter().chain(outputs) {
            solver.equals(&tensor.datum_type, f32::datum_type())?;
        }
        let sizes: Vec<_> = inputs.iter().map(|input| &input.shape).collect();
        solver.given_all(sizes, move |solver, sizes| {
            let found = shapes(sizes.iter().map(|sizes| sizes.as_slice()))?;
            let given = output_shapes(&self.subgraph.graph, &found)?;
            for (output, shape) in outputs.iter().zip(given) {
                let sizes: ShapeFactoid = shape.tensor().iter().map(|&size| size.to_dim()).collect();
                solver.equals(&output.shape, sizes)?;
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&input| Ok(model.outlet_fact(input)?.shape.to_tvec()));
        let facts = facts.collect::<TractResult<Vec<_>>>()?;
        let shapes = shapes(facts.iter().map(|sizes| sizes.as_slice()))?;
        let network = Network::plan(self.subgraph.graph.clone(), &shapes, self.isa, self.threads)?;
        let network = Arc::new(network);
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).push(network.clone());
        let idle = Arc::default();
        model.wire_node(prefix, Operator { name: self.subgraph.name.clone(), network, idle }, inputs)
    }
}

fn shapes<'a>(tensors: impl Iterator<Item = &'a [TDim]>) -> TractResult<Vec<Shape>> {
    tensors
        .map(|sizes| {
            let sizes = sizes.iter().map(|size| Ok(size.to_i64()? as usize)).collect::<TractResult<Vec<_>>>()?;
            Shape::of(&sizes).ok_or_else(|| anyhow!("a quantised layer cannot take the shape {sizes:?}"))
        })
        .collect()
}

/// A planned subgraph.
#[derive(Debug, Clone)]
struct Operator {
    name: String,
    network: Arc<Network>,
    /// RunScratch memory of finished runs, for reuse.
    idle: Arc<Mutex<Vec<RunScratch>>>,
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.network, &other.network)
    }
}

impl Eq for Operator {}

impl Hash for Operator {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Op for Operator {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Operator {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = idle().pop();
        let mut scratch = scratch.unwrap_or_else(|| self.network.scratch());
        let planes = inputs.iter().map(|input| input.try_as_plain_ram()?.as_slice::<f32>());
        let planes = planes.collect::<TractResult<TVec<&[f32]>>>()?;
        self.network.run(&planes, &mut scratch);
        let outputs = self.network.outputs().enumerate();
        let outputs = outputs
            .map(
                |(at, shape)| Ok(Tensor::from_shape(&shape.tensor(), self.network.output(at, &scratch))?.into_tvalue()),
            )
            .collect::<TractResult<TVec<TValue>>>();
        idle().push(scratch);
        outputs
    }
}

impl TypedOp for Operator {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.network.outputs().map(|shape| f32::fact(shape.tensor())).collect())
    }

    as_op!();
}
