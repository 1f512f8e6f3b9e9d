/// What the files of a family call its parts.
///
/// Each row has the beginning of a name, as modules here ask for it, and what stands there in published checkpoints and in
/// those of today's transformers (which are PEFT's names too). A beginning may have several rows, for what was called
/// differently in between: all are read, the first is written. What no row begins is called the same everywhere.
///
/// # Example
/// ```
/// use vr1_nn::Names;
///
/// const NAMES: Names = Names::new(&[["model.", "language_model.model.", "model.language_model."]]);
///
/// let own = "model.layers.0.mlp.up_proj.weight";
/// assert_eq!(NAMES.published(own), "language_model.model.layers.0.mlp.up_proj.weight");
/// assert_eq!(NAMES.today(own), "model.language_model.layers.0.mlp.up_proj.weight");
/// assert_eq!(NAMES.own(&NAMES.published(own)), own);
/// assert_eq!(NAMES.own(&NAMES.today(own)), own);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names(&'static [[&'static str; 3]]);

impl Names {
    /// A language model by itself: `model.…` and `lm_head.…` everywhere.
    pub const LANGUAGE: Self = Self::new(&[["model.", "model.", "model."], ["lm_head.", "lm_head.", "lm_head."]]);

    /// The names in these rows.
    pub const fn new(rows: &'static [[&'static str; 3]]) -> Self {
        Self(rows)
    }

    /// What modules here call a tensor that a file of either generation has.
    pub fn own(self, name: &str) -> String {
        let found = self.0.iter().flat_map(|[own, published, today]| [(published, own), (today, own)]);
        let found = found.filter(|(theirs, _)| name.starts_with(**theirs)).max_by_key(|(theirs, _)| theirs.len());
        found.map_or_else(|| name.to_owned(), |(theirs, own)| format!("{own}{}", &name[theirs.len()..]))
    }

    /// What published checkpoints call the tensor or module `own`.
    pub fn published(self, own: &str) -> String {
        self.renamed(own, 1)
    }

    /// What today's transformers calls it.
    pub fn today(self, own: &str) -> String {
        self.renamed(own, 2)
    }

    fn renamed(self, own: &str, column: usize) -> String {
        let row = self.0.iter().find(|row| own.starts_with(row[0]));
        row.map_or_else(|| own.to_owned(), |row| format!("{}{}", row[column], &own[row[0].len()..]))
    }

    /// What names of these files begin with, up to the first dot.
    pub(crate) fn roots(self) -> impl Iterator<Item = &'static str> {
        let root = |place: &'static str| place.split_once('.').map_or(place, |(root, _)| root);
        self.0.iter().flat_map(|[_, published, today]| [*published, *today]).map(root)
    }
}
