//! Magpie's side of `cargo xtask peers inference`: runs one network on request and prints how long each run took.
//! `--plain` runs an ONNX file with tract alone, `--profile` times each layer, `--peak` measures the CPU's int8 peak.
//!
//! The pack's folder holds `input.f32` as well as its manifest: the network's inputs for some photos, as little-endian
//! f32. The first line of output is a JSON array with the output vector of each photo. After that, each line of input
//! is a number of runs on the first photo. The answer is a line with one triple per run: `[thread CPU time, process CPU
//! time, wall time]` in milliseconds.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use magpie_core::cpu::Isa;
use magpie_core::model::{LoadOptions, Manifest, Model, Pack, Session};
use magpie_core::recipe::InputTensor;
use rustix::time::{ClockId, clock_gettime};
use tract_onnx::prelude::*;

/// Magpie's side of the inference peer bench
#[derive(Parser)]
struct Options {
    /// The pack's folder
    #[arg(required_unless_present = "peak")]
    pack: Option<PathBuf>,
    /// The instruction set to use instead of the CPU's best
    #[arg(long)]
    isa: Option<Isa>,
    /// Threads of one run
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Run this ONNX file with tract alone, on the pack's photos
    #[arg(long, conflicts_with_all = ["isa", "threads"])]
    plain: Option<PathBuf>,
    /// Print `[kind, multiplications, median milliseconds]` for each layer on Magpie's own kernels and exit; layers
    /// that are not timed have 0 milliseconds
    #[arg(long, conflicts_with = "plain")]
    profile: bool,
    /// Print the best instruction set and its int8 peak in GMAC/s on one core, and exit
    #[arg(long)]
    peak: bool,
}

type Outcome<T> = Result<T, Box<dyn Error>>;
/// Maps an input to the network's raw embedding output.
type Network = Box<dyn FnMut(&InputTensor) -> Outcome<Vec<f32>>>;

/// Number of runs of a profile.
const PROFILED: usize = 61;

fn main() -> Outcome<()> {
    let options = Options::parse();
    let Some(folder) = &options.pack else {
        let (isa, peak) = peak::gmac_per_second()?;
        println!("{isa} {peak:.1}");
        return Ok(());
    };
    let pack = Pack::open(folder)?;
    let inputs = inputs(folder, pack.manifest())?;
    let mut network = match &options.plain {
        Some(file) => plain(file, pack.manifest())?,
        None => {
            let load = LoadOptions::default().with_threads(options.threads);
            let load = options.isa.map_or(load.clone(), |isa| load.with_isa(isa));
            let model = Model::load_with(&pack, &load)?;
            if options.profile {
                return profile(&model, &inputs[0]);
            }
            magpie(model.session())
        }
    };
    let outputs = inputs.iter().map(&mut network).collect::<Outcome<Vec<_>>>()?;
    println!("{outputs:?}");
    for line in std::io::stdin().lock().lines() {
        let runs: usize = line?.trim().parse()?;
        let times = (0..runs).map(|_| time(|| network(&inputs[0]))).collect::<Outcome<Vec<_>>>()?;
        println!("{times:?}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn inputs(folder: &Path, manifest: &Manifest) -> Outcome<Vec<InputTensor>> {
    let bytes = std::fs::read(folder.join("input.f32"))?;
    let (width, height) = (manifest.input.width, manifest.input.height);
    let photos = bytes.chunks_exact(4 * 3 * width as usize * height as usize);
    let values = |photo: &[u8]| photo.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
    Ok(photos.map(|photo| InputTensor { width, height, data: values(photo) }).collect())
}

fn magpie(mut session: Session) -> Network {
    Box::new(move |input| {
        session.run_raw(input)?;
        Ok(session.raw(0).to_vec())
    })
}

fn profile(model: &Model, input: &InputTensor) -> Outcome<()> {
    let layers = &model.report().fused;
    let mut times = vec![Vec::with_capacity(PROFILED); layers.len()];
    let mut session = model.session();
    for _ in 0..PROFILED {
        for (layer, time) in session.profile(input)? {
            times[layer].push(time.as_secs_f64() * 1e3);
        }
    }
    let medians = times.iter_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    });
    let rows = layers.iter().zip(medians).map(|(layer, ms)| (layer.kind, layer.products, ms));
    println!("{}", serde_json::to_string(&rows.collect::<Vec<_>>())?);
    Ok(())
}

