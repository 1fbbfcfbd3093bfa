//! Predictions of copies, kept until a label comes: one late label then judges both variants' answers to the same request.
//!
//! Keyed by the nonce of the ticket that the caller got. Bounded: past the limit the oldest is forgotten, and its label then judges
//! the caller's answer alone, as labels do without a copy.

use super::ticket::Prediction;
use std::collections::{HashMap, VecDeque};

/// Predictions that are kept at most; with short ones some 30 MB.
pub const PAIRS_MAX: usize = 200_000;

/// What a copy was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyTold {
    /// Of the ticket that goes with the caller's answer.
    pub nonce: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// What the copy said.
    pub prediction: Prediction,
}

/// The book. Its only writer is the feedback door.
#[derive(Debug)]
pub struct PairBook {
    copies: HashMap<u64, Prediction>,
    /// When each came, those that are used up among them.
    in_order: VecDeque<(u64, u64)>,
    limit: usize,
}

impl Default for PairBook {
    fn default() -> Self {
        Self::new(PAIRS_MAX)
    }
}

impl PairBook {
    /// A book of at most `limit` predictions.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { copies: HashMap::new(), in_order: VecDeque::new(), limit }
    }

    /// Keeps a prediction; whether another one, still without a label, had to go for it.
    pub fn keep(&mut self, told: CopyTold) -> bool {
        let full = self.in_order.len() >= self.limit;
        let gone = full && self.in_order.pop_front().is_some_and(|(_, nonce)| self.copies.remove(&nonce).is_some());
        self.in_order.push_back((told.at_ms, told.nonce));
        self.copies.insert(told.nonce, told.prediction);
        gone
    }

    /// What the copy of this ticket's request was answered; told once.
    pub fn take(&mut self, nonce: u64) -> Option<Prediction> {
        self.copies.remove(&nonce)
    }

    /// Forgets what came before `since_ms`: its tickets are too old for a label. How many were still without one.
    pub fn expire(&mut self, since_ms: u64) -> u64 {
        let mut gone = 0;
        while let Some((_, nonce)) = self.in_order.front().copied().filter(|(at_ms, _)| *at_ms < since_ms) {
            self.in_order.pop_front();
            gone += u64::from(self.copies.remove(&nonce).is_some());
        }
        gone
    }

    /// How many predictions wait for a label.
    #[must_use]
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(nonce: u64, at_ms: u64) -> CopyTold {
        CopyTold { nonce, at_ms, prediction: Prediction::of_json(&nonce.to_string()) }
    }

    #[test]
    fn a_prediction_is_told_once() {
        let mut book = PairBook::new(3);
        assert!(book.is_empty() && !book.keep(told(1, 10)) && !book.is_empty());
        assert_eq!((book.take(2), book.take(1), book.take(1)), (None, Some(Prediction::of_json("1")), None));
        assert!(book.is_empty());
    }

    #[test]
    fn the_oldest_makes_room_and_what_is_too_old_goes() {
        let mut book = PairBook::new(3);
        let gone: Vec<bool> = (1..=5).map(|n| book.keep(told(n, 10 * n))).collect();
        assert_eq!(gone, [false, false, false, true, true]);
        assert_eq!((book.len(), book.take(2).is_none(), book.take(4).is_some()), (3, true, true));
        assert!(book.keep(told(6, 60)), "3 had no label yet");
        assert_eq!(book.expire(50), 0, "3 made room for 6, and 4 had its label");
        assert_eq!(book.expire(51), 1);
        assert_eq!(book.len(), 1);
        for n in 0..1_000 {
            book.keep(told(100 + n, 100));
            book.take(100 + n);
        }
        assert!(book.in_order.len() <= 3 && book.copies.len() <= 1, "what is used up takes no more room than the rest");
    }
}
