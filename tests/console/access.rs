//! What is left of a login when it is over: nothing.

use serde_json::json;

use crate::page::Console;

/// Keeps back what the replica answers about the audit trail, until the page is told to go on.
const HOLD: &str = "
    const asked = window.fetch;
    const held = new Promise((go) => { window.goOn = go; });
    window.fetch = async (path, options) => {
        const answer = await asked(path, options);
        if (!String(path).startsWith('/quorate/v1/audit')) return answer;
        // Read to its end, so that no time limit of the page's takes it away.
        const { status, headers } = answer;
        const text = await answer.text();
        window.isHeld = true;
        await held;
        return new Response(text, { status, headers });
    };";

/// Logs out while an answer is on its way; the page shows the audit trail.
pub async fn log_out_in_the_midst(console: &Console) {
    console.visit("pool").await;
    console.wait_there("#templates table", true).await;
    console.visit("events").await;
    console.wait_there("#audit table", true).await;
    console.wait_there("#events table", true).await;
    console.run(HOLD, &[]).await;
    console.wait("the audit trail is asked for", "return window.isHeld", &[]).await;
    console.push("#top", "Log out").await;
    console.wait_there("#audit table", false).await;
    console.run("window.goOn()", &[]).await;
    // The next answer refuses, and comes after the one that was held.
    console.wait_text("#audit", "A token is needed").await;
    let shown = "return Boolean(document.querySelector('main table'))";
    assert_eq!(console.run(shown, &[]).await, json!(false), "{}", console.text("main").await);
    // Nor is there anything left of the pages that were not open.
    console.run("location.hash = '#/pool'", &[]).await;
    console.wait_text("#templates", "A token is needed").await;
    assert_eq!(console.run(shown, &[]).await, json!(false), "{}", console.text("main").await);
}
