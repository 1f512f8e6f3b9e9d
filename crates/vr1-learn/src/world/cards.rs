//! Tensors that go from card to card.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use tch::Device;

use super::launch::wrong;
use super::{BEHIND, MEETING, World};
use crate::{Error, Result};

impl World {
    /// Has the tensors of ranks that compute on `device` go from card to card by NCCL, and says whether they do: where each rank has a card
    /// of its own, and the environment's `VR1_NCCL` is not `off`. Else they go by the host's memory, as they did. All ranks call this.
    ///
    /// # Errors
    /// If the cards do not come together, or `VR1_NCCL` is something else.
    pub fn use_cards(&self, device: Device) -> Result<bool> {
        let Some(joined) = &self.joined else { return Ok(false) };
        let card = || match wanted(std::env::var("VR1_NCCL").ok().as_deref())? {
            true => Ok(vr1_torch::gpu_uuid(device)?),
            false => Ok::<_, Error>(None),
        };
        let cards = self.all(card().map(|card| card.map(|card| card.to_string())))?;
        if !own_each(&cards) {
            return Ok(false);
        }
        let store = joined.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut group = joined.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.add_cards(&store, device, MEETING, BEHIND).map_err(|error| {
            let reason =
                format!("its card does not come to the others': {error}; VR1_NCCL=off goes by the host's memory");
            Error::Lost { rank: self.rank, reason }
        })?;
        Ok(true)
    }
}

/// Whether `VR1_NCCL`, where it says so, leaves cards to speak to each other.
fn wanted(said: Option<&str>) -> Result<bool> {
    match said {
        None | Some("" | "on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(wrong(format!("VR1_NCCL is `{other}`, and may be `on` or `off`"))),
    }
}

/// Whether each rank has a card, and no two the same.
fn own_each(cards: &[Option<String>]) -> bool {
    let different: BTreeSet<&String> = cards.iter().flatten().collect();
    different.len() == cards.len()
}

#[cfg(test)]
mod tests {
    use super::{own_each, wanted};

    #[test]
    fn ranks_that_share_a_card_or_have_none_do_not_speak_by_cards() {
        let own_each = |names: &[&str]| {
            let cards: Vec<_> = names.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect();
            own_each(&cards)
        };
        assert!(own_each(&["1", "2", "3"]) && own_each(&["1"]));
        assert!(!own_each(&["1", "2", "1"]) && !own_each(&["1", ""]) && !own_each(&["", ""]));
    }

    #[test]
    fn cards_speak_to_each_other_but_where_the_environment_says_off() {
        assert!(wanted(None).is_ok_and(|on| on) && wanted(Some("on")).is_ok_and(|on| on));
        assert!(wanted(Some("off")).is_ok_and(|on| !on));
        assert!(wanted(Some("gloo")).is_err_and(|error| error.to_string().contains("VR1_NCCL is `gloo`")));
    }
}
