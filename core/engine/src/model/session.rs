//! A model: it turns an input tensor into an embedding and attributes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::NetworkFault;
use super::heads;
use super::load::load;
use super::loaded::{LoadOptions, LoadReport, LoadedNetwork, RunMemory};
use super::manifest::Manifest;
use super::pack::Pack;
use crate::Embedding;
use crate::ModelId;
use crate::attributes::Attributes;
use crate::error::{ModelError, Result};
use crate::recipe::InputTensor;

/// A loaded network. Clones are cheap and share the weights; several threads may run it at once.
#[derive(Clone)]
pub struct Model {
    shared: Arc<SharedModel>,
}

struct SharedModel {
    manifest: Manifest,
    network: LoadedNetwork,
    /// Memory of finished runs, for reuse: at most one for each run that was in progress at the same time.
    idle: Mutex<Vec<RunMemory>>,
}

/// The network's output for one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The embedding, of unit length.
    pub embedding: Embedding,
    /// One attribute for each head, in the order of the manifest.
    pub attributes: Attributes,
}

impl Model {
    /// Loads the network of a pack for this CPU.
    ///
    /// ```no_run
    /// use magpie_core::model::{Model, Pack};
    ///
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// println!("{} layers run on the project's own kernels", model.report().fused.len());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Model::load_with`].
    pub fn load(pack: &Pack) -> Result<Model> {
        Model::load_with(pack, &LoadOptions::default())
    }

    /// Loads the network of a pack: reads the graph, checks its input and outputs against the manifest, packs the
    /// weights.
    ///
    /// # Errors
    /// [`ModelError::Load`] if the file is malformed, uses unsupported operators, or lacks an input or output that the
    /// manifest names; if the CPU lacks the instruction set; or if it is ONNX and this build lacks the feature `onnx`.
    pub fn load_with(pack: &Pack, options: &LoadOptions) -> Result<Model> {
        let manifest = pack.manifest().clone();
        let network = load(pack, options).map_err(|fault| ModelError::Load(fault.to_string()))?;
        Ok(Model { shared: Arc::new(SharedModel { manifest, network, idle: Mutex::default() }) })
    }

    /// The pack's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// The id of the model, which its embeddings carry.
    pub fn id(&self) -> ModelId {
        self.shared.manifest.model_id
    }

    /// Returns how the network was loaded: which layers run on the project's own kernels, and which on tract.
    pub fn report(&self) -> &LoadReport {
        &self.shared.network.report
    }

    /// Runs the network on one input of the recipe's size.
    ///
    /// # Errors
    /// [`ModelError::Run`] if the input has the wrong size, or an output has the wrong size or is not finite.
    pub fn run(&self, input: &InputTensor) -> Result<Output> {
        let idle = || self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = idle().pop().unwrap_or_default();
        let mut session = Session { model: self.clone(), memory };
        let output = session.run(input);
        idle().push(session.memory);
        output
    }

    /// Creates a session, which reuses its memory for many runs in sequence.
    pub fn session(&self) -> Session {
        Session { model: self.clone(), memory: RunMemory::default() }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.manifest().name).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A model with memory for one run at a time. After the first run, [`Session::run_raw`] does not allocate, provided
/// that all of the network runs on the project's own kernels in one thread.
#[derive(Debug)]
pub struct Session {
    model: Model,
    memory: RunMemory,
}

impl Session {
    /// As [`Model::run`].
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run(&mut self, input: &InputTensor) -> Result<Output> {
        self.run_raw(input)?;
        let manifest = self.model.manifest();
        let raw = self.raw(0);
        let dim = manifest.embedding.dim as usize;
        if raw.len() != dim {
            return Err(ModelError::Run(format!("the embedding has {} values, expected {dim}", raw.len())).into());
        }
        let embedding = Embedding::new(raw, manifest.model_id)
            .ok_or_else(|| ModelError::Run("the embedding is zero or not finite".to_owned()))?;
        let heads = manifest.heads.iter().enumerate();
        let attributes = heads.map(|(at, head)| heads::attribute(head, self.raw(at + 1))).collect::<Result<_, _>>()?;
        Ok(Output { embedding, attributes: Attributes(attributes) })
    }

    /// Runs the network. [`Session::raw`] then returns its outputs, which are not checked or processed.
    ///
    /// # Errors
    /// [`ModelError::Run`] if the input has the wrong size or the network fails.
    pub fn run_raw(&mut self, input: &InputTensor) -> Result<()> {
        check(self.model.manifest(), input)?;
        self.model.shared.network.run(&input.data, &mut self.memory).map_err(|fault| run_error(&fault).into())
    }

    /// Returns an output of the last run: 0 is the embedding before normalisation, then come the logits of the heads.
    /// Empty if there is no such output or no run yet.
    pub fn raw(&self, at: usize) -> &[f32] {
        let outputs = self.model.manifest().heads.len() + 1;
        if at < outputs { self.model.shared.network.output(at, &self.memory) } else { &[] }
    }

    /// Runs the network and returns the number and the time of each layer of [`LoadReport::fused`]; layers on tract are
    /// not timed.
    ///
    /// # Errors
    /// As [`Session::run_raw`].
    pub fn profile(&mut self, input: &InputTensor) -> Result<Vec<(usize, Duration)>> {
        check(self.model.manifest(), input)?;
        let network = &self.model.shared.network;
        let mut times = Vec::with_capacity(network.report.fused.len());
        let mut started = Instant::now();
        let after = |layer| {
            times.push((layer, started.elapsed()));
            started = Instant::now();
        };
        network.watch(&input.data, &mut self.memory, after).map_err(|fault| run_error(&fault))?;
        Ok(times)
    }
}

fn run_error(fault: &NetworkFault) -> ModelError {
    ModelError::Run(fault.to_string())
}

fn check(manifest: &Manifest, input: &InputTensor) -> Result<(), ModelError> {
    let recipe = &manifest.input;
    let (width, height) = (recipe.width, recipe.height);
    if (input.width, input.height) != (width, height) || input.data.len() != 3 * width as usize * height as usize {
        let (w, h, values) = (input.width, input.height, input.data.len());
        let found = format!("the input is {w} x {h} pixels of {values} values, expected {width} x {height}");
        return Err(ModelError::Run(found));
    }
    Ok(())
}
