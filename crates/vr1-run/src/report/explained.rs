//! What each metric says, in one line, and the chart that it is drawn in.

/// A chart of the page: metrics that are read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card {
    pub(crate) id: &'static str,
    /// The heading that it stands under.
    pub(crate) section: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
}

const fn card(id: &'static str, section: &'static str, title: &'static str, unit: &'static str) -> Card {
    Card { id, section, title, unit }
}

/// The charts, in the page's order.
#[rustfmt::skip]
pub(crate) const CARDS: &[Card] = &[
    card("reward", "Reward", "Reward and its terms", "mean"),
    card("accuracy", "Reward", "Accuracy", "share right"),
    card("spread", "Reward", "Spread within a group", "standard deviation"),
    card("implied", "Reward", "Implied rewards", "nats, times beta"),
    card("held_out", "Reward", "Held out: other scores", ""),
    card("length", "Answers", "Length of answers", "tokens"),
    card("finished", "Answers", "Ended by itself", "share"),
    card("tool_calls", "Answers", "Calls of tools", "calls"),
    card("words", "Answers", "Words of thinking and of answers", "words"),
    card("answer_only", "Answers", "Answers without thinking", "share"),
    card("grounding_logprob", "Grounding", "How much likelier with the own picture", "nats a token"),
    card("grounding_reward", "Grounding", "How much better with the own picture", "reward"),
    card("loss", "Learning", "Loss", ""),
    card("grad_norm", "Learning", "Gradient norm", ""),
    card("kl", "Learning", "Divergence", "nats a token"),
    card("clip", "Learning", "Clipped and active tokens", "share"),
    card("ratio", "Learning", "Importance ratio", ""),
    card("entropy", "Learning", "Entropy", "nats a token"),
    card("learning_rate", "Learning", "Learning rate", ""),
    card("beta", "Learning", "Weight of the divergence", "beta"),
    card("logps", "Learning", "Log-probability of answers", "nats"),
    card("sampler_kl", "Sampler and trainer", "Divergence of sampler and trainer", "nats"),
    card("sampler_gap", "Sampler and trainer", "Largest gap of a token", "nats"),
    card("idle", "What teaches nothing", "Groups that teach nothing", "share"),
    card("missing", "What teaches nothing", "Missing rewards", "completions"),
    card("experts", "Experts", "Balance of experts", ""),
    card("phases", "Speed", "Seconds of a step, by phase", "seconds"),
    card("speed", "Speed", "Tokens per second", "tokens/s"),
    card("size", "Speed", "Size of a step", ""),
    card("memory", "Speed", "Most memory so far", "GB"),
    card("other", "Other", "Other metrics", ""),
];

/// A metric, or all whose name fits a pattern with `*` for a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explained {
    pub(crate) name: &'static str,
    /// The [`Card`]'s id.
    pub(crate) card: &'static str,
    pub(crate) says: &'static str,
}

const fn says(name: &'static str, card: &'static str, says: &'static str) -> Explained {
    Explained { name, card, says }
}

