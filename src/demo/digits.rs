//! 1,797 handwritten digits of 8 x 8 pixels: the test half of "Optical Recognition of Handwritten Digits" by E. Alpaydin and
//! C. Kaynak, UCI Machine Learning Repository, <https://doi.org/10.24432/C50P49>, licence CC BY 4.0 (`digits.LICENSE`).
//! Each line of the file is one picture: 64 pixels from `a` (0, paper) to `q` (16, ink), row by row, then the digit.

/// Pixels of a picture.
pub(super) const PIXELS: usize = 64;
/// Pictures that models are trained on; the others are what callers ask about.
const TRAINING: usize = 1000;

/// One picture and the digit that it shows.
#[derive(Clone, Debug)]
pub(super) struct Digit {
    /// 0 (paper) to 16 (ink).
    pub(super) pixels: [f32; PIXELS],
    pub(super) label: u8,
}

/// The pictures for training, and those held out.
pub(super) fn load() -> (Vec<Digit>, Vec<Digit>) {
    let mut all: Vec<Digit> = include_str!("digits.txt").lines().filter_map(digit).collect();
    let held_out = all.split_off(TRAINING.min(all.len()));
    (all, held_out)
}

fn digit(line: &str) -> Option<Digit> {
    let (pixels, label) = line.split_at_checked(PIXELS)?;
    let mut digit = Digit { pixels: [0.0; PIXELS], label: label.parse().ok()? };
    for (pixel, letter) in digit.pixels.iter_mut().zip(pixels.bytes()) {
        *pixel = f32::from(letter.checked_sub(b'a')?);
    }
    Some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_read() {
        let (training, held_out) = load();
        assert_eq!((training.len(), held_out.len()), (1000, 797));
        assert_eq!(training[0].label, 0);
        assert_eq!(training[0].pixels[..8], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
        assert!(held_out.iter().all(|digit| digit.label < 10 && digit.pixels.iter().all(|p| *p <= 16.0)));
    }
}
