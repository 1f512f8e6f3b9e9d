use vr1_rollout::Group;
use vr1_vlm::Piece;

use crate::Coupling;

/// A step cut into micro-batches of at most `budget` tokens (0: no limit), a group's sequences apart where a loss allows it.
///
/// Groups stay in their order. A sequence, or a group that must stay whole, that is longer than the budget is a micro-batch
/// by itself.
pub(crate) fn cut(groups: &[Group], budget: usize, coupling: Coupling) -> Vec<Vec<Piece<'_>>> {
    if groups.is_empty() {
        return Vec::new();
    }
    if budget == 0 || coupling == Coupling::Step {
        return vec![groups.iter().map(Piece::whole).collect()];
    }
    let mut parts: Vec<Vec<Piece<'_>>> = Vec::new();
    let mut room = 0;
    for piece in groups.iter().flat_map(|group| pieces(group, budget, coupling)) {
        let tokens = piece.tokens();
        match parts.last_mut().filter(|_| tokens <= room) {
            Some(part) => {
                part.push(piece);
                room -= tokens;
            }
            None => {
                parts.push(vec![piece]);
                room = budget.saturating_sub(tokens);
            }
        }
    }
    parts
}

/// A group whole where it fits or must be, else in as few runs of its sequences as fit.
fn pieces(group: &Group, budget: usize, coupling: Coupling) -> Vec<Piece<'_>> {
    let whole = Piece::whole(group);
    if coupling == Coupling::Group || whole.tokens() <= budget {
        return vec![whole];
    }
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for i in 0..group.size() {
        let longer = pieces.last().map(|piece| Piece { group, sequences: piece.sequences.start..i + 1 });
        match (pieces.last_mut(), longer.filter(|longer| longer.tokens() <= budget)) {
            (Some(last), Some(longer)) => *last = longer,
            _ => pieces.push(Piece { group, sequences: i..i + 1 }),
        }
    }
    pieces
}