/// Every metric of the book's page "Every metric"; of two that fit a name, the first explains it.
#[rustfmt::skip]
pub(crate) const EXPLAINED: &[Explained] = &[
    says("reward", "reward", "mean total reward of the step's completions, those without one left out"),
    says("rewards/chosen", "implied", "mean implied reward, beta times log policy over reference, of the chosen answers"),
    says("rewards/rejected", "implied", "mean implied reward of the rejected answers"),
    says("rewards/margins", "implied", "mean difference of the chosen and the rejected answers' implied rewards"),
    says("rewards/accuracies", "accuracy", "share of pairs whose chosen answer has the greater implied reward"),
    says("rewards/*", "reward", "mean of this term of the reward, over the completions that have it"),
    says("reward_std", "spread", "mean over groups of the standard deviation of rewards within a group: 0 teaches nothing"),
    says("completion_length", "length", "mean sampled tokens"),
    says("tool_calls", "tool_calls", "calls of tools in a completion, on average"),
    says("finished", "finished", "share of completions that the model ended itself, rather than the limit"),
    says("thinking_words", "words", "mean words of a completion's thinking, before </think> or <answer>"),
    says("answer_words", "words", "mean words of a completion's answer"),
    says("answer_only_rate", "answer_only", "share of completions with an answer and not one word of thinking"),
    says("grounding/logprob_blank", "grounding_logprob", "how much likelier completions are with their picture than with a blank one: near 0 where answers do not come of what is shown"),
    says("grounding/logprob_swapped", "grounding_logprob", "the same against another prompt's picture"),
    says("grounding/reward_blank", "grounding_reward", "mean reward less that of completions sampled with a blank picture"),
    says("grounding/reward_swapped", "grounding_reward", "the same against another prompt's picture"),
    says("pictures", "size", "pictures and videos that the step's prompts show"),
    says("loss", "loss", "of the last of the step's updates; in GRPO near 0 by construction, and no measure of progress"),
    says("policy_loss", "loss", "the policy's part of the loss, without divergence and entropy"),
    says("nll", "loss", "cross-entropy, nats a labelled token; of preference pairs, of the chosen answers"),
    says("grad_norm", "grad_norm", "norm of the gradient over all trained parameters, before it is scaled down to max_grad_norm"),
    says("grad_norm/*", "grad_norm", "the norm of a part of the model, tower, merger or language, where any of it is trained"),
    says("beta", "beta", "weight of the divergence from the reference, of the loss or else of the reward"),
    says("kl", "kl", "estimated divergence from the reference; of KTO, what rewards are compared with, nats a completion"),
    says("old_kl", "kl", "how far the policy is from that which sampled"),
    says("clip_ratio", "clip", "share of tokens whose importance ratio the clip or cap cuts"),
    says("clip_ratio_low", "clip", "share below the lower bound with a negative advantage"),
    says("clip_ratio_high", "clip", "share above the upper bound with a positive advantage"),
    says("active_tokens", "clip", "share of tokens that carry the policy loss, after entropy and off-policy masks"),
    says("ratio_min", "ratio", "least importance ratio, new probability over that drawn by"),
    says("ratio_max", "ratio", "greatest importance ratio, new probability over that drawn by"),
    says("sampler_ratio", "ratio", "mean factor of the sampler correction; 1 without one"),
    says("entropy", "entropy", "mean entropy of the distribution at the temperature over what can be sampled, before limits"),
    says("sampled_entropy", "entropy", "mean entropy where tokens were sampled, as the engine recorded it, at temperature 1"),
    says("learning_rate", "learning_rate", "of this step, of what is in no group of parameters"),
    says("logps/chosen", "logps", "mean log-probability of a whole chosen answer"),
    says("logps/rejected", "logps", "mean log-probability of a whole rejected answer"),
    says("sampler_kl", "sampler_kl", "mean over tokens of exp(d) - 1 - d, where d is the trainer's log-probability less the sampler's: near 0 where the two agree"),
    says("sampler_gap", "sampler_gap", "largest difference of a token's log-probability between sampler and trainer"),
    says("canary_gap", "sampler_gap", "after weights were handed to servers, the mean difference of a test prompt's log-probabilities from the trainer's own, nats a token: the widest of the servers"),
    says("staleness", "ratio", "mean updates by which the weights that sampled are older than those that learn, where servers sample ahead"),
    says("memory_gb", "memory", "the most memory that was taken at a time so far: of a GPU by tensors, on the CPU by the whole process"),
    says("groups_of_equals", "idle", "share of the groups whose rewards are all equal: they teach nothing"),
    says("idle", "idle", "1 in a step that had nothing to learn from and left the weights alone"),
    says("skipped", "idle", "1 in a step that was passed over because a number was not finite"),
    says("reward_missing", "missing", "completions without a total: the reward failed, or said none"),
    says("reward_errors", "missing", "completions whose reward failed"),
    says("refill_rounds", "missing", "rounds that replaced groups, where the recipe allows some"),
    says("router_balance", "experts", "the loss that has routers spread tokens, before it is weighed: least where they are spread evenly"),
    says("expert_load_least", "experts", "tokens of the expert with the fewest in any layer, where 1 is an even share"),
    says("expert_load_most", "experts", "tokens of the expert with the most in any layer, where 1 is an even share"),
    says("seconds", "phases", "the whole step, without evaluation and checkpoint"),
    says("seconds_collecting", "phases", "the time until there was something to learn from: reading, sampling, rewards"),
    says("seconds_weights", "phases", "handing the weights to what samples"),
    says("seconds_prefill", "phases", "running over prompts, pictures too"),
    says("seconds_decoding", "phases", "sampling every token after a prompt"),
    says("seconds_rewards", "phases", "waiting for rewards when all was sampled"),
    says("seconds_reference", "phases", "what the reference says"),
    says("seconds_forward", "phases", "scoring with gradients, pictures and losses among it"),
    says("seconds_backward", "phases", "gradients, of all micro-batches and iterations"),
    says("seconds_waiting", "phases", "waiting for the slowest process, before gradients are summed"),
    says("seconds_reduce", "phases", "summing gradients over processes"),
    says("seconds_optimizer", "phases", "norm, clipping and the update itself"),
    says("seconds_gather", "phases", "bringing updated parameters to all processes"),
    says("tokens_per_second", "speed", "GRPO: sampled tokens over the seconds of prompts, sampling and rewards; otherwise all tokens over the seconds of the step"),
    says("reduced_bytes", "size", "bytes of gradients that were summed over processes"),
    says("gathered_bytes", "size", "bytes of parameters that were brought to all processes by those that update them"),
    says("micro_batches", "size", "how many the step was cut into, by tokens_per_micro_batch"),
    says("pairs", "size", "pairs that the step learns from"),
    says("pairs_sampled", "size", "pairs that were sampled for the round, in its first step"),
    says("tokens", "size", "tokens of the step's documents, prompts included"),
    says("round", "size", "which round of sampled pairs, from 1"),
    says("desirable", "size", "share of the step's answers that were liked"),
    says("stage", "size", "which stage of the run, from 1"),
    says("token_accuracy", "accuracy", "share of labelled tokens that are the most likely one"),
    says("accuracy", "accuracy", "that of the first held-out set by name"),
    says("*/accuracy", "accuracy", "share of held-out answers whose term evaluation.metric is above evaluation.threshold"),
    says("*/preference_accuracy", "accuracy", "share of held-out pairs whose chosen answer has the greater mean log-probability a token"),
    says("*/preference_margin", "held_out", "mean difference of held-out pairs' mean log-probabilities, nats a token"),
    says("*/completion_length", "length", "mean tokens of held-out answers"),
    says("*/finished_rate", "finished", "share of held-out answers that ended by themselves"),
    says("*/missing", "missing", "held-out answers without a verdict"),
    says("*/*", "held_out", "mean of this term of the reward over held-out answers"),
];

