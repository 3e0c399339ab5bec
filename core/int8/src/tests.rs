//! Compares every instruction set that this machine has with plain loops, value by value.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// The number of cases of a property test: `full` with `MAGPIE_LONG=1` in the environment, a tenth of it otherwise.
fn cases(full: u32) -> u32 {
    let long = std::env::var_os("MAGPIE_LONG").is_some_and(|value| value == "1");
    if long { full } else { full.div_ceil(10) }
}

/// A quantised value: bytes of `[row][column][channel]`.
#[derive(Debug, Clone, PartialEq)]
struct TestImage {
    size: [usize; 3],
    bytes: Vec<u8>,
}

impl TestImage {
    fn at(&self, y: isize, x: isize, c: usize) -> Option<i32> {
        let [h, w, channels] = self.size;
        let inside = y >= 0 && x >= 0 && (y as usize) < h && (x as usize) < w;
        inside.then(|| i32::from(self.bytes[(y as usize * w + x as usize) * channels + c]))
    }
}

/// A linear congruential generator: reproducible, and varied enough for tests.
struct TestNumbers(u64);

impl TestNumbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    fn picture(&mut self, size: [usize; 3]) -> TestImage {
        // Many bytes at both ends of the range, where sums saturate.
        let bytes = (0..size.iter().product()).map(|_| match self.below(4) {
            0 => 0,
            1 => 255,
            _ => self.next() as u8,
        });
        TestImage { size, bytes: bytes.collect() }
    }

    fn filters(&mut self, outputs: usize, depth: usize) -> Filters {
        // Some vectors of quads are small, so that all sorts of quads occur next to each other (see `saturating`).
        let small = self.next();
        let is_small = |at: usize| {
            let (output, four) = (at / depth, at % depth / 4);
            let number = (output / 16 * 7 + output / 4 % 2 + four * 2) as u32;
            (number.wrapping_mul(0x9e37_79b9) ^ small).count_ones().is_multiple_of(2)
        };
        let weights = (0..outputs * depth).map(|at| match self.below(5) {
            _ if is_small(at) => self.next() as i8 % 64,
            0 => -128,
            1 => 127,
            _ => self.next() as i8,
        });
        let weights = Arc::new(weights.collect());
        let bias = (0..outputs).map(|_| self.next() as i32 % 20_000 - 10_000).collect();
        let factors = (0..outputs).map(|_| 0.001 + self.below(1000) as f32 * 1e-5).collect();
        Filters { weights, bias, factors }
    }

    fn scale(&mut self) -> Scale {
        Scale { factor: 0.01 + self.below(100) as f32 * 1e-3, zero: self.next() as u8 }
    }

    fn range(&mut self) -> [u8; 2] {
        [[0, 255], [0, 200], [30, 255], [17, 18]][self.below(4)]
    }
}

fn requantised(sum: i32, multiplier: f32, to: Scale, range: [u8; 2]) -> u8 {
    let value = (sum as f32 * multiplier).round_ties_even() as i32 + i32::from(to.zero);
    value.clamp(i32::from(range[0]), i32::from(range[1])) as u8
}

