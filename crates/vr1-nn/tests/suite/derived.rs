//! Models made of another's parameters: what they share with it, and what they keep while it is trained.

use tch::{Device, Kind, Tensor};
use vr1_nn::{Adapter, Bias, Derived, Linear, Loader, LoraConfig, Modules, Names, Parameters, Pass};

const CPU: Device = Device::Cpu;

/// Two linear layers; the architecture of everything here.
fn build(loader: Loader) -> (Parameters, [Linear; 2]) {
    let root = loader.root();
    let layers = [Linear::new(&root.sub("a"), 5, 3, Bias::With), Linear::new(&root.sub("b"), 3, 4, Bias::Without)];
    (loader.finish().unwrap(), layers)
}

fn plain(kind: Kind) -> Parameters {
    build(Loader::random(11, Names::LANGUAGE, CPU, kind)).0
}

/// Layer `a` with an adapter that is at work already.
fn adapted(kind: Kind) -> (Parameters, [Linear; 2]) {
    let config = LoraConfig {
        rank: 2,
        alpha: 6.0,
        target_modules: Modules::Names(vec!["a".into()]),
        exclude_modules: None,
        dropout: 0.0,
        rslora: false,
    };
    let adapter = Adapter::random(config, 5).unwrap();
    let (parameters, layers) = build(Loader::adapting(plain(kind), adapter, CPU, kind).unwrap());
    fill(&parameters, "a.lora_B.weight", 0.5);
    (parameters, layers)
}

fn derive(parameters: &Parameters, derived: Derived, kind: Kind) -> (Parameters, [Linear; 2]) {
    build(Loader::deriving(parameters, derived, CPU, kind).unwrap())
}

fn fill(parameters: &Parameters, name: &str, value: f64) {
    let _ = tch::no_grad(|| parameters.get(name).unwrap().shallow_clone().fill_(value));
}

fn values(parameters: &Parameters, name: &str) -> Vec<f32> {
    Vec::try_from(parameters.get(name).unwrap().to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

fn shares(one: &Parameters, other: &Parameters, name: &str) -> bool {
    one.get(name).unwrap().data_ptr() == other.get(name).unwrap().data_ptr()
}

fn names(parameters: &Parameters) -> Vec<&str> {
    parameters.iter().map(|(name, _)| name).collect()
}

#[test]
fn a_copy_keeps_what_is_trained_and_shares_what_is_not() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let model = plain(kind);
        assert_eq!(model.train(|name| name == "a.weight").len(), 1);
        let (copy, _) = derive(&model, Derived::Copy, kind);
        let before = values(&model, "a.weight");
        assert_eq!((names(&copy), values(&copy, "a.weight")), (names(&model), before.clone()));
        assert!(copy.iter().all(|(_, tensor)| !tensor.requires_grad() && tensor.kind() == kind));
        fill(&model, "a.weight", 9.0);
        assert_eq!(values(&copy, "a.weight"), before);
        // What nothing moves need not be there twice.
        assert!(shares(&copy, &model, "b.weight") && shares(&copy, &model, "a.bias"));
    }
}

#[test]
fn a_copy_of_an_adapted_model_keeps_its_adapter() {
    let (model, _) = adapted(Kind::BFloat16);
    let trained: Vec<String> = model.train(|_| true).into_iter().map(|(name, _)| name).collect();
    assert_eq!(trained, ["a.lora_A.weight", "a.lora_B.weight"]);
    let (copy, _) = derive(&model, Derived::Copy, Kind::BFloat16);
    assert_eq!((names(&copy), copy.adapter()), (names(&model), model.adapter()));
    for name in &trained {
        let before = values(&model, name);
        fill(&model, name, 7.0);
        assert_eq!(values(&copy, name), before, "{name}");
        assert_eq!(copy.get(name).unwrap().kind(), Kind::Float, "{name} stays f32 beside bf16");
    }
    assert!(["a.weight", "a.bias", "b.weight"].iter().all(|name| shares(&copy, &model, name)));
}

#[test]
fn the_base_is_the_model_without_its_adapter_and_takes_no_room() {
    let (model, layers) = adapted(Kind::Float);
    let (base, [a, _]) = derive(&model, Derived::Base, Kind::Float);
    assert_eq!(names(&base), names(&plain(Kind::Float)));
    assert!(base.adapter().is_none());
    assert!(names(&base).iter().all(|name| shares(&base, &model, name)));
    let x = Tensor::randn([7, 5], (Kind::Float, CPU));
    let without = x.linear(model.get("a.weight").unwrap(), model.get("a.bias"));
    assert!(
        a.forward(&x, Pass::Scoring).equal(&without)
            && !a.forward(&x, Pass::Scoring).allclose(&layers[0].forward(&x, Pass::Scoring), 1e-2, 1e-2, false)
    );
}

#[test]
fn a_merged_model_computes_what_the_adapter_adds_and_shares_the_other_layers() {
    let (model, [adapted, other]) = adapted(Kind::Float);
    let (merged, [a, b]) = derive(&model, Derived::Merged, Kind::Float);
    assert_eq!(names(&merged), names(&plain(Kind::Float)));
    assert!(merged.adapter().is_none() && merged.iter().all(|(_, tensor)| !tensor.requires_grad()));
    let x = Tensor::randn([7, 5], (Kind::Float, CPU));
    assert!(a.forward(&x, Pass::Scoring).allclose(&adapted.forward(&x, Pass::Scoring), 1e-5, 1e-5, false));
    let h = adapted.forward(&x, Pass::Scoring);
    assert!(b.forward(&h, Pass::Scoring).equal(&other.forward(&h, Pass::Scoring)));
    assert!(shares(&merged, &model, "b.weight") && shares(&merged, &model, "a.bias"));
    assert!(!shares(&merged, &model, "a.weight"));
    // It stays as it was made.
    let before = values(&merged, "a.weight");
    fill(&model, "a.lora_B.weight", 2.0);
    assert_eq!(values(&merged, "a.weight"), before);
    let by_hand = model.get("a.weight").unwrap()
        + model.get("a.lora_B.weight").unwrap().matmul(model.get("a.lora_A.weight").unwrap()) * 3.0;
    let again = derive(&model, Derived::Merged, Kind::Float).0;
    assert!(again.get("a.weight").unwrap().allclose(&by_hand, 1e-6, 1e-6, false), "alpha / rank is 3");
}

#[test]
fn values_are_copied_by_name_and_what_is_missing_is_named() {
    let model = plain(Kind::Float);
    model.train(|_| true);
    let (copy, _) = derive(&model, Derived::Copy, Kind::Float);
    fill(&model, "a.weight", 9.0);
    copy.copy_from(&model).unwrap();
    assert_eq!(values(&copy, "a.weight"), [9.0; 15]);
    let (adapted, _) = adapted(Kind::Float);
    let error = adapted.copy_from(&model).unwrap_err().to_string();
    assert!(error.contains("a.lora_A.weight"), "{error}");
}

#[test]
fn a_second_adapter_is_refused() {
    let (model, _) = adapted(Kind::Float);
    let config = model.adapter().unwrap().clone();
    let error = Loader::adapting(model, Adapter::random(config, 1).unwrap(), CPU, Kind::Float).unwrap_err();
    assert!(error.to_string().contains("has an adapter already"), "{error}");
}
