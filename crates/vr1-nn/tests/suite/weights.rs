//! Loading and saving weights.
#![allow(unused_must_use, clippy::let_unit_value, reason = "asking a loader for a tensor is the act that is tested")]

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor};
use vr1_nn::{Checkpoint, Error, Init, Loader, Names, Parameters, Problems};

const CPU: Device = Device::Cpu;
const NAMES: Names = Names::new(&[
    ["model.", "model.", "model.language_model."],
    ["visual.", "visual.", "model.visual."],
    ["lm_head.", "lm_head.", "lm_head."],
]);

/// A file of tensors, each filled with its own value.
fn write(file: &Path, tensors: &[(&str, Dtype, &[usize], f32)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, dtype, shape, value)| {
            let one = match dtype {
                Dtype::F32 => value.to_le_bytes().to_vec(),
                Dtype::BF16 => half::bf16::from_f32(*value).to_le_bytes().to_vec(),
                Dtype::F16 => half::f16::from_f32(*value).to_le_bytes().to_vec(),
                Dtype::I64 => (*value as i64).to_le_bytes().to_vec(),
                other => panic!("no {other:?} in these tests"),
            };
            one.repeat(shape.iter().product())
        })
        .collect();
    let view = |((name, dtype, shape, _), data): (&(&str, Dtype, &[usize], f32), _)| {
        ((*name).to_owned(), TensorView::new(*dtype, shape.to_vec(), data).unwrap())
    };
    let views: Vec<(String, TensorView<'_>)> =
        tensors.iter().zip(&bytes).map(|(tensor, data)| view((tensor, data.as_slice()))).collect();
    safetensors::serialize_to_file(views, None, file).unwrap();
}

