//! Mixtures of experts against each token's experts taken one by one, and the balance of their routers.

use tch::{Device, Kind, Tensor};
use vr1_nn::{
    Activation, Bias, Checkpoint, Loader, Lying, Mixture, MixtureConfig, Names, Parameters, Pass, Routing, Shared,
    Stored, Weighing,
};

const CPU: Device = Device::Cpu;
const WIDTH: i64 = 8;
const PARTS: [Stored; 2] = [Stored::Apart(&["gate_proj", "up_proj"]), Stored::Apart(&["down_proj"])];

fn config(weighing: Weighing, lying: Lying, inner: i64) -> MixtureConfig {
    let shared = Shared { inner: 6, bias: Bias::Without, activation: Activation::Gelu };
    MixtureConfig {
        count: 5,
        chosen: 2,
        inner,
        weighing,
        activation: Activation::Silu,
        router: "gate",
        lying,
        stored: [Stored::Whole; 2],
        shared: (lying == Lying::InputsFirst).then_some(shared),
    }
}

fn build(loader: Loader, config: &MixtureConfig) -> (Parameters, Mixture) {
    let mixture = Mixture::new(&loader.root().sub("model"), WIDTH, config);
    (loader.finish().unwrap(), mixture)
}

fn random(config: &MixtureConfig, kind: Kind) -> (Parameters, Mixture) {
    build(Loader::random(5, Names::LANGUAGE, CPU, kind), config)
}

fn x(kind: Kind) -> Tensor {
    tch::manual_seed(4);
    Tensor::randn([1, 9, WIDTH], (Kind::Float, CPU)).to_kind(kind)
}

fn get(parameters: &Parameters, name: &str) -> Tensor {
    parameters.get(&format!("model.{name}")).unwrap().shallow_clone()
}

/// One token after the other, one expert after the other.
fn slowly(parameters: &Parameters, config: &MixtureConfig, x: &Tensor) -> Tensor {
    let lie = |matrix: Tensor| if config.lying == Lying::OutputsFirst { matrix.tr() } else { matrix };
    let token = |token: Tensor| {
        let scores = token.matmul(&get(parameters, "gate.weight").tr());
        let (best, chosen) = scores.softmax(-1, None::<Kind>).topk(config.chosen, -1, true, true);
        let weights = match config.weighing {
            Weighing::Probabilities => best,
            Weighing::Renormalised | Weighing::OfChosen => &best / best.sum(None::<Kind>),
        };
        let mut sum = Tensor::zeros([WIDTH], (x.kind(), CPU));
        for place in 0..config.chosen {
            let expert = chosen.int64_value(&[place]);
            let [gate_up, down] =
                ["gate_up_proj", "down_proj"].map(|name| lie(get(parameters, &format!("experts.{name}")).get(expert)));
            let halves = token.matmul(&gate_up).chunk(2, -1);
            sum += (halves[0].silu() * &halves[1]).matmul(&down) * weights.get(place);
        }
        if config.shared.is_some() {
            let [gate, up, down] = ["gate_proj", "up_proj", "down_proj"]
                .map(|name| get(parameters, &format!("shared_experts.{name}.weight")).tr());
            sum += (token.matmul(&gate).gelu("none") * token.matmul(&up)).matmul(&down);
        }
        sum
    };
    let tokens: Vec<Tensor> = (0..x.size()[1]).map(|t| token(x.get(0).get(t))).collect();
    Tensor::stack(&tokens, 0).unsqueeze(0)
}

