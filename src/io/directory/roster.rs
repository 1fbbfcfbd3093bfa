//! The endpoints of one backend: who is on the list, in which slot, and how its last checks went. No waiting here, only
//! bookkeeping: resolutions and checks go in, the list to publish comes out.

use super::{ENDPOINTS_MAX, vitals::Vitals};
use crate::io::meters::{Lookup, Meters};
use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc};

/// Checks in a row that fail before an endpoint is no longer ready: one lost answer is no news.
const FAILED_CHECKS: u8 = 2;

/// Where one endpoint listens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EndpointAddress {
    /// Over the network.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address of a backend.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Its place in tallies, `0..ENDPOINTS_MAX`: stays with the address for as long as that is on the list, and is given to
    /// another one as late as possible.
    pub slot: u8,
    /// Whether its readiness checks pass. A new one counts as ready until two in a row have failed.
    pub ready: bool,
    /// What requests have told about it; stays with the address like the slot.
    pub vitals: Arc<Vitals>,
}

/// The endpoints of a backend, at some moment.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// In the order of their addresses; empty before the first good resolution.
    pub list: Box<[Endpoint]>,
    /// What is wrong with the last resolution, in words; the list may be older then.
    pub error: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) struct Roster {
    backend: Arc<str>,
    meters: Arc<Meters>,
    known: Vec<Known>,
    /// Where the search for a free slot goes on.
    next_slot: usize,
    error: Option<Box<str>>,
}

#[derive(Debug)]
struct Known {
    endpoint: Endpoint,
    failed_checks: u8,
}

impl Roster {
    pub(super) fn new(backend: String, meters: Arc<Meters>) -> Self {
        Self { backend: backend.into(), meters, known: Vec::new(), next_slot: 0, error: None }
    }

    /// What is to be published.
    pub(super) fn list(&self) -> Endpoints {
        Endpoints { list: self.known.iter().map(|known| known.endpoint.clone()).collect(), error: self.error.clone() }
    }

    /// Takes in a resolution; whether anything changed. Changes are logged, every resolution is counted.
    pub(super) fn resolved(&mut self, found: io::Result<Vec<SocketAddr>>) -> bool {
        let (result, error, changed) = match found {
            Err(error) => (Lookup::Failed, Some(error.to_string()), false),
            Ok(list) if list.is_empty() => (Lookup::Empty, Some("the name has no address".to_owned()), false),
            Ok(list) => {
                let mut list: Vec<_> = list.into_iter().map(EndpointAddress::Tcp).collect();
                // Resolvers shuffle; the same ones must stay on the list.
                list.sort_unstable();
                list.dedup();
                let total = list.len();
                list.truncate(ENDPOINTS_MAX);
                let over = total > ENDPOINTS_MAX;
                let error = over.then(|| format!("{total} addresses, of which {ENDPOINTS_MAX} are used"));
                (if over { Lookup::Truncated } else { Lookup::Ok }, error, self.replace(list))
            }
        };
        self.meters.lookup(result);
        let backend = &*self.backend;
        if changed {
            tracing::info!(backend, addresses = self.known.len(), "addresses changed");
        }
        let error = error.map(Into::into);
        if self.error == error {
            return changed;
        }
        self.error = error;
        match &self.error {
            Some(error) => {
                tracing::warn!(backend, %error, kept = self.known.len(), "resolution is not as it should be")
            }
            None => tracing::info!(backend, "resolution is fine again"),
        }
        true
    }

    /// Makes these the endpoints, sorted and at most [`ENDPOINTS_MAX`]; whether anything changed. Who stays keeps slot, health
    /// and readiness.
    pub(super) fn replace(&mut self, addresses: Vec<EndpointAddress>) -> bool {
        if self.known.iter().map(|known| &known.endpoint.address).eq(&addresses) {
            return false;
        }
        let mut left = std::mem::take(&mut self.known);
        left.retain(|known| addresses.contains(&known.endpoint.address));
        let mut taken: u64 = left.iter().fold(0, |taken, known| taken | 1 << known.endpoint.slot);
        for address in addresses {
            let known = match left.iter().position(|known| known.endpoint.address == address) {
                Some(at) => left.swap_remove(at),
                None => self.newcomer(address, &mut taken),
            };
            self.known.push(known);
        }
        true
    }

    /// In the free slot that comes next, going round: so a slot that has just become free is used last.
    fn newcomer(&mut self, address: EndpointAddress, taken: &mut u64) -> Known {
        let round = (self.next_slot..ENDPOINTS_MAX).chain(0..self.next_slot);
        // At most as many endpoints as slots, so there always is a free one.
        let slot = round.into_iter().find(|slot| *taken & (1 << slot) == 0).unwrap_or(0);
        *taken |= 1 << slot;
        self.next_slot = (slot + 1) % ENDPOINTS_MAX;
        let vitals = Arc::new(Vitals::new(self.backend.clone(), address.clone(), self.meters.clone()));
        let slot = u8::try_from(slot).unwrap_or(0);
        Known { endpoint: Endpoint { address, slot, ready: true, vitals }, failed_checks: 0 }
    }

