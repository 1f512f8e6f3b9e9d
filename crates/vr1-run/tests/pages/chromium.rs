//! Chromium without a window, spoken to over a pair of pipes in its own protocol, so that nothing but the program is needed.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// One window of a browser.
pub(crate) struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    /// What the page complained of.
    pub(crate) complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// Longer than anything takes; a browser that hangs ends the test.
const PATIENCE: Duration = Duration::from_secs(120);

impl Chromium {
    /// None, and a word of it, where there is no such program.
    pub(crate) fn start() -> Option<Self> {
        let named = std::env::var("VR1_CHROMIUM").ok();
        let names = ["chromium", "chromium-browser", "google-chrome", "chromium-headless-shell"];
        let there = |name: &&str| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let Some(program) = named.as_deref().into_iter().chain(names).find(there) else {
            eprintln!("skipped: there is no Chromium here (Debian's package `chromium`; or name one in VR1_CHROMIUM)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 1>&2"#, program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--disable-extensions",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, from) = channel();
        thread::spawn(move || {
            for message in BufReader::new(out).split(0) {
                let Ok(message) = message else { return };
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { child, to, from, session: None, asked: 0, complaints: Vec::new(), _profile: profile };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.ask("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let reply = self.from.recv_timeout(PATIENCE).expect("the browser answers");
            if reply["id"] == self.asked {
                assert!(reply["error"].is_null(), "{method}: {}", reply["error"]);
                return reply["result"].clone();
            }
            self.hear(&reply);
        }
    }

    fn hear(&mut self, event: &Value) {
        let said = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(said["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if ["error", "warning"].iter().any(|kind| said["type"] == *kind) => {
                self.complaints.push(said["args"].to_string());
            }
            Some("Log.entryAdded") if said["entry"]["level"] == "error" => {
                self.complaints.push(said["entry"].to_string())
            }
            _ => {}
        }
    }

    /// A window of this size, in this scheme of colours.
    pub(crate) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let phone = width < 600;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Opens a page, and waits until its script has put it together.
    pub(crate) fn open(&mut self, address: &str) {
        self.ask("Page.navigate", json!({"url": address}));
        self.until("document.documentElement?.dataset.ready !== undefined && document.querySelector('h1') !== null");
    }

    pub(crate) fn open_file(&mut self, path: &Path) {
        self.open(&format!("file://{}", path.display()));
    }

    /// What an expression of the page's script comes to.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let found = self.ask("Runtime.evaluate", asked);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {}", found["exceptionDetails"]);
        found["result"]["value"].clone()
    }

    /// Waits for an expression to be true.
    pub(crate) fn until(&mut self, expression: &str) {
        let begun = Instant::now();
        while self.value(expression) != true {
            assert!(begun.elapsed() < PATIENCE, "this never came true: {expression}\n{:?}", self.complaints);
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn click(&mut self, selector: &str) {
        let found = self.value(&format!(
            "(() => {{ const found = document.querySelector({selector:?}); found?.click(); return !!found; }})()"
        ));
        assert_eq!(found, true, "{selector} is on the page");
    }

    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.ask("Input.dispatchKeyEvent", json!({"type": kind, "key": key}));
        }
    }

    /// The addresses that the page asked for, other than those within itself.
    pub(crate) fn fetched(&mut self) -> Vec<String> {
        let names = self.value("performance.getEntriesByType('resource').map((one) => one.name)");
        let names = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        names.filter(|name| !name.starts_with("data:")).collect()
    }

    /// Keeps a picture where `VR1_KEEP_PAGES` names a folder, for a person to look at.
    pub(crate) fn keep(&mut self, name: &str, whole: bool) {
        let Some(folder) = std::env::var_os("VR1_KEEP_PAGES") else { return };
        let taken = self.ask("Page.captureScreenshot", json!({"captureBeyondViewport": whole}));
        use base64::Engine;
        let png = base64::prelude::BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