/// Computes one layer in plain loops.
fn expected(layer: &Layer, inputs: &[&TestImage], scales: &[Scale]) -> TestImage {
    let (x, zero) = (inputs[0], i32::from(scales[0].zero));
    let done = |size: [usize; 3], value: &mut dyn FnMut(usize, usize, usize) -> u8| {
        let mut bytes = Vec::new();
        for y in 0..size[0] {
            for x in 0..size[1] {
                bytes.extend((0..size[2]).map(|c| value(y, x, c)));
            }
        }
        TestImage { size, bytes }
    };
    let moved = |g: &Geometry| [0, 1].map(|i| (x.size[i] + g.before[i] + g.after[i] - g.kernel[i]) / g.stride[i] + 1);
    let window = |g: &Geometry, oy: usize, ox: usize, each: &mut dyn FnMut(usize, isize, isize)| {
        for ky in 0..g.kernel[0] {
            for kx in 0..g.kernel[1] {
                let y = (oy * g.stride[0] + ky) as isize - g.before[0] as isize;
                let x = (ox * g.stride[1] + kx) as isize - g.before[1] as isize;
                each(ky * g.kernel[1] + kx, y, x);
            }
        }
    };
    let multiplier = |f: &Filters, c: usize| scales[0].factor * f.factors[c] / layer.scale.factor;
    match &layer.kind {
        LayerKind::Convolution(f, g) => {
            let ([h, w], depth, inputs) = (moved(g), f.weights.len() / f.bias.len(), x.size[2]);
            done([h, w, f.bias.len()], &mut |oy, ox, c| {
                let mut sum = f.bias[c];
                window(g, oy, ox, &mut |tap, y, at| {
                    for i in 0..inputs {
                        let weight = i32::from(f.weights[c * depth + tap * inputs + i]);
                        sum += x.at(y, at, i).map_or(0, |v| v - zero) * weight;
                    }
                });
                requantised(sum, multiplier(f, c), layer.scale, layer.range)
            })
        }
        LayerKind::Depthwise(f, g) => {
            let ([h, w], taps) = (moved(g), g.kernel[0] * g.kernel[1]);
            done([h, w, f.bias.len()], &mut |oy, ox, c| {
                let mut sum = f.bias[c];
                window(g, oy, ox, &mut |tap, y, at| {
                    sum += x.at(y, at, c).map_or(0, |v| v - zero) * i32::from(f.weights[c * taps + tap]);
                });
                requantised(sum, multiplier(f, c), layer.scale, layer.range)
            })
        }
        LayerKind::Add | LayerKind::Multiply => {
            let (y, zero_y) = (inputs[1], i32::from(scales[1].zero));
            let broadcast = y.bytes.len();
            let mut bytes = Vec::new();
            for (i, &a) in x.bytes.iter().enumerate() {
                let (a, b) = (i32::from(a) - zero, i32::from(y.bytes[i % broadcast]) - zero_y);
                let value = if matches!(layer.kind, LayerKind::Add) {
                    let ratio = |scale: Scale| scale.factor / layer.scale.factor;
                    a as f32 * ratio(scales[0]) + b as f32 * ratio(scales[1])
                } else {
                    (a * b) as f32 * (scales[0].factor * scales[1].factor / layer.scale.factor)
                };
                let value = value.round_ties_even() as i32 + i32::from(layer.scale.zero);
                bytes.push(value.clamp(i32::from(layer.range[0]), i32::from(layer.range[1])) as u8);
            }
            TestImage { size: x.size, bytes }
        }
        LayerKind::AveragePool => done([1, 1, x.size[2]], &mut |_, _, c| {
            let sum: i32 = x.bytes.chunks(x.size[2]).map(|pixel| i32::from(pixel[c]) - zero).sum();
            let pixels = x.size[0] * x.size[1];
            requantised(sum, scales[0].factor / layer.scale.factor / pixels as f32, layer.scale, layer.range)
        }),
        LayerKind::MaxPool(g) => {
            let [h, w] = moved(g);
            done([h, w, x.size[2]], &mut |oy, ox, c| {
                let mut largest = 0;
                window(g, oy, ox, &mut |_, y, at| largest = largest.max(x.at(y, at, c).unwrap_or(0)));
                largest as u8
            })
        }
        LayerKind::Table(table) => {
            TestImage { size: x.size, bytes: x.bytes.iter().map(|&byte| table[usize::from(byte)]).collect() }
        }
        other => panic!("plain loops for {} are not written", other.name()),
    }
}

