//! Runs that were ended, and go on.

use super::*;

#[test]
fn a_run_that_was_ended_anywhere_goes_on_and_makes_the_same_rows() {
    let wording = Plain("");
    let registry = Registry::default();
    let program = Program::parse("terms: { long: 'length(completion)' }\ntotal: long", &registry).unwrap();
    let making = Making {
        judging: Some(Judging { program: &program, term: None, at_least: 0.0 }),
        steps: Some(StepWords { at_most: 2, ..StepWords::default() }),
        scoring: Some(Scoring { from: 1.0, to: 100.0, tries: 1 }),
        ..making(&wording, 2)
    };
    let samples = Questions::new(3);
    // What is said hangs on how often the model was asked before: who asks again hears something else.
    let answer = |heard: &mut usize, call: &Call| {
        *heard += 1;
        Ok(vec![match call.name.contains("grades") {
            true => said("[5, 6]"),
            false => said(&json!({"title": "a", "content": *heard, "next_action": "continue"}).to_string()),
        }])
    };
    let folder = tempfile::tempdir().unwrap();
    let mut heard = 0;
    let whole = folder.path().join("whole.jsonl");
    let (expected, tally) =
        run(&making, &samples, &mut Script::new(|call: &Call| answer(&mut heard, call)), &whole).unwrap();
    assert_eq!((tally.asked_now, tally.kept), (3 * (2 * 3 + 1), 6));
    let fields = |rows: &[Kept]| rows.iter().map(|row| row.sample.fields.clone()).collect::<Vec<_>>();
    for left in [0, 1, 5, 13, 20] {
        let broken = folder.path().join(format!("{left}.jsonl"));
        let mut heard = 0;
        let mut teacher = Script::new(|call: &Call| answer(&mut heard, call));
        teacher.left = left;
        let error = run(&making, &samples, &mut teacher, &broken).unwrap_err().to_string();
        assert!(error.starts_with("sample `s") && error.ends_with("the power is out"), "{error}");
        // A line that was being written when the power went is none.
        let mut text = std::fs::read(&broken).unwrap();
        text.extend_from_slice(b"{\"question\": 0, \"call\": \"path 1, st");
        std::fs::write(&broken, text).unwrap();
        let mut heard = left;
        let mut again = Script::new(|call: &Call| answer(&mut heard, call));
        let (rows, tally) = run(&making, &samples, &mut again, &broken).unwrap();
        assert_eq!((tally.asked_now, tally.calls), (21 - left, 21));
        // What was said before is as it was; what is said now may be another number.
        assert_eq!(rows.len(), expected.len());
        let (again, _) =
            run(&making, &samples, &mut Script::new(|_: &Call| Err(Failure::Model("asked again".to_owned()))), &broken)
                .unwrap();
        assert_eq!(fields(&again), fields(&rows));
    }
}

#[test]
fn a_journal_of_other_questions_is_refused_and_so_is_one_in_use() {
    let wording = Plain("");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    let mut teacher = Script::new(|_: &Call| Ok(vec![said("x")]));
    run(&making(&wording, 1), &Questions::new(2), &mut teacher, &path).unwrap();
    let mut other = Questions::new(2);
    other.0[1].question = "another".to_owned();
    let error = run(&making(&wording, 1), &other, &mut teacher, &path).unwrap_err().to_string();
    assert!(error.contains("question 1 was another when `answers 1` was answered"), "{error}");
    let held = Journal::open(&path).unwrap();
    assert_eq!((held.len(), held.is_empty()), (2, false));
    assert!(Journal::open(&path).unwrap_err().to_string().ends_with("another run is writing here"));
    drop(held);
    std::fs::write(&path, "{\"question\": 0}\n").unwrap();
    let error = Journal::open(&path).unwrap_err().to_string();
    assert!(error.contains("answers.jsonl: line 1: missing field `call`"), "{error}");
}
