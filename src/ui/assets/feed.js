// The change feed: what happened, as it happens. Taken up again by itself where it broke off; the
// page asks for what changed, and the page of events shows the feed itself.

import { identity, read } from "./api.js";
import { refresh, tell } from "./store.js";

/// Events that are kept for the page that shows them.
const KEPT = 2_000;
/// Events from before the page was opened.
const PAST = 1_000;
/// A living stream says something every five seconds.
const SILENCE_MS = 12_000;
const PAUSE_MS = [250, 500, 1_000, 2_000];
/// What comes within this time is taken together.
const GATHER_MS = 120;

/// What is known of the feed.
export const feed = {
  state: "connecting",
  since: performance.now(),
  events: [],
  lastRevision: 0,
  error: "",
};

let next = null;
let failures = 0;
let stopping = null;
const changed = new Set();

/// Begins, or begins again with another login, for whom the events of the one before are not.
export function restart() {
  stopping?.abort();
  const mine = new AbortController();
  stopping = mine;
  failures = 0;
  next = null;
  changed.clear();
  feed.events = [];
  feed.lastRevision = 0;
  follow(mine.signal);
}

async function follow(signal) {
  while (!signal.aborted) {
    try {
      if (next === null) await begin(signal);
      await stream(signal);
      throw new Error("the stream ended");
    } catch (error) {
      if (signal.aborted) return;
      feed.error = error.message;
      turn("reconnecting");
    }
    const pause = PAUSE_MS[Math.min(failures, PAUSE_MS.length - 1)];
    failures += 1;
    await new Promise((done) => setTimeout(done, pause));
  }
}

/// The recent past, as far as it is kept.
async function begin(signal) {
  const bounds = (await read("/quorate/v1/events?wait=0&limit=1")).value;
  const from = Math.max(bounds.oldest, bounds.next - PAST);
  const page = (await read(`/quorate/v1/events?wait=0&from=${from}`)).value;
  signal.throwIfAborted();
  feed.events = page.events;
  next = page.next;
  tell();
}

async function stream(outer) {
  const watch = new AbortController();
  const stop = () => watch.abort();
  outer.addEventListener("abort", stop);
  let alarm = setTimeout(stop, SILENCE_MS);
  try {
    const options = { headers: identity(), signal: watch.signal, cache: "no-store", credentials: "omit" };
    const response = await fetch(`/quorate/v1/events?from=${next}`, options);
    if (response.status === 410) next = null;
    if (!response.ok) throw new Error(`answer ${response.status}`);
    // Whatever happened while nobody listened.
    refresh();
    turn("live");
    failures = 0;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || outer.aborted) return;
      clearTimeout(alarm);
      alarm = setTimeout(stop, SILENCE_MS);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) take(block);
    }
  } finally {
    clearTimeout(alarm);
    outer.removeEventListener("abort", stop);
    watch.abort();
  }
}

function take(block) {
  let data = "";
  let kind = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) next = Number(line.slice(4)) + 1;
    else if (line.startsWith("data: ")) data += line.slice(6);
    else if (line.startsWith("event: ")) kind = line.slice(7);
  }
  feed.lastRevision = Math.max(feed.lastRevision, (next ?? 1) - 1);
  if (kind === "compacted") {
    next = null;
    return;
  }
  if (!data) return;
  const event = JSON.parse(data);
  feed.events.push(event);
  if (feed.events.length > KEPT) feed.events.splice(0, feed.events.length - KEPT);
  if (changed.size === 0) setTimeout(spread, GATHER_MS);
  changed.add(event.family);
}

function spread() {
  const families = new Set(changed);
  changed.clear();
  refresh(families);
  tell();
}

function turn(state) {
  if (feed.state === state) return;
  feed.state = state;
  feed.since = performance.now();
  tell();
}
