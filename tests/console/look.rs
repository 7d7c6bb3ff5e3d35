//! How the pages look: at three widths, in light and dark, and to people who cannot see them.

use std::{fs, path::PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    kvrocks_live::Site,
    page::{Console, PAGES, register_proxies},
};

/// A phone, a laptop, and a screen on a wall.
pub const WIDTHS: [(&str, u32, u32); 3] =
    [("narrow", 360, 780), ("light", 1280, 900), ("wide", 3840, 2160)];
/// A name without a place for a line to end, wider than a phone.
const LONG: &str = "a_namespace_that_was_named_by_somebody_with_a_large_screen";
/// What axe calls findings that keep people out.
const SERIOUS: [&str; 2] = ["serious", "critical"];

/// Elements that reach beyond the page, and texts that reach beyond their panel.
const OVERFLOW: &str = "
    const width = document.documentElement.clientWidth;
    const outside = [...document.querySelectorAll('.panel')].flatMap((panel) => {
        const frame = panel.getBoundingClientRect();
        const walk = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
        const range = document.createRange();
        const texts = [];
        while (walk.nextNode()) {
            range.selectNodeContents(walk.currentNode);
            const box = range.getBoundingClientRect();
            const isSeen = box.width > 0 && !walk.currentNode.parentNode.closest('.unseen, thead');
            const isIn = box.left >= frame.left && box.right <= frame.right;
            if (isSeen && !isIn) texts.push(`${panel.id}: ${walk.currentNode.data}`);
        }
        return texts;
    });
    const found = [...document.querySelectorAll('body *')].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width > 1 && box.right > width + 1 && !one.closest('.unseen, thead');
    });
    const name = (one) => `${one.tagName}.${one.className} to ${one.getBoundingClientRect().right}`;
    return {
        page: document.documentElement.scrollWidth - width,
        found: [...found.slice(0, 5).map(name), ...outside.slice(0, 5)],
    };";

/// Where a picture goes: beside what the build makes.
pub fn picture(name: &str, label: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../console-screenshots");
    fs::create_dir_all(&dir).unwrap();
    dir.canonicalize().unwrap().join(format!("{name}-{label}.png"))
}

/// The checker, as scripts/setup has put it beside what the build makes.
pub fn axe() -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../tools/axe-core/axe.min.js");
    fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; scripts/setup test fetches axe-core", file.display())
    })
}

/// Clusters of both kinds, with failures and migrations.
pub async fn furnish(site: &mut Site, console: &Console) {
    register_proxies(console, 6, 2).await;
    for (name, nodes) in [("sessions", 8), ("basket", 4)] {
        let path = format!("/api/v3/clusters/meta/{name}");
        console.send(Method::POST, &path, &json!({ "node_number": nodes })).await;
    }
    let grow = json!({ "cluster_node_number": 12 });
    console.send(Method::PUT, "/api/v3/clusters/nodes/sessions", &grow).await;
    for path in [
        "/api/v3/clusters/migrations/expand/sessions",
        "/api/v3/failures/10.0.0.5:7002/coordinator1",
        "/api/v3/failures/10.0.0.5:7002/coordinator2",
        "/api/v3/proxies/failover/10.0.0.4:7001",
    ] {
        console.send(Method::POST, path, &Value::Null).await;
    }
    let nodes = site.create("orders", 3, 2).await;
    let path = "/api/v1/namespaces/n/clusters/orders/migrations";
    site.done(Method::POST, path, &json!({ "target": 1, "slots": ["100-199"] })).await;
    drop(site.nodes.remove(&nodes[5]));
    site.done(Method::POST, "/api/v1/namespaces", &json!({ "namespace": LONG })).await;
}

/// All pages of a site with clusters of both kinds; the pool is looked at where there is one.
pub async fn look(mut site: Site) {
    let url = site.cluster.url(site.cluster.wait_follower().await);
    let console = Console::open(url).await;
    furnish(&mut site, &console).await;
    views(
        &console,
        &PAGES.map(
            |(name, panel)| {
                if name == "undermoon" { ("undermoon/sessions", panel) } else { (name, panel) }
            },
        ),
    )
    .await;
    documents(&console).await;
    console.is_content().await;
}

