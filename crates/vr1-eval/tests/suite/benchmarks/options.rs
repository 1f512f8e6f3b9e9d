use super::{agrees, expected, fixture, groups_agree, prompts_agree};

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

/// Two parquet files with pictures inside, as it is published now, and the older JSON lines beside a folder of pictures.
#[test]
fn cv_bench_is_the_same_in_parquet() {
    let [parquet, lines] = ["cv-bench-parquet", "cv-bench"].map(|folder| agrees("cv-bench", &fixture(folder)));
    assert_eq!(parquet, lines);
}

#[test]
fn mmstar_is_the_same_in_parquet_and_in_vlmevalkits_table() {
    let [robust, published] = agrees("mmstar", &fixture("mmstar"));
    groups_agree(&robust, &expected("mmstar"), "accuracy");
    prompts_agree("mmstar", &fixture("mmstar"));
    assert_eq!(agrees("mmstar", &fixture("mmstar-tsv")), [robust, published]);
}

#[test]
fn longvideobench_asks_about_videos() {
    let [robust, _] = agrees("longvideobench", &fixture("longvideobench"));
    groups_agree(&robust, &expected("longvideobench"), "accuracy");
    prompts_agree("longvideobench", &fixture("longvideobench"));
}

#[test]
fn r1_onevision_bench_counts_grades_and_subjects() {
    let [robust, _] = agrees("r1-onevision-bench", &fixture("r1-onevision-bench"));
    groups_agree(&robust, &expected("r1-onevision-bench"), "accuracy");
}

#[test]
fn easy_vqa_takes_the_word() {
    let [robust, _] = agrees("easy-vqa", &fixture("easy-vqa"));
    groups_agree(&robust, &expected("easy-vqa"), "accuracy");
    prompts_agree("easy-vqa", &fixture("easy-vqa"));
}

#[test]
fn mmmu_shows_pictures_where_its_questions_name_them() {
    let [robust, _] = agrees("mmmu", &fixture("mmmu"));
    groups_agree(&robust, &expected("mmmu"), "accuracy");
    prompts_agree("mmmu", &fixture("mmmu"));
    let questions = vr1_eval::Benchmark::named("mmmu").unwrap().open(&fixture("mmmu"), None).unwrap();
    let at = questions.items().iter().position(|item| item.sample.id == "validation_Art_1").unwrap();
    let sample = questions.get(at).unwrap().sample;
    assert_eq!(sample.question, "Which is like ?\n\n(A) \n(B) ");
    let places: Vec<usize> = sample.places.iter().map(|place| place.at).collect();
    assert_eq!(places, [14, 21, 26], "the question's picture, then those of its options");
    // The first pixels of the three differ: each is where it is named.
    let reds: Vec<u8> = sample
        .media
        .iter()
        .map(|media| {
            let vr1_data::Media::Image(picture) = media else { panic!("a picture") };
            picture.load().unwrap().get_pixel(0, 0)[0]
        })
        .collect();
    assert_eq!(reds, [120, 160, 200]);
}

#[test]
fn a_file_of_ones_own_says_by_its_answers_how_they_are_compared() {
    let [robust, _] = agrees("file", &fixture("file/rows.jsonl"));
    groups_agree(&robust, &expected("file"), "accuracy");
    prompts_agree("file", &fixture("file/rows.jsonl"));
}
