//! Layers that are one product where nobody learns from it, and the parameters they have apart.

use std::fs;

use tch::{Device, Kind, Tensor};
use vr1_nn::{Adapter, Bias, Checkpoint, Derived, Loader, LoraConfig, Modules, Names, Parameters, Pass, Projections};
use vr1_torch::{AdamWStep, fused_adamw, put_gradient, take_gradient};

const CPU: Device = Device::Cpu;
const OUTPUTS: [i64; 3] = [8, 2, 3];

/// Three layers from five numbers.
fn build(loader: Loader) -> (Parameters, Projections<3>) {
    let layers = [("q", OUTPUTS[0]), ("k", OUTPUTS[1]), ("v", OUTPUTS[2])];
    let layers = Projections::new(&loader.root().sub("model"), layers, 5, Bias::With);
    (loader.finish().unwrap(), layers)
}

fn random() -> (Parameters, Projections<3>) {
    let (parameters, layers) = build(Loader::random(3, Names::LANGUAGE, CPU, Kind::Float));
    // A bias starts at zero, which any wrong sum of biases is too.
    tch::no_grad(|| ["q", "k", "v"].iter().for_each(|name| drop(bias(&parameters, name).normal_(0.0, 1.0))));
    (parameters, layers)
}

fn weight(parameters: &Parameters, name: &str) -> Tensor {
    parameters.get(&format!("model.{name}.weight")).unwrap().shallow_clone()
}

fn bias(parameters: &Parameters, name: &str) -> Tensor {
    parameters.get(&format!("model.{name}.bias")).unwrap().shallow_clone()
}

/// What each layer gives by its named parameters alone.
fn apart(parameters: &Parameters, x: &Tensor) -> [Tensor; 3] {
    ["q", "k", "v"].map(|name| x.linear(&weight(parameters, name), Some(&bias(parameters, name))))
}

fn x() -> Tensor {
    tch::manual_seed(9);
    Tensor::randn([2, 7, 5], (Kind::Float, CPU))
}

/// That the layers are one product, which is what their parameters say.
fn assert_joint(parameters: &Parameters, layers: &Projections<3>, what: &str) {
    let x = x();
    let whole = tch::no_grad(|| layers.joint(&x, Pass::Sampling)).unwrap_or_else(|| panic!("{what}: apart"));
    assert_eq!(whole.size(), [2, 7, 13]);
    assert!(whole.allclose(&Tensor::cat(&apart(parameters, &x), -1), 1e-5, 1e-5, false), "{what}");
    let scored = tch::no_grad(|| layers.forward(&x, Pass::Scoring));
    assert!(scored.iter().zip(apart(parameters, &x)).all(|(found, expected)| found.equal(&expected)), "{what}");
    for (found, expected) in tch::no_grad(|| layers.forward(&x, Pass::Sampling)).iter().zip(apart(parameters, &x)) {
        assert!(found.allclose(&expected, 1e-5, 1e-5, false), "{what}");
    }
}

fn lora(target: &str) -> Adapter {
    let config = LoraConfig {
        rank: 2,
        alpha: 4.0,
        target_modules: Modules::Names(vec![target.into()]),
        exclude_modules: None,
        dropout: 0.0,
        rslora: false,
    };
    Adapter::random(config, 5).unwrap()
}

#[test]
fn layers_without_gradients_are_one_product_however_the_model_was_made() {
    let (parameters, layers) = random();
    assert_joint(&parameters, &layers, "random");

    let dir = tempfile::tempdir().unwrap();
    parameters.save(&dir.path().join("model.safetensors"), Kind::Float).unwrap();
    let (loaded, layers) =
        build(Loader::from_checkpoint(Checkpoint::open(dir.path(), Names::LANGUAGE).unwrap(), CPU, Kind::Float));
    assert_joint(&loaded, &layers, "loaded");
    assert!(loaded.iter().zip(parameters.iter()).all(|(one, other)| one.0 == other.0 && one.1.equal(other.1)));

    for trained in [None, Some("model.k.weight"), Some("model")] {
        parameters.train(|name| trained.is_some_and(|part| name.starts_with(part)));
        let (copy, layers) = build(Loader::deriving(&parameters, Derived::Copy, CPU, Kind::Float).unwrap());
        assert_joint(&copy, &layers, "copied");
        let shared = weight(&copy, "q").data_ptr() == weight(&parameters, "q").data_ptr();
        assert_eq!(shared, trained.is_none(), "{trained:?}");
    }
}

#[test]
fn a_merged_adapter_is_one_product_and_one_at_work_is_none() {
    let (parameters, layers) = build(Loader::adapting(random().0, lora("k"), CPU, Kind::Float).unwrap());
    tch::no_grad(|| drop(parameters.get("model.k.lora_B.weight").unwrap().shallow_clone().fill_(0.5)));
    assert!(tch::no_grad(|| layers.joint(&x(), Pass::Sampling)).is_none());
    let adapted = tch::no_grad(|| layers.forward(&x(), Pass::Sampling));

    let (base, own) = build(Loader::deriving(&parameters, Derived::Base, CPU, Kind::Float).unwrap());
    assert_joint(&base, &own, "the base");
    assert_eq!(weight(&base, "k").data_ptr(), weight(&parameters, "k").data_ptr());

    let (merged, own) = build(Loader::deriving(&parameters, Derived::Merged, CPU, Kind::Float).unwrap());
    assert_joint(&merged, &own, "merged");
    for (found, expected) in own.forward(&x(), Pass::Sampling).iter().zip(&adapted) {
        assert!(found.allclose(expected, 1e-5, 1e-5, false));
    }
    assert!(
        !own.forward(&x(), Pass::Sampling)[1].allclose(&apart(&base, &x())[1], 1e-2, 1e-2, false),
        "the adapter does something"
    );
}

