//! The same against vLLM itself, where `cargo xtask fetch vllm` has brought it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tch::{Device, Kind};
use vr1_data::Picture;
use vr1_decode::LocalEngine;
use vr1_learn::{Learner, LearnerConfig};
use vr1_processor::{Layout, Message, Processor, PromptRequest};
use vr1_remote::{EngineConfig, Purpose, Push, ServerEngine, ServerKind};
use vr1_rollout::{Broadcast, Carrier, Engine, Group, Meeting, Part, Request, SampleKey, Sampling, Version, Weights};
use vr1_train::Trainer;
use vr1_vlm::{Backbone, Model, Snapshot};

use super::{LORA, folder, recipe, run, tiny};

/// vLLM on the CPU, serving the embedded model; its whole group of processes ends when this is dropped.
struct Vllm {
    url: String,
    leader: Child,
}

impl Vllm {
    /// It, where it is installed; otherwise says that the test is skipped.
    fn start() -> Option<Self> {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        let python = home.join(".cache/vr1/vllm-0.32.0/bin/python");
        if !python.exists() {
            eprintln!("skipped: no vLLM in {}: `cargo xtask fetch vllm` brings it", python.display());
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let extension = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-remote/vllm");
        let model = tiny();
        let mut command = Command::new("setsid");
        command.arg(python).args(["-m", "vllm.entrypoints.openai.api_server", "--model"]).arg(model);
        command.args(["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command
            .args("--dtype float32 --max-model-len 1024 --enforce-eager --logprobs-mode processed_logprobs".split(' '));
        command.args("--generation-config vllm --no-enable-chunked-prefill --max-num-batched-tokens 4096".split(' '));
        command.args(
            "--enable-lora --max-lora-rank 16 --max-loras 4 --enable-tower-connector-lora --enable-scale-out"
                .split(' '),
        );
        command.args(["--worker-extension-cls", "vr1_extension.Reload"]);
        command.env("PYTHONPATH", extension).env("OMP_NUM_THREADS", "1").env("TORCH_COMPILE_DISABLE", "1");
        command.env("VLLM_CPU_OMP_THREADS_BIND", "nobind").env("VLLM_CPU_KVCACHE_SPACE", "1");
        command.env("VLLM_SERVER_DEV_MODE", "1").env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1");
        command.env("HF_HUB_OFFLINE", "1").env("VLLM_NO_USAGE_STATS", "1");
        let log = tempfile::NamedTempFile::new().unwrap();
        command
            .env_remove("LD_LIBRARY_PATH")
            .stdout(log.reopen().unwrap())
            .stderr(log.reopen().unwrap())
            .stdin(Stdio::null());
        let mut server = Self { url: format!("http://127.0.0.1:{port}"), leader: command.spawn().ok()? };
        let said = || {
            std::fs::read_to_string(log.path()).unwrap_or_default().lines().rev().take(5).collect::<Vec<_>>().join("\n")
        };
        let begun = Instant::now();
        while !server.is_well() {
            assert!(begun.elapsed() < Duration::from_secs(1800), "vLLM does not start: {}", said());
            assert!(server.leader.try_wait().unwrap().is_none(), "vLLM ended while it started: {}", said());
            std::thread::sleep(Duration::from_millis(500));
        }
        Some(server)
    }

    fn is_well(&self) -> bool {
        let address = self.url.trim_start_matches("http://");
        let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
        let asked = "GET /health HTTP/1.1\r\nhost: vllm\r\nconnection: close\r\n\r\n";
        let mut said = String::new();
        let asked = std::io::Write::write_all(&mut stream, asked.as_bytes());
        asked.is_ok() && std::io::Read::read_to_string(&mut stream, &mut said).is_ok() && said.contains(" 200 ")
    }

    fn engine(&self) -> String {
        let url = &self.url;
        format!("rollout: {{ engine: {{ kind: vllm, urls: [{url:?}], model: tiny, canary_tolerance: 1.0e-3 }} }}\n")
    }

    fn kill(&mut self) {
        // Its workers outlive it otherwise.
        let group = format!("-{}", self.leader.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.leader.wait();
    }
}

impl Drop for Vllm {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn vllm_itself_says_and_takes_what_the_engine_of_this_process_does() {
    let Some(mut server) = Vllm::start() else { return };
    let processor = Processor::from_dir(&tiny()).unwrap();
    let model: Rc<dyn Backbone> = Rc::new(Model::load(&tiny(), Device::Cpu, Kind::Float).unwrap());
    let rows = model.lm_head().size()[0];
    let never = processor.tokenizer().unreachable_ids(rows);
    let learner = Learner::new(model.clone(), LearnerConfig::default(), &never).unwrap();
    let mut near = LocalEngine::new(model, processor.tokenizer().clone()).unwrap();
    let config = EngineConfig::new(ServerKind::Vllm, vec![server.url.clone()], "tiny");
    let mut far = ServerEngine::open(config, processor.tokenizer().clone(), rows, Purpose::Training).unwrap();
    // Pictures of several sizes, and words alone: prompt ids are compared by the engine, greedy tokens and log-probabilities here.
    let picture =
        |width, height| image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(2 * x) as u8, (2 * y) as u8, 7]));
    let shown = |sizes: &[(u32, u32)]| {
        let pictures: Vec<_> = sizes.iter().map(|&(w, h)| std::sync::Arc::new(picture(w, h))).collect();
        let messages = [Message::user(pictures, "What colour is the square?")];
        processor
            .prompt(&PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" })
            .unwrap()
    };
    // And one whose second turn shows a picture, as a tool returns it, behind words that no tokeniser would make such tokens of.
    let first = shown(&[(56, 56)]);
    let part = std::sync::Arc::new(picture(80, 40));
    let messages = [Message::user([part.clone()], "And here?")];
    let further = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" };
    let further = processor.next_turn(&first, &[75, 75, 76, 10, 75], &further).unwrap();
    let further = further.with_pictures(vec![Picture::from(picture(56, 56)), Picture::Pixels(part)]);
    let prompts = [first, shown(&[]), shown(&[(131, 77)]), shown(&[(96, 96), (64, 48)]), further];
    let requests = |sampling: &Sampling| -> Vec<Request> {
        prompts.iter().map(|prompt| Request::new(prompt.clone(), 2, sampling.clone(), SampleKey::default())).collect()
    };
    let greedy = Sampling::greedy(24);
    let (ours, theirs) = (near.generate(requests(&greedy)).unwrap(), far.generate(requests(&greedy)).unwrap());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.sequences()[0].ids(), theirs.sequences()[0].ids());
    }
    // By what was drawn there and what it is worth here: over the ids that are sampled at all, both of them.
    let drawn = far.generate(requests(&Sampling { max_completion_tokens: 24, ..Sampling::default() })).unwrap();
    let apart = apart(&learner, &drawn);
    eprintln!("vLLM: greedy tokens equal, log-probabilities of each prompt's apart by at most {apart:?}");
    assert!(apart.iter().all(|apart| *apart < 1e-3), "{apart:?}");
    // What is asked again is answered the same.
    let warm = Sampling { temperature: 0.7, top_p: 0.9, max_completion_tokens: 16, ..Sampling::default() };
    let ids = |groups: Vec<Group>| -> Vec<Vec<i64>> {
        groups.iter().flat_map(|group| group.sequences()).map(|sequence| sequence.ids().to_vec()).collect()
    };
    assert_eq!(ids(far.generate(requests(&warm)).unwrap()), ids(far.generate(requests(&warm)).unwrap()));
    drop(far);
    whole_weights_get_there(&server, &processor, &learner, &mut near, &requests);
    // Ten steps with an adapter and ten with the whole model: every push is seen in the test prompt, and the reward rises as it does here.
    for (more, push) in [(LORA, "adapter"), ("", "full"), ("", "broadcast")] {
        let dir = folder();
        let push_so = format!("rollout.engine.push={push}");
        let mut overrides = vec!["steps=10", "objective.prompts_per_step=4", "objective.group_size=8"];
        let near = run(recipe(dir.path(), more, &overrides).unwrap(), &dir.path().join("near")).unwrap();
        overrides.push(&push_so);
        let far = recipe(dir.path(), &format!("{more}{}", server.engine()), &overrides).unwrap();
        let far = run(far, &dir.path().join("far")).unwrap();
        let reward = |rows: &[vr1_run::StepMetrics], steps: std::ops::Range<usize>| {
            let count = steps.len() as f64;
            rows[steps].iter().map(|row| row.values["reward"]).sum::<f64>() / count
        };
        let of = |name: &str| far.iter().map(|row| row.values[name]).fold(0.0, f64::max);
        let (gap, kl) = (of("canary_gap"), of("sampler_gap"));
        let seconds = far.iter().map(|row| row.values["seconds_weights"]).sum::<f64>() / far.len() as f64;
        let rises = [&near, &far].map(|rows| (reward(rows, 0..3), reward(rows, 7..10)));
        eprintln!(
            "vLLM {more:?} {push}: rewards {rises:?} (here, there); canary_gap {gap:e}, sampler_gap {kl:e}, push and check {seconds:.2} s a step"
        );
        assert!(gap < 1e-3 && kl < 1e-2, "{gap} {kl}");
        for (first, last) in rises {
            assert!(last > first, "{rises:?}");
        }
    }
    // Gone in the middle.
    let dir = folder();
    let recipe = recipe(dir.path(), &server.engine(), &[]).unwrap();
    let options =
        vr1_train::RunOptions { show: vr1_run::Show::Quiet, ..vr1_train::RunOptions::new(dir.path().join("killed")) };
    let mut trainer = Trainer::new(recipe, options).unwrap();
    trainer.step().unwrap();
    server.kill();
    let error = trainer.step().unwrap_err().to_string();
    eprintln!("vLLM killed: {error}");
    assert!(error.contains(&server.url), "{error}");
}

/// How far log-probabilities of what was drawn elsewhere are from what they are here, the widest of each group.
fn apart(learner: &Learner, drawn: &[Group]) -> Vec<f32> {
    let widest = |group: &Group| {
        let here = learner.logprobs(std::slice::from_ref(group)).unwrap();
        let there = group.sequences().iter().map(|sequence| &sequence.sampled().unwrap().drawn);
        let gaps = here.iter().zip(there).flat_map(|(here, there)| here.iter().zip(there).map(|(a, b)| (a - b).abs()));
        gaps.fold(0.0, |widest, gap| if gap.is_nan() { f32::INFINITY } else { gap.max(widest) })
    };
    drawn.iter().map(widest).collect()
}

fn tokens(groups: &[Group]) -> Vec<&[i64]> {
    groups.iter().map(|group| group.sequences()[0].ids()).collect()
}

/// Weights that break off in the middle of their broadcast.
struct Halved(Snapshot);

#[derive(Debug)]
struct Half<'a>(Box<dyn Broadcast + 'a>);

