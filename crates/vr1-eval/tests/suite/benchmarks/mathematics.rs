use vr1_eval::Summary;

use super::{agrees, expected, fixture, groups_agree, prompts_agree};

#[test]
fn geoqa_angles_and_lengths_are_compared_as_mathematics() {
    agrees("geoqa", &fixture("geoqa"));
}

/// The published `query` column is what is asked, hint and choices and all.
#[test]
fn mathvista_asks_its_queries_and_counts_by_skill() {
    let [robust, _] = agrees("mathvista", &fixture("mathvista"));
    groups_agree(&robust, &expected("mathvista"), "accuracy");
    prompts_agree("mathvista", &fixture("mathvista"));
    prompts_agree("mathvista", &fixture("mathvista-parquet"));
    assert_eq!(agrees("mathvista", &fixture("mathvista-parquet"))[0], robust);
}

#[test]
fn mathverse_counts_its_versions() {
    let [robust, published] = agrees("mathverse", &fixture("mathverse"));
    groups_agree(&robust, &expected("mathverse"), "accuracy");
    prompts_agree("mathverse", &fixture("mathverse"));
    assert_eq!(agrees("mathverse", &fixture("mathverse-parquet")), [robust, published]);
}

#[test]
fn mathvision_counts_subjects_and_levels() {
    let [robust, published] = agrees("mathvision", &fixture("mathvision"));
    groups_agree(&robust, &expected("mathvision"), "accuracy");
    prompts_agree("mathvision", &fixture("mathvision"));
    let parquet: [Summary; 2] = agrees("mathvision", &fixture("mathvision-parquet"));
    assert_eq!(parquet, [robust, published]);
}