/// The page of the OpenAPI documents, which has the console's colours and controls.
async fn documents(console: &Console) {
    let axe = axe();
    console.open(&format!("{}/openapi/", console.url)).await;
    console.click("details.operation summary").await;
    console.wait_text("details.operation .body", "By hand").await;
    for (label, width, height) in WIDTHS {
        console.resize(width, height).await;
        let found = console.run(OVERFLOW, &[]).await;
        assert_eq!(found["page"], 0, "documents, {label}: {found}");
        console.shoot(&picture("documents", label), width).await;
        accessible(console, &axe, "html", &format!("documents, {label}")).await;
    }
}

/// Loads the page again in this theme.
pub async fn turn(console: &Console, theme: &str) {
    console.run("localStorage.setItem('quorate-theme', arguments[0])", &[theme.into()]).await;
    console.reload().await;
}

/// The sizes at which a theme is looked at, with what their pictures are called.
pub fn sizes(theme: &str) -> Vec<(&'static str, u32, u32)> {
    match theme {
        "dark" => vec![("dark", WIDTHS[1].1, WIDTHS[1].2)],
        _ => WIDTHS.to_vec(),
    }
}

/// Pages at every width: nothing sticks out, what matters is seen, and there is a picture.
pub async fn views(console: &Console, pages: &[(&str, &str)]) {
    let axe = axe();
    finds_what_is_wrong(console, &axe).await;
    for theme in ["light", "dark"] {
        turn(console, theme).await;
        for (page, panel) in pages {
            let name = page.split('/').next().unwrap();
            console.visit(page).await;
            console.wait_there(panel, true).await;
            for (label, width, height) in sizes(theme) {
                console.resize(width, height).await;
                fits(console, name, label, panel).await;
                console.shoot(&picture(name, label), width).await;
                if width < 3_000 {
                    accessible(console, &axe, "html", &format!("{name}, {label}")).await;
                }
            }
        }
    }
}

async fn fits(console: &Console, name: &str, label: &str, panel: &str) {
    let found = console.run(OVERFLOW, &[]).await;
    assert_eq!(found, json!({ "page": 0, "found": [] }), "{name}, {label}: wider than the page");
    let script = "
        const seen = (selector) => {
            const box = document.querySelector(selector)?.getBoundingClientRect();
            return Boolean(box) && box.width > 40 && box.height > 10;
        };
        return arguments.length > 0 && ['h1', 'nav', '#connection', arguments[0]].every(seen);";
    let seen = console.run(script, &[panel.into()]).await;
    assert_eq!(seen, json!(true), "{name}, {label}: something that matters is not seen");
}

/// A checker that finds nothing anywhere would be none: it has to find this.
async fn finds_what_is_wrong(console: &Console, axe: &str) {
    console.run("document.body.append(document.createElement('button'))", &[]).await;
    let found = findings(console, axe, "html").await;
    assert!(found.iter().any(|one| one["id"] == "button-name"), "{found:#?}");
    console.reload().await;
}

/// Nothing below an element keeps people out.
pub async fn accessible(console: &Console, axe: &str, scope: &str, what: &str) {
    let found = findings(console, axe, scope).await;
    assert!(found.is_empty(), "{what}: {found:#?}");
}

/// What axe says that keeps people out.
pub async fn findings(console: &Console, axe: &str, scope: &str) -> Vec<Value> {
    console.run(&format!("if (!window.axe) {{ {axe} }} return true"), &[]).await;
    let script = "
        const done = arguments[arguments.length - 1];
        axe.run(arguments[0], { resultTypes: ['violations'] })
            .then(({ violations }) => done(violations.map(({ id, impact, help, nodes }) =>
                ({ id, impact, help, nodes: nodes.slice(0, 3).map((node) => node.html) }))))
            .catch((error) => done([{ id: String(error), impact: 'critical' }]));";
    let found = console.run_async(script, &[scope.into()]).await;
    let is_serious = |one: &Value| SERIOUS.iter().any(|impact| one["impact"] == *impact);
    found.as_array().unwrap().iter().filter(|one| is_serious(one)).cloned().collect()
}