fn plain(file: &Path, manifest: &Manifest) -> Outcome<Network> {
    let shape = [1, 3, manifest.input.height as usize, manifest.input.width as usize];
    let model = onnx().model_for_path(file)?.with_input_fact(0, f32::fact(shape).into())?;
    let model = model.into_optimized()?.into_runnable()?;
    Ok(Box::new(move |input| {
        let outputs = model.run(tvec!(Tensor::from_shape(&shape, &input.data)?.into()))?;
        Ok(outputs[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }))
}

/// Thread CPU time, process CPU time and wall time of a run.
fn time<T>(run: impl FnOnce() -> Outcome<T>) -> Outcome<[f64; 3]> {
    let now = || {
        [ClockId::ThreadCPUTime, ClockId::ProcessCPUTime, ClockId::Monotonic].map(|clock| {
            let time = clock_gettime(clock);
            time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
        })
    };
    let before = now();
    std::hint::black_box(run()?);
    let after = now();
    Ok(std::array::from_fn(|clock| after[clock] - before[clock]))
}

#[cfg(target_arch = "x86_64")]
mod peak {
    //! Dot products of registers with registers, without loads, stores or dependency stalls.
    #![allow(unsafe_code)] // instructions whose CPU features are detected at run time

    use std::arch::x86_64::*;
    use std::hint::black_box;

    use magpie_core::cpu::Isa;

    const ROUNDS: u32 = 4_000_000;

    /// The peak of the CPU's best instruction set: the fastest of a few tries, since noise only ever slows one down.
    pub(crate) fn gmac_per_second() -> super::Outcome<(Isa, f64)> {
        // MACs of a round: bytes of a register times accumulators.
        let (macs, round): (usize, unsafe fn() -> i32) = match Isa::best() {
            Isa::Avx512Vnni => (64 * 24, avx512_vnni),
            Isa::Avx2 => (32 * 10, avx2),
            isa => return Err(format!("no peak is known for {isa}").into()),
        };
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            // SAFETY: the CPU has the instruction set, as checked above.
            let [cpu_ms, ..] = super::time(|| Ok(unsafe { round() }))?;
            best = best.min(cpu_ms);
        }
        Ok((Isa::best(), macs as f64 * f64::from(ROUNDS) / best / 1e6))
    }

    /// 24 accumulators, more than two execution units with a latency of five cycles can keep in flight.
    ///
    /// # Safety
    /// The CPU has AVX512-VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn avx512_vnni() -> i32 {
        let (a, b) = (_mm512_set1_epi8(black_box(1)), _mm512_set1_epi8(black_box(2)));
        let mut sums = [_mm512_set1_epi8(black_box(0)); 24];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        sums.iter().fold(0, |total, &sum| total.wrapping_add(_mm512_reduce_add_epi32(sum)))
    }

    /// Ten accumulators, which leave registers for intermediate values: a dot product takes three instructions.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn avx2() -> i32 {
        let mut a = _mm256_set1_epi8(black_box(1));
        let ones = _mm256_set1_epi16(black_box(1));
        let mut sums = [_mm256_set1_epi8(black_box(0)); 10];
        for _ in 0..ROUNDS {
            // Hides from the compiler that the value is constant, so that no product is moved out of the loop.
            a = black_box(a);
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, *sum), ones));
            }
        }
        sums.iter().fold(0, |total, &sum| total.wrapping_add(_mm256_extract_epi32::<0>(sum)))
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod peak {
    pub(crate) fn gmac_per_second() -> super::Outcome<(magpie_core::cpu::Isa, f64)> {
        Err("the peak is measured for x86-64 only".into())
    }
}
