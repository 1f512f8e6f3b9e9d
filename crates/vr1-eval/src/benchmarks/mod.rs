//! The benchmarks, each as its authors publish it.

mod cv_bench;
mod easy_vqa;
mod file;
mod geoqa;
mod longvideobench;
mod mathverse;
mod mathvision;
mod mathvista;
mod mmmu;
mod mmmu_published;
mod mmstar;
mod ovdeval;
mod r1_onevision;
mod referring;
mod superclevr;
mod vrc_bench;

use crate::benchmark::Spec;

pub(crate) use mathvista::normalised as mathvista_rule;

/// All of them, by name.
pub(crate) static ALL: [&Spec; 15] = [
    &cv_bench::SPEC,
    &easy_vqa::SPEC,
    &file::SPEC,
    &geoqa::SPEC,
    &longvideobench::SPEC,
    &mathverse::SPEC,
    &mathvision::SPEC,
    &mathvista::SPEC,
    &mmmu::SPEC,
    &mmstar::SPEC,
    &ovdeval::SPEC,
    &r1_onevision::SPEC,
    &referring::SPEC,
    &superclevr::SPEC,
    &vrc_bench::SPEC,
];
