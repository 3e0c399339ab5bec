//! Loads the QDQ network of a model pack, prints which layers run on the project's own kernels, and runs it once.
//!
//! `cargo run --release -p magpie-core --example run_qdq -- models/packs/default`

use std::error::Error;

use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1);
    let folder =
        folder.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/packs/default").to_owned());
    let pack = Pack::open(folder)?;

    let model = Model::load_with(&pack, &LoadOptions::default())?;
    let report = model.report();
    println!("{} layers run on the project's own kernels ({}):", report.fused.len(), report.isa);
    for layer in &report.fused {
        let [height, width, channels] = layer.size;
        println!(
            "  {:<14} {height:>4} x {width:<4} x {channels:<5} {:>12} MAC  {}",
            layer.kind, layer.products, layer.name
        );
    }
    println!("{} nodes run on tract:", report.left.len());
    for node in &report.left {
        println!("  {:<14} {}: {}", node.operator, node.name, node.reason);
    }

    // A grey picture: the input is [1, 3, height, width], normalised as the manifest says.
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let input = InputTensor { width, height, data: vec![0.0; 3 * width as usize * height as usize] };
    let output = model.run(&input)?;
    let values = output.embedding.values();
    println!("embedding of {} values, the first are {:?}", values.len(), &values[..values.len().min(4)]);
    for attribute in &output.attributes.0 {
        println!("{}: {:?}, probability {:.3}", attribute.name, attribute.label, attribute.probability);
    }
    Ok(())
}
