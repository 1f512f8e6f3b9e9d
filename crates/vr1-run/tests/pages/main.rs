//! Pages as a browser shows them. Where there is no Chromium, what needs one is skipped and says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chromium;
mod compare;
mod dashboard;
mod fixture;
mod report;
mod report_seen;
