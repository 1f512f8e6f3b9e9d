//! The examples that use the libraries without a recipe run, and what they train improves.

#[path = "../examples/library.rs"]
#[allow(dead_code, reason = "an example's main is its own")]
mod library;
#[path = "../examples/own_objective.rs"]
#[allow(dead_code, reason = "an example's main is its own")]
mod own_objective;

#[test]
fn ten_steps_of_grpo_raise_the_reward() -> anyhow::Result<()> {
    library::main()
}

#[test]
fn an_objective_of_ones_own_is_learnt_by() -> anyhow::Result<()> {
    own_objective::main()
}