fn values(parameters: &Parameters, name: &str) -> Vec<f32> {
    Vec::try_from(parameters.get(name).unwrap().to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

fn load(dir: &Path, wanted: &[(&str, &[i64])], tied: &[(&str, &str)]) -> vr1_nn::Result<Parameters> {
    let loader = Loader::from_checkpoint(Checkpoint::open(dir, NAMES)?, CPU, Kind::Float);
    for (name, shape) in wanted {
        let _ = loader.root().get(name, shape, Init::Zeros);
    }
    tied.iter().for_each(|(name, of)| loader.root().tie(name, of));
    loader.finish()
}

/// Two layers whose values are drawn at random.
fn random(kind: Kind) -> Parameters {
    let loader = Loader::random(11, NAMES, CPU, kind);
    let _ = loader.root().sub("a").get("weight", &[3, 5], Init::Normal(1.0));
    let _ = loader.root().sub("b").get("bias", &[7], Init::Normal(1e-3));
    let _ = loader.root().get("scale", &[], Init::Ones);
    loader.finish().unwrap()
}

#[test]
fn every_misfit_is_named_in_one_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    write(
        &file,
        &[
            ("fits.weight", Dtype::F32, &[2, 2], 1.0),
            ("turned.weight", Dtype::F32, &[3, 2], 1.0),
            // One number would broadcast to anything.
            ("one.bias", Dtype::F32, &[1], 1.0),
            ("counts.weight", Dtype::I64, &[2], 1.0),
            ("extra.weight", Dtype::F32, &[1], 1.0),
            ("more.weight", Dtype::F32, &[1], 1.0),
            ("same.weight", Dtype::F32, &[2, 2], 1.0),
            ("tied.weight", Dtype::F32, &[2, 2], 3.0),
        ],
    );
    let wanted: [(&str, &[i64]); 6] = [
        ("fits.weight", &[2, 2]),
        ("turned.weight", &[2, 3]),
        ("one.bias", &[4]),
        ("counts.weight", &[2]),
        ("absent.weight", &[1]),
        ("absent.bias", &[1]),
    ];
    let error =
        load(dir.path(), &wanted, &[("same.weight", "fits.weight"), ("tied.weight", "fits.weight")]).unwrap_err();
    let message = error.to_string();
    let Error::Weights { path, problems } = error else { panic!("{message}") };
    assert_eq!(path, dir.path());
    let expected = Problems {
        missing: vec!["absent.weight".into(), "absent.bias".into()],
        unexpected: vec!["extra.weight".into(), "more.weight".into()],
        misshapen: vec![
            ("turned.weight".into(), vec![2, 3], vec![3, 2]), //
            ("one.bias".into(), vec![4], vec![1]),
        ],
        kinds: vec![("counts.weight".into(), "I64".into())],
        untied: vec![("tied.weight".into(), "fits.weight".into())],
    };
    assert_eq!(*problems, expected);
    for part in [
        "missing: absent.weight",
        "missing: absent.bias",
        "unexpected: extra.weight",
        "unexpected: more.weight",
        "shape of turned.weight: the model has [2, 3], the file [3, 2]",
        "shape of one.bias: the model has [4], the file [1]",
        "kind of counts.weight: I64 is not a floating-point kind",
        "tied.weight is tied to fits.weight by the config, and differs from it in the file",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    write(&file, &[("a.weight", Dtype::F32, &[4, 4], 1.0), ("b.weight", Dtype::BF16, &[3], 2.0)]);
    let whole = fs::read(&file).unwrap();
    assert!(Checkpoint::open(dir.path(), NAMES).is_ok());
    for length in (0..whole.len()).step_by(5).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..length]).unwrap();
        let error = Checkpoint::open(dir.path(), NAMES).unwrap_err().to_string();
        assert!(error.contains("model.safetensors"), "{length} bytes: {error}");
    }
    // A header that claims to be longer than anything.
    let mut wrong = whole.clone();
    wrong[..8].fill(0xff);
    fs::write(&file, &wrong).unwrap();
    assert!(Checkpoint::open(dir.path(), NAMES).unwrap_err().to_string().contains("model.safetensors"));
    // A header that is no JSON.
    let mut wrong = whole;
    wrong[8] = b'?';
    fs::write(&file, &wrong).unwrap();
    assert!(Checkpoint::open(dir.path(), NAMES).unwrap_err().to_string().contains("model.safetensors"));
}

#[test]
fn shards_are_one_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    write(&dir.path().join("model-00001-of-00002.safetensors"), &[("a.weight", Dtype::F32, &[2], 1.5)]);
    write(
        &dir.path().join("model-00002-of-00002.safetensors"),
        &[("b.weight", Dtype::BF16, &[3], 2.5), ("c.weight", Dtype::F16, &[1], -0.5)],
    );
    let map = r#"{"metadata": {"total_size": 16}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors",
        "b.weight": "model-00002-of-00002.safetensors", "c.weight": "model-00002-of-00002.safetensors"}}"#;
    fs::write(&index, map).unwrap();
    let wanted: [(&str, &[i64]); 3] = [("a.weight", &[2]), ("b.weight", &[3]), ("c.weight", &[1])];
    let parameters = load(dir.path(), &wanted, &[]).unwrap();
    assert_eq!(values(&parameters, "a.weight"), [1.5; 2]);
    assert_eq!(values(&parameters, "b.weight"), [2.5; 3]);
    assert_eq!(values(&parameters, "c.weight"), [-0.5]);

    fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    let error = Checkpoint::open(dir.path(), NAMES).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00002.safetensors"), "{error}");
    for wrong in
        ["{", "{}", r#"{"weight_map": {"a.weight": 3}}"#, r#"{"weight_map": {"a.weight": "../a.safetensors"}}"#]
    {
        fs::write(&index, wrong).unwrap();
        let error = Checkpoint::open(dir.path(), NAMES).unwrap_err();
        assert!(matches!(&error, Error::Index { path, .. } if *path == index), "{wrong}: {error}");
    }
    fs::remove_file(&index).unwrap();
    assert!(matches!(Checkpoint::open(dir.path(), NAMES), Err(Error::NoWeights(path)) if path == dir.path()));
}

