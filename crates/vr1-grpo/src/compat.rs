use crate::{
    AdvantageConfig, Aggregation, CispoCap, EmptyRows, GroupOfOne, GrpoConfig, KlWeight, Objective, SamplerCorrection,
};

/// The settings by which published systems differ, as presets.
///
/// | | TRL 1.16 | verl 0.9 | EasyR1 | VLM-R1 | R1-V, open-r1-multimodal, VisualThinker |
/// |---|---|---|---|---|---|
/// | ε added to σ | 1e-4 | 1e-6 | 1e-6 | 1e-4 | 1e-4 |
/// | group of one | refused | raw reward | refused | refused | refused |
/// | clip | 0.2 / 0.2 | 0.2 / 0.2, dual 3 | 0.2 / 0.3, dual 3 | 0.2 / 0.2 | none (on-policy) |
/// | β, times ratio | 0, yes | 0, no | 0.01, no | 0.04, no | 0.04, no |
/// | bounds on log-ratio, d, k3 | none | 20, 20, 10 | 20, 20, 10 | none | none |
/// | aggregation | tokens | tokens | tokens | sequences | sequences |
/// | rows without tokens count | yes | no | yes | yes | yes |
/// | cap of CISPO | ε_high | 1 ± ε | 1 ± ε | | |
/// | sampler's log-probabilities | masked, by sequence, at 3 | not used | not used | not used | not used |
///
/// A preset is a start: change any field with struct update. EasyR1's settings are those of its `examples/config.yaml`. SAPO's temperature at
/// `A = 0` differs between the systems, too, without a consequence: the loss is 0 there. What no preset brings back are the residues that a
/// mean of equal floats leaves in those systems: equal rewards give 0 here. The bounds hold for every estimator here, in verl and EasyR1 for
/// k3 alone.
///
/// # Example
/// The advantage of a reward of 1 among 0s: σ = ½ in a group of four, and the systems differ in the ε beside it.
/// ```
/// use vr1_grpo::{Compat, advantages};
/// let first = |system: Compat| advantages(&[1.0, 0.0, 0.0, 0.0], 4, &system.advantages()).map(|a| f64::from(a[0]));
/// assert!((first(Compat::Trl)? - 0.75 / (0.5 + 1e-4)).abs() < 1e-6);
/// assert!((first(Compat::EasyR1)? - 0.75 / (0.5 + 1e-6)).abs() < 1e-6);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Compat {
    /// TRL 1.16.0's defaults (its loss is called `dapo`).
    Trl,
    /// verl 0.9's defaults.
    Verl,
    /// EasyR1's defaults.
    EasyR1,
    /// VLM-R1: GRPO as in the paper.
    VlmR1,
    /// R1-V, open-r1-multimodal and VisualThinker-R1-Zero: GRPO without a clip, for one update a batch.
    OpenR1,
}

impl Compat {
    /// The system's settings of the loss.
    ///
    /// # Example
    /// ```
    /// use vr1_grpo::{Compat, GrpoConfig};
    /// assert_eq!(Compat::VlmR1.grpo(), GrpoConfig::default());
    /// assert_eq!(Compat::EasyR1.grpo().dual_clip, Some(3.0));
    /// ```
    pub fn grpo(self) -> GrpoConfig {
        let paper = GrpoConfig::default();
        let verl = GrpoConfig {
            beta: 0.0,
            dual_clip: Some(3.0),
            aggregation: Aggregation::Token,
            log_ratio_bound: Some(20.0),
            kl_log_ratio_bound: Some(20.0),
            kl_bound: Some(10.0),
            ..paper
        };
        match self {
            Self::Trl => GrpoConfig { beta: 0.0, aggregation: Aggregation::Token, kl_weight: KlWeight::Ratio, ..paper },
            Self::Verl => GrpoConfig { empty_rows: EmptyRows::Skipped, ..verl },
            Self::EasyR1 => GrpoConfig { beta: 0.01, epsilon_high: Some(0.3), ..verl },
            Self::VlmR1 => paper,
            Self::OpenR1 => GrpoConfig { objective: Objective::Unclipped, ..paper },
        }
    }

    /// The system's CISPO; the systems that have none get TRL's.
    ///
    /// # Example
    /// ```
    /// use vr1_grpo::{CispoCap, Compat, Objective};
    /// assert_eq!(Compat::Verl.cispo(), Objective::Cispo { cap: CispoCap::Around });
    /// ```
    pub fn cispo(self) -> Objective {
        let cap = match self {
            Self::Verl | Self::EasyR1 => CispoCap::Around,
            Self::Trl | Self::VlmR1 | Self::OpenR1 => CispoCap::Absolute,
        };
        Objective::Cispo { cap }
    }

    /// What the system does, by default, about a sampler of its own with log-probabilities of its own. It is no part of [`Compat::grpo`], since
    /// the loss then needs these.
    ///
    /// # Example
    /// ```
    /// use vr1_grpo::{Compat, SamplerCorrection};
    /// assert_eq!(Compat::Trl.sampler_correction(), SamplerCorrection::SequenceMask { min: None, max: 3.0 });
    /// assert_eq!(Compat::EasyR1.sampler_correction(), SamplerCorrection::None);
    /// ```
    pub fn sampler_correction(self) -> SamplerCorrection {
        match self {
            Self::Trl => SamplerCorrection::SequenceMask { min: None, max: 3.0 },
            Self::Verl | Self::EasyR1 | Self::VlmR1 | Self::OpenR1 => SamplerCorrection::None,
        }
    }

    /// The system's settings of the advantages.
    ///
    /// # Example
    /// ```
    /// use vr1_grpo::{AdvantageConfig, Compat, advantages};
    /// assert_eq!(Compat::Trl.advantages(), AdvantageConfig::default());
    /// assert_eq!(advantages(&[0.5], 1, &Compat::Verl.advantages())?, [0.5]);
    /// # Ok::<(), vr1_grpo::Error>(())
    /// ```
    pub fn advantages(self) -> AdvantageConfig {
        let paper = AdvantageConfig::default();
        match self {
            Self::Trl | Self::VlmR1 | Self::OpenR1 => paper,
            Self::Verl => AdvantageConfig { epsilon: 1e-6, group_of_one: GroupOfOne::RawReward, ..paper },
            Self::EasyR1 => AdvantageConfig { epsilon: 1e-6, ..paper },
        }
    }
}
