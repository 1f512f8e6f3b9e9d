//! Any two texts are compared, whatever they hold; `-timeout=1` says how long that may take.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vr1_reward::{MathConfig, math_equal};

fuzz_target!(|texts: (&str, &str)| {
    let (gold, answer) = texts;
    let _ = math_equal(gold, answer, MathConfig::default());
    let _ = math_equal(&format!("${gold}$"), &format!("\\boxed{{{answer}}}"), MathConfig::default());
});
