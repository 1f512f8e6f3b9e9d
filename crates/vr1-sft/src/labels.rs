use crate::config::IGNORED;
use crate::{Error, Result};

/// Who a stretch of tokens comes from; see [`labels_from_spans`].
///
/// # Example
/// Media are never trained on, whatever else is.
/// ```
/// use vr1_sft::{Role, Span, TrainOn, labels_from_spans};
/// let image = Span { start: 1, end: 3, role: Role::Media };
/// assert_eq!(labels_from_spans(&[5, 6, 7, 8], &[image], TrainOn::Everything)?, [5, -100, -100, 8]);
/// # Ok::<(), vr1_sft::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The system prompt.
    System,
    /// The user's turn.
    User,
    /// The model's turn: what it is to learn.
    Assistant,
    /// A tool's answer.
    Tool,
    /// Placeholders of images and video frames.
    Media,
    /// Padding.
    Padding,
}

/// A stretch `start..end` of a sequence's tokens; see [`labels_from_spans`].
///
/// # Example
/// ```
/// use vr1_sft::{Role, Span, TrainOn, labels_from_spans};
/// let turn = Span { start: 2, end: 4, role: Role::Assistant };
/// assert_eq!(labels_from_spans(&[5, 6, 7, 8], &[turn], TrainOn::Assistant)?, [-100, -100, 7, 8]);
/// # Ok::<(), vr1_sft::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first token.
    pub start: usize,
    /// The token after the last.
    pub end: usize,
    /// Who it comes from.
    pub role: Role,
}

/// Which tokens are labels.
///
/// # Example
/// Two turns of two tokens each after a system prompt of one:
/// ```
/// use vr1_sft::{Role::*, Span, TrainOn, labels_from_spans};
/// let span = |start, role| Span { start, end: start + 2, role };
/// let spans = [span(1, User), span(3, Assistant), span(5, User), span(7, Assistant)];
/// let labelled = |train_on| labels_from_spans(&[7; 9], &spans, train_on).map(|l| l.iter().filter(|l| **l == 7).count());
/// assert_eq!(labelled(TrainOn::Assistant)?, 4);
/// assert_eq!(labelled(TrainOn::Completion)?, 2);
/// assert_eq!(labelled(TrainOn::Everything)?, 9);
/// # Ok::<(), vr1_sft::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum TrainOn {
    /// All turns of the assistant.
    #[default]
    Assistant,
    /// The assistant's last turn alone.
    Completion,
    /// Everything but media and padding, prompts included, as the supervised stages of VLM-R1 and R1-V do.
    Everything,
}

/// Labels of a sequence from the spans of its chat template.
///
/// ```text
/// labels_t = input_ids_t   where token t is trained on
///            −100          elsewhere
/// ```
///
/// Media and padding are never trained on, also where their span lies inside a turn. A token that no span covers belongs to the
/// template itself: it is a label under [`TrainOn::Everything`] alone, so let the assistant's span reach to its end-of-turn token, which
/// the model must learn to say.
///
/// # Shapes
/// `input_ids [T]` → `[T]`.
///
/// # Errors
/// [`Error::Span`] names a span that is empty backwards or leaves the sequence.
///
/// # Example
/// ```
/// use vr1_sft::{Role, Span, TrainOn, labels_from_spans};
/// let ids = [1, 2, 3, 4, 5, 0];
/// let spans = [
///     Span { start: 0, end: 3, role: Role::User },
///     Span { start: 1, end: 2, role: Role::Media },
///     Span { start: 3, end: 5, role: Role::Assistant },
///     Span { start: 5, end: 6, role: Role::Padding },
/// ];
/// assert_eq!(labels_from_spans(&ids, &spans, TrainOn::Assistant)?, [-100, -100, -100, 4, 5, -100]);
/// assert_eq!(labels_from_spans(&ids, &spans, TrainOn::Everything)?, [1, -100, 3, 4, 5, -100]);
/// # Ok::<(), vr1_sft::Error>(())
/// ```
pub fn labels_from_spans(input_ids: &[i64], spans: &[Span], train_on: TrainOn) -> Result<Vec<i64>> {
    let tokens = input_ids.len();
    for (index, span) in spans.iter().enumerate() {
        if span.start > span.end || span.end > tokens {
            return Err(Error::Span { index, start: span.start, end: span.end, tokens });
        }
    }
    let turns = || spans.iter().filter(|span| span.role == Role::Assistant && span.start < span.end);
    let mut labels = match train_on {
        TrainOn::Everything => input_ids.to_vec(),
        TrainOn::Assistant | TrainOn::Completion => vec![IGNORED; tokens],
    };
    let copy = |labels: &mut Vec<i64>, span: &Span| {
        labels[span.start..span.end].copy_from_slice(&input_ids[span.start..span.end]);
    };
    match train_on {
        TrainOn::Everything => {}
        TrainOn::Assistant => turns().for_each(|span| copy(&mut labels, span)),
        TrainOn::Completion => turns().max_by_key(|span| span.end).into_iter().for_each(|span| copy(&mut labels, span)),
    }
    for span in spans.iter().filter(|span| matches!(span.role, Role::Media | Role::Padding)) {
        labels[span.start..span.end].fill(IGNORED);
    }
    Ok(labels)
}
