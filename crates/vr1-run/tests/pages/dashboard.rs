//! A run's page while it trains: what is let in, what is told, and what a browser makes of it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vr1_run::{Dashboard, RunFolder, Serving};

use crate::{
    chromium::Chromium,
    fixture::{Made, write},
};

/// A run that is under way, and its page; the address of that.
struct Served {
    folder: tempfile::TempDir,
    run: RunFolder,
    made: Made,
    url: String,
    serving: Serving,
}

fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let made = Made { steps: 4, every: 1, finished: false, ..Made::default() };
    let run = made.write(&folder.path().join("run"));
    let dashboard = Dashboard::bind("0", None).unwrap();
    let url = dashboard.url();
    let serving = dashboard.serve(run.path()).unwrap();
    Served { folder, run, made, url, serving }
}

fn place(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap()
}

/// Says `text` at the page's address, and what comes back: status, head and body.
fn say(url: &str, text: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", place(url).port())).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, bytes[end + 4..].to_vec())
}

fn get(url: &str, path: &str) -> (u16, Vec<u8>) {
    let (status, _, body) = say(url, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    (status, body)
}

fn json_of(url: &str, path: &str) -> Value {
    let (status, body) = get(url, path);
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_new_step_is_told_and_where_nothing_is_new_that_alone() {
    let Served { mut run, made, url, serving: _serving, folder: _folder } = served();
    let before = json_of(&url, "/api/run?version=");
    assert_eq!((&before["run"]["step"], &before["recorded"]), (&json!(4), &json!([1, 2, 3, 4])));
    let known = before["version"].as_str().unwrap();
    assert_eq!(json_of(&url, &format!("/api/run?version={known}")), json!({"version": known}));
    run.append_metrics(&made.metrics(5)).unwrap();
    let after = json_of(&url, &format!("/api/run?version={known}"));
    assert_eq!(after["run"]["step"], 5);
    made.rollouts(run.path(), 5);
    assert_eq!(json_of(&url, "/api/rollouts?step=5")["groups"].as_array().unwrap().len(), 8);
    assert_eq!(json_of(&url, "/api/pairs"), Value::Null);
    assert_eq!(get(&url, "/api/rollouts?step=6").0, 404);
    assert_eq!(get(&url, "/api/rollouts?step=../5").0, 400);
}

#[test]
fn it_can_be_read_and_nothing_else() {
    let served = served();
    let url = served.url.as_str();
    let (status, head, body) = say(url, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (_, page) = get(url, "/");
    assert_eq!((status, body.len()), (200, 0));
    assert!(head.contains(&format!("Content-Length: {}", page.len())) && page.len() > 10_000, "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"] {
        let (status, head, _) =
            say(url, &format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"));
        assert!(status == 405 && head.contains("Allow: GET, HEAD"), "{method}: {head}");
    }
    assert_eq!(say(url, "no request\r\n\r\n").0, 400);
    assert_eq!(say(url, &format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(9000))).0, 431);
}

#[test]
fn no_path_leads_out_of_what_is_shown() {
    let Served { folder, run, url, serving: _serving, .. } = served();
    let jpeg = [&[0xff, 0xd8, 0xff][..], b"SECRET"].concat();
    let secret = folder.path().join("secret.jpg");
    fs::write(&secret, &jpeg).unwrap();
    fs::write(run.path().join("SECRET"), "SECRET").unwrap();
    let media = run.path().join("rollouts/media");
    let name = |letter: &str| format!("{}.jpg", letter.repeat(64));
    fs::write(media.join(name("a")), &jpeg).unwrap();
    let (status, body) = get(&url, &format!("/media/{}", name("a")));
    assert_eq!((status, body), (200, jpeg), "a thumbnail is a file of that name");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&secret, media.join(name("b"))).unwrap();
    let absolute = secret.display();
    let hidden = [
        "/SECRET",
        "/../secret.jpg",
        "/media/../../../secret.jpg",
        "/media/%2e%2e/%2e%2e/%2e%2e/secret.jpg",
        "/%2e%2e/secret.jpg",
        "/media/..%2f..%2f..%2fsecret.jpg",
        "/media/....//secret.jpg",
        "//etc/passwd",
        "/etc/passwd",
        "/config.yaml",
        "/metrics.jsonl",
        "/rollouts/step-1.jsonl.zst",
        "/.lock",
        "/media/",
        "/media/%00.jpg",
        "/api/../config.yaml",
    ];
    let mut paths: Vec<String> = hidden.into_iter().map(str::to_owned).collect();
    paths.extend([
        format!("/{absolute}"),
        format!("/media/{absolute}"),
        format!("/media/{}", name("b")),
        format!("/media/{}", name("A")),
        format!("/media/{}/../../config.yaml", name("a")),
        format!("{absolute}"),
    ]);
    for path in paths {
        let (status, body) = get(&url, &path);
        assert_eq!(status, 404, "{path}");
        assert!(!body.windows(6).any(|part| part == b"SECRET"), "{path}");
    }
    assert_eq!(get(&url, "http://localhost/").0, 400, "no proxy is here");
    // A folder of thumbnails that is a link to elsewhere.
    #[cfg(unix)]
    {
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&media, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &media).unwrap();
        assert_eq!(get(&url, &format!("/media/{}", name("a"))).0, 404);
    }
}

#[test]
fn on_loopback_a_page_of_another_name_is_turned_away() {
    let served = served();
    let url = served.url.as_str();
    for host in ["localhost", "127.0.0.1:9", "[::1]:80"] {
        assert_eq!(say(url, &format!("GET /api/run HTTP/1.1\r\nHost: {host}\r\n\r\n")).0, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", "192.168.0.1", ""] {
        assert_eq!(say(url, &format!("GET /api/run HTTP/1.1\r\nHost: {host}\r\n\r\n")).0, 403, "{host}");
    }
}

#[test]
fn elsewhere_than_on_loopback_a_token_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let run = Made { steps: 2, finished: false, ..Made::default() }.write(folder.path());
    let dashboard = Dashboard::bind("0.0.0.0:0", None).unwrap();
    let url = dashboard.url();
    let token = url.split_once("/?token=").unwrap().1.to_owned();
    assert_eq!(token.len(), 32);
    assert_ne!(
        Dashboard::bind("0.0.0.0:0", None).unwrap().url().split_once("?token=").unwrap().1,
        token,
        "each has its own"
    );
    let _serving = dashboard.serve(run.path()).unwrap();
    let ask =
        |path: &str, more: &str| say(&url, &format!("GET {path} HTTP/1.1\r\nHost: there.example\r\n{more}\r\n")).0;
    for (path, more) in [
        ("/", ""),
        ("/api/run", ""),
        ("/?token=", ""),
        ("/?token=0123456789abcdef0123456789abcdef", ""),
        ("/", "Authorization: Bearer no\r\n"),
        ("/?nottoken=x", ""),
    ] {
        assert_eq!(ask(path, more), 401, "{path} {more}");
    }
    assert_eq!(ask(&format!("/?token={}", &token[..31]), ""), 401);
    assert_eq!(ask(&format!("/?token={token}"), ""), 200);
    assert_eq!(ask(&format!("/api/run?version=&token={token}"), ""), 200);
    assert_eq!(ask("/", &format!("Authorization: Bearer {token}\r\n")), 200);
}

#[test]
fn a_token_that_is_given_holds_on_loopback_too() {
    let folder = tempfile::tempdir().unwrap();
    let run = Made { steps: 2, finished: false, ..Made::default() }.write(folder.path());
    let dashboard = Dashboard::bind("127.0.0.1:0", Some("abcd-1234")).unwrap();
    let url = dashboard.url();
    assert!(url.ends_with("/?token=abcd-1234"));
    let _serving = dashboard.serve(run.path()).unwrap();
    assert_eq!((get(&url, "/").0, get(&url, "/?token=abcd-1234").0), (401, 200));
    for token in ["short", "with space", "a&b=c&d=e", ""] {
        assert!(Dashboard::bind("0", Some(token)).is_err(), "{token}");
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let fails = |address: &str| Dashboard::bind(address, None).unwrap_err().to_string();
    let error = fails(&address);
    assert!(error.contains(&format!("cannot listen at {address}: ")) && error.contains("in use"), "{error}");
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(fails(&port).contains("in use"), "a port by itself is on loopback");
    for address in ["", "nowhere", "127.0.0.1", "127.0.0.1:port", "70000", "127.0.0.1:70000"] {
        assert!(fails(address).contains(&format!("cannot listen at {address}: ")), "{address}");
    }
    assert!(Dashboard::bind("localhost:0", None).unwrap().url().starts_with("http://"));
}

#[cfg(target_os = "linux")]
#[test]
fn clients_that_are_silent_or_gone_take_nothing_from_a_run() {
    let Served { mut run, made, url, serving, folder: _folder } = served();
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let silent: Vec<TcpStream> = (0..100).filter_map(|_| TcpStream::connect(place(&url)).ok()).collect();
    for stream in &silent[..20] {
        let mut stream = stream;
        // Half a request, and then nothing.
        let _ = stream.write_all(b"GET / HT");
    }
    for step in 5..=50 {
        run.append_metrics(&made.metrics(step)).unwrap();
    }
    // Other tests of this process come and go; a hundred clients would be seen all the same.
    assert!(threads() < before + 60, "{before} threads, then {}", threads());
    drop(silent);
    // Whoever comes before it is seen that they left is turned away.
    let is_answered = || {
        let mut stream = TcpStream::connect(place(&url)).unwrap();
        let mut said = Vec::new();
        let asked = stream.write_all(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        asked.and_then(|()| stream.read_to_end(&mut said)).is_ok() && !said.is_empty()
    };
    let begun = Instant::now();
    while !is_answered() {
        assert!(begun.elapsed() < Duration::from_secs(60), "those who come later are answered");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(json_of(&url, "/api/run")["run"]["step"], 50);
    drop(serving);
    assert!(TcpStream::connect(place(&url)).is_err(), "the address is free again");
}

#[test]
fn a_broken_file_is_told_and_the_page_goes_on() {
    let Served { run, url, serving: _serving, folder: _folder, .. } = served();
    let path = run.path().join("metrics.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"no row\n"].concat()).unwrap();
    let (status, body) = get(&url, "/api/run");
    assert_eq!(status, 500);
    assert!(String::from_utf8_lossy(&body).contains("metrics.jsonl:5: not a row of metrics"));
    fs::write(&path, &whole).unwrap();
    assert_eq!(json_of(&url, "/api/run")["run"]["step"], 4);
}

#[test]
fn a_browser_shows_each_new_step_as_it_comes() {
    let Some(mut browser) = Chromium::start() else { return };
    let Served { mut run, made, url, serving, folder } = served();
    browser.look(1440, 900, "light");
    browser.open(&url);
    let status = "document.querySelector('[data-status]')?.textContent";
    browser.until(&format!("{status} === 'step 4 of 4'"));
    let step = "document.querySelector('#rollouts [data-step]')?.textContent";
    browser.until(&format!("{step} === 'step 4' && document.querySelectorAll('#rollouts .answer').length === 8"));
    browser.value("document.getElementById('rollouts').scrollIntoView()");
    browser.until("document.querySelector('#rollouts .detail img').naturalWidth === 160");
    browser.click("[data-chart=reward] .legend button:nth-child(2)");

    made.rollouts(run.path(), 5);
    run.append_metrics(&made.metrics(5)).unwrap();
    browser.until(&format!("{status} === 'step 5 of 4'"));
    browser.until(&format!(
        "{step} === 'step 5' && document.querySelector('#rollouts .detail').textContent.includes('step 5, group 0')"
    ));
    let hidden = "document.querySelector('[data-chart=reward] .legend button:nth-child(2)').ariaPressed";
    assert_eq!(browser.value(hidden), "false", "what a reader hid stays hidden");
    // One who looks at an earlier step is left there.
    browser.click("#rollouts [aria-label='step before']");
    browser.until(&format!("{step} === 'step 4'"));
    made.rollouts(run.path(), 6);
    run.append_metrics(&made.metrics(6)).unwrap();
    browser.until(&format!("{status} === 'step 6 of 4'"));
    browser.until("document.querySelector('#rollouts input[type=range]').max === '5'");
    assert_eq!(browser.value(step), "step 4");
    // Answers to held-out samples come last.
    assert_eq!(browser.value("document.querySelectorAll('#pairs .pair').length"), 0);
    let answers = |right: f64| [json!({"set": "s", "sample": "1", "completion": "x", "terms": {"accuracy": right}})];
    fs::create_dir(run.path().join("evaluations")).unwrap();
    for (step, right) in [(0, 0.0), (6, 1.0)] {
        write(&Path::new(run.path()).join(format!("evaluations/step-{step}.jsonl.zst")), &answers(right));
    }
    browser.until("document.querySelector('#pairs .pair')?.dataset.change === 'became_right'");
    assert!(browser.fetched().iter().all(|address| address.starts_with(&url)), "{:?}", browser.fetched());
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.value("scrollTo(0, 0)");
    browser.keep("dashboard", false);
    drop(serving);
    browser.until("document.querySelector('.live').textContent.startsWith('no answer')");
    assert!(browser.value("document.querySelectorAll('.chart').length").as_u64().unwrap() > 10, "what was known stays");
    drop(folder);
}

#[test]
fn a_browser_says_the_token_wherever_it_asks() {
    let Some(mut browser) = Chromium::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = Made { steps: 2, every: 1, finished: false, ..Made::default() }.write(folder.path());
    let dashboard = Dashboard::bind("127.0.0.1:0", Some("a-token-of-ours")).unwrap();
    let url = dashboard.url();
    let _serving = dashboard.serve(run.path()).unwrap();
    browser.look(390, 844, "dark");
    browser.open(&url);
    browser.until("document.querySelectorAll('#rollouts .answer').length === 8");
    browser.value("document.getElementById('rollouts').scrollIntoView()");
    browser.until("document.querySelector('#rollouts .detail img').naturalWidth === 160");
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 390);
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.keep("dashboard-phone-dark", false);
}
