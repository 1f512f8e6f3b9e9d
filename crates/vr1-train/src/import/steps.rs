//! How many samples a step has, and how many steps there are.

use super::sheet::{Read, Sheet};

/// Samples of a step as Hugging Face's trainers count them: those of a device, times devices, times what is accumulated.
pub(super) fn batch(sheet: &mut Sheet<'_>, to: &str) -> Read<u64> {
    let each = sheet.count("per_device_train_batch_size", 8)?;
    let accumulated = sheet.count("gradient_accumulation_steps", 1)?;
    let processes = processes(sheet);
    let factors = format!("{each} × {processes} processes × {accumulated} accumulated");
    sheet.taken_as("per_device_train_batch_size", to, &factors);
    sheet.taken("gradient_accumulation_steps", to);
    Ok(each.saturating_mul(processes).saturating_mul(accumulated))
}

/// Processes that the source's run had.
pub(super) fn processes(sheet: &mut Sheet<'_>) -> u64 {
    sheet.options.processes.or_else(|| sheet.said.processes()).unwrap_or(1).max(1)
}

/// Whether nobody said how many there were.
pub(super) fn guessed(sheet: &Sheet<'_>) -> bool {
    sheet.options.processes.is_none() && sheet.said.processes().is_none()
}

/// The steps: so many, else so many epochs of `per_step` samples each.
pub(super) fn steps(sheet: &mut Sheet<'_>, keys: [&str; 2], epochs: f64, per_step: u64, times: u64) -> Read<()> {
    let [max_steps, num_epochs] = keys;
    let epochs = sheet.number(num_epochs, epochs)?;
    match sheet.maybe_count(max_steps)?.filter(|steps| *steps > 0) {
        Some(steps) => {
            sheet.draft.set("steps", steps.saturating_mul(times));
            match times {
                1 => sheet.taken(max_steps, "steps"),
                _ => sheet.taken_as(max_steps, "steps", &format!("each of theirs makes {times} updates")),
            }
            sheet.not_needed(num_epochs, &format!("`{max_steps}` says when it ends"));
        }
        None => {
            sheet.same(max_steps);
            let made = format!("{epochs} epochs of {per_step} samples a step");
            match sheet.options.samples {
                Some(samples) => {
                    let steps = (samples as f64 * epochs / per_step as f64).ceil().max(1.0) as u64;
                    sheet.draft.set_with("steps", steps, &format!("{made}, {samples} samples"));
                }
                None => sheet.draft.placeholder("steps", 500, &format!("{made}: epochs × rows / {per_step}")),
            }
            sheet.taken_as(num_epochs, "steps", &made);
        }
    }
    Ok(())
}
