//! Every dialog of the pages: what opens it, and that it fits and keeps nobody out.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::Method;
use serde_json::json;

use crate::{
    kvrocks_live::{Site, kvrocks_node::Options},
    look::{self, WIDTHS},
    page::Console,
};

/// A dialog, and what opens it.
pub struct Dialog {
    page: &'static str,
    /// Where its button is.
    scope: &'static str,
    /// How the name of its button begins.
    button: &'static str,
    /// How its title begins.
    title: &'static str,
}

const fn dialog(
    page: &'static str,
    scope: &'static str,
    button: &'static str,
    title: &'static str,
) -> Dialog {
    Dialog { page, scope, button, title }
}

/// Those that clusters of both kinds have.
pub const CLUSTERS: [Dialog; 27] = [
    dialog("main", "#top", "Log in", "Log in"),
    dialog("undermoon", ".page-head", "Add proxy", "Add proxy"),
    dialog("undermoon", ".page-head", "Create cluster", "Create cluster"),
    dialog("undermoon", "#cluster", "Scale", "Scale "),
    dialog("undermoon", "#cluster", "Balance", "Balance "),
    dialog("undermoon", "#cluster", "Config", "Config of "),
    dialog("undermoon", "#cluster", "Delete free nodes", "Delete the free nodes of "),
    dialog("undermoon", "#cluster", "Delete cluster ", "Delete cluster "),
    dialog("undermoon", "#proxies", "Fail over ", "Fail over "),
    dialog("undermoon", "#proxies", "Clear ", "Clear "),
    dialog("undermoon", "#proxies", "Remove ", "Remove "),
    dialog("kvrocks", ".page-head", "Create namespace", "Create namespace"),
    dialog("kvrocks", ".page-head", "Import cluster", "Import cluster"),
    dialog("kvrocks", ".page-head", "Create cluster", "Create cluster"),
    dialog("kvrocks", "#namespaces", "Delete namespace ", "Delete namespace "),
    dialog("kvrocks", "#cluster", "Delete cluster ", "Delete cluster "),
    dialog("kvrocks", "#cluster", "Add shard", "Add shard"),
    dialog("kvrocks", "#cluster", "Remove shard ", "Remove shard "),
    dialog("kvrocks", "#cluster", "Add a node to shard ", "Add a node to shard "),
    dialog("kvrocks", "#cluster", "Remove node ", "Remove node "),
    dialog("kvrocks", "#cluster", "Migrate slots", "Migrate slots of "),
    dialog("kvrocks", "#cluster", "Fail over shard 0", "Fail over shard "),
    dialog("operations", "#leadership", "Transfer leadership", "Transfer leadership"),
    dialog("operations", "#members", "Add member", "Add member"),
    dialog("operations", "#members", "Change the addresses of ", "Addresses of replica "),
    dialog("operations", "#members", "Replace replica ", "Replace replica "),
    dialog("operations", "#members", "Remove replica ", "Remove replica "),
];

/// Those of a pool with a cluster in use.
pub const POOL: [Dialog; 10] = [
    dialog("pool", ".page-head", "Add host", "Add host"),
    dialog("pool", ".page-head", "Apply for a cluster", "Apply for a cluster"),
    dialog("pool", "#hosts", "Change host ", "Change host "),
    dialog("pool", "#hosts", "Clean host ", "Clean host "),
    dialog("pool", "#hosts", "Remove host ", "Remove host "),
    dialog("pool", "#clusters", "Release cluster ", "Release "),
    dialog("pool", "#clusters", "Delete cluster ", "Delete "),
    dialog("pool", "#templates", "Put template", "Put template"),
    dialog("pool", "#templates", "Edit template ", "Template "),
    dialog("pool", "#templates", "Remove template ", "Remove template "),
];

/// That of a cluster whose replicas all know a higher level.
pub const LEVEL: [Dialog; 1] =
    [dialog("operations", "#level", "Raise the feature level", "Raise the feature level")];

/// The full name of the first button that begins so and can be pressed.
const NAME: &str = "
    const [scope, begin] = arguments;
    const all = [...(document.querySelector(scope)?.querySelectorAll('button:enabled') ?? [])];
    const names = all.map((one) => one.getAttribute('aria-label') ?? one.textContent.trim());
    return names.find((name) => name.startsWith(begin));";

/// The title of the dialog, once it has asked what it asks by itself.
const TITLE: &str = "
    const form = document.querySelector('dialog[open] form:not([aria-busy])');
    return form?.querySelector('h2').textContent;";

