//! Loads and runs any network file once, with and without the project's own kernels, and checks the outcome.

use std::process::Command;
use std::time::Duration;

use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;

use crate::memory::measured;
use crate::onnx_nets::Small;
use crate::thread_time;

/// The most memory in bytes that loading and running a small file may take, however it was damaged.
pub const PEAK: usize = 512 << 20;

/// The most CPU time that loading and running a small file may take. Generous, because tract is not optimised in tests;
/// a hang takes longer still.
pub const TIME: Duration = Duration::from_secs(20);

/// Loads a pack, runs it once, and returns the raw embedding; `fuse` enables the project's own kernels.
///
/// # Errors
/// The reason why it cannot be loaded or run.
pub fn outcome(pack: &Pack, fuse: bool) -> Result<Vec<f32>, String> {
    let options = LoadOptions::default().with_fuse(fuse);
    let model = Model::load_with(pack, &options).map_err(|e| e.to_string())?;
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let data = (0..3 * width * height).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let mut session = model.session();
    session.run(&InputTensor { width, height, data }).map_err(|e| e.to_string())?;
    Ok(session.raw(0).to_vec())
}

/// Runs the network with and without the project's own kernels, checks memory and time, and compares the outcomes.
fn check(what: &str, net: &Small) -> Result<(), String> {
    let before = thread_time();
    let pack = net.pack();
    let ((own, tract), used) = measured(|| (outcome(&pack, true), outcome(&pack, false)));
    let shown = |outcome: &Result<Vec<f32>, String>| match outcome {
        Ok(_) => "runs".to_owned(),
        Err(text) => text.lines().next().unwrap_or_default().chars().take(90).collect(),
    };
    println!("{what}: {} | tract: {} | {} KB", shown(&own), shown(&tract), used.peak / 1000);
    let time = thread_time() - before;
    if used.peak > PEAK || time > TIME {
        return Err(format!("{what}: {} MB, {time:?}", used.peak >> 20));
    }
    match (own, tract) {
        (Err(text), _) if text.is_empty() => Err(format!("{what}: an error without a text")),
        (Err(text), Ok(_)) => Err(format!("{what}: tract runs it, we do not: {text}")),
        (Ok(own), Ok(tract)) => {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.05 * b.abs().max(1.0);
            let same = own.len() == tract.len() && own.iter().zip(&tract).all(near);
            if same { Ok(()) } else { Err(format!("{what}: {own:?}, tract says {tract:?}")) }
        }
        _ => Ok(()),
    }
}

/// Checks that each network either fails with an error text or runs as it does on tract alone, within the bounds of
/// memory and time.
///
/// # Panics
/// If any network fails the check.
pub fn check_all(nets: impl IntoIterator<Item = (String, Small)>) {
    // Hundreds of panics inside tract are caught, and printing their backtraces would take minutes.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let wrong: Vec<String> = nets.into_iter().filter_map(|(what, net)| check(&what, &net).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a test in its own process, because a stack overflow or a failed allocation ends the process instead of
/// panicking. `test` is the test's path with its modules.
///
/// # Panics
/// If that process fails.
pub fn in_own_process(test: &str, work: impl FnOnce()) {
    if std::env::var("MAGPIE_OWN_PROCESS").is_ok_and(|name| name == test) {
        return work();
    }
    let mut command = Command::new(std::env::current_exe().expect("the test program has a path"));
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env("MAGPIE_OWN_PROCESS", test);
    let output = command.output().expect("the test can be started");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{said}");
    assert!(output.status.success(), "{test}: {}", output.status);
    assert!(said.contains("1 passed"), "no test is called {test}");
}
