//! Fuzzes network files: loads each with a matching manifest and runs it. A file that runs on tract alone must run here
//! too, with the same result.

use std::panic::catch_unwind;

use magpie_tests::mutation::mutated;
use magpie_tests::net_kinds;
use magpie_tests::onnx_nets::{DIM, pack};
use magpie_tests::treatment::{PEAK, outcome};
use prost::Message;

use super::{Finding, Target};

pub(crate) const TARGET: Target = Target {
    name: "loader",
    extension: "onnx",
    memory: PEAK,
    make_seeds: || {
        net_kinds::all().into_iter().map(|case| (case.name.into(), case.net.proto.encode_to_vec())).collect()
    },
    large_seeds: Vec::new,
    damage: mutated,
    treat: |bytes| outcome(&pack(bytes.to_vec(), SIZE, DIM), true).is_ok(),
    compare,
};

/// Height and width of the inputs. The seeds were made for other sizes, but the manifest's size counts.
const SIZE: [usize; 2] = [12, 12];

/// Compares about a quarter of the inputs with tract.
fn compare(bytes: &[u8]) -> Result<(), Finding> {
    if !bytes.len().is_multiple_of(4) {
        return Ok(());
    }
    let network = pack(bytes.to_vec(), SIZE, DIM);
    let own = outcome(&network, true);
    let tract = catch_unwind(|| outcome(&network, false)).unwrap_or(Err(String::new()));
    match (own, tract) {
        (Err(own), Ok(_)) => Err(("refused", format!("tract runs it, we do not: {own}"))),
        (Ok(own), Ok(tract)) if own.iter().zip(&tract).any(|(a, b)| (a - b).abs() > 0.1 * b.abs().max(1.0)) => {
            Err(("differs", format!("{own:?}, tract {tract:?}")))
        }
        _ => Ok(()),
    }
}