#[test]
fn a_tensor_in_two_shards_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x.safetensors", "y.safetensors"] {
        write(&dir.path().join(name), &[("a.weight", Dtype::F32, &[2], 1.0)]);
    }
    let map = r#"{"weight_map": {"a.weight": "x.safetensors", "b.weight": "y.safetensors"}}"#;
    fs::write(dir.path().join("model.safetensors.index.json"), map).unwrap();
    let error = Checkpoint::open(dir.path(), NAMES).unwrap_err().to_string();
    assert!(error.contains("y.safetensors") && error.contains("a.weight is there twice"), "{error}");
}

#[test]
fn names_of_both_generations_are_the_same_tensors() {
    let wanted: [(&str, &[i64]); 3] =
        [("lm_head.weight", &[1]), ("model.layers.0.mlp.up_proj.weight", &[2]), ("visual.merger.ln_q.weight", &[3])];
    let published = ["lm_head.weight", "model.layers.0.mlp.up_proj.weight", "visual.merger.ln_q.weight"];
    let nested =
        ["lm_head.weight", "model.language_model.layers.0.mlp.up_proj.weight", "model.visual.merger.ln_q.weight"];
    for [head, up, norm] in [published, nested] {
        let dir = tempfile::tempdir().unwrap();
        write(
            &dir.path().join("model.safetensors"),
            &[(head, Dtype::F32, &[1], 1.0), (up, Dtype::F32, &[2], 2.0), (norm, Dtype::F32, &[3], 3.0)],
        );
        let parameters = load(dir.path(), &wanted, &[]).unwrap();
        assert_eq!(parameters.iter().map(|(name, _)| name).collect::<Vec<_>>(), published);
        assert_eq!(values(&parameters, published[1]), [2.0; 2]);
        assert_eq!(values(&parameters, published[2]), [3.0; 3]);
    }
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("model.safetensors"),
        &[(published[1], Dtype::F32, &[2], 1.0), (nested[1], Dtype::F32, &[2], 2.0)],
    );
    let error = Checkpoint::open(dir.path(), NAMES).unwrap_err().to_string();
    assert!(error.contains("model.layers.0.mlp.up_proj.weight is there twice"), "{error}");
}

#[test]
fn what_is_written_has_the_published_names_whatever_was_read() {
    const OTHERS: Names = Names::new(&[
        ["model.", "language_model.model.", "model.language_model."],
        ["tower.", "tower.inner.", "model.tower."],
        ["tower.", "tower.", "model.tower.inner."],
    ]);
    let own = ["model.norm.weight", "tower.norm.weight"];
    for files in [
        ["language_model.model.norm.weight", "tower.inner.norm.weight"],
        ["model.language_model.norm.weight", "model.tower.norm.weight"],
        ["model.language_model.norm.weight", "model.tower.inner.norm.weight"],
        ["module.language_model.model.norm.weight", "module.tower.norm.weight"],
    ] {
        let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tensor = |name| (name, Dtype::F32, &[1][..], 1.0);
        write(&dir.path().join("model.safetensors"), &files.map(tensor));
        let checkpoint = Checkpoint::open(dir.path(), OTHERS).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), own, "{files:?}");
        let loader = Loader::from_checkpoint(checkpoint, CPU, Kind::Float);
        own.map(|name| loader.root().get(name, &[1], Init::Ones));
        loader.finish().unwrap().save(&again.path().join("model.safetensors"), Kind::Float).unwrap();
        let written = Checkpoint::open(again.path(), Names::new(&[])).unwrap();
        let published = ["language_model.model.norm.weight", "tower.inner.norm.weight"];
        assert_eq!(written.names().collect::<Vec<_>>(), published, "{files:?}");

        let loader = Loader::from_checkpoint(Checkpoint::open(dir.path(), OTHERS).unwrap(), CPU, Kind::Float);
        loader.root().get(own[0], &[2], Init::Ones);
        let error = loader.finish().unwrap_err().to_string();
        assert!(error.contains("unexpected: tower.inner.norm.weight"), "{error}");
        assert!(error.contains("shape of language_model.model.norm.weight"), "{error}");
    }
}

