//! Progress goes to stderr in lines someone can read, seldom enough for a log.

use std::{
    io::{self, Write},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use vr1_run::{Progress, Show, StepMetrics};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn metrics(step: u64) -> StepMetrics {
    StepMetrics::new(step)
        .with("reward", 0.25)
        .with("completion_length", 31.46)
        .with("kl", 0.00123)
        .with("tokens_per_second", 1234.5)
}

#[test]
fn a_line_names_what_someone_watches() {
    let log = Log::default();
    let mut progress = Progress::to_writer(100, 0, Box::new(log.clone()), Duration::ZERO);
    progress.step(&metrics(3));
    assert_eq!(log.lines(), ["step 3/100  reward 0.250  length 31.5  kl 0.0012  1234 tok/s  00:00 left"]);
    progress.step(&StepMetrics::new(4).with("loss", 2.5));
    assert_eq!(log.lines()[1], "step 4/100  loss 2.5000  00:00 left");
}

#[test]
fn lines_come_seldom_but_the_last_always() {
    let log = Log::default();
    let mut progress = Progress::to_writer(9, 0, Box::new(log.clone()), Duration::from_secs(3600));
    (1..=9).for_each(|step| progress.step(&metrics(step)));
    assert_eq!(log.lines().len(), 1);
    progress.note("saved");
    drop(progress);
    let lines = log.lines();
    assert!(lines[0].starts_with("step 1/9 ") && lines[1] == "saved" && lines[2].starts_with("step 9/9 "), "{lines:?}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn time_left_is_reckoned_from_the_steps_taken_here() {
    let log = Log::default();
    let mut progress = Progress::to_writer(1001, 1000, Box::new(log.clone()), Duration::ZERO);
    progress.step(&metrics(1001));
    assert!(log.lines()[0].ends_with("00:00 left"));
    let mut progress = Progress::to_writer(1_000_000, 990_000, Box::new(log.clone()), Duration::ZERO);
    std::thread::sleep(Duration::from_millis(400));
    progress.step(&metrics(990_001));
    // One step took at least 0.4 s, 9,999 are left: more than an hour.
    let line = log.lines()[1].clone();
    let hours: u64 = line.split("  ").last().unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(line.ends_with(" left") && line.matches(':').count() == 2 && hours >= 1, "{line}");
}

#[test]
#[ignore = "run by the test below in a process of its own"]
fn shows_progress() {
    let show = if std::env::var_os("VR1_QUIET").is_some() { Show::Quiet } else { Show::Auto };
    let mut progress = Progress::new(2, 0, show);
    (1..=2).for_each(|step| progress.step(&metrics(step)));
    progress.note("a note");
}

#[test]
fn stdout_stays_clean_and_quiet_is_quiet() {
    let child = || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "progress::shows_progress", "--ignored", "--nocapture"]);
        child
    };
    let loud = child().output().unwrap();
    let quiet = child().env("VR1_QUIET", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(loud.status.success() && quiet.status.success());
    assert!(text(&loud.stderr).contains("step 1/2") && text(&loud.stderr).contains("step 2/2"));
    assert!(text(&loud.stderr).contains("a note") && !text(&loud.stdout).contains("reward"));
    assert!(text(&quiet.stderr).is_empty(), "{}", text(&quiet.stderr));
}
