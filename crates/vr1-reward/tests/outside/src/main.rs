//! A user's crate: a verifier as a closure, one as a `Reward`, and a program that calls both.

use vr1_reward::{Fields, Param, Program, Registry, Result, Reward, Rollout, Signature, Type};

/// 1 where the model ended the completion itself.
struct Finished;

impl Reward for Finished {
    fn name(&self) -> &str {
        "finished_itself"
    }
    fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
        Ok(if rollout.finished { 1.0 } else { 0.0 })
    }
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    let params = vec![
        Param::answer("answer", Type::Text),
        Param::required("colors", Type::list(Type::Text)),
        Param::choice("case", &["sensitive", "ignore"]),
    ];
    registry.register_typed("names_color", Signature::new("1 where the answer is one of the colors.", params), |args| {
        let answer = args.text(0)?.trim();
        let same = |color: &str| match args.text(2) {
            Ok("ignore") => color.eq_ignore_ascii_case(answer),
            _ => color == answer,
        };
        let vr1_reward::Value::List(colors) = args.value(1) else { return Ok(0.0) };
        Ok(if colors.iter().any(|color| color.as_text().is_some_and(same)) { 1.0 } else { 0.0 })
    });
    registry.register_reward(Finished);
    registry
}

const REWARD: &str = "
terms:
  color: names_color(answer, fields.colors, case='ignore')
  ended: finished_itself()
total: color + 0.5 * ended
tests:
  - { completion: '<answer>Red</answer>', colors: [red, blue], expect: { color: 1, total: 1.5 } }
  - { completion: '<answer>green</answer>', colors: [red, blue], finished: false, expect: { color: 0, total: 0 } }
";

fn main() -> Result<()> {
    let registry = registry();
    let program = Program::parse(REWARD, &registry)?.tested()?;
    let fields: Fields = [("colors".to_owned(), vec!["red", "blue"].into())].into_iter().collect();
    let completion = "<answer>BLUE</answer>";
    let rollout = Rollout { prompt: "", completion, solution: "", tokens: 3, finished: true, fields: &fields };
    println!("{}", program.score(&rollout)?);
    for (slip, by) in [("case='ignore'", "kase='ignore'"), ("fields.colors", "3"), ("'ignore'", "'ignored'")] {
        match Program::parse(&REWARD.replace(slip, by), &registry) {
            Ok(_) => println!("{by} was taken"),
            Err(error) => println!("{}", error.to_string().lines().next().unwrap_or_default()),
        }
    }
    Ok(())
}
