//! `m` tokens of a picture, `S` states, `D` the language model's width.

use tch::Tensor;

/// What a vision tower makes of a picture or a video.
#[derive(Debug)]
pub struct Features {
    /// What stands in the places of its tokens, `[m, D]`; nothing, where those have embeddings of their own.
    pub tokens: Option<Tensor>,
    /// What is added to the states of these tokens behind each of the first layers, `[m, D]` each.
    pub deep: Vec<Tensor>,
    /// What layers beside the text attend to.
    pub across: Option<Shown>,
}

/// What layers beside the text attend to.
#[derive(Debug)]
pub struct Shown {
    /// `[S, D]`: first what shows something, then what fills it up, at which only tokens look that are shown nothing.
    pub states: Tensor,
    /// How many of them show something.
    pub count: i64,
}

impl Features {
    /// Features that are tokens and nothing else.
    pub fn tokens(tokens: Tensor) -> Self {
        Self { tokens: Some(tokens), deep: Vec::new(), across: None }
    }

    /// All its tensors.
    pub fn iter(&self) -> impl Iterator<Item = &Tensor> {
        self.tokens.iter().chain(&self.deep).chain(self.across.iter().map(|shown| &shown.states))
    }

    /// The same numbers, which pass no gradient on.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            tokens: self.tokens.as_ref().map(Tensor::detach),
            deep: self.deep.iter().map(Tensor::detach).collect(),
            across: self.across.as_ref().map(|shown| Shown { states: shown.states.detach(), count: shown.count }),
        }
    }
}
