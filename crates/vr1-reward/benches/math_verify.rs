//! Math-Verify and `math_equal` on Math-Verify's own 138 cases, in one run: seconds a pass, and their ratio.
//!
//! `PYTHON` names a Python that has `math-verify==0.9.0`; without one only our own time is printed.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use vr1_reward::{MathConfig, math_equal};

/// Reads, parses and verifies every case, as a trainer would, and prints the seconds of the second pass.
const PEER: &str = r#"
import json, sys, time
from math_verify import parse, verify
cases = [json.loads(line) for line in open(sys.argv[1])]
def run():
    start = time.perf_counter()
    for case in cases:
        verify(parse(case["gold"]), parse(case["pred"]))
    return time.perf_counter() - start
run()
print(run())
"#;

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/math_verify_cases.jsonl");
    let text = std::fs::read_to_string(path).expect("the fixture is part of the crate");
    let cases: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|case| Some((case["gold"].as_str()?.to_owned(), case["pred"].as_str()?.to_owned())))
        .collect();
    let pass = || {
        let start = Instant::now();
        let equal = cases.iter().filter(|(gold, pred)| math_equal(gold, pred, MathConfig::default())).count();
        (start.elapsed().as_secs_f64(), equal)
    };
    pass();
    let (ours, equal) = pass();
    let each = 1e6 * ours / cases.len() as f64;
    println!("vr1-reward   {ours:9.4} s for {} cases ({equal} equal), {each:.1} µs each", cases.len());
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&python).args(["-c", PEER, path]).output();
    let seconds = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse::<f64>().ok());
    match seconds {
        Some(theirs) => println!("Math-Verify  {theirs:9.4} s, {:.0} times as long", theirs / ours),
        None => println!("Math-Verify is not in {python}; name a Python that has it in PYTHON"),
    }
}