impl Weights for Halved {
    fn version(&self) -> Version {
        self.0.version
    }

    fn write(&self, _: &Path) -> vr1_rollout::Result<()> {
        Err(vr1_rollout::Error::engine("nothing is written"))
    }

    fn broadcast<'a>(&'a self, meeting: &Meeting) -> vr1_rollout::Result<Box<dyn Broadcast + 'a>> {
        Ok(Box::new(Half(self.0.broadcast(meeting)?)))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Broadcast for Half<'_> {
    fn port(&self) -> u16 {
        self.0.port()
    }

    fn carrier(&self) -> Carrier {
        self.0.carrier()
    }

    fn parts(&self) -> &[Part] {
        self.0.parts()
    }

    fn meet(&mut self) -> vr1_rollout::Result<()> {
        self.0.meet()
    }

    fn give(&mut self, parts: std::ops::Range<usize>) -> vr1_rollout::Result<()> {
        self.0.give(parts.start..parts.end / 2)?;
        Err(vr1_rollout::Error::engine("no more is given"))
    }
}

/// Other weights, from a folder and by broadcast in turn: greedy tokens are those of the engine here each time. One that breaks off leaves a server
/// that takes the next.
fn whole_weights_get_there(
    server: &Vllm,
    processor: &Processor,
    learner: &Learner,
    near: &mut LocalEngine,
    asked: &dyn Fn(&Sampling) -> Vec<Request>,
) {
    let Snapshot { model, .. } = learner.snapshot();
    let engine = |push| {
        let urls = vec![server.url.clone()];
        let config = EngineConfig { push, deadline_seconds: 60.0, ..EngineConfig::new(ServerKind::Vllm, urls, "tiny") };
        let rows = model.lm_head().size()[0];
        ServerEngine::open(config, processor.tokenizer().clone(), rows, Purpose::Training).unwrap()
    };
    let (greedy, drawn) = (Sampling::greedy(24), Sampling { max_completion_tokens: 24, ..Sampling::default() });
    let mut said = near.generate(asked(&greedy)).unwrap();
    let before: Vec<_> = model.parameters().iter().map(|(_, tensor)| tensor.detach().copy()).collect();
    for (step, push) in [Push::Full, Push::Broadcast, Push::Full, Push::Broadcast].into_iter().enumerate() {
        tch::no_grad(|| {
            for (_, tensor) in model.parameters().iter() {
                let noise = (tch::Tensor::arange(tensor.numel() as i64, (Kind::Float, Device::Cpu))
                    * (step as f64 + 1.7))
                    .sin();
                let _ = tensor.detach().g_mul_(&(noise * 0.1 + 1.0).view_as(tensor));
            }
        });
        let (mut far, snapshot) = (engine(push), Snapshot { model: model.clone(), version: Version(step as u64 + 1) });
        if push == Push::Broadcast {
            let begun = Instant::now();
            let error = far.load(&Halved(snapshot.clone())).unwrap_err().to_string();
            eprintln!("vLLM: a broadcast that breaks off after {:.2} s: {error}", begun.elapsed().as_secs_f64());
            assert!(error.contains(&server.url), "{error}");
            let _ = far.generate(asked(&greedy)); // whatever it says with half of the weights, it is there for the next
        }
        let begun = Instant::now();
        far.load(&snapshot).unwrap();
        eprintln!("vLLM: {push:?} took {:.3} s", begun.elapsed().as_secs_f64());
        let [ours, theirs] = [near.generate(asked(&greedy)), far.generate(asked(&greedy))].map(Result::unwrap);
        assert_eq!(tokens(&ours), tokens(&theirs), "{push:?}");
        assert_ne!(tokens(&ours), tokens(&said), "the weights are others");
        let apart = apart(learner, &far.generate(asked(&drawn)).unwrap());
        eprintln!("vLLM: {push:?}: log-probabilities of each prompt's apart by at most {apart:?}");
        assert!(apart.iter().all(|apart| *apart < 1e-3), "{apart:?}");
        said = ours;
    }
    // The runs that follow begin with the model's own.
    tch::no_grad(|| {
        for ((_, tensor), before) in model.parameters().iter().zip(&before) {
            tensor.detach().copy_(before);
        }
    });
    engine(Push::Full).load(&learner.snapshot()).unwrap();
}
