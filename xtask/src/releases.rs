//! Publishes the releases that the tests of both languages install.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::{Outcome, root, run};

/// The price of `mug-01`, and its price in the second publication.
const PRICES: [&str; 2] = [",18.00,EUR", ",15.00,EUR"];

/// Publishes the table `phone.csv` in the folder `data`, into the folder `releases` beside it:
///
/// - `first`: a base of the default model, publication 1;
/// - `second`: a delta with another price, publication 2;
/// - `rotated`: the same, signed by `new.key` after a rotation from `shop.key`, publication 3;
/// - `fast`: a base of the model `fast` that brings its pack, publication 3.
///
/// The public keys are `shop.key.pub` and `new.key.pub`.
pub(crate) fn releases(magpie: &Path, data: &Path) -> Outcome {
    let into = data.join("releases");
    let failed = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    if into.exists() {
        fs::remove_dir_all(&into).map_err(|e| failed(&into, e))?;
    }
    fs::create_dir_all(&into).map_err(|e| failed(&into, e))?;
    let table = data.join("phone.csv");
    let all = fs::read_to_string(&table).map_err(|e| failed(&table, e))?;
    let sale = into.join("sale.csv");
    fs::write(&sale, all.replace(PRICES[0], PRICES[1])).map_err(|e| failed(&sale, e))?;
    let [first, second, rotated, fast] = ["first", "second", "rotated", "fast"].map(|name| into.join(name));
    let [shop, new] = ["shop.key", "new.key"].map(|name| into.join(name));
    let magpie = || Command::new(magpie);
    for key in [&shop, &new] {
        run(magpie().args(["key", "new", "--out"]).arg(key))?;
    }
    let publish = |table: &Path, to: &Path, key: &Path, more: &[&str]| {
        let mut publish = magpie();
        publish.arg("publish").arg("--catalog").arg(table).args(["--images", "cli/demo/photos", "--name", "demo"]);
        publish.args(["--max-delta-share", "0.9"]).args(more).arg("--to").arg(to).arg("--key").arg(key);
        run(publish.current_dir(root()))
    };
    publish(&table, &first, &shop, &[])?;
    copy(&first, &second).map_err(|e| failed(&second, e))?;
    publish(&sale, &second, &shop, &[])?;
    for other in [&rotated, &fast] {
        copy(&second, other).map_err(|e| failed(other, e))?;
    }
    let mut rotate = magpie();
    rotate.args(["key", "rotate", "--name", "demo", "--version", "2", "--to"]).arg(&rotated);
    run(rotate.arg("--trust").arg(into.join("new.key.pub")).arg("--key").arg(&shop))?;
    publish(&sale, &rotated, &new, &[])?;
    publish(&sale, &fast, &shop, &["--model", "models/packs/fast", "--with-pack"])
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}
