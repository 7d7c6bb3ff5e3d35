//! A real browser, without a window, driven over the WebDriver protocol.
//!
//! The protocol is JSON over HTTP, and a test needs a dozen of its commands, so they are spoken
//! here. The crates that speak all of it cost more than they give: one switches on a feature of
//! `serde_json` that changes the answers of the program under test, the other one that has every
//! procedural macro, and RocksDB's bindings with them, compiled again.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// How long something may take to come about on a page.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a page.
const PAUSE: Duration = Duration::from_millis(50);
/// Under this name the protocol hands elements out.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How the protocol writes the key.
const BACKSPACE: &str = "\u{E003}";
/// Where files go that a page hands out, below the browser's own directory.
const DOWNLOADS: &str = "downloads";

/// What the browser is started with, besides a directory of its own.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];

/// A browser with one tab. It ends with the value.
pub struct Browser {
    driver: Child,
    /// The browser itself, which would outlive its driver.
    pid: i32,
    session: String,
    client: Client,
    profile: TempDir,
}

impl Browser {
    /// Starts the driver on a free port, and the browser. Panics with what to install.
    pub async fn start() -> Self {
        let profile = TempDir::with_prefix("quorate-browser-").unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "chromedriver: {error}; scripts/setup test installs Debian's packages chromium \
                     and chromium-driver"
                )
            });
        let port = port_of(&mut driver);
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let mut flags: Vec<String> = FLAGS.map(ToOwned::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags, "prefs": {
                "download.default_directory": profile.path().join(DOWNLOADS),
            } },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let url = format!("http://127.0.0.1:{port}/session");
        let begun = ask(&client, Method::POST, &url, &wanted).await.unwrap_or_else(|fault| {
            drop(driver.kill());
            panic!("the browser does not start: {fault}")
        });
        let id = begun["sessionId"].as_str().unwrap();
        let pid = begun["capabilities"]["goog:processID"].as_i64().unwrap_or_default();
        let session = format!("{url}/{id}");
        Self { driver, pid: i32::try_from(pid).unwrap(), session, client, profile }
    }

    /// Gives a command that must be carried out.
    async fn command(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        let done = ask(&self.client, method.clone(), &url, &body).await;
        done.unwrap_or_else(|fault| panic!("{method} {path} {body}: {fault}"))
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.command(Method::POST, "/url", json!({ "url": url })).await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.command(Method::POST, "/refresh", json!({})).await;
    }

    /// What a script returns; `arguments` are its arguments.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.command(Method::POST, "/execute/sync", body).await
    }

    async fn try_run(&self, script: &str, arguments: &[Value]) -> Result<Value, String> {
        let body = json!({ "script": script, "args": arguments });
        let url = format!("{}/execute/sync", self.session);
        ask(&self.client, Method::POST, &url, &body).await
    }

    /// What a script hands to its last argument.
    pub async fn run_async(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.command(Method::POST, "/execute/async", body).await
    }

    /// Waits until a script returns something true, and returns it.
    pub async fn wait(&self, what: &str, script: &str, arguments: &[Value]) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.run(script, arguments).await;
            if !matches!(found, Value::Null | Value::Bool(false)) {
                return found;
            }
            if Instant::now() > deadline {
                let (text, log) = (self.text("body").await, self.complaints().await);
                panic!("the page does not come to this: {what}\n{log:#?}\n--- it shows:\n{text}");
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until an element shows a text.
    pub async fn wait_text(&self, selector: &str, text: &str) {
        let script =
            "return document.querySelector(arguments[0])?.innerText.includes(arguments[1])";
        let what = format!("{selector} shows {text}");
        self.wait(&what, script, &[selector.into(), text.into()]).await;
    }

    /// Waits until there is an element, or until there is none.
    pub async fn wait_there(&self, selector: &str, is_there: bool) {
        let script = "return Boolean(document.querySelector(arguments[0])) === arguments[1]";
        let what = format!("{selector} is there: {is_there}");
        self.wait(&what, script, &[selector.into(), is_there.into()]).await;
    }

    /// The text a reader sees in an element.
    pub async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.run(script, &[selector.into()]).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// An element that is there by now or will be soon.
    async fn element(&self, selector: &str) -> String {
        self.wait_there(selector, true).await;
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.command(Method::POST, "/element", body).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks on the first element that a selector finds.
    pub async fn click(&self, selector: &str) {
        self.click_found("return document.querySelector(arguments[0])", &[selector.into()]).await;
    }

    /// Clicks on what a script returns, as a person does: refused if something lies over it. The
    /// page may draw itself anew between finding an element and clicking it, so it is tried again.
    pub async fn click_found(&self, script: &str, arguments: &[Value]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.run(script, arguments).await;
            if found.is_object() {
                // Out from under whatever stays at the edges of the window.
                let scroll = "arguments[0].scrollIntoView({ block: 'center' })";
                drop(self.try_run(scroll, std::slice::from_ref(&found)).await);
            }
            let fault = match found[ELEMENT].as_str() {
                None => "it is not there".to_owned(),
                Some(id) => {
                    let url = format!("{}/element/{id}/click", self.session);
                    match ask(&self.client, Method::POST, &url, &json!({})).await {
                        Ok(_) => return,
                        Err(fault) => fault,
                    }
                }
            };
            if Instant::now() > deadline {
                panic!("click {arguments:?}: {fault}\n{}", self.text("body").await);
            }
            sleep(PAUSE).await;
        }
    }

    /// Replaces what stands in a field, key by key; chooses in a list by value.
    pub async fn fill(&self, selector: &str, text: &str) {
        let id = self.element(selector).await;
        let script = "
            const field = document.querySelector(arguments[0]);
            if (field.tagName !== 'SELECT') { field.select(); return false; }
            field.value = arguments[1];
            field.dispatchEvent(new Event('input', { bubbles: true }));
            return field.value === arguments[1];";
        let is_chosen = self.run(script, &[selector.into(), text.into()]).await;
        if is_chosen == json!(false) {
            let path = format!("/element/{id}/value");
            // What was there is selected: one press of a key takes it out.
            let text = if text.is_empty() { BACKSPACE } else { text };
            self.command(Method::POST, &path, json!({ "text": text })).await;
        }
    }

    /// Waits until a page has handed out a file whose name begins and ends so; where it is.
    pub async fn downloaded(&self, begin: &str, end: &str) -> PathBuf {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entries = fs::read_dir(self.profile.path().join(DOWNLOADS));
            let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
            let is_it = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(begin) && name.ends_with(end)
            };
            if let Some(path) = paths.into_iter().find(is_it) {
                return path;
            }
            assert!(Instant::now() < deadline, "no file {begin}...{end} was handed out");
            sleep(PAUSE).await;
        }
    }

    /// Presses a key on whatever has the focus.
    pub async fn press(&self, key: char) {
        let keys =
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let source = json!({ "type": "key", "id": "keyboard", "actions": keys });
        self.command(Method::POST, "/actions", json!({ "actions": [source] })).await;
    }

    /// Drags one element onto another.
    pub async fn drag(&self, from: &str, to: &str) {
        self.drag_between((from, 0, 0), (to, 0, 0)).await;
    }

    /// Drags from one place to another one. A place is so far to the right of and below the middle
    /// of an element.
    pub async fn drag_between(&self, from: (&str, i64, i64), to: (&str, i64, i64)) {
        let ids = (self.element(from.0).await, self.element(to.0).await);
        let script = "arguments[0].scrollIntoView({ block: 'center' })";
        self.run(script, &[json!({ ELEMENT: ids.0 })]).await;
        let over = |id: &str, (_, x, y): (&str, i64, i64), ms: u64| json!({"type": "pointerMove", "duration": ms, "x": x, "y": y, "origin": { ELEMENT: id }});
        let steps = [
            over(&ids.0, from, 0),
            json!({"type": "pointerDown", "button": 0}),
            over(&ids.1, to, 100),
            json!({"type": "pointerUp", "button": 0}),
        ];
        let source = json!({ "type": "pointer", "id": "mouse", "actions": steps });
        self.command(Method::POST, "/actions", json!({ "actions": [source] })).await;
    }

    /// Has the system ask for this colour scheme.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.inspect("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Makes the page as wide and high as this.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.inspect("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Writes the whole page as a picture.
    pub async fn shoot(&self, file: &Path, width: u32) {
        let script = "return document.documentElement.scrollHeight";
        let height = self.run(script, &[]).await.as_f64().unwrap().min(6_000.0);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height });
        self.capture(file, clip, true).await;
    }

    /// Writes what the window shows as a picture.
    pub async fn shoot_window(&self, file: &Path) {
        let script = "return { x: scrollX, y: scrollY, width: innerWidth, height: innerHeight };";
        let clip = self.run(script, &[]).await;
        self.capture(file, clip, false).await;
    }

    /// Large pictures at half their size.
    async fn capture(&self, file: &Path, mut clip: Value, is_beyond: bool) {
        let is_large = clip["width"].as_f64().unwrap() > 2_000.0;
        clip["scale"] = json!(if is_large { 0.5 } else { 1.0 });
        let wish = json!({ "captureBeyondViewport": is_beyond, "clip": clip });
        let shot = self.inspect("Page.captureScreenshot", wish).await;
        fs::write(file, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    async fn inspect(&self, name: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.command(Method::POST, "/goog/cdp/execute", body).await
    }

    /// What was written to the console since the last call, warnings and errors.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.command(Method::POST, "/se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        let serious =
            entries.filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")));
        serious.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.driver.kill());
        drop(self.driver.wait());
        if self.pid > 0 {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }
}

/// The port the driver says it has chosen. Whatever it prints later is read and forgotten, so that
/// it never waits for a reader.
fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("started successfully on port ")?;
        rest.trim_end_matches('.').parse().ok()
    });
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    port.expect("chromedriver says its port")
}

async fn ask(client: &Client, method: Method, url: &str, body: &Value) -> Result<Value, String> {
    let request = client.request(method.clone(), url);
    let request = if method == Method::GET { request } else { request.json(body) };
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let is_done = answer.status().is_success();
    let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    let value = answer["value"].take();
    if is_done { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
}