#[test]
fn what_is_saved_is_loaded_again() {
    for (saved, model) in [(Kind::Float, Kind::Float), (Kind::BFloat16, Kind::BFloat16), (Kind::BFloat16, Kind::Float)]
    {
        let parameters = random(model);
        assert_eq!(parameters.count(), 23);
        let dir = tempfile::tempdir().unwrap();
        parameters.save(&dir.path().join("model.safetensors"), saved).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["model.safetensors"], "nothing written aside is left");
        let loader = Loader::from_checkpoint(Checkpoint::open(dir.path(), NAMES).unwrap(), CPU, model);
        let _ = loader.root().sub("a").get("weight", &[3, 5], Init::Zeros);
        let _ = loader.root().sub("b").get("bias", &[7], Init::Zeros);
        let _ = loader.root().get("scale", &[], Init::Zeros);
        let loaded = loader.finish().unwrap();
        for (name, tensor) in parameters.iter() {
            let found = loaded.get(name).unwrap();
            assert_eq!((found.kind(), found.size()), (model, tensor.size()), "{name}");
            // Rounded once, to nearest, where the file has fewer digits; the same bits otherwise.
            let expected: Tensor = tensor.to_kind(saved).to_kind(model);
            assert!(found.equal(&expected), "{name}: {found} {expected}");
        }
        assert_eq!(values(&loaded, "scale"), [1.0]);
    }
}

#[test]
fn a_tensor_that_is_a_view_is_saved_as_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let parameters = random(Kind::Float);
    // Turned over and trained: neither contiguous nor free of gradients.
    let weight = parameters.get("a.weight").unwrap();
    let _ = tch::no_grad(|| weight.shallow_clone().copy_(&Tensor::arange(15, (Kind::Float, CPU)).view([5, 3]).tr()));
    assert_eq!(parameters.train(|name| name == "a.weight").len(), 1);
    parameters.save(&dir.path().join("model.safetensors"), Kind::Float).unwrap();
    let loaded = load(dir.path(), &[("a.weight", &[3, 5]), ("b.bias", &[7]), ("scale", &[])], &[]).unwrap();
    assert_eq!(values(&loaded, "a.weight")[..6], [0.0, 3.0, 6.0, 9.0, 12.0, 1.0]);
}

#[test]
fn weights_are_not_saved_as_a_kind_that_nobody_loads() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    let error = random(Kind::Float).save(&file, Kind::Int64).unwrap_err().to_string();
    assert!(error.contains("Int64"), "{error}");
    assert!(!file.exists());
    let nowhere = dir.path().join("no/such/model.safetensors");
    let error = random(Kind::Float).save(&nowhere, Kind::Float).unwrap_err().to_string();
    assert!(error.contains("no/such/model.safetensors"), "{error}");
}

#[test]
fn a_random_tensor_depends_on_its_seed_and_name_alone() {
    let one = |seed, names: &[&str]| {
        let loader = Loader::random(seed, NAMES, CPU, Kind::Float);
        names.iter().for_each(|name| drop(loader.root().get(name, &[4], Init::Normal(1.0))));
        loader.finish().unwrap()
    };
    let (alone, among) = (one(1, &["x"]), one(1, &["w", "x", "y"]));
    assert_eq!(values(&alone, "x"), values(&among, "x"));
    assert_ne!(values(&among, "x"), values(&among, "y"));
    assert_ne!(values(&alone, "x"), values(&one(2, &["x"]), "x"));
}
