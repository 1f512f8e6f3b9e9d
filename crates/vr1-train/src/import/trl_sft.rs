//! TRL's SFT.

use serde_json::{Value, json};

use super::prompts::rows;
use super::sheet::{Read, Rest, Sheet};
use super::trl::{CUT, PACKED, UNSAID, common, data, per_step, written};

/// SFT.
pub(super) fn sft(sheet: &mut Sheet<'_>) -> Read<()> {
    common(sheet, 2e-5)?;
    sheet.draft.set("objective.kind", "sft");
    let source = data(sheet)?;
    let document = |source: Value| json!([{ "source": source, "text": "{{ question }}", "target": "{{ solution }}" }]);
    match source {
        Some(source) => sheet.draft.set("objective.documents", document(source)),
        None => sheet.draft.placeholder("objective.documents", document(rows("train.jsonl", None, None)), UNSAID),
    }
    per_step(sheet, "objective.documents_per_step")?;
    let kind = sheet.text("loss_type", "nll")?;
    let objective = match kind.as_str() {
        "nll" | "chunked_nll" => "cross_entropy",
        "dft" => "dft",
        other => return Err(format!("loss_type: {other:?} is neither nll nor dft")),
    };
    sheet.draft.set("objective.loss.objective", objective);
    sheet.taken("loss_type", "objective.loss.objective");
    if let Some(smoothing) = sheet.maybe_number("label_smoothing_factor")?.filter(|smoothing| *smoothing != 0.0) {
        sheet.draft.set("objective.loss.label_smoothing", smoothing);
        sheet.taken("label_smoothing_factor", "objective.loss.label_smoothing");
    }
    written(sheet)?;
    sheet.rest(SFT);
    Ok(())
}

const SFT: &[(&str, Rest)] = &[
    (
        "packing",
        Rest::Off("false", "a step is of so many documents, not of so many packed rows: it holds fewer tokens"),
    ),
    ("packing_strategy", Rest::Idle(PACKED)),
    ("eval_packing", Rest::Idle(PACKED)),
    ("completion_only_loss", Rest::Off("true", "the loss is on the assistant's words alone")),
    ("assistant_only_loss", Rest::Idle("the loss is on the assistant's words alone, in every turn")),
    (
        "dataset_text_field",
        Rest::Off("\"text\"", "documents are questions with answers, or turns; plain text is not learnt whole"),
    ),
    ("dataset_kwargs", Rest::Off("null", "rows are read as they are")),
    ("chat_template_path", Rest::Off("null", "the chat template is the checkpoint's own")),
    ("eos_token", Rest::Off("null", "what ends a turn is the checkpoint's own")),
    ("max_seq_length", Rest::Off("null", CUT)),
    ("shuffle_dataset", Rest::Idle("samples are drawn in a random order")),
];
