//! A verifier of one's own: written in Rust, called from YAML with checked arguments, tested before any run.
//!
//! `cargo run --example custom_verifier`

use vr1_reward::{Fields, Param, Program, Registry, Result, Reward, Rollout, Signature, Type};

const REWARD: &str = r"
terms:
  close: near(answer, solution, within=2)
  format: format(completion)
total: close + 0.5 * format
tests:
  - { completion: '<think>many</think><answer>11</answer>', solution: '12', expect: { close: 0.5, total: 1 } }
  - { completion: '<answer>20</answer>', solution: '12', expect: { close: 0 } }
  - { completion: 'about a dozen', solution: '12', expect: { close: 0 } }
";

/// 1 at the solution, falling in a straight line to 0 at a distance of `within`.
fn near(answer: &str, solution: &str, within: f64) -> f32 {
    match (answer.trim().parse::<f64>(), solution.trim().parse::<f64>()) {
        (Ok(answer), Ok(solution)) => (1.0 - (answer - solution).abs() / within).max(0.0) as f32,
        _ => 0.0,
    }
}

fn main() -> Result<()> {
    let mut registry = Registry::default();
    let params = vec![
        Param::answer("answer", Type::Text),
        Param::required("solution", Type::Text),
        Param::number("within", 1.0),
    ];
    let signature = Signature::new("1 at the solution, 0 at a distance of `within`.", params);
    registry.register_typed("near", signature, |args| Ok(near(args.text(0)?, args.text(1)?, args.number(2)?)));

    let program = Program::parse(REWARD, &registry)?;
    println!("{}\n", program.check());

    let fields = Fields::new();
    let completion = "<think>one, two, … twelve</think><answer>12</answer>";
    let rollout =
        Rollout { prompt: "How many?", completion, solution: "12", tokens: 9, finished: true, fields: &fields };
    println!("{completion} → {} {:?}", program.score(&rollout)?, program.terms(&rollout)?);

    // A slip is found before anything runs.
    if let Err(error) = Program::parse(&REWARD.replace("within=2", "whithin=2"), &registry) {
        println!("\n{error}");
    }
    Ok(())
}
