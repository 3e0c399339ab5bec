//! A build that is killed leaves the old shard, the new one, or none: never a damaged one. The next build starts cleanly.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{demo, json};

#[test]
fn a_build_that_is_killed_never_leaves_a_damaged_shard() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (catalog, shard, photos) = (path("catalog.csv"), path("out.magpie"), demo("photos"));
    let rows: String = (1..=4).map(|at| format!("mug-0{at},mug-0{at}-1.jpg\n")).collect();
    fs::write(&catalog, format!("listing_id,photo\n{rows}")).unwrap();
    let mut args =
        vec!["build", "--catalog", &catalog, "--images", photos.to_str().unwrap(), "--out", &shard, "--json"];
    // How long a build takes here, and what it writes.
    let started = Instant::now();
    json(&args);
    let (whole, expected) = (started.elapsed(), fs::read(&shard).unwrap());
    fs::remove_file(&shard).unwrap();
    let kills = if std::env::var_os("MAGPIE_LONG").is_some_and(|long| long == "1") { 200 } else { 4 };
    let mut state = 1u64;
    for kill in 0..kills {
        // Another publication each time, so that a shard that was replaced can be told from one that was not.
        let sequence = (kill + 2).to_string();
        let mut own = args.clone();
        own.extend(["--sequence", &sequence]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_magpie"))
            .args(&own)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // The end of a build, where it writes, is hit as often as all that comes before.
        let share = (state >> 40) as f64 / f64::from(1 << 24);
        let share = if kill % 2 == 0 { share } else { 0.8 + 0.3 * share };
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        // On Unix, this is SIGKILL.
        let _ = child.kill();
        child.wait().unwrap();
        if Path::new(&shard).exists() {
            json(&["verify", &shard, "--json"]);
        }
    }
    args.extend(["--name", "catalog"]);
    json(&args);
    assert!(fs::read(&shard).unwrap() == expected, "what is left of killed builds changes the next one");
}
