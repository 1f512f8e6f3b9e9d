use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vr1_curriculum::Schedule as CurriculumSchedule;
use vr1_data::RowSource;
use vr1_dpo::{Divergence, DpoConfig, DpoLoss, KtoConfig, PairRule, ReferenceFreeConfig};
use vr1_grpo::{AdvantageConfig, GrpoConfig, ReinforceConfig};
use vr1_learn::{PairLoss, PreferenceLoss, Schedule, WeightedLoss};
use vr1_rollout::Sampling;
use vr1_sft::SftConfig;

use crate::beta::KlControl;
use crate::draw::Deck;
use crate::rewards::OnError;
use crate::{DocumentConfig, Result, Source};

/// What a stage learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ObjectiveConfig {
    /// Group relative policy optimisation and its family.
    Grpo(Box<GrpoObjective>),
    /// Preference pairs.
    Dpo(Box<DpoObjective>),
    /// Answers that were judged one by one.
    Kto(KtoObjective),
    /// Imitation.
    Sft(SftObjective),
}

impl ObjectiveConfig {
    /// Whether the model is compared with a reference.
    pub(crate) fn compares(&self) -> bool {
        match self {
            Self::Grpo(grpo) => grpo.loss.beta != 0.0 || grpo.compares_rewards_with_a_reference(),
            Self::Dpo(dpo) => matches!(dpo.loss, PairLossConfig::Dpo { .. }),
            Self::Kto(_) => true,
            Self::Sft(_) => false,
        }
    }
}

/// A source among others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedSource {
    /// The stage of the curriculum that it belongs to, from 0.
    #[serde(default)]
    pub stage: usize,
    /// How often it is drawn, relative to the others of its stage.
    #[serde(default = "one")]
    pub weight: f64,
    /// Where its samples come from.
    pub source: Source,
}

fn one() -> f64 {
    1.0
}

pub(crate) fn deck(source: &WeightedSource, seed: u64) -> Result<Deck> {
    Ok(Deck { samples: source.source.open(seed)?, weight: source.weight, stage: source.stage })
}

/// Group relative policy optimisation: [`vr1_grpo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpoObjective {
    /// The samples that are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Source>,
    /// Instead of one source several, each with its stage and weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<WeightedSource>,
    /// How the sources' stages follow each other; each group reports which share of it was solved.
    #[serde(default)]
    pub curriculum: CurriculumSchedule,
    /// Prompts in an update.
    pub prompts_per_step: usize,
    /// Completions of each prompt, G.
    pub group_size: usize,
    /// Updates made from one set of completions, μ.
    #[serde(default = "once")]
    pub iterations: u64,
    /// How completions are sampled; the seed is the run's.
    #[serde(default)]
    pub sampling: Sampling,
    /// How rewards become advantages.
    #[serde(default)]
    pub advantages: Advantages,
    /// β of the divergence from the reference that is subtracted from rewards (RLOO); 0 compares nothing.
    #[serde(default)]
    pub kl_in_reward: f64,
    /// Has that β, or the loss's, follow the divergence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_control: Option<KlControl>,
    /// Has it follow a schedule instead, from what it is said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_schedule: Option<Schedule>,
    /// Rounds in which groups that teach nothing are replaced by others (DAPO's dynamic sampling,
    /// [arXiv:2503.14476](https://arxiv.org/abs/2503.14476)); after them the step goes on with what it has.
    #[serde(default)]
    pub refill_rounds: u64,
    /// What becomes of completions that had no more room.
    #[serde(default)]
    pub truncated: Truncated,
    /// What becomes of a completion whose reward cannot be had.
    #[serde(default)]
    pub on_error: OnError,
    /// The loss.
    #[serde(default)]
    pub loss: GrpoConfig,
}

fn once() -> u64 {
    1
}

impl GrpoObjective {
    /// Its sources, one or several.
    pub(crate) fn decks(&self) -> Vec<WeightedSource> {
        let only = self.train.iter().map(|source| WeightedSource { stage: 0, weight: 1.0, source: source.clone() });
        only.chain(self.sources.iter().cloned()).collect()
    }

    /// Whether rewards or advantages are compared with a reference.
    pub(crate) fn compares_rewards_with_a_reference(&self) -> bool {
        let reinforce = matches!(&self.advantages, Advantages::Reinforce(config) if config.kl_coefficient != 0.0);
        self.kl_in_reward > 0.0 || reinforce
    }
}

/// How rewards become advantages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Advantages {
    /// Each reward less a baseline, over a scale: GRPO by default; with `baseline: leave_one_out` and `scale: none` RLOO.
    Group(AdvantageConfig),
    /// Each term of the reward normalised within its group by itself, then weighed and summed (GDPO,
    /// [arXiv:2601.05242](https://arxiv.org/abs/2601.05242)).
    PerReward {
        /// The terms and their weights.
        weights: BTreeMap<String, f64>,
        /// Added to the standard deviation.
        #[serde(default = "small")]
        epsilon: f64,
    },
    /// Advantages of tokens, whitened over the batch (REINFORCE++, [arXiv:2501.03262](https://arxiv.org/abs/2501.03262)).
    Reinforce(ReinforceConfig),
}

fn small() -> f64 {
    1e-4
}

impl Default for Advantages {
    fn default() -> Self {
        Self::Group(AdvantageConfig::default())
    }
}

/// What becomes of completions that had no more room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// They are trained on like all others.
    #[default]
    Trained,
    /// Nothing is learnt from them (DAPO's overlong filtering); they still count in their group's advantages.
    Masked,
}

/// Imitation: [`vr1_sft`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftObjective {
    /// What is imitated.
    pub documents: Vec<DocumentConfig>,
    /// Documents in an update.
    pub documents_per_step: usize,
    /// How the documents' stages follow each other.
    #[serde(default)]
    pub curriculum: CurriculumSchedule,
    /// The loss.
    #[serde(default)]
    pub loss: SftConfig,
}

