//! The body is `coalmine_fuzz::route_match`; tests run it over `corpus-seeds/route_match`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coalmine_fuzz::route_match::check(data));
