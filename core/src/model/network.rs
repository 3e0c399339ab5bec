//! tract runs the network; this is the only file that names it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;

use super::heads;
use super::manifest::Manifest;
use super::pack::Pack;
use crate::attributes::Attributes;
use crate::embedding::Embedding;
use crate::error::{ModelError, Result};
use crate::ids::ModelId;
use crate::recipe::InputTensor;

/// A network ready to run. Cheap to clone, and may be run from several threads at once.
#[derive(Clone)]
pub struct Model {
    manifest: Arc<Manifest>,
    plan: Arc<TypedRunnableModel>,
}

/// What the network says of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The embedding, of unit length.
    pub embedding: Embedding,
    /// One attribute for each head of the manifest.
    pub attributes: Attributes,
}

impl Model {
    /// Loads the network of a pack: reads the graph, checks its input and outputs against the manifest, optimises it.
    ///
    /// # Errors
    /// [`ModelError::Load`] where the file is not ONNX, uses unknown operators, or lacks what the manifest names.
    pub fn load(pack: &Pack) -> Result<Model> {
        let manifest = pack.manifest();
        let plan = guarded(|| plan(manifest, pack.network())).map_err(ModelError::Load)?;
        Ok(Model { manifest: Arc::new(manifest.clone()), plan })
    }

    /// The pack's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The id that its embeddings carry.
    pub fn id(&self) -> ModelId {
        self.manifest.model_id
    }

    /// Runs the network on one input of the recipe's size.
    ///
    /// # Errors
    /// [`ModelError::Run`] where the input has another size or the network gives something unusable.
    pub fn run(&self, input: &InputTensor) -> Result<Output> {
        let recipe = &self.manifest.input;
        if (input.width, input.height) != (recipe.width, recipe.height) {
            let (w, h, rw, rh) = (input.width, input.height, recipe.width, recipe.height);
            return Err(ModelError::Run(format!("the input is {w} x {h} pixels, expected {rw} x {rh}")).into());
        }
        let shape = [1, 3, input.height as usize, input.width as usize];
        let outputs = guarded(|| {
            let tensor = Tensor::from_shape(&shape, &input.data).map_err(text)?;
            let outputs = self.plan.run(tvec!(tensor.into())).map_err(text)?;
            outputs.iter().map(|output| values(output).map_err(text)).collect::<Result<Vec<_>, _>>()
        })
        .map_err(ModelError::Run)?;
        self.interpret(outputs).map_err(Into::into)
    }

    /// `outputs` in the order of [`plan`]: the embedding, then the heads.
    fn interpret(&self, outputs: Vec<Vec<f32>>) -> Result<Output, ModelError> {
        let mut outputs = outputs.into_iter();
        let raw = outputs.next().unwrap_or_default();
        let dim = self.manifest.embedding.dim as usize;
        if raw.len() != dim {
            return Err(ModelError::Run(format!("the embedding has {} values, expected {dim}", raw.len())));
        }
        let embedding = Embedding::new(&raw, self.manifest.model_id)
            .ok_or_else(|| ModelError::Run("the embedding is zero or not finite".to_owned()))?;
        let heads = self.manifest.heads.iter().zip(outputs);
        let attributes = heads.map(|(head, logits)| heads::attribute(head, &logits)).collect::<Result<_, _>>()?;
        Ok(Output { embedding, attributes: Attributes(attributes) })
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.manifest.name).field("id", &self.id()).finish_non_exhaustive()
    }
}

fn plan(manifest: &Manifest, network: &[u8]) -> Result<Arc<TypedRunnableModel>, String> {
    let mut model = onnx().model_for_read(&mut &*network).map_err(text)?;
    let recipe = &manifest.input;
    let inputs: Vec<String> =
        model.input_outlets().map_err(text)?.iter().map(|outlet| model.node(outlet.node).name.clone()).collect();
    if inputs != [recipe.name.as_str()] {
        return Err(format!("its inputs are {inputs:?}, the manifest has one called '{}'", recipe.name));
    }
    let shape = [1, 3, recipe.height as usize, recipe.width as usize];
    model.set_input_fact(0, f32::fact(shape).into()).map_err(text)?;
    let found = model.output_outlets().map_err(text)?.to_vec();
    let wanted = std::iter::once(&manifest.embedding.output).chain(manifest.heads.iter().map(|head| &head.output));
    let outlets = wanted
        .map(|name| {
            let is_it = |o: &&OutletId| model.outlet_label(**o) == Some(name) || model.node(o.node).name == *name;
            found.iter().find(is_it).copied().ok_or_else(|| format!("it has no output '{name}'"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    model.select_output_outlets(&outlets).map_err(text)?;
    let model = model.into_optimized().map_err(text)?;
    let heads = manifest.heads.iter().map(|head| (&head.output, head.labels.len(), " labels"));
    let expected = std::iter::once((&manifest.embedding.output, manifest.embedding.dim as usize, "")).chain(heads);
    for (at, (name, expected, unit)) in expected.enumerate() {
        // A size that only a run can tell is checked after the run.
        let shape = model.output_fact(at).map_err(text)?.shape.as_concrete();
        let found = shape.map_or(expected, |shape| shape.iter().product());
        if found != expected {
            return Err(format!("its output '{name}' has {found} values, expected {expected}{unit}"));
        }
    }
    model.into_runnable().map_err(text)
}

fn values(tensor: &Tensor) -> TractResult<Vec<f32>> {
    let tensor = tensor.cast_to::<f32>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn text(error: TractError) -> String {
    format!("{error:#}")
}

/// tract is written for networks that one trusts: on others it may panic as well as fail. Both become a message.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("internal failure: {}", text.unwrap_or("unknown")))
    })
}
