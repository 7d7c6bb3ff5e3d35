// The console: which page is shown, the head above all pages, and who is logged in.

import { setToken, token, whenDenied } from "./api.js";
import { ask } from "./dialog.js";
import { h, show } from "./dom.js";
import { feed, restart } from "./feed.js";
import { ago } from "./format.js";
import { badge, button } from "./parts.js";
import { forgetAll, tell, want, whenKnown } from "./store.js";
import { members, status } from "./subjects.js";
import { applyTheme, theme, turnTheme } from "./theme.js";
import * as events from "./pages/events.js";
import * as kvrocks from "./pages/kvrocks.js";
import * as operations from "./pages/operations.js";
import * as overview from "./pages/overview.js";
import * as pool from "./pages/pool.js";
import * as undermoon from "./pages/undermoon.js";

const PAGES = { overview, undermoon, kvrocks, pool, events, operations };
const NAMES = {
  overview: "Overview",
  undermoon: "Undermoon",
  kvrocks: "Kvrocks",
  pool: "Pool",
  events: "Events",
  operations: "Operations",
};
/// So long a replica may be silent before the page says so: one missed look.
const SILENCE_MS = 2_000;

let route = { name: "overview", rest: [] };
let isLoginOpen = false;

function readRoute() {
  const [name, ...rest] = location.hash.replace(/^#\//, "").split("/").map(decode);
  return { name: PAGES[name] ? name : "overview", rest };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function go() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const before = route.name;
  route = readRoute();
  document.title = `${NAMES[route.name]} – Quorate`;
  want([status, members, ...PAGES[route.name].subjects(route.rest)]);
  if (before !== route.name) scrollTo(0, 0);
  draw();
}

function draw() {
  show(document.getElementById("top"), head());
  show(document.getElementById("banner"), banner());
  const main = document.getElementById("main");
  main.dataset.page = route.name;
  show(main, PAGES[route.name].view(route.rest));
  document.documentElement.dataset.drawn = route.name;
}

function head() {
  const link = (name) =>
    h("a", { href: `#/${name}`, "aria-current": name === route.name ? "page" : null }, NAMES[name]);
  const here = status.value ? `replica ${status.value.replica_id}` : "…";
  return [
    h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/ui/icon.svg", alt: "", width: 24, height: 24 }), "Quorate"),
    h("nav", { "aria-label": "Pages" }, Object.keys(PAGES).map(link)),
    h(
      "div",
      { class: "state" },
      h("span", { id: "connection", class: "connection", draw: drawConnection }, connection(), h("span", { class: "here" }, here)),
      button(`Theme: ${theme()}`, () => (turnTheme(), tell()), { kind: "plain", id: "theme" }),
      token() ? button("Log out", logOut, { kind: "plain" }) : button("Log in", logIn, { kind: "plain" }),
    ),
  ];
}

function drawConnection(node) {
  node.title = `Change feed: ${feed.state} since ${ago(performance.now() - feed.since)}; revision ${feed.lastRevision}`;
}

function isSilent() {
  return Boolean(status.error?.isSilence) && performance.now() - (status.readAt || 0) > SILENCE_MS;
}

function connection() {
  if (isSilent()) return badge("bad", "no answer");
  if (feed.state === "live") return badge("good", "live");
  return badge("warn", feed.state);
}

/// What limits the truth of everything below.
function banner() {
  const others = (members.value?.members ?? []).filter((member) => member.client_url && member.id !== status.value?.replica_id);
  const links = others.map((member) => [" ", h("a", { href: `${member.client_url.replace(/\/$/, "")}/ui${location.hash}` }, `replica ${member.id}`)]);
  if (isSilent()) {
    const since = Number.isFinite(status.readAt) ? ` for ${ago(performance.now() - status.readAt)}` : "";
    const name = status.value ? `Replica ${status.value.replica_id}` : "This replica";
    const more = links.length > 0 && [" Or look through", links, "."];
    return h("p", { class: "banner bad", id: "silent" }, `${name} has not answered${since}. What you see is from before; the page goes on asking.`, more);
  }
  if (status.value && status.value.leader === null) {
    return h("p", { class: "banner warn", id: "leaderless" }, "No leader is known. What you see may be old, and changes wait until one is elected.");
  }
  return null;
}

function logIn(reason) {
  if (isLoginOpen) return;
  isLoginOpen = true;
  const dialog = ask({
    title: "Log in",
    note: typeof reason === "string" ? `${reason}.` : "The token is kept in this tab until it is closed, and sent with every request.",
    fields: [{ name: "token", label: "Token", kind: "password", required: true }],
    verb: "Log in",
    done: "Logged in.",
    act: async ({ token: text }) => {
      await check(text);
      setToken(text);
      restart();
      forgetAll();
    },
  });
  dialog.addEventListener("close", () => {
    isLoginOpen = false;
  });
}

/// A token that is not good is refused by whatever it is shown to.
async function check(text) {
  const response = await fetch("/quorate/v1/members", { headers: { authorization: `Bearer ${text}` }, credentials: "omit" });
  if (response.status === 401) throw new Error("The token is unknown, revoked or expired.");
}

function logOut() {
  setToken("");
  restart();
  forgetAll();
  tell();
}

let isAsked = false;
whenDenied((reason) => {
  // Once by itself; whoever closes it is not asked again.
  if (isAsked && !token()) return;
  isAsked = true;
  logIn(reason);
});

applyTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("hashchange", go);
whenKnown(draw);
go();
restart();
