//! How a network file is treated, whatever is in it: loaded and run once, with and without the project's own kernels.

use std::process::Command;
use std::time::Duration;

use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;

use crate::memory::measured;
use crate::onnx_nets::Small;
use crate::thread_time;

/// Most that loading and running a small file may take, however it was damaged.
pub const PEAK: usize = 512 << 20;

/// Most CPU time that loading and running a small file may take. Generous: tract is not optimised here, and a hang takes
/// longer.
pub const TIME: Duration = Duration::from_secs(20);

/// What comes of a pack: an embedding as the network gives it, or a text.
///
/// # Errors
/// Why it cannot be loaded or run.
pub fn outcome(pack: &Pack, fuse: bool) -> Result<Vec<f32>, String> {
    let options = LoadOptions::default().with_fuse(fuse);
    let model = Model::load_with(pack, &options).map_err(|e| e.to_string())?;
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let data = (0..3 * width * height).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let mut session = model.session();
    session.run(&InputTensor { width, height, data }).map_err(|e| e.to_string())?;
    Ok(session.raw(0).to_vec())
}

/// Loads and runs it with and without the project's own kernels, within bounds, and compares.
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

/// Every one of them is an error with a text, or runs as tract alone would run it; none takes much memory or time.
///
/// # Panics
/// Where it is not so.
pub fn check_all(nets: impl IntoIterator<Item = (String, Small)>) {
    // Hundreds of panics of tract's are caught: their stacks would take minutes to print.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let wrong: Vec<String> = nets.into_iter().filter_map(|(what, net)| check(&what, &net).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a test, named with its modules, in a process of its own, since it may end the process: a stack that is full, or no memory, is no panic.
///
/// # Panics
/// Where that process did not end well.
pub fn apart(test: &str, work: impl FnOnce()) {
    if std::env::var("MAGPIE_APART").is_ok_and(|name| name == test) {
        return work();
    }
    let mut command = Command::new(std::env::current_exe().expect("a test is a file"));
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env("MAGPIE_APART", test);
    let output = command.output().expect("a test can be started");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{said}");
    assert!(output.status.success(), "{test}: {}", output.status);
    assert!(said.contains("1 passed"), "there is no test called {test}");
}