/// Runs one layer with an instruction set. Inputs and outputs are f32 with a scale of 1, so that bytes pass unchanged.
fn run(layer: &dyn Fn() -> Layer, inputs: &[&TestImage], scales: &[Scale], isa: Isa, threads: usize) -> Vec<u8> {
    let plain = |scale: Scale| Scale { factor: 1.0, ..scale };
    let mut graph = LayerGraph::default();
    for (i, scale) in scales.iter().enumerate() {
        // Quantised with a factor of 1. An identity table then gives the bytes the scale that the layer is tested with.
        let identity = Box::new(std::array::from_fn(|byte| byte as u8));
        let quantise = LayerKind::Quantise(i);
        let name = format!("x{i}");
        graph.layers.push(Layer { name, kind: quantise, from: vec![], scale: plain(*scale), range: [0, 255] });
        let (name, from) = (format!("same{i}"), vec![graph.layers.len() - 1]);
        graph.layers.push(Layer { name, kind: LayerKind::Table(identity), from, scale: *scale, range: [0, 255] });
    }
    let mut tested = layer();
    tested.from = (0..inputs.len()).map(|i| 2 * i + 1).collect();
    let to = tested.scale;
    graph.layers.push(tested);
    let identity = Box::new(std::array::from_fn(|byte| byte as u8));
    let from = vec![graph.layers.len() - 1];
    graph.layers.push(Layer {
        name: "same".into(),
        kind: LayerKind::Table(identity),
        from,
        scale: plain(to),
        range: [0, 255],
    });
    let from = vec![graph.layers.len() - 1];
    graph.layers.push(Layer {
        name: "out".into(),
        kind: LayerKind::Dequantise,
        from,
        scale: plain(to),
        range: [0, 255],
    });
    graph.outputs = vec![graph.layers.len() - 1];
    let shapes: Vec<Shape> = inputs.iter().map(|x| Shape { size: x.size, vector: false }).collect();
    let network = Network::plan(graph, &shapes, isa, threads).unwrap();
    let planes: Vec<Vec<f32>> = inputs.iter().zip(scales).map(|(x, scale)| planes(x, scale.zero)).collect();
    let planes: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
    let mut scratch = network.scratch();
    // The second run starts with what the first one left in memory.
    network.run(&planes, &mut scratch);
    network.run(&planes, &mut scratch);
    let shape = network.outputs().next().unwrap();
    let (pixels, channels) = (shape.size[0] * shape.size[1], shape.size[2]);
    let out = network.output(0, &scratch);
    let byte = |pixel: usize, c: usize| (out[c * pixels + pixel] + f32::from(to.zero)) as u8;
    (0..pixels).flat_map(|pixel| (0..channels).map(move |c| (pixel, c))).map(|(pixel, c)| byte(pixel, c)).collect()
}

fn planes(x: &TestImage, zero: u8) -> Vec<f32> {
    let channels = x.size[2];
    let plane = |c: usize| x.bytes.iter().skip(c).step_by(channels).map(|&byte| f32::from(byte) - f32::from(zero));
    (0..channels).flat_map(plane).collect()
}

/// Checks that all instruction sets of this machine, with one and two threads, give what plain loops give.
fn check(layer: &dyn Fn() -> Layer, inputs: &[&TestImage], scales: &[Scale]) {
    let expected = expected(&layer(), inputs, scales);
    for isa in Isa::available() {
        for threads in [1, 2] {
            let found = run(layer, inputs, scales, isa, threads);
            if found != expected.bytes {
                let at = found.iter().zip(&expected.bytes).position(|(a, b)| a != b);
                let (layer, size) = (layer(), inputs[0].size);
                panic!(
                    "{isa}, {threads} threads: {} of {size:?} differs at {at:?}: {:?}",
                    layer.kind.name(),
                    layer.kind
                );
            }
        }
    }
}

fn layer(kind: LayerKind, scale: Scale, range: [u8; 2]) -> Layer {
    Layer { name: "tested".into(), kind, from: vec![], scale, range }
}

