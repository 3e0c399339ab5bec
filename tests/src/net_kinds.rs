//! One small network of each kind that the loader must support: cases for the tests and seeds for the fuzzer.

use crate::onnx_nets::{DIM, Net, Small, Tensor, Window, window};

/// A network, and how the loader is expected to split it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name of the case and of the fuzzer's seed.
    pub name: &'static str,
    /// The network.
    pub net: Small,
    /// The network without its pooling and last layer. It outputs a feature map, so that every pixel is compared.
    pub picture: Option<Small>,
    /// Kinds of the layers that the project's own kernels run, without those that only change a value's form.
    pub fused: Vec<&'static str>,
    /// Operators that are left to tract.
    pub left: Vec<&'static str>,
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = vec![plain(false), plain(true), unknown_operator(), unknown_first_and_last()];
    cases.extend([limits(), functions(), squeeze(), product(), matmul(), layers_of_vectors()]);
    cases.extend([max_pool(), large_windows(), uneven_padding(), rescaled()]);
    cases
}

const HEAD: [&str; 2] = ["average pool", "fully connected"];

fn case(name: &'static str, net: Net, x: &Tensor, body: &[&'static str], left: &[&'static str]) -> Case {
    let picture = Some(net.clone().finish(x));
    Case { name, net: net.finish_pooled(x), picture, fused: [body, &HEAD].concat(), left: left.to_vec() }
}

/// The layers that most networks consist of. The scale of the sum is chosen so that no result lies halfway between two
/// quantisation steps, where f32 products may round either way.
fn plain(signed: bool) -> Case {
    let (mut net, image) = Net::new([13, 11], signed);
    let x = net.conv(&image, 8, window(3, 2));
    let before = net.relu(&x);
    let x = net.depthwise(&before, window(3, 1));
    let x = net.relu(&x);
    let x = net.conv(&x, 8, window(1, 1));
    let x = net.both_signs(&x);
    let x = net.op("Add", &[&before, &x], vec![]);
    let x = net.quantised(&x, 4.3 / 255.0, 120);
    let name = if signed { "signed" } else { "unsigned" };
    case(name, net, &x, &["convolution", "depthwise", "pointwise", "add"], &[])
}

/// An operator that is never fused, and a residual sum across it.
fn unknown_operator() -> Case {
    let (mut net, image) = Net::new([12, 12], false);
    let x = net.conv(&image, 8, window(3, 1));
    let before = net.relu(&x);
    let x = net.op("Softplus", &[&before], vec![]);
    let x = net.both_signs(&x);
    let x = net.depthwise(&x, window(3, 1));
    let x = net.both_signs(&x);
    let x = net.op("Add", &[&x, &before], vec![]);
    let x = net.quantised(&x, 4.3 / 255.0, 120);
    case("unknown_operator", net, &x, &["convolution", "depthwise", "add"], &["Softplus"])
}

/// The network starts and ends on tract.
fn unknown_first_and_last() -> Case {
    let (mut net, image) = Net::new([9, 9], true);
    let x = net.op("Exp", &[&image], vec![]);
    let x = net.both_signs(&x);
    let x = net.conv(&x, DIM, window(3, 2));
    let x = net.relu(&x);
    let x = net.pooled(&x);
    let x = net.op("Softplus", &[&x], vec![]);
    let (fused, left) = (vec!["convolution", "average pool"], vec!["Exp", "Softplus"]);
    Case { name: "unknown_first_and_last", net: net.finish(&x), picture: None, fused, left }
}

/// Clips: one from zero, as ReLU6 is, and one whose range has zero inside.
fn limits() -> Case {
    let (mut net, image) = Net::new([10, 10], false);
    let x = net.conv(&image, 8, window(3, 1));
    let x = net.clip(&x, 0.0, 0.6);
    let x = net.quantised(&x, 2.0 / 255.0, 0);
    let x = net.depthwise(&x, window(3, 2));
    let x = net.clip(&x, -0.3, 0.4);
    let x = net.both_signs(&x);
    case("limits", net, &x, &["convolution", "depthwise"], &[])
}

/// Elementwise functions, which run as lookup tables.
fn functions() -> Case {
    let (mut net, image) = Net::new([8, 8], false);
    let x = net.conv(&image, 8, window(3, 1));
    let mut x = net.both_signs(&x);
    for op in ["HardSwish", "LeakyRelu", "Tanh"] {
        x = net.op(op, &[&x], vec![]);
        x = net.both_signs(&x);
    }
    // x * sigmoid(x), as exporters write SiLU.
    let y = net.op("Sigmoid", &[&x], vec![]);
    let y = net.quantised(&y, 1.0 / 255.0, 0);
    let x = net.op("Mul", &[&x, &y], vec![]);
    let x = net.both_signs(&x);
    let tables = ["table"; 5];
    case("functions", net, &x, &[&["convolution"], &tables[..]].concat(), &[])
}