    /// Takes in a check of an endpoint; whether its readiness changed. A check of one that has gone meanwhile says nothing.
    pub(super) fn checked(&mut self, address: &EndpointAddress, passed: bool) -> bool {
        let Some(known) = self.known.iter_mut().find(|known| known.endpoint.address == *address) else {
            return false;
        };
        known.failed_checks = if passed { 0 } else { known.failed_checks.saturating_add(1) };
        let ready = known.failed_checks < FAILED_CHECKS && (passed || known.endpoint.ready);
        let changed = ready != known.endpoint.ready;
        known.endpoint.ready = ready;
        if changed {
            tracing::info!(backend = &*self.backend, %address, ready, "readiness changed");
        }
        changed
    }
}

// One bit a slot.
const _: () = assert!(ENDPOINTS_MAX <= u64::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> (Roster, Arc<Meters>) {
        let meters = Arc::new(Meters::default());
        (Roster::new("http://models:80".to_owned(), meters.clone()), meters)
    }

    fn found(hosts: impl IntoIterator<Item = u16>) -> io::Result<Vec<SocketAddr>> {
        let [address] = [|host: u16| SocketAddr::from(([10, 0, (host >> 8) as u8, (host & 255) as u8], 80))];
        Ok(hosts.into_iter().map(address).collect())
    }

    /// `host/slot` of everybody.
    fn slots(roster: &Roster) -> String {
        let one = |endpoint: &Endpoint| match &endpoint.address {
            EndpointAddress::Tcp(SocketAddr::V4(v4)) => format!("{}/{}", v4.ip().octets()[3], endpoint.slot),
            other => panic!("{other}"),
        };
        roster.list().list.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn who_stays_keeps_its_slot_and_a_free_slot_is_used_last() {
        let (mut roster, _) = roster();
        assert!(roster.resolved(found([3, 1, 2, 1])));
        assert_eq!(slots(&roster), "1/0 2/1 3/2");
        let vitals = roster.list().list[2].vitals.clone();
        assert!(!roster.resolved(found([2, 3, 1])), "another order is no change");
        assert!(roster.resolved(found([3, 9])));
        assert_eq!(slots(&roster), "3/2 9/3");
        assert!(Arc::ptr_eq(&vitals, &roster.list().list[0].vitals));
        assert!(roster.resolved(found((3..=66).collect::<Vec<_>>())));
        let mut used: Vec<u8> = roster.list().list.iter().map(|endpoint| endpoint.slot).collect();
        used.sort_unstable();
        assert_eq!(used, (0..64).collect::<Vec<u8>>());
        assert!(Arc::ptr_eq(&vitals, &roster.list().list[0].vitals));
    }

    #[test]
    fn what_is_no_answer_keeps_the_last_one_and_too_many_are_cut() {
        let (mut roster, meters) = roster();
        let fail = || Err(io::Error::other("no such host"));
        let count = |meters: &Meters| Lookup::ALL.map(|result| meters.lookups[result as usize].get());
        assert!(roster.resolved(fail()) && !roster.resolved(fail()));
        assert_eq!((slots(&roster).as_str(), roster.list().error.as_deref()), ("", Some("no such host")));
        assert!(roster.resolved(found([1])));
        assert_eq!((slots(&roster).as_str(), roster.list().error), ("1/0", None));
        assert!(roster.resolved(fail()) && roster.resolved(found([])) && !roster.resolved(found([])));
        assert_eq!(slots(&roster), "1/0");
        assert_eq!(roster.list().error.as_deref(), Some("the name has no address"));
        assert_eq!(count(&meters), [1, 0, 2, 3]);
        assert!(roster.resolved(found((1..=300).rev())));
        let list = roster.list();
        assert_eq!(list.error.as_deref(), Some("300 addresses, of which 64 are used"));
        assert_eq!(list.list.len(), ENDPOINTS_MAX);
        assert_eq!(list.list[63].address.to_string(), "10.0.0.64:80");
        assert_eq!(count(&meters), [1, 1, 2, 3]);
    }

    #[test]
    fn two_failed_checks_in_a_row_and_one_good_one() {
        let (mut roster, _) = roster();
        roster.resolved(found([1, 2])).then_some(()).unwrap();
        let [one, gone] = [1, 99].map(|host| EndpointAddress::Tcp(found([host]).unwrap()[0]));
        for (passed, changes, ready) in [
            (true, false, true),
            (false, false, true),
            (true, false, true),
            (false, false, true),
            (false, true, false),
            (false, false, false),
            (true, true, true),
            (false, false, true),
            (false, true, false),
        ] {
            assert_eq!(roster.checked(&one, passed), changes);
            assert_eq!(roster.list().list.iter().map(|e| e.ready).collect::<Vec<_>>(), [ready, true]);
        }
        assert!(!roster.checked(&gone, false));
        // A new address does not touch the readiness of one that stays.
        assert!(roster.resolved(found([1, 3])));
        assert_eq!(roster.list().list.iter().map(|e| e.ready).collect::<Vec<_>>(), [false, true]);
    }
}
