//! Vectors as int8 codes: how they are made and compared.
//!
//! A unit vector `x` is stored as `round(127 * x / max|x|)` with one factor, `1 / |code|`. The product of two codes and
//! their two factors is then the cosine of the directions that the codes point to: rounding changes a code's length,
//! and the factor takes that out again.

/// A vector as one signed byte a coordinate.
#[derive(Debug, Clone, PartialEq)]
pub struct Code {
    /// `-127..=127` each.
    pub values: Vec<i8>,
    /// `1 / |values|`.
    pub factor: f32,
}

/// Codes a vector that is finite and not zero, as an [`Embedding`](crate::Embedding) is.
pub fn encode(vector: &[f32]) -> Code {
    let largest = vector.iter().fold(0f32, |max, v| max.max(v.abs()));
    let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let values: Vec<i8> = vector.iter().map(|v| (v * scale).round_ties_even().clamp(-127.0, 127.0) as i8).collect();
    let factor = factor(&values);
    Code { values, factor }
}

/// `1 / |values|`; 0 for the zero vector, which then scores 0 against everything.
pub fn factor(values: &[i8]) -> f32 {
    match dot(values, values) {
        0 => 0.0,
        square => (1.0 / f64::from(square).sqrt()) as f32,
    }
}

/// Sum of products. Exact up to 133,000 coordinates, beyond every embedding that is accepted.
pub fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

/// Cosine from an integer product and the two factors: -1 to 1 within rounding.
pub fn cosine(product: i32, a: f32, b: f32) -> f32 {
    product as f32 * a * b
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cosine_of_codes_is_near_the_cosine_of_vectors(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 64..200),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let exact = a.iter().zip(&b).map(|(x, y)| x * y).sum::<f32>() / (length(&a) * length(&b));
            let (a, b) = (encode(&a), encode(&b));
            let coded = cosine(dot(&a.values, &b.values), a.factor, b.factor);
            prop_assert!((exact - coded).abs() < 0.01, "{exact} {coded}");
        }
    }

    #[test]
    fn a_code_scores_one_against_itself() {
        let code = encode(&[0.6, -0.8, 0.0]);
        assert_eq!(code.values, [95, -127, 0]);
        assert!((cosine(dot(&code.values, &code.values), code.factor, code.factor) - 1.0).abs() < 1e-6);
        assert_eq!(encode(&[0.0; 4]).factor, 0.0);
    }
}
