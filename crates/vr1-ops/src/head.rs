use tch::Tensor;

/// Whether [`head_logprobs`](crate::head_logprobs) takes the mean of the log-probabilities over the vocabulary, which costs one more pass
/// over the logits, forwards and backwards.
///
/// # Example
/// ```
/// use vr1_ops::{Head, VocabularyMean};
/// let matrix = tch::Tensor::from_slice2(&[[0f32], [1.0]]);
/// assert_eq!(Head::new(&matrix).vocabulary_mean, VocabularyMean::Skipped);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VocabularyMean {
    /// No.
    #[default]
    Skipped,
    /// Yes: label smoothing needs it.
    Taken,
}

/// What makes log-probabilities of hidden states; see [`head_logprobs`](crate::head_logprobs).
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_ops::Head;
/// let (matrix, media) = (Tensor::from_slice2(&[[0f32], [1.0], [2.0]]), Tensor::from_slice(&[2i64]));
/// let head = Head { temperature: 0.7, unreachable: Some(&media), ..Head::new(&matrix) };
/// assert_eq!(head.chunk, 512);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The output matrix, `[V, D]`; errors call it `output_matrix`.
    pub matrix: &'a Tensor,
    /// What logits are divided by. [`Head::new`]: 1.
    pub temperature: f64,
    /// Ids of tokens that are never sampled (media, rows without a token), `[U]`: their logit is −∞ whatever the matrix says, their
    /// rows get no gradient, and neither the entropy nor the mean knows of them. [`Head::new`]: none.
    pub unreachable: Option<&'a Tensor>,
    /// How many tokens' logits exist at a time. [`Head::new`]: 512.
    pub chunk: i64,
    /// Whether [`HeadOutput::mean_logprobs`] is taken. [`Head::new`]: no.
    pub vocabulary_mean: VocabularyMean,
}

impl<'a> Head<'a> {
    /// The plain head of an output matrix: temperature 1, every token reachable, 512 tokens at a time, no mean.
    ///
    /// # Example
    /// ```
    /// let matrix = tch::Tensor::from_slice2(&[[0f32], [1.0]]);
    /// assert_eq!(vr1_ops::Head::new(&matrix).temperature, 1.0);
    /// ```
    pub fn new(matrix: &'a Tensor) -> Self {
        Self { matrix, temperature: 1.0, unreachable: None, chunk: 512, vocabulary_mean: VocabularyMean::Skipped }
    }
}

/// What a head says of every token, `[N]` each, in f32 (f64 for f64 input); see [`head_logprobs`](crate::head_logprobs).
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_ops::{Head, head_logprobs};
/// let (hidden, matrix) = (Tensor::from_slice2(&[[1f32]]), Tensor::from_slice2(&[[0f32], [3f32.ln()]]));
/// let out = head_logprobs(&hidden, &Tensor::from_slice(&[1i64]), &Head::new(&matrix))?;
/// assert_eq!(out.likeliest.int64_value(&[0]), 1);
/// assert!(out.mean_logprobs.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HeadOutput {
    /// The log-probability of the target.
    pub logprobs: Tensor,
    /// The entropy of the distribution, in nats.
    pub entropy: Tensor,
    /// The mean of `log p` over the reachable tokens, where [`Head::vocabulary_mean`] asks for it.
    pub mean_logprobs: Option<Tensor>,
    /// Whether no token is likelier than the target; booleans without gradient.
    pub likeliest: Tensor,
}
