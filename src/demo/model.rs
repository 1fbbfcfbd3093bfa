//! Softmax regression, trained by gradient descent when the demo starts: small, real, and fast enough to be no bottleneck.

use super::digits::{Digit, PIXELS};

const CLASSES: usize = 10;
/// Length of a step of the descent; on pixels between 0 and 1 it converges without swinging.
const RATE: f32 = 5.0;
/// Pixels along one side of a picture.
const SIDE: usize = 8;

/// How pixels are prepared before the model sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Preparation {
    /// From 0..16 to 0..1.
    Scaled,
    /// The same after a resize that is off by half a pixel: a bug that only shows when training has it and serving has not.
    HalfPixelOff,
}

impl Preparation {
    fn apply(self, pixels: &[f32; PIXELS]) -> [f32; PIXELS] {
        let at = |row: usize, column: usize| {
            let inside = row < SIDE && column < SIDE;
            if inside { pixels.get(row * SIDE + column).copied().unwrap_or(0.0) } else { 0.0 }
        };
        match self {
            Self::Scaled => pixels.map(|pixel| pixel / 16.0),
            Self::HalfPixelOff => std::array::from_fn(|i| {
                let (row, column) = (i / SIDE, i % SIDE);
                (at(row, column) + at(row, column + 1) + at(row + 1, column) + at(row + 1, column + 1)) / 64.0
            }),
        }
    }
}

/// Weights per class, the bias last. It is served with [`Preparation::Scaled`], however it was trained.
#[derive(Clone, Debug)]
pub(super) struct Model {
    weights: [[f32; PIXELS + 1]; CLASSES],
}

impl Model {
    /// Trains for so many rounds.
    #[allow(clippy::cast_precision_loss, reason = "a thousand rows")]
    pub(super) fn train(digits: &[Digit], rounds: u32, preparation: Preparation) -> Self {
        let mut model = Self { weights: [[0.0; PIXELS + 1]; CLASSES] };
        let prepared: Vec<_> = digits.iter().map(|digit| (preparation.apply(&digit.pixels), digit.label)).collect();
        for _ in 0..rounds {
            let slope = model.slope(&prepared);
            for (weight, slope) in model.weights.iter_mut().flatten().zip(slope.iter().flatten()) {
                *weight -= RATE / prepared.len() as f32 * slope;
            }
        }
        model
    }

    /// Slope of the cross entropy, summed over the rows.
    fn slope(&self, rows: &[([f32; PIXELS], u8)]) -> [[f32; PIXELS + 1]; CLASSES] {
        let mut slope = [[0.0; PIXELS + 1]; CLASSES];
        for (pixels, label) in rows {
            let chances = softmax(self.scores(pixels));
            for (class, (slope, chance)) in slope.iter_mut().zip(chances).enumerate() {
                let error = if class == usize::from(*label) { chance - 1.0 } else { chance };
                for (slope, pixel) in slope.iter_mut().zip(pixels.iter().chain([&1.0])) {
                    *slope += error * pixel;
                }
            }
        }
        slope
    }

    /// The digit that it takes the picture for.
    pub(super) fn predict(&self, pixels: &[f32; PIXELS]) -> usize {
        let scores = self.scores(&Preparation::Scaled.apply(pixels));
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(class, _)| class)
    }

    fn scores(&self, prepared: &[f32; PIXELS]) -> [f32; CLASSES] {
        self.weights.map(|weights| weights.iter().zip(prepared.iter().chain([&1.0])).map(|(w, p)| w * p).sum())
    }
}

fn softmax(scores: [f32; CLASSES]) -> [f32; CLASSES] {
    let most = scores.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let powers = scores.map(|score| (score - most).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rows_help_and_the_skew_hurts() {
        let (training, held_out) = crate::demo::digits::load();
        let accuracy = |model: Model| {
            let right = held_out.iter().filter(|d| model.predict(&d.pixels) == usize::from(d.label)).count();
            right * 1000 / held_out.len()
        };
        let stable = accuracy(Model::train(&training[..300], 60, Preparation::Scaled));
        let good = accuracy(Model::train(&training, 100, Preparation::Scaled));
        let skewed = accuracy(Model::train(&training, 60, Preparation::HalfPixelOff));
        assert!(stable > 850 && good > stable + 20 && skewed < 750, "{stable} {good} {skewed}");
    }
}