/// Preference pairs: [`vr1_dpo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpoObjective {
    /// Where pairs come from.
    pub pairs: PairSource,
    /// Pairs in an update; where they are sampled, prompts, each of which gives at most one.
    pub pairs_per_step: usize,
    /// Rounds that the steps are divided into. Each is compared with the model at its start; sampled pairs are its own
    /// (iterative DPO).
    #[serde(default = "once")]
    pub rounds: u64,
    /// The loss.
    #[serde(default)]
    pub loss: PairLossConfig,
    /// What the tokens beyond the shorter answer of a pair count (LD-DPO); 1 is all.
    #[serde(default = "one")]
    pub length_desensitisation: f64,
}

/// Where preference pairs come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PairSource {
    /// Rows with a chosen and a rejected answer: [`vr1_data::PreferenceSet`].
    Rows(RowSource),
    /// Answers written by templates of a sample's fields.
    Written {
        /// The samples.
        source: Source,
        /// The better answer.
        chosen: String,
        /// The worse.
        rejected: String,
    },
    /// The model's own completions, rewarded: the best against the worst of each group.
    Sampled {
        /// The samples that are asked.
        train: Source,
        /// Completions of each prompt.
        group_size: usize,
        /// How they are sampled; the seed is the run's.
        #[serde(default)]
        sampling: Sampling,
        /// Which pairs a group gives.
        #[serde(default)]
        rule: PairRule,
        /// By how much the better must be better.
        #[serde(default)]
        margin: f32,
        /// What becomes of a completion whose reward cannot be had.
        #[serde(default)]
        on_error: OnError,
    },
}

/// How the pairs are compared, as a recipe says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PairLossConfig {
    /// With a reference: DPO and its kin.
    Dpo {
        /// β.
        #[serde(default = "tenth")]
        beta: f64,
        /// ε of the losses that smooth.
        #[serde(default)]
        label_smoothing: f64,
        /// How far a completion has moved.
        #[serde(default)]
        divergence: Divergence,
        /// The losses and their weights.
        #[serde(default = "sigmoid")]
        losses: Vec<WeightedLoss>,
    },
    /// Without one: SimPO, ORPO, CPO.
    ReferenceFree(ReferenceFreeConfig),
}

fn tenth() -> f64 {
    0.1
}

fn sigmoid() -> Vec<WeightedLoss> {
    vec![WeightedLoss { weight: 1.0, loss: DpoLoss::Sigmoid }]
}

impl Default for PairLossConfig {
    fn default() -> Self {
        let (beta, losses) = (tenth(), sigmoid());
        Self::Dpo { beta, label_smoothing: 0.0, divergence: Divergence::default(), losses }
    }
}

impl DpoObjective {
    /// The loss that it describes.
    pub fn preference_loss(&self) -> PreferenceLoss {
        let pairs = match &self.loss {
            PairLossConfig::ReferenceFree(config) => PairLoss::ReferenceFree(*config),
            PairLossConfig::Dpo { beta, label_smoothing, divergence, losses } => PairLoss::Referenced {
                config: DpoConfig {
                    beta: *beta,
                    label_smoothing: *label_smoothing,
                    divergence: *divergence,
                    ..DpoConfig::default()
                },
                terms: losses.clone(),
            },
        };
        PreferenceLoss { pairs, length_desensitisation: self.length_desensitisation }
    }

    /// What is out of range in the loss, or has no place in it.
    pub(crate) fn fault(&self) -> Option<String> {
        match &self.loss {
            PairLossConfig::ReferenceFree(config) => config.validate().err().map(|error| error.to_string()),
            PairLossConfig::Dpo { losses, .. } if losses.is_empty() => Some("`losses`: at least one".to_owned()),
            PairLossConfig::Dpo { beta, divergence, losses, label_smoothing } => {
                if let Some(term) = losses.iter().find(|term| !term.weight.is_finite()) {
                    return Some(format!("`losses`: a `weight` is {}, and must be finite", term.weight));
                }
                let plain = |loss| DpoConfig { loss, beta: *beta, ..DpoConfig::default() };
                let smoothed = |loss| DpoConfig { label_smoothing: *label_smoothing, ..plain(loss) };
                let diverging = |loss| DpoConfig { divergence: *divergence, ..plain(loss) };
                // EXO is nothing without smoothing, the others may do without.
                let each = |loss| match loss {
                    DpoLoss::Exo => smoothed(loss),
                    _ => plain(loss),
                };
                let fault = |config: DpoConfig| config.validate().err().map(|error| error.to_string());
                // A setting that any loss of the mixture has a place for does something.
                let idle = |with: &dyn Fn(DpoLoss) -> DpoConfig| -> Option<String> {
                    let faults: Vec<Option<String>> = losses.iter().map(|term| fault(with(term.loss))).collect();
                    faults.iter().all(Option::is_some).then(|| faults.into_iter().flatten().next()).flatten()
                };
                let own = losses.iter().find_map(|term| fault(each(term.loss)));
                let exo = |loss| DpoConfig { label_smoothing: each(loss).label_smoothing, ..diverging(loss) };
                own.or_else(|| idle(&smoothed)).or_else(|| idle(&exo))
            }
        }
    }
}

/// Answers that were judged one by one: [`vr1_dpo::kto_loss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KtoObjective {
    /// The file of rows with an answer and what somebody thought of it: [`vr1_data::JudgedSet`].
    pub path: PathBuf,
    /// The folder that picture paths are relative to; the file's own where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// Answers in an update.
    pub answers_per_step: usize,
    /// The loss.
    #[serde(default)]
    pub loss: KtoConfig,
}
