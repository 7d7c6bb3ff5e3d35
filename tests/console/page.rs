//! The console as a person uses it: pages, buttons by their names, dialogs.

use std::{
    ops::{Deref, RangeInclusive},
    time::{Duration, Instant},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::browser::{Browser, PATIENCE};

/// The pages, and a panel each must have.
pub const PAGES: [(&str, &str); 6] = [
    ("overview", "#replicas"),
    ("undermoon", "#clusters"),
    ("kvrocks", "#clusters"),
    ("pool", "#hosts"),
    ("events", "#events"),
    ("operations", "#members"),
];

/// Finds a button by what it is called, below an element; as people who cannot see it would.
const BUTTON: &str = "
    const [scope, name] = arguments;
    const all = [...(document.querySelector(scope)?.querySelectorAll('button') ?? [])];
    const called = (one) => one.getAttribute('aria-label') ?? one.textContent.trim();
    const found = all.find((one) => called(one) === name);
    return found && !found.disabled ? found : null;";

/// A browser with the console of one replica.
pub struct Console {
    browser: Browser,
    /// Of the replica.
    pub url: String,
    client: Client,
}

impl Deref for Console {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Console {
    /// Opens the console of a replica.
    pub async fn open(url: String) -> Self {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let console = Self { browser: Browser::start().await, url, client };
        console.load().await;
        console
    }

    /// Loads the page. The browser drops what it is loading when an interface of the machine comes
    /// or goes, as those of containers do; then it is loaded again.
    async fn load(&self) {
        let deadline = Instant::now() + PATIENCE;
        let is_drawn = "return Boolean(document.documentElement.dataset.drawn)";
        self.browser.open(&format!("{}/ui", self.url)).await;
        while self.run(is_drawn, &[]).await != json!(true) {
            sleep(Duration::from_millis(50)).await;
            let complaints = self.complaints().await;
            assert!(Instant::now() < deadline, "the page is not drawn: {complaints:#?}");
            if complaints.iter().any(|one| one.contains("ERR_NETWORK_CHANGED")) {
                self.browser.open(&format!("{}/ui", self.url)).await;
            }
        }
    }

    /// Goes to a page, `undermoon` or `kvrocks/n/c`, and waits until it shows data.
    pub async fn visit(&self, page: &str) {
        self.run("location.hash = '#/' + arguments[0]", &[page.into()]).await;
        let script = "
            const name = arguments[0].split('/')[0];
            const main = document.getElementById('main');
            return document.documentElement.dataset.drawn === name && !main.innerText.includes('Reading…');";
        self.wait(&format!("the page {page}"), script, &[page.into()]).await;
    }

    /// Presses a button by its name.
    pub async fn push(&self, scope: &str, name: &str) {
        self.click_found(BUTTON, &[scope.into(), name.into()]).await;
    }

    /// Fills the open dialog and lets it do what it says; it must succeed.
    pub async fn submit(&self, fields: &[(&str, &str)]) {
        self.fill_in(fields).await;
        self.click("dialog button[type=submit]").await;
        let script = "
            const fault = document.querySelector('dialog .fault:not([hidden])');
            return fault ? fault.textContent : !document.querySelector('dialog');";
        let outcome = self.wait("the dialog is done", script, &[]).await;
        assert_eq!(outcome, json!(true), "the dialog says what went wrong");
    }

    /// Fills fields of the open dialog; `true` and `false` are for check boxes.
    pub async fn fill_in(&self, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            let selector = format!("dialog [name={name}]");
            if matches!(*value, "true" | "false") {
                let script = "return String(document.querySelector(arguments[0])?.checked)";
                if self.run(script, &[selector.as_str().into()]).await != json!(*value) {
                    self.click(&selector).await;
                }
            } else {
                self.fill(&selector, value).await;
            }
        }
    }

    /// A button, its dialog, and that it worked.
    pub async fn act(&self, scope: &str, name: &str, fields: &[(&str, &str)]) {
        self.push(scope, name).await;
        self.submit(fields).await;
    }

    /// What the replica answers to a GET; for checking what a button did.
    pub async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.url);
        let request = self.client.get(url).header("Quorate-Consistency", "linearizable");
        let answer = request.header("Quorate-Profile", "program").send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// Changes something beside the browser.
    pub async fn send(&self, method: Method, path: &str, body: &Value) {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{method} {path}: {status} {}", answer.text().await.unwrap());
    }

    /// Waits until a GET answers something of which this is true.
    pub async fn wait_for(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if is_so(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} does not come to it: {answer}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The page has not complained.
    pub async fn is_content(&self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "the browser's log: {complaints:#?}");
    }
}

/// Registers undermoon proxies on hosts `10.0.0.1`, `10.0.0.2` and so on, `each` on every one.
pub async fn register_proxies(console: &Console, hosts: usize, each: usize) {
    register_proxies_of(console, 1..=hosts, each).await;
}

/// As [`register_proxies`], on these hosts.
pub async fn register_proxies_of(console: &Console, hosts: RangeInclusive<usize>, each: usize) {
    for host in hosts {
        for at in 1..=each {
            let body = json!({
                "proxy_address": format!("10.0.0.{host}:700{at}"),
                "nodes": [format!("10.0.0.{host}:600{at}"), format!("10.0.0.{host}:610{at}")],
                "host": format!("10.0.0.{host}"), "index": null,
            });
            console.send(Method::POST, "/api/v3/proxies/meta", &body).await;
        }
    }
}
