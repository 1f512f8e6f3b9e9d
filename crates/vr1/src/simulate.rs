use anyhow::Result;
use clap::Args;
use serde_json::json;
use vr1_remote::Simulation;

use crate::{print_json, say};

#[derive(Args)]
pub(crate) struct Simulate {
    /// How many servers there are, several numbers for a line each.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    servers: Vec<usize>,
    /// Updates that a rollout's weights may be behind, several numbers for a line each.
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "0,1")]
    max_staleness_steps: Vec<u64>,
    /// Prompts of a step.
    #[arg(long, default_value_t = 64)]
    prompts_per_step: usize,
    /// Completions of a prompt.
    #[arg(long, default_value_t = 8)]
    group_size: usize,
    /// Tokens of a completion on average, before the longest are cut.
    #[arg(long, default_value_t = 512.0)]
    mean_tokens: f64,
    /// The standard deviation of the logarithm of their number.
    #[arg(long, default_value_t = 0.5)]
    spread: f64,
    /// Tokens after which a completion is cut.
    #[arg(long, default_value_t = 2048)]
    most_tokens: u64,
    /// The most completions that a server decodes at a time.
    #[arg(long, default_value_t = 256)]
    rows: usize,
    /// The most requests under way at a time, over all servers.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Seconds to read a prompt.
    #[arg(long, default_value_t = 0.05)]
    prefill_seconds: f64,
    /// Seconds of a token, with however few rows.
    #[arg(long, default_value_t = 0.0022)]
    token_seconds: f64,
    /// Seconds that each row adds to a token.
    #[arg(long, default_value_t = 7e-6)]
    row_seconds: f64,
    /// Seconds of an update.
    #[arg(long, default_value_t = 10.0)]
    update_seconds: f64,
    /// Seconds to bring new weights to the servers.
    #[arg(long, default_value_t = 2.0)]
    push_seconds: f64,
    /// Steps in all; the second half of them is measured.
    #[arg(long, default_value_t = 20)]
    steps: u64,
    /// What the lengths are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print a line of JSON for each to stdout instead of a table.
    #[arg(long)]
    json: bool,
}

impl Simulate {
    pub(crate) fn run(self) -> Result<()> {
        if !self.json {
            say(
                "servers  staleness  seconds a step  tokens/s  servers busy  trainer busy  rows busy  tokens in flight",
            );
        }
        for &max_staleness_steps in &self.max_staleness_steps {
            for &servers in &self.servers {
                let simulation = self.of(servers, max_staleness_steps);
                let seen = simulation.run()?;
                if self.json {
                    print_json(&json!({ "simulation": simulation, "simulated": seen }))?;
                    continue;
                }
                say(format_args!(
                    "{servers:7}  {:9.2}  {:14.2}  {:8.0}  {:10.1} %  {:10.1} %  {:9.1}  {:16.0}",
                    seen.staleness_steps,
                    seen.seconds_per_step,
                    seen.tokens_per_second,
                    100.0 * seen.servers_busy,
                    100.0 * seen.trainer_busy,
                    seen.rows_busy,
                    seen.tokens_in_flight,
                ));
            }
        }
        Ok(())
    }

    fn of(&self, servers: usize, max_staleness_steps: u64) -> Simulation {
        let Self { rows, in_flight, prompts_per_step, group_size, mean_tokens, spread, most_tokens, .. } = *self;
        let Self { prefill_seconds, token_seconds, row_seconds, update_seconds, push_seconds, steps, seed, .. } = *self;
        Simulation {
            servers,
            rows,
            in_flight,
            prompts_per_step,
            group_size,
            mean_tokens,
            spread,
            most_tokens,
            prefill_seconds,
            token_seconds,
            row_seconds,
            update_seconds,
            push_seconds,
            max_staleness_steps,
            steps,
            seed,
        }
    }
}
