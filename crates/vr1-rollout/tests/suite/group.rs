//! Sequences of one prompt.

use std::sync::Arc;

use vr1_rollout::{Error, Group, SampleKey};

use crate::asked::{completion, prompt};

const KEY: SampleKey = SampleKey { dataset: 1, epoch: 2, index: 3 };

#[test]
fn a_group_is_of_one_prompt_and_any_size() {
    let prompt = prompt("s");
    for size in [1, 2, 5] {
        let sequences = (0..size).map(|i| completion(&prompt, &vec![7; i + 1])).collect();
        let group = Group::new(KEY, sequences).unwrap();
        assert_eq!((group.key(), group.size()), (KEY, size));
        assert!(Arc::ptr_eq(group.prompt(), &prompt));
        let lengths: Vec<usize> = group.sequences().iter().map(|sequence| sequence.ids().len()).collect();
        assert_eq!(lengths, (1..=size).collect::<Vec<_>>());
        assert_eq!(group.into_sequences().len(), size);
    }
}

#[test]
fn what_cannot_be_a_group_names_what_it_was_drawn_from() {
    let said = |sequences| Group::new(KEY, sequences).unwrap_err();
    let nothing = said(Vec::new());
    assert!(matches!(nothing, Error::Group { key: KEY, .. }));
    assert_eq!(nothing.to_string(), "the group of sample 3 of data set 1 (epoch 2): it has no sequence");
    // Equal is not the same: what is shared is computed once.
    let (here, there) = (prompt("s"), prompt("s"));
    let error = said(vec![completion(&here, &[7]), completion(&there, &[8])]).to_string();
    assert!(error.ends_with("its sequences do not share one prompt"), "{error}");
    let moved = completion(&there, &[8]).with_prompt(&here).unwrap();
    assert!(Group::new(KEY, vec![completion(&here, &[7]), moved]).is_ok());
}