/// Of whole 16 bytes and not, for which there are two ways, in each pass, and gradients of every parameter.
#[test]
fn a_mixture_is_each_tokens_experts_weighed() {
    let weighings = [Weighing::Probabilities, Weighing::Renormalised, Weighing::OfChosen];
    let cases = weighings.into_iter().flat_map(|weighing| {
        [Lying::OutputsFirst, Lying::InputsFirst].into_iter().flat_map(move |lying| {
            [(4, Kind::Float), (3, Kind::Float), (4, Kind::Double)]
                .map(|(inner, kind)| (config(weighing, lying, inner), kind))
        })
    });
    for (config, kind) in cases {
        let (parameters, mixture) = random(&config, kind);
        let x = x(kind);
        let expected = slowly(&parameters, &config, &x);
        for pass in [Pass::Scoring, Pass::Sampling] {
            let found = tch::no_grad(|| mixture.forward(&x, pass, None));
            assert!(found.allclose(&expected, 1e-5, 1e-5, false), "{config:?} {kind:?} {pass:?}");
        }
        let trained = parameters.train(|_| true);
        let weights = Tensor::arange(WIDTH * 9, (kind, CPU)).cos().view([1, 9, WIDTH]);
        let gradients = |y: Tensor| {
            (y * &weights).sum(None::<Kind>).backward();
            let taken: Vec<Tensor> = trained.iter().map(|(_, p)| p.grad().copy()).collect();
            trained.iter().for_each(|(_, p)| p.shallow_clone().zero_grad());
            taken
        };
        let found = gradients(mixture.forward(&x, Pass::Scoring, None));
        let expected = gradients(slowly(&parameters, &config, &x));
        for ((name, _), (found, expected)) in trained.iter().zip(found.iter().zip(&expected)) {
            assert!(found.allclose(expected, 1e-4, 1e-5, false), "{config:?} {name}");
        }
    }
}

/// `E Σ f p` over both layers together, by what autograd makes of it.
#[test]
fn the_balances_gradient_is_that_of_the_loss_over_all_layers() {
    const WEIGHT: f64 = 0.7;
    for weighing in [Weighing::Probabilities, Weighing::Renormalised, Weighing::OfChosen] {
        let config = config(weighing, Lying::OutputsFirst, 4);
        let layers = [3, 8].map(|seed| build(Loader::random(seed, Names::LANGUAGE, CPU, Kind::Float), &config));
        let routers: Vec<Tensor> = layers
            .iter()
            .flat_map(|(parameters, _)| parameters.train(|name| name.contains("gate.weight")))
            .map(|(_, router)| router)
            .collect();
        let x = x(Kind::Float);
        let routing = Routing::new(WEIGHT);
        let outputs = layers.iter().enumerate().map(|(layer, (_, mixture))| {
            // Nothing of the output counts.
            mixture.forward(&x, Pass::Scoring, Some((&routing, layer))).sum(Kind::Float) * 0.0
        });
        let nothing = outputs.fold(Tensor::from(0.0f32), |sum, output| sum + output);
        routing.settle();
        nothing.backward();
        let found: Vec<Tensor> = routers.iter().map(|router| router.grad().copy()).collect();

        routers.iter().for_each(|router| router.shallow_clone().zero_grad());
        let probabilities: Vec<Tensor> =
            routers.iter().map(|router| x.get(0).linear(router, None::<&Tensor>).softmax(-1, Kind::Float)).collect();
        let all = Tensor::cat(&probabilities, 0); // [2 · 9, 5]
        let chosen = all.topk(2, -1, true, true).1;
        let shares =
            chosen.one_hot(5).to_kind(Kind::Float).sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float) / 18.0;
        let loss = (shares * all.mean_dim(0, false, Kind::Float)).sum(Kind::Float) * 5.0;
        let [counts, given] = routing.taken().unwrap();
        let said = (counts.sum_dim_intlist(0, false, Kind::Double) / 18.0
            * (given.sum_dim_intlist(0, false, Kind::Double) / 18.0))
            .sum(Kind::Double)
            * 5.0;
        assert!((said.double_value(&[]) - loss.double_value(&[])).abs() < 1e-5, "{weighing:?}");
        (loss * WEIGHT).backward();
        for (router, found) in routers.iter().zip(&found) {
            assert!(found.allclose(&router.grad(), 1e-4, 1e-7, false), "{weighing:?}");
            assert!(found.abs().max().double_value(&[]) > 1e-4, "{weighing:?}");
        }
    }
}