/// What does not fit: the dialog in the window, its parts in the dialog, its buttons in sight.
const FAULTS: &str = "
    const dialog = document.querySelector('dialog');
    const frame = dialog.getBoundingClientRect();
    const name = (one) => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 40)}`;
    const found = [];
    if (frame.left < 0 || frame.right > innerWidth) found.push('wider than the window');
    if (frame.top < 0 || frame.bottom > innerHeight) found.push('higher than the window');
    if (dialog.scrollWidth > dialog.clientWidth) found.push('scrolls sideways');
    for (const one of dialog.querySelectorAll('*')) {
        const box = one.getBoundingClientRect();
        const isSeen = box.width > 1 && !one.closest('.unseen, thead');
        if (isSeen && (box.left < frame.left || box.right > frame.right)) found.push(name(one));
    }
    // Whatever is scrolled to is above the buttons.
    dialog.scrollTop = dialog.scrollHeight;
    const foot = dialog.querySelector('.dialog-foot').getBoundingClientRect();
    if (foot.bottom < frame.bottom - 2) found.push('the buttons are not at the end');
    for (const one of dialog.querySelectorAll('form > :not(.dialog-foot)')) {
        if (one.getBoundingClientRect().bottom > foot.top) found.push(`hidden: ${name(one)}`);
    }
    dialog.scrollTop = 0;
    for (const one of dialog.querySelectorAll('.dialog-foot button')) {
        const box = one.getBoundingClientRect();
        const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        if (at !== one) found.push(`not in sight: ${name(one)}`);
    }
    return found;";

/// The dialogs of clusters, for which there is one of each kind, and a shard without slots.
pub async fn of_clusters(mut site: Site) {
    let url = site.cluster.url(site.cluster.wait_follower().await);
    let console = Console::open(url).await;
    look::furnish(&mut site, &console).await;
    let more = site.add_nodes(1, &Options::default()).await;
    let path = "/api/v1/namespaces/n/clusters/orders/shards";
    site.done(Method::POST, path, &json!({ "nodes": more })).await;
    look(&console, &CLUSTERS).await;
    console.is_content().await;
}

/// Opens dialogs in light and dark, at every width, and takes their pictures.
pub async fn look(console: &Console, dialogs: &[Dialog]) {
    let axe = look::axe();
    for theme in ["light", "dark"] {
        look::turn(console, theme).await;
        for dialog in dialogs {
            let title = open(console, dialog).await;
            for (label, width, height) in look::sizes(theme) {
                console.resize(width, height).await;
                let what = format!("{title}, {label}");
                assert_eq!(console.run(FAULTS, &[]).await, json!([]), "{what}");
                let name = format!("dialog-{}-{}", dialog.page, slug(dialog.title));
                console.shoot_window(&look::picture(&name, label)).await;
                if label != WIDTHS[2].0 {
                    look::accessible(console, &axe, "dialog", &what).await;
                }
            }
            console.push("dialog", "Cancel").await;
            console.wait_there("dialog", false).await;
            let (_, width, height) = WIDTHS[1];
            console.resize(width, height).await;
        }
    }
    faults_are_found(console, &axe, &dialogs[0]).await;
}

/// Opens a dialog and waits for all that it shows; its title.
async fn open(console: &Console, dialog: &Dialog) -> String {
    let page = if dialog.page == "main" { "overview" } else { dialog.page };
    console.visit(page).await;
    let name =
        console.wait(dialog.button, NAME, &[dialog.scope.into(), dialog.button.into()]).await;
    console.push(dialog.scope, name.as_str().unwrap()).await;
    let title = console.wait("the dialog has what it shows", TITLE, &[]).await;
    let title = title.as_str().unwrap().to_owned();
    assert!(title.starts_with(dialog.title), "{name} opens {title}");
    title
}

/// Checks that find nothing in anything would be none.
async fn faults_are_found(console: &Console, axe: &str, dialog: &Dialog) {
    open(console, dialog).await;
    let script = "
        const button = document.createElement('button');
        button.className = 'unseen';
        document.querySelector('dialog form').append(button);
        document.querySelector('dialog h2').textContent = 'wide'.repeat(100);
        document.querySelector('dialog h2').classList.add('connection');";
    console.run(script, &[]).await;
    let found = look::findings(console, axe, "dialog").await;
    assert!(found.iter().any(|one| one["id"] == "button-name"), "{found:#?}");
    let found = console.run(FAULTS, &[]).await;
    assert!(found.as_array().unwrap().contains(&json!("scrolls sideways")), "{found}");
    console.push("dialog", "Cancel").await;
    console.wait_there("dialog", false).await;
}

/// A part of a file's name.
fn slug(title: &str) -> String {
    title.trim().to_lowercase().replace(' ', "-")
}

/// No dialog is in the sources that is not looked at, and none is listed that is gone.
pub fn assert_looked_at() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/assets");
    let mut there = BTreeSet::new();
    let pages = fs::read_dir(assets.join("pages")).unwrap().map(|entry| entry.unwrap().path());
    for file in pages.chain([assets.join("main.js")]) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let page = name.split('-').next().unwrap().to_owned();
        let source = fs::read_to_string(&file).unwrap();
        there.extend(titles(&source).map(|title| (page.clone(), title.to_owned())));
    }
    let all = CLUSTERS.iter().chain(&POOL).chain(&LEVEL);
    let listed: BTreeSet<(String, String)> =
        all.map(|dialog| (dialog.page.to_owned(), dialog.title.to_owned())).collect();
    assert_eq!(listed, there);
}

/// The titles of the dialogs in a source, up to what varies.
fn titles(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.split("ask({").skip(1).filter_map(|call| {
        let (_, rest) = call.split_once("title: ")?;
        rest.lines().next()
    });
    lines.flat_map(|line| {
        let texts = line.split(['"', '`']).skip(1).step_by(2);
        texts.map(|text| text.split("${").next().unwrap_or_default())
    })
}