/// Squeeze and excite: a feature map times one value per channel.
fn squeeze() -> Case {
    let (mut net, image) = Net::new([8, 6], false);
    let x = net.conv(&image, 16, window(3, 1));
    let x = net.relu(&x);
    let y = net.mean(&x);
    let y = net.quantised(&y, 2.0 / 255.0, 0);
    let y = net.conv(&y, 4, window(1, 1));
    let y = net.relu(&y);
    let y = net.conv(&y, 16, window(1, 1));
    let y = net.both_signs(&y);
    let y = net.op("HardSigmoid", &[&y], vec![]);
    let y = net.quantised(&y, 1.0 / 255.0, 0);
    let x = net.op("Mul", &[&y, &x], vec![]);
    let x = net.both_signs(&x);
    let body = ["convolution", "average pool", "pointwise", "pointwise", "table", "multiply"];
    case("squeeze", net, &x, &body, &[])
}

/// The elementwise product of two feature maps.
fn product() -> Case {
    let (mut net, image) = Net::new([7, 9], true);
    let a = net.conv(&image, 8, window(3, 1));
    let a = net.both_signs(&a);
    let b = net.conv(&image, 8, window(1, 1));
    let b = net.both_signs(&b);
    let x = net.op("Mul", &[&a, &b], vec![]);
    let x = net.both_signs(&x);
    case("product", net, &x, &["convolution", "pointwise", "multiply"], &[])
}

fn matmul() -> Case {
    let (mut net, image) = Net::new([8, 8], false);
    let x = net.conv(&image, 8, window(3, 2));
    let x = net.relu(&x);
    let x = net.pooled(&x);
    let x = net.matmul(&x, DIM);
    Case {
        name: "matmul",
        net: net.finish(&x),
        picture: None,
        fused: vec!["convolution", "average pool", "fully connected"],
        left: vec![],
    }
}

/// Fully connected layers, one after the other.
fn layers_of_vectors() -> Case {
    let (mut net, image) = Net::new([8, 8], false);
    let x = net.conv(&image, 19, window(3, 2));
    let x = net.relu(&x);
    let x = net.pooled(&x);
    let x = net.gemm(&x, 33);
    let x = net.relu(&x);
    let x = net.gemm(&x, DIM);
    let fused = vec!["convolution", "average pool", "fully connected", "fully connected"];
    Case { name: "layers_of_vectors", net: net.finish(&x), picture: None, fused, left: vec![] }
}

fn max_pool() -> Case {
    let (mut net, image) = Net::new([11, 14], false);
    let x = net.conv(&image, 8, window(3, 1));
    let x = net.relu(&x);
    let x = net.max_pool(&x, window(3, 2));
    let x = net.quantised(&x, 2.0 / 255.0, 0);
    let x = net.conv(&x, 8, window(1, 1));
    let x = net.both_signs(&x);
    case("max_pool", net, &x, &["convolution", "max pool", "pointwise"], &[])
}

/// Windows larger than usual, on images of odd sizes.
fn large_windows() -> Case {
    let (mut net, image) = Net::new([15, 17], false);
    let x = net.conv(&image, 9, window(7, 2));
    let x = net.relu(&x);
    let x = net.depthwise(&x, window(5, 2));
    let x = net.relu(&x);
    let x = net.depthwise(&x, window(7, 1));
    let x = net.both_signs(&x);
    case("large_windows", net, &x, &["convolution", "depthwise", "depthwise"], &[])
}

/// More padding on one side than on the other, as TensorFlow's SAME padding is exported.
fn uneven_padding() -> Case {
    let (mut net, image) = Net::new([29, 26], true);
    let x = net.conv(&image, 8, Window { pads: [0, 0, 1, 1], ..window(3, 2) });
    let x = net.relu(&x);
    let x = net.depthwise(&x, Window { pads: [1, 0, 2, 1], ..window(3, 1) });
    let x = net.relu(&x);
    let x = net.depthwise(&x, Window { pads: [0, 2, 0, 1], ..window(4, 2) });
    let x = net.relu(&x);
    // A 1 x 1 window at stride 2: some pixels are not read.
    let x = net.conv(&x, 8, window(1, 2));
    let x = net.both_signs(&x);
    case("uneven_padding", net, &x, &["convolution", "depthwise", "depthwise", "pointwise"], &[])
}

/// A value that is quantised twice in a row.
fn rescaled() -> Case {
    let (mut net, image) = Net::new([6, 6], false);
    let x = net.conv(&image, 8, window(3, 1));
    let x = net.both_signs(&x);
    let x = net.quantised(&x, 3.0 / 255.0, 100);
    case("rescaled", net, &x, &["convolution", "table"], &[])
}
