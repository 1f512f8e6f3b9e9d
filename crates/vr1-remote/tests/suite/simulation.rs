//! The clock that is only counted: what must hold of any servers and any trainer.

use vr1_remote::Simulation;

/// Completions of one length, times that are easily summed.
fn plain() -> Simulation {
    Simulation {
        prompts_per_step: 4,
        group_size: 2,
        mean_tokens: 100.0,
        spread: 0.0,
        most_tokens: 1000,
        prefill_seconds: 0.0,
        token_seconds: 0.01,
        row_seconds: 0.0,
        update_seconds: 3.0,
        push_seconds: 0.5,
        steps: 10,
        ..Simulation::default()
    }
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} and {b}");
}

#[test]
fn without_staleness_a_step_is_rollout_update_and_push_one_after_the_other() {
    let seen = plain().run().unwrap();
    near(seen.seconds_per_step, 100.0 * 0.01 + 3.0 + 0.5);
    near(seen.tokens_per_second, 800.0 / 4.5);
    near(seen.trainer_busy, 3.0 / 4.5);
    near(seen.servers_busy, 1.0 / 4.5);
    // Eight completions, half done on average.
    near(seen.tokens_in_flight, 8.0 * 50.0 / 4.5);
    near(seen.staleness_steps, 0.0);
}

#[test]
fn a_server_with_one_row_draws_one_completion_after_the_other() {
    let seen = Simulation { rows: 1, ..plain() }.run().unwrap();
    near(seen.seconds_per_step, 8.0 * 100.0 * 0.01 + 3.5);
    near(seen.rows_busy * seen.seconds_per_step, 8.0);
    near(seen.tokens_in_flight * seen.seconds_per_step, 8.0 * 50.0);
}

#[test]
fn prompts_are_read_once_a_group_and_rows_make_a_token_slower() {
    let seen = Simulation { prefill_seconds: 0.1, row_seconds: 0.001, ..plain() }.run().unwrap();
    // Nothing is decoded before the last of the four prompts was read; then eight rows at once.
    near(seen.seconds_per_step, 4.0 * 0.1 + 100.0 * (0.01 + 0.008) + 3.5);
}

#[test]
fn with_a_step_of_staleness_rollouts_hide_behind_updates() {
    let seen = Simulation { max_staleness_steps: 1, ..plain() }.run().unwrap();
    near(seen.seconds_per_step, 3.5);
    near(seen.staleness_steps, 1.0);
    // And where rollouts take longer, updates behind them; nothing is under way while weights are pushed.
    let slow = Simulation { token_seconds: 0.1, max_staleness_steps: 1, ..plain() }.run().unwrap();
    near(slow.seconds_per_step, 10.5);
}

#[test]
fn more_servers_are_no_slower_and_never_beyond_what_the_trainer_takes() {
    for max_staleness_steps in [0, 1] {
        let mut last = f64::INFINITY;
        for servers in [1, 2, 4, 8, 16, 32, 64] {
            let of = Simulation {
                servers,
                prompts_per_step: 64,
                spread: 0.7,
                row_seconds: 1e-4,
                prefill_seconds: 0.02,
                max_staleness_steps,
                ..plain()
            };
            let seen = of.run().unwrap();
            assert_eq!(seen, of.run().unwrap(), "the same every time");
            // Which server a request goes to changes with their number: a group may have bad luck.
            assert!(seen.seconds_per_step < last * 1.02, "{servers}: {seen:?}, {last} before");
            assert!(seen.seconds_per_step >= 3.5 - 1e-9, "{seen:?}");
            let shares = [seen.servers_busy, seen.trainer_busy];
            assert!(shares.iter().all(|share| (0.0..=1.0 + 1e-9).contains(share)), "{seen:?}");
            assert!(seen.staleness_steps <= max_staleness_steps as f64, "{seen:?}");
            last = seen.seconds_per_step;
        }
    }
}

#[test]
fn so_many_requests_are_under_way_and_no_more() {
    let seen = Simulation { servers: 8, in_flight: 1, group_size: 1, ..plain() }.run().unwrap();
    near(seen.seconds_per_step, 4.0 * 1.0 + 3.5);
    assert!(seen.rows_busy <= 1.0);
}

#[test]
fn a_setting_out_of_its_range_is_named() {
    for (of, field) in [
        (Simulation { servers: 0, ..plain() }, "servers"),
        (Simulation { token_seconds: 0.0, ..plain() }, "token_seconds"),
        (Simulation { spread: f64::NAN, ..plain() }, "spread"),
        (Simulation { mean_tokens: 0.5, ..plain() }, "mean_tokens"),
        (Simulation { steps: 1, ..plain() }, "steps"),
        (Simulation { max_staleness_steps: 2, ..plain() }, "max_staleness_steps"),
        (Simulation { push_seconds: f64::INFINITY, ..plain() }, "push_seconds"),
    ] {
        let error = of.run().unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