const PLAIN: Geometry = Geometry { kernel: [1, 1], stride: [1, 1], before: [0, 0], after: [0, 0] };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(if cfg!(target_arch = "x86_64") { 96 } else { 24 })))]

    #[test]
    fn pointwise(seed: u64, h in 1usize..9, w in 1usize..9, inputs in 1usize..70, outputs in 1usize..150) {
        let n = &mut TestNumbers(seed);
        let (x, f, from, to, range) = (n.picture([h, w, inputs]), n.filters(outputs, inputs), n.scale(), n.scale(), n.range());
        check(&|| layer(LayerKind::Convolution(f.clone(), PLAIN), to, range), &[&x], &[from]);
    }

    #[test]
    fn dense(
        seed: u64, h in 1usize..9, w in 1usize..12, inputs in 1usize..20, outputs in 1usize..40,
        kernel in prop::array::uniform2(1usize..5), stride in prop::array::uniform2(1usize..4),
        before in prop::array::uniform2(0usize..4), after in prop::array::uniform2(0usize..4),
    ) {
        prop_assume!(h + before[0] + after[0] >= kernel[0] && w + before[1] + after[1] >= kernel[1]);
        let n = &mut TestNumbers(seed);
        let g = Geometry { kernel, stride, before, after };
        let (x, f) = (n.picture([h, w, inputs]), n.filters(outputs, inputs * kernel[0] * kernel[1]));
        let (from, to, range) = (n.scale(), n.scale(), n.range());
        check(&|| layer(LayerKind::Convolution(f.clone(), g), to, range), &[&x], &[from]);
    }

    #[test]
    fn depthwise_three(
        seed: u64, h in 1usize..9, w in 1usize..9, channels in 1usize..150, stride in 1usize..3,
        before in prop::array::uniform2(0usize..2), after in prop::array::uniform2(0usize..3),
    ) {
        prop_assume!(h + before[0] + after[0] >= 3 && w + before[1] + after[1] >= 3);
        let n = &mut TestNumbers(seed);
        let g = Geometry { kernel: [3, 3], stride: [stride; 2], before, after };
        let (x, f) = (n.picture([h, w, channels]), n.filters(channels, 9));
        let (from, to, range) = (n.scale(), n.scale(), n.range());
        check(&|| layer(LayerKind::Depthwise(f.clone(), g), to, range), &[&x], &[from]);
    }

    #[test]
    fn depthwise_any(
        seed: u64, h in 1usize..9, w in 1usize..9, channels in 1usize..80,
        kernel in prop::array::uniform2(1usize..8), stride in prop::array::uniform2(1usize..4),
        before in prop::array::uniform2(0usize..4), after in prop::array::uniform2(0usize..4),
    ) {
        prop_assume!(h + before[0] + after[0] >= kernel[0] && w + before[1] + after[1] >= kernel[1]);
        let n = &mut TestNumbers(seed);
        let g = Geometry { kernel, stride, before, after };
        let (x, f) = (n.picture([h, w, channels]), n.filters(channels, kernel[0] * kernel[1]));
        let (from, to, range) = (n.scale(), n.scale(), n.range());
        check(&|| layer(LayerKind::Depthwise(f.clone(), g), to, range), &[&x], &[from]);
    }

    #[test]
    fn elementwise(seed: u64, h in 1usize..9, w in 1usize..9, channels in 1usize..80) {
        let n = &mut TestNumbers(seed);
        let (a, b) = (n.picture([h, w, channels]), n.picture([h, w, channels]));
        let one = n.picture([1, 1, channels]);
        let (scales, to, range) = ([n.scale(), n.scale()], n.scale(), n.range());
        check(&|| layer(LayerKind::Add, to, range), &[&a, &b], &scales);
        check(&|| layer(LayerKind::Multiply, to, range), &[&a, &b], &scales);
        check(&|| layer(LayerKind::Multiply, to, range), &[&a, &one], &scales);
        check(&|| layer(LayerKind::AveragePool, to, range), &[&a], &scales[..1]);
        let table: Box<[u8; 256]> = Box::new(std::array::from_fn(|_| n.next() as u8));
        check(&|| layer(LayerKind::Table(table.clone()), to, [0, 255]), &[&a], &scales[..1]);
    }

    #[test]
    fn max_pool(
        seed: u64, h in 1usize..9, w in 1usize..9, channels in 1usize..40, kernel in 1usize..4, stride in 1usize..4,
    ) {
        let n = &mut TestNumbers(seed);
        let border = [kernel / 2; 2];
        let g = Geometry { kernel: [kernel; 2], stride: [stride; 2], before: border, after: border };
        let (x, from) = (n.picture([h, w, channels]), n.scale());
        check(&|| layer(LayerKind::MaxPool(g), from, [0, 255]), &[&x], &[from]);
    }
}

