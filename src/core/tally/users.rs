//! Users who failed, on routes where a user keeps their variant: which of them, not how often.
//!
//! A user for whom everything fails is one observation, however many requests they send. They are remembered as one bit each, at a
//! place that a hash of route, release and sticky key gives: nothing of the key itself is kept. Two users in one place count as
//! one, whichever variant they have, so a full memory makes the judge slower and never wrong. The place is taken from the low end
//! of the hash and the draw from its high end, so that the place of a user says nothing about their variant.

use super::Cell;
use std::sync::OnceLock;

/// Places for users who failed, per route and attempt: with half of them taken, every second user more is missed.
pub const USER_BITS: usize = 1 << 16;
const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = USER_BITS / WORD_BITS;

/// One variant's failed users of one data thread, which is the only one to write.
#[derive(Debug, Default)]
pub struct UserCells {
    /// What the bits are about; see [`VariantTally::forget_users`](super::VariantTally::forget_users).
    epoch: Cell,
    /// Made by the first failure: most routes are not sticky.
    words: OnceLock<Box<[Cell]>>,
    /// Failures of requests that named no user. Each is drawn on its own, so each counts on its own.
    unnamed: Cell,
}

impl UserCells {
    pub(super) fn failed(&self, user: Option<u64>, epoch: u64) {
        let Some(user) = user else { return self.unnamed.add(1) };
        let words = self.words.get_or_init(|| (0..WORDS).map(|_| Cell::default()).collect());
        if self.epoch.get() != epoch {
            words.iter().for_each(|word| word.publish(0));
            // A reader who sees the epoch sees no bit of before.
            self.epoch.publish(epoch);
        }
        let (word, bit) = place(user);
        if let Some(cell) = words.get(word) {
            cell.publish(cell.get() | bit);
        }
    }

    pub(super) fn add_to(&self, users: &mut FailedUsers, epoch: u64) {
        users.unnamed += self.unnamed.get();
        if let Some(words) = self.words.get().filter(|_| self.epoch.published() == epoch) {
            users.words.iter_mut().zip(words).for_each(|(sum, word)| *sum |= word.get());
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "below USER_BITS")]
fn place(user: u64) -> (usize, u64) {
    let place = (user % USER_BITS as u64) as usize;
    (place / WORD_BITS, 1 << (place % WORD_BITS))
}

/// Users who failed, read out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedUsers {
    words: Box<[u64]>,
    /// Failures that named no user.
    pub unnamed: u64,
}

impl Default for FailedUsers {
    fn default() -> Self {
        Self { words: vec![0; WORDS].into(), unnamed: 0 }
    }
}

impl FailedUsers {
    /// How many there are, by the places they take.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Takes those of `others` in who are not here yet; how many they were.
    pub fn meet(&mut self, others: &Self) -> u64 {
        let before = self.len();
        self.words.iter_mut().zip(&others.words).for_each(|(mine, theirs)| *mine |= theirs);
        self.len() - before
    }

    /// Takes one in; whether they are new here.
    pub fn insert(&mut self, user: u64) -> bool {
        let (word, bit) = place(user);
        self.words.get_mut(word).is_some_and(|word| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        })
    }

    /// As numbers to be saved.
    #[must_use]
    pub fn saved(&self) -> &[u64] {
        &self.words
    }

    /// From numbers that were saved, with their positions; the others are 0.
    #[must_use]
    pub fn restored(words: &[(usize, u64)]) -> Self {
        let mut users = Self::default();
        for (position, word) in words {
            if let Some(place) = users.words.get_mut(*position) {
                *place = *word;
            }
        }
        users
    }
}
