//! Tickets: no text panics or opens without our signature; what we seal opens as it was, and no flipped bit goes unseen.

use coalmine::core::{
    name::{ReleaseKey, RouteName, VariantName},
    ticket::{Prediction, TICKET_CHARS_MAX, Ticket, TicketKey},
};

/// The input is a ticket text; and, read as the parts of a ticket, one of ours.
pub fn check(data: &[u8]) {
    let key = TicketKey::new(b"the key of the fuzzed replicas");
    if let Ok(text) = std::str::from_utf8(data) {
        // Only a corpus made with this very key holds texts that open; those must have one spelling.
        if let Ok(ticket) = Ticket::open(text, &key) {
            assert_eq!(ticket.seal(&key), text, "a ticket with two spellings");
        }
    }
    if let Some(ticket) = built(data) {
        let sealed = ticket.seal(&key);
        assert!(sealed.len() <= TICKET_CHARS_MAX, "{} characters", sealed.len());
        assert_eq!(Ticket::open(&sealed, &key).as_ref(), Ok(&ticket));
        let at =
            data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into())) % sealed.len();
        let other = if sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut changed = sealed.clone();
        changed.replace_range(at..=at, other);
        assert!(Ticket::open(&changed, &key).is_err(), "character {at} of {sealed} may be changed");
        assert!(Ticket::open(&sealed, &TicketKey::new(b"another key")).is_err());
    }
}

/// A ticket from an input: numbers, then `route,variant,prediction`.
fn built(data: &[u8]) -> Option<Ticket> {
    let (numbers, names) = data.split_at_checked(24)?;
    let number = |at: usize| numbers[at..at + 8].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    let mut names = std::str::from_utf8(names).ok()?.splitn(3, ',');
    Some(Ticket {
        // Six bytes of milliseconds: until the year 10889.
        at_ms: number(0) >> 16,
        nonce: number(8),
        release: ReleaseKey(number(16)),
        route: RouteName::new(names.next()?).ok()?,
        variant: VariantName::new(names.next()?).ok()?,
        prediction: names.next().map(Prediction::of_json).unwrap_or_default(),
    })
}