/// A random chain of layers over a picture that is tall enough for threads to divide it by rows.
fn chain(n: &mut TestNumbers, size: [usize; 3]) -> LayerGraph {
    let scale = Scale { factor: 0.05, zero: 120 };
    let add = |graph: &mut LayerGraph, kind, from| graph.layers.push(Layer { from, ..layer(kind, scale, [3, 250]) });
    let mut graph = LayerGraph::default();
    add(&mut graph, LayerKind::Quantise(0), vec![]);
    for _ in 0..12 {
        let last = graph.layers.len() - 1;
        let shapes = shapes::shapes(&graph, &[Shape { size, vector: false }]).unwrap();
        let channels = shapes[last].size[2];
        // An earlier value of the same shape, as in a residual connection.
        let same: Vec<Value> = (0..=last).filter(|&value| shapes[value] == shapes[last]).collect();
        let other = same[n.below(same.len())];
        match n.below(7) {
            0 | 1 => {
                let filters = n.filters(channels, 9);
                let stride = if shapes[last].size[0] > 28 { [1 + n.below(2); 2] } else { [1, 1] };
                let g = Geometry { kernel: [3, 3], stride, before: [1, 1], after: [1, 1] };
                add(&mut graph, LayerKind::Depthwise(filters, g), vec![last]);
            }
            2 | 3 => {
                let outputs = 1 + n.below(70);
                add(&mut graph, LayerKind::Convolution(n.filters(outputs, channels), PLAIN), vec![last]);
            }
            4 => add(&mut graph, LayerKind::Add, vec![last, other]),
            5 => add(&mut graph, LayerKind::Multiply, vec![other, last]),
            _ => add(&mut graph, LayerKind::Table(Box::new(std::array::from_fn(|_| n.next() as u8))), vec![last]),
        }
    }
    let last = graph.layers.len() - 1;
    add(&mut graph, LayerKind::Dequantise, vec![last]);
    graph.outputs = vec![last + 1];
    graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(40)))]

    #[test]
    fn threads_that_divide_rows_give_what_one_thread_gives(seed: u64, h in 14usize..40, w in 1usize..24, channels in 1usize..20) {
        let n = &mut TestNumbers(seed);
        let size = [h, w, channels];
        let graph = chain(n, size);
        let values: Vec<f32> = (0..h * w * channels).map(|_| n.below(256) as f32 * 0.05 - 6.0).collect();
        let run = |isa: Isa, threads: usize, watched: bool| {
            let network = Network::plan(graph.clone(), &[Shape { size, vector: false }], isa, threads).unwrap();
            let mut scratch = network.scratch();
            if watched {
                network.run_watched(&[&values], &mut scratch, |_| ());
            } else {
                network.run(&[&values], &mut scratch);
            }
            network.output(0, &scratch).to_vec()
        };
        let expected = run(Isa::Scalar, 1, false);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (threads, watched) in [(2, false), (2, true), (3, false)] {
                prop_assert_eq!(&run(isa, threads, watched), &expected, "{} {} {}", isa, threads, watched);
            }
        }
    }
}