#[test]
fn what_is_saved_apart_or_turned_is_read_again_and_by_its_names() {
    for stored in [PARTS, [Stored::Turned; 2], [Stored::Called("fc1.weight"), Stored::Called("fc2.weight")]] {
        let config = MixtureConfig { stored, ..config(Weighing::Renormalised, Lying::OutputsFirst, 3) };
        let (parameters, mixture) = random(&config, Kind::Float);
        let dir = tempfile::tempdir().unwrap();
        parameters.save(&dir.path().join("model.safetensors"), Kind::Float).unwrap();
        let open = || Checkpoint::open(dir.path(), Names::LANGUAGE).unwrap();
        let names: Vec<String> = open().names().map(str::to_owned).collect();
        let shape = |name: &str| open().shape(&format!("model.experts.{name}")).map(<[i64]>::to_vec);
        match stored[0] {
            Stored::Apart(_) => {
                assert_eq!(names.len(), 1 + 3 * 5, "{names:?}");
                assert_eq!(shape("4.up_proj.weight"), Some(vec![3, WIDTH]));
                assert_eq!(shape("0.down_proj.weight"), Some(vec![WIDTH, 3]));
            }
            Stored::Turned => assert_eq!(shape("gate_up_proj"), Some(vec![5, WIDTH, 6])),
            _ => assert_eq!(shape("fc2.weight"), Some(vec![5, WIDTH, 3])),
        }
        // As the model has them, they are read too.
        let whole = MixtureConfig { stored: [Stored::Whole; 2], ..config.clone() };
        let (again, _) = random(&whole, Kind::Float);
        let other = tempfile::tempdir().unwrap();
        again.save(&other.path().join("model.safetensors"), Kind::Float).unwrap();
        for dir in [dir.path(), other.path()] {
            let checkpoint = Checkpoint::open(dir, Names::LANGUAGE).unwrap();
            let (read, same) = build(Loader::from_checkpoint(checkpoint, CPU, Kind::Float), &config);
            for (name, tensor) in parameters.iter() {
                assert!(read.get(name).unwrap().equal(tensor), "{stored:?} {name}");
            }
            let x = x(Kind::Float);
            let [found, expected] = [&same, &mixture].map(|mixture| mixture.forward(&x, Pass::Scoring, None));
            assert!(found.equal(&expected));
        }
    }
}

#[test]
fn every_part_that_is_missing_or_too_much_is_named() {
    let few = MixtureConfig { stored: PARTS, ..config(Weighing::Renormalised, Lying::OutputsFirst, 3) };
    let dir = tempfile::tempdir().unwrap();
    random(&few, Kind::Float).0.save(&dir.path().join("model.safetensors"), Kind::Float).unwrap();
    let refused = |config: &MixtureConfig| {
        let checkpoint = Checkpoint::open(dir.path(), Names::LANGUAGE).unwrap();
        let loader = Loader::from_checkpoint(checkpoint, CPU, Kind::Float);
        Mixture::new(&loader.root().sub("model"), WIDTH, config);
        loader.finish().unwrap_err().to_string()
    };
    let error = refused(&MixtureConfig { count: 6, ..few.clone() });
    assert!(error.contains("missing: model.experts.5.up_proj.weight"), "{error}");
    assert!(error.contains("shape of model.gate.weight: the model has [6, 8], the file [5, 8]"), "{error}");
    let error = refused(&MixtureConfig { count: 4, ..few.clone() });
    assert!(error.contains("unexpected: model.experts.4.down_proj.weight"), "{error}");
    let error = refused(&MixtureConfig { inner: 4, ..few.clone() });
    assert!(
        error.contains("shape of model.experts.2.gate_proj.weight: the model has [4, 8], the file [3, 8]"),
        "{error}"
    );
}

#[test]
fn more_experts_a_token_than_there_are_is_refused() {
    let keys = ["num_experts", "num_experts_per_tok", "moe_intermediate_size"];
    let error =
        MixtureConfig { chosen: 6, ..config(Weighing::OfChosen, Lying::OutputsFirst, 4) }.check(keys).unwrap_err();
    assert_eq!(error.to_string(), "`num_experts_per_tok`: 6 of 5 experts (`num_experts`)");
    let error =
        MixtureConfig { count: 0, ..config(Weighing::OfChosen, Lying::OutputsFirst, 4) }.check(keys).unwrap_err();
    assert!(error.to_string().contains("`num_experts`: 0"), "{error}");
}
