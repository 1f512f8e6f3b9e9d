use crate::{agrees, expected, fixture, groups_agree, prompts_agree};

#[test]
fn cv_bench_counts_its_tasks_and_weighs_its_sources() {
    let [robust, published] = agrees("cv-bench", &fixture("cv-bench"));
    let expected = expected("cv-bench");
    groups_agree(&robust, &expected, "accuracy");
    let close = |found: f64, key: &str| assert!((found - expected[key].as_f64().unwrap()).abs() < 1e-12, "{found}");
    close(robust.metrics["cv_bench"].value, "cv_bench");
    close(published.metrics["cv_bench"].value, "published_cv_bench");
    prompts_agree("cv-bench", &fixture("cv-bench"));
}

#[test]
fn superclevr_counts_are_read_as_people_read_them_and_as_r1_v_does() {
    agrees("superclevr", &fixture("superclevr"));
    prompts_agree("superclevr", &fixture("superclevr"));
}

#[test]
fn geoqa_angles_and_lengths_are_compared_as_mathematics() {
    agrees("geoqa", &fixture("geoqa"));
}
