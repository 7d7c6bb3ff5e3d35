//! What is done with a pointer or with keys alone: choosing slots on the map, moving a range,
//! turning the theme.

use serde_json::{Value, json};

use crate::{kvrocks_live::Site, page::Console};

const MAP: &str = "#slot-map";
const COLUMNS: i64 = 256;
const ROWS: i64 = 64;
const ENTER: char = '\u{E007}';
const ESCAPE: char = '\u{E00C}';

/// The slots of the open dialog.
const SLOTS: &str = "return document.querySelector('dialog form')?.elements.slots?.value";

/// Choosing slots on the map, and moving a range, without a form being filled in.
pub async fn choose_slots(site: &mut Site, console: &Console) {
    site.create("orders", 2, 1).await;
    console.visit("kvrocks").await;
    console.wait_text("figcaption", "every slot has an owner").await;
    for (from, to, slots) in
        [(1_000, 2_500, "1000-2500"), (9_000, 8_000, "8000-9000"), (77, 77, "77")]
    {
        drag(console, from, to).await;
        assert_eq!(console.wait("the slots", SLOTS, &[]).await, json!(slots));
        console.press(ESCAPE).await;
        console.wait_there("dialog", false).await;
    }
    // What the browser takes for scrolling chooses nothing, then or with the next drag.
    let script = "
        const map = document.querySelector(arguments[0]);
        const cancel = () => map.dispatchEvent(new PointerEvent('pointercancel'));
        map.addEventListener('pointerdown', cancel, { once: true });";
    console.run(script, &[MAP.into()]).await;
    drag(console, 4_000, 5_000).await;
    let dialogs = "return document.querySelectorAll('dialog').length";
    assert_eq!(console.run(dialogs, &[]).await, json!(0));
    drag(console, 300, 310).await;
    assert_eq!(console.wait("the slots", SLOTS, &[]).await, json!("300-310"));
    assert_eq!(console.run(dialogs, &[]).await, json!(1));
    console.press(ESCAPE).await;
    console.wait_there("dialog", false).await;
    by_keys(console).await;
}

/// A range is moved by its chip, with keys alone.
async fn by_keys(console: &Console) {
    let script = "
        const chip = document.querySelector('[data-shard=\"0\"] .chip');
        chip?.focus();
        return chip && document.activeElement === chip;";
    console.wait("the chip has the focus", script, &[]).await;
    console.press(ENTER).await;
    assert_eq!(console.wait("the slots", SLOTS, &[]).await, json!("0-8191"));
    console.press(ESCAPE).await;
    console.wait_there("dialog", false).await;
    let script = "return document.activeElement.matches('[data-shard=\"0\"] .chip')";
    console.wait("the focus is back on the chip", script, &[]).await;
    console.press(ENTER).await;
    console.fill("dialog [name=slots]", "0-9").await;
    console.fill("dialog [name=target]", "1").await;
    console.press(ENTER).await;
    console.wait_text("[data-shard='1'] .chips", "0-9").await;
}

/// Drags from one slot to another one on the map.
async fn drag(console: &Console, from: i64, to: i64) {
    let script = "
        const box = document.querySelector(arguments[0]).getBoundingClientRect();
        return [box.width, box.height];";
    let size = console.run(script, &[MAP.into()]).await;
    let place = |slot: i64| {
        let middle = |length: &Value, at: i64, cells: i64| {
            let cell = length.as_f64().unwrap() / cells as f64;
            ((at as f64 + 0.5 - cells as f64 / 2.0) * cell).round() as i64
        };
        let (row, column) = (slot / COLUMNS, slot % COLUMNS);
        (MAP, middle(&size[0], column, COLUMNS), middle(&size[1], row, ROWS))
    };
    console.drag_between(place(from), place(to)).await;
}

/// The button goes through the themes, the page and the map follow, and the choice is kept.
pub async fn turn_theme(console: &Console) {
    let look = "
        const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        copy.drawImage(document.querySelector('#slot-map'), 0, 0);
        const pixel = copy.getImageData(2, 2, 1, 1);
        return [getComputedStyle(document.body).backgroundColor, [...pixel.data].join()];";
    let same = format!("return (() => {{ {look} }})().join() === arguments[0].join()");
    let is = "return document.documentElement.dataset.theme === arguments[0]";
    console.prefer("light").await;
    let light = console.run(look, &[]).await;
    console.push("#top", "Theme: auto").await;
    console.wait("the page is light", is, &["light".into()]).await;
    assert_eq!(console.run(look, &[]).await, light);
    console.push("#top", "Theme: light").await;
    console.wait("the page is dark", is, &["dark".into()]).await;
    let dark = console.run(look, &[]).await;
    for part in [0, 1] {
        assert_ne!(light[part], dark[part], "the page, and the map");
    }
    console.reload().await;
    console.wait_text("#theme", "Theme: dark").await;
    console.wait_there(MAP, true).await;
    console.wait("the choice is kept", &same, std::slice::from_ref(&dark)).await;
    // Left to the system, the page goes with it while it is open.
    console.push("#top", "Theme: dark").await;
    console.wait("the page is as the system says", is, &["auto".into()]).await;
    console.wait("it is light", &same, &[light]).await;
    console.prefer("dark").await;
    console.wait("it is dark", &same, &[dark]).await;
    console.prefer("light").await;
}