/// What explains a metric of this name.
pub(crate) fn explained(name: &str) -> Option<&'static Explained> {
    EXPLAINED.iter().find(|one| fits(one.name, name))
}

/// Whether `name` is `pattern` with something for each `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (1..=rest.len()).filter(|&end| rest.is_char_boundary(end)).any(|end| fits(tail, &rest[end..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_of_the_book_is_explained_and_no_other() {
        let book = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/metrics.md"));
        let book = book.expect("the book stands beside the crates");
        let first_cells = book.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let names: BTreeSet<String> = first_cells
            .flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>())
            .map(|name| {
                let part = |part: &str| {
                    let placeholder = part.chars().all(|letter| letter.is_ascii_uppercase());
                    if placeholder { "*".to_owned() } else { part.to_owned() }
                };
                name.split('/').map(part).collect::<Vec<_>>().join("/")
            })
            .collect();
        assert!(names.len() > 50, "the book's tables were read: {names:?}");
        let explained: BTreeSet<String> = EXPLAINED.iter().map(|one| one.name.to_owned()).collect();
        assert_eq!(names, explained);
    }

    #[test]
    fn every_metric_is_in_a_chart_that_there_is() {
        for one in EXPLAINED {
            assert!(CARDS.iter().any(|card| card.id == one.card), "{}: {}", one.name, one.card);
        }
    }

    #[test]
    fn a_star_stands_for_a_name() {
        let of = |name| explained(name).map(|one| one.name);
        assert_eq!(of("rewards/format"), Some("rewards/*"));
        assert_eq!(of("rewards/margins"), Some("rewards/margins"));
        assert_eq!(of("in_domain/accuracy"), Some("*/accuracy"));
        assert_eq!(of("a/b/accuracy"), Some("*/accuracy"));
        assert_eq!((of("rewards/"), of("/accuracy"), of("own")), (None, None, None));
    }
}
