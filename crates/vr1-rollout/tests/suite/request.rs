//! Settings out of their range.

use vr1_rollout::{Error, Request, Sampling, Search};

use crate::asked::{empty, key, request};

fn beam(beams: usize, length_penalty: f64) -> Request {
    Request { search: Search::Beam { beams, length_penalty }, ..request("s", 0, 1) }
}

#[test]
fn a_setting_out_of_range_names_itself() {
    let sampling = |sampling| Request { sampling, ..request("s", 0, 2) };
    let plain = Sampling::default;
    for (field, wrong) in [
        ("temperature", sampling(Sampling { temperature: -1.0, ..plain() })),
        ("temperature", sampling(Sampling { temperature: f64::NAN, ..plain() })),
        ("temperature", sampling(Sampling { temperature: f64::INFINITY, ..plain() })),
        ("top_k", sampling(Sampling { top_k: -1, ..plain() })),
        ("top_p", sampling(Sampling { top_p: 0.0, ..plain() })),
        ("top_p", sampling(Sampling { top_p: 1.5, ..plain() })),
        ("min_p", sampling(Sampling { min_p: 1.0, ..plain() })),
        ("repetition_penalty", sampling(Sampling { repetition_penalty: 0.0, ..plain() })),
        ("max_completion_tokens", sampling(Sampling { max_completion_tokens: 0, ..plain() })),
        ("completions", request("s", 0, 0)),
        ("completions", Request { completions: 2, ..beam(2, 1.0) }),
        ("completions", Request { completions: 0, ..beam(2, 1.0) }),
        ("beams", beam(0, 1.0)),
        ("length_penalty", beam(2, f64::NAN)),
    ] {
        let error = wrong.validate().unwrap_err();
        assert!(matches!(error, Error::Setting { field: found, .. } if found == field), "{field}: {error}");
        assert!(error.to_string().starts_with(&format!("sampling: {field} is ")), "{error}");
    }
    for right in [request("s", 0, 1), beam(1, -1.0), sampling(Sampling::greedy(1))] {
        right.validate().unwrap();
    }
}

#[test]
fn there_is_something_to_complete() {
    let error = Request::new(empty("s"), 1, Sampling::default(), key(0)).validate().unwrap_err().to_string();
    assert_eq!(error, "sample `s`: a prompt without a token: there is nothing that the first token follows");
}

#[test]
fn a_setting_that_is_misspelt_is_refused() {
    assert!(serde_json::from_str::<Sampling>(r#"{"top_q": 0.5}"#).unwrap_err().to_string().contains("top_q"));
    let half: Sampling = serde_json::from_str(r#"{"top_p": 0.5}"#).unwrap();
    assert_eq!(half, Sampling { top_p: 0.5, ..Sampling::default() });
}
