//! The body is `coalmine_fuzz::yaml_spec`; tests run it over `corpus-seeds/yaml_spec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coalmine_fuzz::yaml_spec::check(data));
