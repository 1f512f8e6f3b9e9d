//! What EasyR1's other keys are here.

use super::sheet::Rest;

const ALONE: &str = "one process trains";
const VLLM: &str = "completions are sampled in this process, by the weights that are trained";
const CUT: &str = "micro-batches are cut by tokens: `tokens_per_micro_batch`";
const OFFLOADED: &str =
    "weights stay on the device; `optimizer.offload` keeps masters and moments in the host's memory";
const KERNELS: &str = "kernels are its own";
const LOGGED: &str = "every step has its line in metrics.jsonl and its event for TensorBoard";
pub(super) const SIZES: &str =
    "pictures are sized by the checkpoint's own settings: change them in its preprocessor_config.json";

pub(super) const REST: &[(&str, Rest)] = &[
    ("config", Rest::Idle("it was read")),
    ("data.max_prompt_length", Rest::Idle("prompts are not cut: what does not fit the model is an error")),
    (
        "data.filter_overlong_prompts",
        Rest::Off(
            "false",
            "no prompt is left out for its length but by `filters`; one that does not fit the model is an error",
        ),
    ),
    ("data.filter_overlong_prompts_workers", Rest::Idle("no prompt is left out for its length")),
    ("data.mini_rollout_batch_size", Rest::Idle("completions are sampled as memory allows")),
    ("data.val_batch_size", Rest::Idle("answers are sampled as memory allows")),
    ("data.override_chat_template", Rest::Off("null", "the chat template is the checkpoint's own")),
    ("data.shuffle", Rest::Off("true", "samples are drawn in a random order")),
    ("data.video_fps", Rest::Idle("a video is sampled by the checkpoint's own settings")),
    ("algorithm.gamma", Rest::Off("1.0", "rewards are of whole completions")),
    ("algorithm.lam", Rest::Off("1.0", "there is no critic")),
    ("worker.hybrid_engine", Rest::Idle(ALONE)),
    ("worker.actor.strategy", Rest::Idle(ALONE)),
    ("worker.actor.micro_batch_size_per_device_for_update", Rest::Idle(CUT)),
    ("worker.actor.micro_batch_size_per_device_for_experience", Rest::Idle(CUT)),
    ("worker.actor.padding_free", Rest::Idle("sequences lie side by side without padding in any case")),
    ("worker.actor.dynamic_batching", Rest::Idle(CUT)),
    ("worker.actor.ulysses_size", Rest::Idle(ALONE)),
    ("worker.actor.ulysses_sequence_parallel_size", Rest::Idle(ALONE)),
    ("worker.actor.use_torch_compile", Rest::Idle(KERNELS)),
    ("worker.actor.model.tokenizer_path", Rest::Off("null", "the tokenizer is the checkpoint's own")),
    ("worker.actor.model.override_config", Rest::Off("{}", "a model is what its checkpoint says")),
    (
        "worker.actor.model.trust_remote_code",
        Rest::Off("false", "no code of a checkpoint is run: the families that load are built in"),
    ),
    ("worker.actor.fsdp.torch_dtype", Rest::Idle("`vr1 train --dtype` says it")),
    ("worker.rollout.name", Rest::Idle(VLLM)),
    ("worker.rollout.seed", Rest::Idle("everything random follows from `seed`")),
    ("worker.rollout.limit_images", Rest::Idle("a prompt may show as many pictures as its row has")),
    ("worker.rollout.dtype", Rest::Idle(VLLM)),
    ("worker.rollout.gpu_memory_utilization", Rest::Idle("`rollout.memory_gb` says how much memory sampling takes")),
    ("worker.rollout.ignore_eos", Rest::Off("false", "a completion ends where its model ends it")),
    ("worker.rollout.enforce_eager", Rest::Idle(VLLM)),
    ("worker.rollout.enable_chunked_prefill", Rest::Idle(VLLM)),
    ("worker.rollout.tensor_parallel_size", Rest::Idle(ALONE)),
    ("worker.rollout.max_model_len", Rest::Idle(VLLM)),
    ("worker.rollout.max_num_batched_tokens", Rest::Idle(VLLM)),
    ("worker.rollout.disable_log_stats", Rest::Idle(VLLM)),
    ("worker.rollout.disable_tqdm", Rest::Idle("`--quiet` says it")),
    ("worker.reward.skip_special_tokens", Rest::Off("true", "a completion's text has no control tokens")),
    ("worker.reward.num_cpus", Rest::Idle("rewards are scored on all cores, while others are sampled")),
    ("worker.reward.reward_type", Rest::Idle("a program scores each completion, and may look at its group")),
    ("trainer.project_name", Rest::Idle("`vr1 train --out` says it")),
    ("trainer.logger", Rest::Idle(LOGGED)),
    ("trainer.nnodes", Rest::Idle("batches are not counted by processes, and one trains")),
    ("trainer.n_gpus_per_node", Rest::Idle("batches are not counted by processes, and one trains")),
    ("trainer.critic_warmup", Rest::Off("0", "there is no critic")),
    ("trainer.val_before_train", Rest::Idle("a run begins with an evaluation")),
    ("trainer.val_only", Rest::Off("false", "`vr1 eval` evaluates alone")),
    ("trainer.val_generations_to_log", Rest::Idle("scores of evaluations are in metrics.jsonl")),
    ("trainer.save_model_only", Rest::Off("false", "a checkpoint has what a run goes on with")),
    ("trainer.save_checkpoint_path", Rest::Idle("`vr1 train --out` says it")),
    ("trainer.load_checkpoint_path", Rest::Idle("the same command goes on with a run")),
    ("trainer.find_last_checkpoint", Rest::Idle("the same command goes on with a run")),
    ("trainer.ray_timeline", Rest::Idle(ALONE)),
    ("worker.actor.fsdp.enable_full_shard", Rest::Idle(ALONE)),
    ("worker.actor.fsdp.enable_cpu_offload", Rest::Idle(OFFLOADED)),
    ("worker.actor.fsdp.enable_rank0_init", Rest::Idle(ALONE)),
    ("worker.actor.fsdp.use_orig_params", Rest::Idle(ALONE)),
    ("worker.actor.fsdp.fsdp_size", Rest::Idle(ALONE)),
    ("worker.actor.fsdp.mp_param_dtype", Rest::Idle("`vr1 train --dtype` says it")),
    ("worker.actor.fsdp.mp_reduce_dtype", Rest::Idle("gradients are summed in f32")),
    ("worker.actor.fsdp.mp_buffer_dtype", Rest::Idle("`vr1 train --dtype` says it")),
    ("worker.actor.offload.offload_params", Rest::Idle(OFFLOADED)),
    ("worker.actor.offload.offload_optimizer", Rest::Idle(OFFLOADED)),
    ("worker.ref.strategy", Rest::Idle(ALONE)),
    ("worker.ref.fsdp.enable_full_shard", Rest::Idle(ALONE)),
    ("worker.ref.fsdp.enable_cpu_offload", Rest::Idle(OFFLOADED)),
    ("worker.ref.fsdp.enable_rank0_init", Rest::Idle(ALONE)),
    ("worker.ref.offload.offload_params", Rest::Idle(OFFLOADED)),
];
