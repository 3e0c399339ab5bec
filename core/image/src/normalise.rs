//! Converts bytes to the network's numbers.

use super::picture::InputRgb;
use crate::recipe::{Channels, InputTensor, Recipe};

/// Returns `(value / 255 - mean) / std` as a tensor of 1 x 3 x height x width: interleaved bytes become planes, in the
/// recipe's channel order.
///
/// ```
/// use magpie_image::recipe::Recipe;
/// use magpie_image::{InputRgb, normalise};
///
/// let input = InputRgb { width: 2, height: 1, rgb: vec![255, 0, 0, 255, 0, 255] };
/// let recipe = Recipe::new(2, 1).with_mean_std([0.5; 3], [0.5; 3]);
/// assert_eq!(normalise(&input, &recipe).data, [1.0, 1.0, -1.0, -1.0, -1.0, 1.0]);
/// ```
///
/// # Panics
/// If the input has no pixels. [`Recipe::check`] refuses sizes that lead to this.
pub fn normalise(input: &InputRgb, recipe: &Recipe) -> InputTensor {
    let pixels = (input.width * input.height) as usize;
    debug_assert_eq!(input.rgb.len(), 3 * pixels, "three bytes for each pixel");
    let mut data = vec![0.0; 3 * pixels];
    for (plane, values) in data.chunks_exact_mut(pixels).enumerate() {
        let (mean, std) = (recipe.mean[plane], recipe.std[plane]);
        let table: [f32; 256] = std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std);
        let channel = match recipe.channels {
            Channels::Rgb => plane,
            Channels::Bgr => 2 - plane,
        };
        for (value, pixel) in values.iter_mut().zip(input.rgb.chunks_exact(3)) {
            *value = table[usize::from(pixel[channel])];
        }
    }
    InputTensor { width: input.width, height: input.height, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_follow_the_channel_order() {
        let mut recipe = Recipe::new(2, 1).with_mean_std([0.0, 0.5, 0.5], [1.0, 0.5, 1.0]);
        let input = InputRgb { width: 2, height: 1, rgb: vec![255, 0, 51, 0, 255, 255] };
        let close = |a: Vec<f32>, b: [f32; 6]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?}");
        close(normalise(&input, &recipe).data, [1.0, 0.0, -1.0, 1.0, -0.3, 0.5]);
        recipe.channels = Channels::Bgr;
        close(normalise(&input, &recipe).data, [0.2, 1.0, -1.0, 1.0, 0.5, -0.5]);
    }
}