#[test]
fn where_gradients_are_collected_each_layer_gets_its_own() {
    let (parameters, layers) = random();
    parameters.train(|name| name == "model.k.weight" || name == "model.v.bias");
    let x = x().set_requires_grad(true);
    assert!(layers.joint(&x, Pass::Sampling).is_none());
    let gradients = |outputs: [Tensor; 3]| {
        let sum: Tensor = outputs.iter().map(|out| (out * out).sum(Kind::Float)).sum();
        sum.backward();
        let leaves = [&x, &weight(&parameters, "k"), &bias(&parameters, "v")];
        let taken = leaves.map(|leaf| take_gradient(leaf).unwrap());
        assert!(!weight(&parameters, "q").grad().defined());
        taken
    };
    let (found, expected) = (gradients(layers.forward(&x, Pass::Sampling)), gradients(apart(&parameters, &x)));
    assert!(found.iter().zip(&expected).all(|(found, expected)| found.equal(expected)));

    // What nobody trains is apart where the numbers before it learn through it, and one product where they do not.
    parameters.train(|_| false);
    assert!(layers.joint(&x, Pass::Sampling).is_none() && layers.joint(&x.detach(), Pass::Sampling).is_some());
    let through =
        layers.forward(&x, Pass::Sampling).map(|out| (&out * &out).sum(Kind::Float)).into_iter().sum::<Tensor>();
    through.backward();
    assert!(take_gradient(&x).unwrap().equal(&expected[0]));
}

#[test]
fn an_optimizers_step_on_one_layer_is_seen_by_the_product_and_by_no_other_layer() {
    let (parameters, layers) = random();
    let before = apart(&parameters, &x());
    let trained: Vec<Tensor> =
        parameters.train(|name| name.ends_with("k.weight")).into_iter().map(|(_, t)| t).collect();
    let ones = trained[0].ones_like();
    put_gradient(&trained[0], Some(&ones)).unwrap();
    let gradients = [take_gradient(&trained[0]).unwrap()];
    let step = AdamWStep { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, epsilon: 1e-8 };
    let zeros = || [tch::no_grad(|| trained[0].zeros_like())];
    let steps = [Tensor::ones([], (Kind::Float, CPU))];
    fused_adamw(&trained, &gradients, &zeros(), &zeros(), &steps, &step).unwrap();
    tch::no_grad(|| {
        let moved = layers.forward(&x(), Pass::Sampling);
        // Every weight fell by 0.1, so that an output fell by a tenth of the sum of its inputs.
        let expected = &before[1] - x().sum_dim_intlist([-1i64].as_slice(), true, Kind::Float) * 0.1;
        assert!(moved[1].allclose(&expected, 1e-4, 1e-4, false));
        assert!([0, 2].iter().all(|&i| moved[i].allclose(&before[i], 1e-6, 1e-6, false)));
    });
    // Further steps find a leaf as before.
    assert!(trained[0].is_leaf() && trained[0].requires_grad());
    assert_joint(&parameters, &layers, "after a step");
}

#[test]
fn files_have_the_published_names_and_each_layers_numbers_alone() {
    let (parameters, _) = random();
    parameters.train(|_| true);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    parameters.save(&file, Kind::Float).unwrap();
    let checkpoint = Checkpoint::open(dir.path(), Names::LANGUAGE).unwrap();
    let names: Vec<&str> = checkpoint.names().collect();
    assert_eq!(
        names,
        ["model.k.bias", "model.k.weight", "model.q.bias", "model.q.weight", "model.v.bias", "model.v.weight"]
    );
    let numbers = OUTPUTS.iter().map(|outputs| outputs * 6).sum::<i64>() as u64;
    assert!(fs::metadata(&file).unwrap().len() < 4 * numbers + 1024, "no matrix is there twice");
    assert_eq!(checkpoint.shape("model.k.weight"), Some([2, 5].as_slice()));
}

#[test]
fn a_layer_that_is_missing_or_of_another_shape_is_named_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::random(3, Names::LANGUAGE, CPU, Kind::Float);
    let root = loader.root().sub("model");
    for (name, shape) in [("q.weight", &[8, 5][..]), ("q.bias", &[8]), ("k.weight", &[2, 4]), ("v.weight", &[3, 5])] {
        drop(root.get(name, shape, vr1_nn::Init::Ones));
    }
    loader.finish().unwrap().save(&dir.path().join("model.safetensors"), Kind::Float).unwrap();
    let loader = Loader::from_checkpoint(Checkpoint::open(dir.path(), Names::LANGUAGE).unwrap(), CPU, Kind::Float);
    let layers = [("q", OUTPUTS[0]), ("k", OUTPUTS[1]), ("v", OUTPUTS[2])];
    let _ = Projections::new(&loader.root().sub("model"), layers, 5, Bias::With);
    let error = loader.finish().unwrap_err().to_string();
    for part in [
        "shape of model.k.weight: the model has [2, 5], the file [2, 4]",
        "missing: model.k.bias",
        "missing: model.v.bias",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
