//! Colours as light: the matrices between the primaries of a picture, the profile connection space and sRGB.

/// Rows of a matrix.
pub(super) type Matrix = [[f64; 3]; 3];

/// Chromaticities x and y of red, green, blue and white.
#[derive(Debug, Clone, Copy)]
pub(super) struct Primaries(pub(super) [(f64, f64); 4]);

const D65: (f64, f64) = (0.3127, 0.3290);

/// D50, the white of profiles, as XYZ.
const D50: [f64; 3] = [0.9642, 1.0, 0.8249];

impl Primaries {
    /// sRGB and BT.709.
    pub(super) const SRGB: Primaries = Primaries([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65]);
    pub(super) const DISPLAY_P3: Primaries = Primaries([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65]);
    pub(super) const ADOBE_RGB: Primaries = Primaries([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65]);
    pub(super) const BT2020: Primaries = Primaries([(0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65]);

    /// The matrix from light of these primaries to XYZ with the white of profiles. `None` if there is none.
    pub(super) fn to_xyz(self) -> Option<Matrix> {
        let [red, green, blue, white] = self.0.map(|(x, y)| [x / y, 1.0, (1.0 - x - y) / y]);
        // Each colour as bright as it takes for white.
        let columns = transposed([red, green, blue]);
        let shares = applied(&inverse(&columns)?, white);
        let matrix = columns.map(|row| [row[0] * shares[0], row[1] * shares[1], row[2] * shares[2]]);
        // Bradford: to the eye's cones, from one white to the other, and back.
        let cones = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
        let (from, to) = (applied(&cones, white), applied(&cones, D50));
        let scaled: Matrix = std::array::from_fn(|row| cones[row].map(|value| value * to[row] / from[row]));
        let adapted = product(&product(&inverse(&cones)?, &scaled), &matrix);
        adapted.as_flattened().iter().all(|value| value.is_finite()).then_some(adapted)
    }
}

/// The matrix from XYZ with the white of profiles to light of sRGB.
pub(super) fn xyz_to_srgb() -> Option<Matrix> {
    inverse(&Primaries::SRGB.to_xyz()?)
}

pub(super) fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let columns = transposed(*b);
    transposed(columns.map(|column| applied(a, column)))
}

pub(super) fn transposed(m: Matrix) -> Matrix {
    std::array::from_fn(|row| std::array::from_fn(|column| m[column][row]))
}

fn applied(m: &Matrix, v: [f64; 3]) -> [f64; 3] {
    m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

/// By cofactors. `None` if the matrix has no inverse.
fn inverse(m: &Matrix) -> Option<Matrix> {
    let cofactor = |row: usize, column: usize| {
        let [r1, r2] = [(row + 1) % 3, (row + 2) % 3];
        let [c1, c2] = [(column + 1) % 3, (column + 2) % 3];
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * cofactor(0, column)).sum();
    let inverse: Matrix = std::array::from_fn(|row| std::array::from_fn(|column| cofactor(column, row) / determinant));
    (determinant.abs() > 1e-9 && determinant.is_finite()).then_some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrices_are_those_of_the_published_profiles() {
        // Columns of "sRGB IEC61966-2.1" and of Apple's "Display P3".
        let srgb = [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7139]];
        let p3 = [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]];
        for (primaries, expected) in [(Primaries::SRGB, srgb), (Primaries::DISPLAY_P3, p3)] {
            let found = primaries.to_xyz().expect("a matrix");
            let off = found.as_flattened().iter().zip(expected.as_flattened()).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 3e-4, "{found:?}");
        }
        assert!(Primaries([(0.3, 0.3); 4]).to_xyz().is_none());
        assert!(Primaries([(0.3, 0.0); 4]).to_xyz().is_none());
    }
}
