//! A phone has little memory: the network's use of it is bounded, and a run allocates nothing.

use magpie_core::cpu::Isa;
use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;
use magpie_tests::memory::{Used, measured};
use magpie_tests::{default_pack, net_kinds, repository};

const MEGABYTE: usize = 1_000_000;

/// The most bytes that opening, loading and one run may take. [`Isa::Avx2`] stores some weights in 16 bits.
fn peak(isa: Isa) -> usize {
    if isa == Isa::Avx2 { 12 * MEGABYTE } else { 10 * MEGABYTE }
}

fn input(pack: &Pack, seed: u32) -> InputTensor {
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let value = |i: u32| (i.wrapping_mul(2_654_435_761 + seed) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    InputTensor { width, height, data: (0..3 * width * height).map(value).collect() }
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / MEGABYTE as f64
}

#[test]
fn a_run_allocates_nothing() {
    let model = Model::load(default_pack()).unwrap();
    let input = input(default_pack(), 0);
    let mut session = model.session();
    session.run_raw(&input).unwrap();
    let ((), used) = measured(|| (0..3).for_each(|_| session.run_raw(&input).unwrap()));
    assert_eq!(used, Used { allocations: 0, peak: 0, kept: 0 });
}

/// The same for every small network that is fully fused, since each kind of layer has its own code.
#[test]
fn no_kind_of_layer_allocates() {
    for case in net_kinds::all().iter().filter(|case| case.left.is_empty()) {
        let pack = case.net.pack();
        let input = input(&pack, 0);
        let mut session = Model::load(&pack).unwrap().session();
        session.run_raw(&input).unwrap();
        let (done, used) = measured(|| session.run_raw(&input));
        done.unwrap();
        assert_eq!(used.allocations, 0, "{}", case.name);
    }
}

#[test]
fn opening_loading_and_running_the_default_pack_takes_little_memory() {
    let folder = repository().join("models/packs/default");
    let input = input(default_pack(), 0);
    for isa in Isa::available() {
        let options = LoadOptions::default().with_isa(isa);
        let (pack, opened) = measured(|| Pack::open(&folder).unwrap());
        let (model, loaded) = measured(|| Model::load_with(&pack, &options).unwrap());
        let (_, run) = measured(|| model.run(&input).unwrap());
        drop((model, pack));
        let (_model, all) = measured(|| {
            let pack = Pack::open(&folder).unwrap();
            let model = Model::load_with(&pack, &options).unwrap();
            drop(pack);
            model.run(&input).unwrap();
            model
        });
        for (what, used) in [("opening", opened), ("loading", loaded), ("first run", run), ("all", all)] {
            let (peak, kept) = (megabytes(used.peak), megabytes(used.kept));
            println!("{isa}, {what}: {peak:.2} MB at most, {kept:.2} MB kept, {} allocations", used.allocations);
        }
        assert!(all.peak <= peak(isa), "{isa}: {:.2} MB at most", megabytes(all.peak));
        assert!(run.peak <= 2 * MEGABYTE, "{isa}: a run takes {:.2} MB", megabytes(run.peak));
    }
}

#[test]
fn repeated_loading_leaks_nothing() {
    let load = || drop(Model::load(default_pack()).unwrap().run(&input(default_pack(), 0)).unwrap());
    load();
    let ((), used) = measured(|| (0..2).for_each(|_| load()));
    assert!(used.kept < 10_000, "{} bytes", used.kept);
}

#[test]
fn four_sessions_of_one_model_agree_and_allocate_only_their_scratch() {
    let model = Model::load(default_pack()).unwrap();
    let inputs: Vec<InputTensor> = (0..4).map(|seed| input(default_pack(), seed)).collect();
    let outputs = |from: usize| {
        let mut session = model.session();
        let run = |at: usize| {
            session.run_raw(&inputs[at]).unwrap();
            (at, session.raw(0).to_vec())
        };
        let mut outputs: Vec<(usize, Vec<f32>)> = (0..4).map(|at| (from + at) % 4).map(run).collect();
        outputs.sort_by_key(|(at, _)| *at);
        outputs
    };
    let expected = outputs(0);
    assert!(expected[0].1 != expected[1].1);
    std::thread::scope(|scope| {
        // Each session starts with a different input, so that threads that share state by mistake disagree.
        let sessions: Vec<_> =
            (0..4).map(|from| scope.spawn(move || (0..3).map(|_| outputs(from)).reduce(|_, last| last))).collect();
        for session in sessions {
            assert!(session.join().unwrap().is_some_and(|found| found == expected));
        }
    });
    let (sessions, used) = measured(|| {
        let mut sessions: Vec<_> = (0..4).map(|_| model.session()).collect();
        sessions.iter_mut().for_each(|session| session.run_raw(&inputs[0]).unwrap());
        sessions
    });
    let scratch = 4 * model.report().scratch_bytes;
    println!("{:.2} MB for four sessions", megabytes(used.peak));
    assert!((scratch..scratch + 4096).contains(&used.peak), "{} bytes, scratch is {scratch}", used.peak);
    assert_eq!(sessions.len(), 4);
}

/// The threads of a run share its memory, except for the im2col patches of dense convolutions.
#[test]
fn a_second_thread_takes_little_memory() {
    let scratch = |threads: usize| {
        let options = LoadOptions::default().with_threads(threads);
        Model::load_with(default_pack(), &options).unwrap().report().scratch_bytes
    };
    let (one, two) = (scratch(1), scratch(2));
    println!("{:.2} MB, with a second thread {:.2} MB", megabytes(one), megabytes(two));
    assert!(two < one + MEGABYTE / 2, "{one} {two}");
}
