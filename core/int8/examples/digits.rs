//! Recognises handwritten-looking digits of 5 x 5 pixels with a network of four layers, and prints what each layer does.
//!
//! The network is a template matcher written by hand, so that all numbers can be followed: a fully connected layer has one
//! output per digit, whose weights are +1 where the digit has ink and -1 where it has none.
//!
//! ```sh
//! cargo run -p magpie-int8 --example digits
//! ```

use std::sync::Arc;

use magpie_int8::{Filters, Geometry, Isa, Layer, LayerGraph, LayerKind, Network, PlanError, Scale, Shape};

const SIDE: usize = 5;

const DIGITS: [[&str; SIDE]; 3] = [
    [".###.", "#...#", "#...#", "#...#", ".###."], // 0
    ["..#..", ".##..", "..#..", "..#..", ".###."], // 1
    ["###..", "...#.", "..#..", ".#...", "####."], // 2
];

/// The pixels of a drawing, row by row: 1 for ink, 0 for paper.
fn ink(rows: [&str; SIDE]) -> Vec<f32> {
    rows.concat().chars().map(|pixel| if pixel == '#' { 1.0 } else { 0.0 }).collect()
}

fn graph() -> LayerGraph {
    // How bytes map to numbers: `(byte - zero) * factor`. Ink is in 0..=1, scores are in -12.8..=12.7.
    let unit = Scale { factor: 1.0 / 255.0, zero: 0 };
    let score = Scale { factor: 0.1, zero: 128 };
    let layer = |name: &str, kind, from, scale| Layer { name: name.to_owned(), kind, from, scale, range: [0, 255] };

    // A depthwise convolution of one channel that is the identity; a blur would have weights around the middle one as well.
    let keep = Filters { weights: Arc::new(vec![0, 0, 0, 0, 1, 0, 0, 0, 0]), bias: vec![0], factors: vec![1.0] };
    let around = Geometry { kernel: [3, 3], stride: [1, 1], before: [1, 1], after: [1, 1] };

    // One dense window as large as the picture gives a single pixel with one channel per digit: `[output][row][column][input]`.
    let weights = DIGITS.iter().flat_map(|rows| ink(*rows)).map(|ink| if ink > 0.0 { 1 } else { -1 }).collect();
    let templates =
        Filters { weights: Arc::new(weights), bias: vec![0; DIGITS.len()], factors: vec![1.0; DIGITS.len()] };
    let all = Geometry { kernel: [SIDE, SIDE], stride: [1, 1], before: [0, 0], after: [0, 0] };

    LayerGraph {
        layers: vec![
            layer("ink", LayerKind::Quantise(0), vec![], unit),
            layer("keep", LayerKind::Depthwise(keep, around), vec![0], unit),
            layer("match", LayerKind::Convolution(templates, all), vec![1], score),
            layer("scores", LayerKind::Dequantise, vec![2], score),
        ],
        outputs: vec![3],
    }
}

fn main() -> Result<(), PlanError> {
    let shape = Shape::of(&[1, 1, SIDE, SIDE]).expect("a picture that is not empty");
    let isa = Isa::best();
    let network = Network::plan(graph(), &[shape], isa, 1)?;
    println!("planned for {isa}: a run takes {} bytes", network.scratch_bytes());
    for layer in network.layers() {
        let [height, width, channels] = layer.size;
        println!("  {:8} {:12} {height} x {width} x {channels}, {} products", layer.name, layer.kind, layer.products);
    }

    let reference = Network::plan(graph(), &[shape], Isa::Scalar, 1)?;
    let (mut scratch, mut scratch_of_reference) = (network.scratch(), reference.scratch());
    for (digit, rows) in DIGITS.into_iter().enumerate() {
        let picture = ink(rows);
        network.run(&[&picture], &mut scratch);
        reference.run(&[&picture], &mut scratch_of_reference);
        let scores = network.output(0, &scratch);
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        println!("drawn {digit}: scores {scores:.1?}");
        assert_eq!(best, Some(digit));
        assert_eq!(scores, reference.output(0, &scratch_of_reference), "every instruction set gives the same bits");
    }
    Ok(())
}