#[test]
fn layers_of_the_same_pixels_form_groups_for_several_threads() {
    let n = &mut TestNumbers(5);
    let scale = Scale { factor: 0.05, zero: 120 };
    let around = Geometry { kernel: [3, 3], stride: [1, 1], before: [1, 1], after: [1, 1] };
    let layers = [
        (LayerKind::Quantise(0), vec![]),
        (LayerKind::Convolution(n.filters(8, 4), PLAIN), vec![0]),
        (LayerKind::Depthwise(n.filters(8, 9), around), vec![1]),
        (LayerKind::Convolution(n.filters(8, 8), PLAIN), vec![2]),
        (LayerKind::Add, vec![1, 3]),
        (LayerKind::AveragePool, vec![4]),
        (LayerKind::Multiply, vec![4, 5]),
        (LayerKind::Multiply, vec![6, 6]),
        (LayerKind::Dequantise, vec![7]),
    ];
    let layers = layers.into_iter().map(|(kind, from)| Layer { from, ..layer(kind, scale, [0, 255]) }).collect();
    let graph = LayerGraph { layers, outputs: vec![8] };
    let starts = |height: usize, threads: usize| {
        let shapes = shapes::shapes(&graph, &[Shape { size: [height, 5, 4], vector: false }]).unwrap();
        let groups = groups::groups(&graph, &shapes, threads);
        groups.into_iter().map(|group| group.layers.start).collect::<Vec<_>>()
    };
    assert_eq!(starts(14, 2), [0, 1, 2, 5, 6, 8]);
    let apart: Vec<usize> = (0..9).collect();
    assert_eq!(starts(14, 1), apart, "one thread runs layer by layer");
    assert_eq!(starts(13, 2), apart, "too few rows");
}

/// As many inputs as the widest layer of MobileNetV2, with sums at both ends of their range.
#[test]
fn largest_and_smallest_sums() {
    let depth = 1280;
    for (byte, weight) in [(255, 127), (255, -128), (0, 127), (0, -128)] {
        for zero in [0, 128, 255] {
            let x = TestImage { size: [1, 7, depth], bytes: vec![byte; 7 * depth] };
            let f =
                || Filters { weights: Arc::new(vec![weight; 70 * depth]), bias: vec![7; 70], factors: vec![1e-3; 70] };
            let (from, to) = (Scale { factor: 0.05, zero }, Scale { factor: 20.0, zero: 100 });
            check(&|| layer(LayerKind::Convolution(f(), PLAIN), to, [0, 255]), &[&x], &[from]);
        }
    }
}

/// A row of activations that is larger than the block that stays in the cache.
#[test]
fn rows_of_many_inputs() {
    let depth = (12 << 10) + 1;
    let n = &mut TestNumbers(depth as u64);
    let (x, f, from) = (n.picture([1, 3, depth]), n.filters(20, depth), Scale { factor: 0.05, zero: 128 });
    let to = Scale { factor: 20.0, zero: 100 };
    check(&|| layer(LayerKind::Convolution(f.clone(), PLAIN), to, [0, 255]), &[&x], &[from]);
}

