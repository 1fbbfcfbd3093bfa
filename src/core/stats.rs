//! The statistics, one test a file: claim, assumption, formula, source.

pub mod histogram;
