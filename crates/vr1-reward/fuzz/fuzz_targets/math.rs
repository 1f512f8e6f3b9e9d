//! Any two texts are compared in time, whatever they hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vr1_reward::{MathConfig, math_equal};

fuzz_target!(|texts: (&str, &str)| {
    let (gold, answer) = texts;
    let start = std::time::Instant::now();
    math_equal(gold, answer, MathConfig::default());
    math_equal(&format!("${gold}$"), &format!("\\boxed{{{answer}}}"), MathConfig::default());
    assert!(start.elapsed().as_millis() < 2_000, "took {:?}", start.elapsed());
});