#[test]
fn overflow_is_refused() {
    let plan = |from: f32, factor: f32, to: f32, bias: i32, weights: usize| {
        let scale = |factor| Scale { factor, zero: 3 };
        let filters = Filters { weights: Arc::new(vec![100; weights]), bias: vec![bias], factors: vec![factor] };
        let layers = [
            (LayerKind::Quantise(0), vec![], scale(from)),
            (LayerKind::Convolution(filters, PLAIN), vec![0], scale(to)),
            (LayerKind::Dequantise, vec![1], scale(to)),
        ];
        let layers = layers.into_iter().map(|(kind, from, scale)| Layer { from, ..layer(kind, scale, [0, 255]) });
        let graph = LayerGraph { layers: layers.collect(), outputs: vec![2] };
        Network::plan(graph, &[Shape { size: [1, 1, weights], vector: false }], Isa::Scalar, 1).map(|_| ())
    };
    let refused = |reason| Err(PlanError::Layer { name: "tested".into(), reason });
    assert_eq!(plan(0.1, 0.1, 0.1, 5, 8), Ok(()));
    for (from, factor, to) in [(0.0, 0.1, 0.1), (0.1, -0.1, 0.1), (0.1, 0.1, f32::NAN), (0.1, f32::INFINITY, 0.1)] {
        assert_eq!(plan(from, factor, to, 5, 8), refused(LayerError::Scale), "{from} {factor} {to}");
    }
    assert_eq!(plan(1000.0, 1000.0, 1e-4, 5, 8), refused(LayerError::Overflow));
    assert_eq!(plan(0.1, 0.1, 0.1, i32::MIN, 8), refused(LayerError::Overflow));
    assert_eq!(plan(0.1, 0.1, 0.1, 5, 50_000), refused(LayerError::Overflow));
}

/// Two values of one size that are so large, and so few rows high, that the threads divide their product by bytes.
#[test]
fn threads_divide_the_product_of_two_large_values() {
    let n = &mut TestNumbers(9);
    for channels in [128, 129, 1024] {
        let size = [4, 128, channels];
        let (a, b, pixel) = (n.picture(size), n.picture(size), n.picture([1, 1, channels]));
        let (scales, to) = ([n.scale(), n.scale()], n.scale());
        let product = || layer(LayerKind::Multiply, to, [0, 255]);
        for other in [&b, &pixel] {
            let expected = expected(&product(), &[&a, other], &scales);
            for threads in [1, 2, 3, 16] {
                let found = run(&product, &[&a, other], &scales, Isa::best(), threads);
                assert!(found == expected.bytes, "{channels} channels, {threads} threads");
            }
        }
    }
}

/// A network of one input and these layers, each of which reads the one before; the last gives floats.
fn planned(input: [usize; 3], kinds: Vec<LayerKind>) -> Result<Network, PlanError> {
    let scale = Scale { factor: 1.0, zero: 0 };
    let mut graph = LayerGraph::default();
    for (at, kind) in [LayerKind::Quantise(0)].into_iter().chain(kinds).chain([LayerKind::Dequantise]).enumerate() {
        let from = at.checked_sub(1).into_iter().collect();
        graph.layers.push(Layer { name: format!("layer {at}"), kind, from, scale, range: [0, 255] });
    }
    graph.outputs = vec![graph.layers.len() - 1];
    Network::plan(graph, &[Shape { size: input, vector: false }], Isa::best(), 1)
}

#[test]
fn a_network_with_days_of_work_is_refused_before_it_runs() {
    let pool = |side: usize| {
        LayerKind::MaxPool(Geometry { kernel: [side; 2], stride: [1, 1], before: [side / 2; 2], after: [side / 2; 2] })
    };
    assert!(planned([64, 64, 4], vec![pool(9)]).is_ok());
    let refused = planned([1 << 11, 1 << 11, 4], vec![pool(1025)]).map(|_| ());
    assert_eq!(refused, Err(PlanError::TooMuchWork { name: "layer 1".into(), billions: 400 }));
    // Each layer is harmless, and the memory is used again and again.
    let refused = planned([1 << 11, 1 << 11, 4], vec![pool(31); 100]).map(|_| ());
    assert!(matches!(refused, Err(PlanError::TooMuchWork { .. })));
}

#[test]
fn layers_that_share_weights_count_one_by_one() {
    let side = 1 << 10;
    let weights = Arc::new(vec![1; side * side]);
    let layer = LayerKind::Linear(Filters { weights, bias: vec![0; side], factors: vec![1e-3; side] });
    let refused = planned([1, 1, side], vec![layer; 513]).map(|_| ());
    assert_eq!(refused, Err(PlanError::TooManyWeights { name: "layer 513".into(), megabytes: 512 }));
}
