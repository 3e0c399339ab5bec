//! A model: what takes an input tensor and gives an embedding and attributes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::heads;
use super::manifest::Manifest;
use super::network::{LoadOptions, LoadReport, Loaded, Memory};
use super::pack::Pack;
use crate::Embedding;
use crate::ModelId;
use crate::attributes::Attributes;
use crate::error::{ModelError, Result};
use crate::recipe::InputTensor;

/// A network ready to run. Cheap to clone, and may be run from several threads at once; all clones share the weights.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

struct Shared {
    manifest: Manifest,
    network: Loaded,
    /// Memories of runs that are over: there are never more than runs that went on at a time.
    idle: Mutex<Vec<Memory>>,
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
    /// Loads the network of a pack for this CPU.
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
    /// [`ModelError::Load`] where the file is not ONNX, uses unknown operators, or lacks what the manifest names, where
    /// the CPU lacks the instruction set, or where it is ONNX and this build reads compiled networks only.
    pub fn load_with(pack: &Pack, options: &LoadOptions) -> Result<Model> {
        let manifest = pack.manifest().clone();
        let network = Loaded::load(pack, options).map_err(ModelError::Load)?;
        Ok(Model { shared: Arc::new(Shared { manifest, network, idle: Mutex::default() }) })
    }

    /// The pack's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// The id that its embeddings carry.
    pub fn id(&self) -> ModelId {
        self.shared.manifest.model_id
    }

    /// How the network was loaded: what runs on the project's own kernels, and what on tract.
    pub fn report(&self) -> &LoadReport {
        &self.shared.network.report
    }

    /// Runs the network on one input of the recipe's size.
    ///
    /// # Errors
    /// [`ModelError::Run`] where the input has another size or the network gives something unusable.
    pub fn run(&self, input: &InputTensor) -> Result<Output> {
        let idle = || self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = idle().pop().unwrap_or_default();
        let mut session = Session { model: self.clone(), memory };
        let output = session.run(input);
        idle().push(session.memory);
        output
    }

    /// Memory of one's own for many runs, one after the other.
    pub fn session(&self) -> Session {
        Session { model: self.clone(), memory: Memory::default() }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.manifest().name).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A model with the memory for one run at a time. After the first run, [`Session::run_raw`] allocates nothing where all
/// of the network runs on the project's own kernels in one thread.
#[derive(Debug)]
pub struct Session {
    model: Model,
    memory: Memory,
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

    /// Runs the network and leaves its outputs as they are, for [`Session::raw`].
    ///
    /// # Errors
    /// [`ModelError::Run`] where the input has another size or the network fails.
    pub fn run_raw(&mut self, input: &InputTensor) -> Result<()> {
        check(self.model.manifest(), input)?;
        self.model.shared.network.run(&input.data, &mut self.memory).map_err(|e| ModelError::Run(e).into())
    }

    /// An output of the last run: 0 is the embedding, not scaled to unit length, then the heads' logits. Empty where
    /// there is none.
    pub fn raw(&self, at: usize) -> &[f32] {
        let outputs = self.model.manifest().heads.len() + 1;
        if at < outputs { self.model.shared.network.output(at, &self.memory) } else { &[] }
    }

    /// Runs the network and says how long each layer of [`LoadReport::fused`] took; layers on tract are not timed.
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
        network.watch(&input.data, &mut self.memory, after).map_err(ModelError::Run)?;
        Ok(times)
    }
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
