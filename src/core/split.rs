//! Weighted choice between the variants of a route.
//!
//! Weights always sum to 100 %: a `Split` that does not cannot be built, so nobody checks again.
//! The caller makes the draw (random, or a sticky hash); this file never rolls dice.

use super::name::{ReleaseKey, RouteName};
use siphasher::sip::SipHasher24;
use std::{fmt, hash::Hasher};

/// Basis points in the whole: 100 %.
pub const WHOLE: u16 = 10_000;

/// A share of traffic in whole basis points, 0..=10,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Weight(u16);

impl Weight {
    /// Nothing. Never means "unset".
    pub const ZERO: Self = Self(0);
    /// Everything.
    pub const FULL: Self = Self(WHOLE);

    /// A weight from basis points; `None` above 10,000.
    #[must_use]
    pub fn new(basis_points: u16) -> Option<Self> {
        (basis_points <= WHOLE).then_some(Self(basis_points))
    }

    /// Basis points, 0..=10,000.
    #[must_use]
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// The share as a fraction of one.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// `self + other`, or everything if that is more.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(WHOLE))
    }

    /// `self - other`, or nothing if that is less.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Weight {
    /// As the routes file writes it: per cent with at most two decimals (`10`, `12.5`, `0.25`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}"),
            r if r % 10 == 0 => write!(f, "{whole}.{}", r / 10),
            r => write!(f, "{whole}.{r:02}"),
        }
    }
}

/// A number in 0..10,000: random, or from a sticky key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Draw(u16);

impl Draw {
    /// A draw from uniform 64 bits: by their high end. The bias is below 10,000 / 2^64.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the product's high half is below 10,000")]
    pub fn from_bits(bits: u64) -> Self {
        Self(((u128::from(bits) * u128::from(WHOLE)) >> 64) as u16)
    }

    /// The draw of a sticky key: the same on every replica and after every restart, reshuffled by a new release.
    #[must_use]
    pub fn sticky(route: &RouteName, release: ReleaseKey, key: &[u8]) -> Self {
        Self::from_bits(sticky_bits(route, release, key))
    }

    /// The number itself, 0..10,000.
    #[must_use]
    pub fn value(self) -> u16 {
        self.0
    }
}

/// What a sticky key's draw is made from; it also names the user in this release.
#[must_use]
pub fn sticky_bits(route: &RouteName, release: ReleaseKey, key: &[u8]) -> u64 {
    siphash(&[route.as_str().as_bytes(), &release.0.to_le_bytes(), key])
}

/// SipHash-2-4 (Aumasson & Bernstein 2012) under the all-zero key, each part prefixed by its length. A *specified*
/// hash, so that splits and release keys never change with a library version.
#[must_use]
pub fn siphash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher24::new();
    // Nearly always it fits, and a hash over one piece is far cheaper than one over many.
    let (mut all, mut len) = ([0; 128], 0);
    let mut put = |bytes: &[u8]| {
        let to = all.get_mut(len..len + bytes.len())?;
        to.copy_from_slice(bytes);
        len += bytes.len();
        Some(())
    };
    let fits = parts.iter().all(|part| put(&(part.len() as u64).to_le_bytes()).and_then(|()| put(part)).is_some());
    if let Some(all) = all.get(..len).filter(|_| fits) {
        hasher.write(all);
        return hasher.finish();
    }
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish()
}

/// Weights that do not sum to 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("weights sum to {sum} basis points, not 10000")]
pub struct NotWhole {
    /// What they sum to, in basis points.
    pub sum: u32,
}

/// Weights over the variants of one route. Positions are those of the route's variant list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// `(first draw that is no longer mine, variant position)`, rising. Variants with weight 0 do not appear.
    bounds: Box<[(u16, u16)]>,
}

impl Split {
    /// A split over `(variant position, weight)`, laid out along the draw in this order. Put the variant under
    /// release first: then a user who is in at 10 % is still in at 25 %.
    ///
    /// # Errors
    /// [`NotWhole`] if the weights do not sum to 100 %.
    pub fn new(in_order: &[(u16, Weight)]) -> Result<Self, NotWhole> {
        let sum: u32 = in_order.iter().map(|(_, weight)| u32::from(weight.0)).sum();
        if sum != u32::from(WHOLE) {
            return Err(NotWhole { sum });
        }
        let mut end = 0;
        let bounds = in_order
            .iter()
            .filter(|(_, weight)| *weight > Weight::ZERO)
            .map(|(position, weight)| {
                end += weight.0;
                (end, *position)
            })
            .collect();
        Ok(Self { bounds })
    }

    /// The position of the variant that `draw` falls on.
    #[must_use]
    pub fn pick(&self, draw: Draw) -> usize {
        let hit = self.bounds.iter().find(|(end, _)| draw.0 < *end);
        // The bounds end at 10,000 and a draw is below that, so there always is a hit.
        usize::from(hit.or(self.bounds.last()).map_or(0, |(_, position)| *position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[u16]) -> Result<Split, NotWhole> {
        let in_order: Vec<_> = (0..).zip(weights.iter().map(|w| Weight(*w))).collect();
        Split::new(&in_order)
    }

    #[test]
    fn only_whole_splits_exist() {
        assert!(split(&[9000, 1000]).is_ok());
        assert_eq!(split(&[9000, 999]), Err(NotWhole { sum: 9999 }));
        assert_eq!(split(&[]), Err(NotWhole { sum: 0 }));
    }

    #[test]
    fn every_draw_counts_once_and_zero_is_exactly_zero() {
        for weights in [&[10_000, 0][..], &[0, 10_000], &[1, 9_999], &[1_000, 0, 9_000], &[3333, 3333, 3334]] {
            let split = split(weights).unwrap();
            let mut seen = vec![0_u16; weights.len()];
            for draw in 0..WHOLE {
                seen[split.pick(Draw(draw))] += 1;
            }
            assert_eq!(seen, weights);
        }
    }

    #[test]
    fn a_sticky_user_stays_in_while_the_share_rises() {
        let route = RouteName::new("digits").unwrap();
        let (ten, quarter) = (split(&[1000, 9000]).unwrap(), split(&[2500, 7500]).unwrap());
        let mut inside = 0;
        for user in 0..20_000_u32 {
            let draw = Draw::sticky(&route, ReleaseKey(7), &user.to_le_bytes());
            if ten.pick(draw) == 0 {
                inside += 1;
                assert_eq!(quarter.pick(draw), 0, "user {user} was thrown back");
            }
        }
        assert!((1_850..2_150).contains(&inside), "{inside} of 20000 users at 10 %");
    }

    #[test]
    fn the_hash_is_the_specified_one_for_ever() {
        // SipHash-2-4 under the zero key; a change here would reshuffle every user of every running release.
        let route = RouteName::new("digits").unwrap();
        let draws: Vec<u16> =
            [&b"ada"[..], b"grace", b""].iter().map(|key| Draw::sticky(&route, ReleaseKey(42), key).value()).collect();
        assert_eq!(draws, [6446, 6796, 2772]);
    }

    #[test]
    fn weights_are_written_as_in_the_file() {
        let written: Vec<_> = [0, 25, 50, 1000, 1250, 10_000].map(|w| Weight(w).to_string()).into();
        assert_eq!(written, ["0", "0.25", "0.5", "10", "12.5", "100"]);
    }

    #[test]
    fn a_weight_is_a_fraction_of_ten_thousand() {
        for (weight, fraction) in [(0, 0.0), (25, 0.0025), (5_000, 0.5), (10_000, 1.0)] {
            assert!((Weight(weight).fraction() - fraction).abs() < 1e-15, "{weight}");
        }
    }
}
