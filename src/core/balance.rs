//! Which endpoint of a backend gets a request: of two drawn at random, the one with fewer requests in flight.
//!
//! Two choices instead of one shorten the longest queue exponentially (Mitzenmacher, *The power of two choices in
//! randomized load balancing*, IEEE TPDS 2001), and unlike the least loaded of all they do not send a whole burst to the
//! one endpoint that has just become free. The caller rolls the dice; this file never does.
//!
//! **The floor**: whoever is left out is left out only while somebody else is there. If nobody is both ready and not
//! ejected, all who are ready are picked from; if nobody is ready, all are. So the last one is never ejected, and a wrong
//! readiness path cannot take a backend down.

/// What is known of an endpoint when a request needs one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Requests in flight to it, as far as the picker knows: counts of its own thread are enough.
    pub in_flight: u32,
    /// Its readiness checks pass, or there are none.
    pub ready: bool,
    /// `core/outlier` leaves it out.
    pub ejected: bool,
}

/// The position of the one that gets the request; `None` only if there is no candidate. `draws` are uniform 64 bits.
#[must_use]
pub fn pick<T>(among: &[T], look: impl Fn(&T) -> Candidate, draws: [u64; 2]) -> Option<usize> {
    if among.len() < 2 {
        return (!among.is_empty()).then_some(0);
    }
    let (mut fit, mut ready) = (0, 0);
    for candidate in among.iter().map(&look) {
        ready += usize::from(candidate.ready);
        fit += usize::from(candidate.ready && !candidate.ejected);
    }
    let (total, counts): (usize, fn(Candidate) -> bool) = match (fit, ready) {
        (0, 0) => (among.len(), |_| true),
        (0, ready) => (ready, |candidate| candidate.ready),
        (fit, _) => (fit, |candidate| candidate.ready && !candidate.ejected),
    };
    let left = || among.iter().map(&look).enumerate().filter(|(_, candidate)| counts(*candidate));
    let [first, second] = draws;
    let first = scale(first, total);
    let (at, one) = left().nth(first)?;
    if total == 1 {
        return Some(at);
    }
    // One of the others: two equal choices would be no choice.
    let second = scale(second, total - 1);
    let (other_at, other) = left().nth(second + usize::from(second >= first))?;
    Some(if other.in_flight < one.in_flight { other_at } else { at })
}

/// Like [`pick`], for a request that has failed to reach those that were `tried`: of the others only, if there are any.
#[must_use]
pub fn pick_other<T>(
    among: &[T],
    look: impl Fn(&T) -> Candidate,
    tried: impl Fn(&T) -> bool,
    draws: [u64; 2],
) -> Option<usize> {
    let others: Vec<usize> = (0..among.len()).filter(|at| among.get(*at).is_some_and(|one| !tried(one))).collect();
    let nobody = Candidate { in_flight: 0, ready: false, ejected: false };
    let picked = pick(&others, |at| among.get(*at).map_or(nobody, &look), draws)?;
    others.get(picked).copied()
}

/// A number below `total` from uniform 64 bits; the bias is below `total` / 2^64.
#[allow(clippy::cast_possible_truncation, reason = "the product's high half is below `total`")]
fn scale(bits: u64, total: usize) -> usize {
    ((u128::from(bits) * total as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of each draw: every pair of up to six endpoints comes equally often.
    const STEPS: u64 = 60;

    /// How often each is picked over an even grid of draws. `7` is ready with 7 in flight, `7!` is ejected, `7?` not ready.
    fn picks(endpoints: &str) -> Vec<usize> {
        let look = |text: &&str| Candidate {
            in_flight: text.trim_end_matches(['!', '?']).parse().unwrap(),
            ready: !text.contains('?'),
            ejected: text.contains('!'),
        };
        let among: Vec<&str> = endpoints.split_whitespace().collect();
        let mut picked = vec![0; among.len()];
        // The middle of each step, so that rounding never takes a draw to its neighbour.
        let draw = |step: u64| step * (u64::MAX / STEPS) + u64::MAX / STEPS / 2;
        for (one, two) in (0..STEPS).flat_map(|one| (0..STEPS).map(move |two| (one, two))) {
            if let Some(at) = pick(&among, look, [draw(one), draw(two)]) {
                picked[at] += 1;
            }
        }
        picked
    }

    #[test]
    fn the_less_busy_of_two_and_never_nobody() {
        let check = |endpoints: &str, wanted: &[usize]| assert_eq!(picks(endpoints), wanted, "{endpoints}");
        check("", &[]);
        check("9!?", &[3600]);
        check("0 0", &[1800, 1800]);
        check("0 0 0", &[1200, 1200, 1200]);
        // The busiest is never picked, the idlest whenever it is drawn: in two of three pairs.
        check("5 1 0", &[0, 1200, 2400]);
        check("0 0 0 9", &[1200, 1200, 1200, 0]);
        // Left out while others are there, however busy these are.
        check("0! 9 9", &[0, 1800, 1800]);
        check("0? 9 0!", &[0, 3600, 0]);
        // The floor: all ready ones before any that is not, and all before nobody.
        check("0! 0! 0?", &[1800, 1800, 0]);
        check("0! 0?", &[3600, 0]);
        check("0? 0?", &[1800, 1800]);
        check("0!? 0? 3?", &[1800, 1800, 0]);
    }

    #[test]
    fn whoever_was_tried_is_not_tried_again() {
        let look = |n: &u32| Candidate { in_flight: *n, ready: *n != 7, ejected: *n == 8 };
        // Endpoints by their requests in flight (7 is not ready, 8 ejected), those tried, and the one that is left for every draw.
        for (among, tried, wanted) in [
            (&[1, 2][..], &[1][..], Some(1)),
            (&[1, 2], &[2], Some(0)),
            (&[1, 2], &[1, 2], None),
            (&[], &[], None),
            (&[1, 7, 2], &[1], Some(2)),
            (&[1, 7, 8], &[1], Some(2)),
            (&[1, 7, 2], &[1, 2], Some(1)),
        ] {
            for draws in [[0, 0], [u64::MAX, u64::MAX], [u64::MAX, 0], [1 << 63, 1 << 63]] {
                assert_eq!(pick_other(among, look, |n| tried.contains(n), draws), wanted, "{among:?} {tried:?}");
            }
        }
    }

    #[test]
    fn draws_at_the_ends_stay_inside() {
        let look = |n: &u32| Candidate { in_flight: *n, ready: true, ejected: false };
        for draws in [[0, 0], [u64::MAX, u64::MAX], [0, u64::MAX], [u64::MAX, 0]] {
            for n in 1..8_u32 {
                let among: Vec<u32> = (0..n).collect();
                assert!(pick(&among, look, draws).unwrap() < among.len());
            }
        }
    }

    #[test]
    fn of_two_that_are_equally_busy_the_first_drawn_is_taken() {
        let look = |n: &u32| Candidate { in_flight: *n, ready: true, ejected: false };
        assert_eq!(pick(&[3, 3], look, [0, 0]), Some(0));
        assert_eq!(pick(&[3, 3], look, [u64::MAX, 0]), Some(1));
    }
}
