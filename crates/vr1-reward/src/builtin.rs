use crate::{Error, Program, Registry, Result};

macro_rules! programs {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../programs/", $name, ".yaml")))),*]
    };
}

/// The reward programs of the reproduced systems, by name.
static PROGRAMS: [(&str, &str); 13] = programs![
    "insight_v",
    "llamav_o1",
    "open_r1_multimodal",
    "open_r1_video",
    "r1_onevision",
    "r1_vision",
    "r1v_counting",
    "r1v_published",
    "visualthinker_sat",
    "visualthinker_sat_published",
    "vlm_r1",
    "vlm_r1_od",
    "vlm_r1_rec",
];

/// The names of the built-in programs, each with its YAML, in order.
///
/// # Example
/// ```
/// use vr1_reward::builtin_programs;
/// assert!(builtin_programs().any(|(name, _)| name == "visualthinker_sat"));
/// ```
pub fn builtin_programs() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROGRAMS.into_iter()
}

impl Program {
    /// The built-in program of this name.
    ///
    /// # Errors
    /// [`Error::UnknownProgram`], with the nearest name there is.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Program, Registry};
    /// let program = Program::builtin("vlm_r1_rec", &Registry::default())?;
    /// assert_eq!(program.term_names().collect::<Vec<_>>(), ["iou", "format"]);
    /// # Ok::<(), vr1_reward::Error>(())
    /// ```
    pub fn builtin(name: &str, registry: &Registry) -> Result<Self> {
        let Some((_, yaml)) = builtin_programs().find(|(known, _)| *known == name) else {
            let known = builtin_programs().map(|(known, _)| known);
            let nearest = crate::language::check::nearest(name, known).map(str::to_owned);
            return Err(Error::UnknownProgram { name: name.to_owned(), nearest });
        };
        Self::parse_file(&format!("{name}.yaml"), yaml, registry)
    }
}
