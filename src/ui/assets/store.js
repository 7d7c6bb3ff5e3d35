// What the page knows, and how old it is. Each subject is asked for again from time to time, and at
// once when the change feed says that something happened to it; only while a page shows it.

import { read } from "./api.js";

const listeners = new Set();
const wanted = new Map();
const all = new Set();

/// Something that is read again and again.
export class Subject {
  constructor(ask, { everyMs, families = [], pick = (value) => value }) {
    Object.assign(this, { ask, everyMs, families, pick });
    this.value = undefined;
    this.error = null;
    this.index = Number.NaN;
    this.readAt = Number.NaN;
    this.stateAgeMs = 0;
    this.askedAt = Number.NEGATIVE_INFINITY;
    this.isAsking = false;
    this.isAskedAgain = false;
    this.life = 0;
    all.add(this);
  }

  /// How old what is shown is by now: its age when it was read, and the time since.
  get ageMs() {
    return performance.now() - this.readAt + this.stateAgeMs;
  }

  /// Asks now; if it is being asked, once more afterwards.
  async refresh() {
    if (this.isAsking) {
      this.isAskedAgain = true;
      return;
    }
    this.isAsking = true;
    const begun = performance.now();
    const life = this.life;
    this.askedAt = begun;
    try {
      const answer = await this.ask();
      // What was asked for under another login is not for whoever looks now.
      if (life === this.life) this.take(answer, begun);
    } catch (error) {
      if (life === this.life) this.error = error;
    }
    this.isAsking = false;
    tell();
    if (this.isAskedAgain) {
      this.isAskedAgain = false;
      await this.refresh();
    }
  }

  /// Takes an answer in.
  take(answer, askedAt) {
    this.value = this.pick(answer.value, answer);
    this.index = answer.index;
    this.readAt = askedAt;
    this.stateAgeMs = Number.isFinite(answer.ageMs) ? answer.ageMs : 0;
    this.error = null;
  }

  /// Takes what is shown for unknown, for another login.
  forget() {
    this.value = undefined;
    this.error = null;
    this.life += 1;
    this.askedAt = Number.NEGATIVE_INFINITY;
  }
}

/// A subject behind one path.
export function at(path, options) {
  return new Subject(() => read(path, options), options);
}

/// Who draws when something is known.
export function whenKnown(listener) {
  listeners.add(listener);
}

let isTold = false;

/// Has the page drawn again, once for whatever comes together.
export function tell() {
  if (isTold) return;
  isTold = true;
  queueMicrotask(() => {
    isTold = false;
    for (const listener of listeners) listener();
  });
}

/// From now on only these subjects are asked for.
export function want(subjects) {
  wanted.clear();
  for (const subject of subjects) wanted.set(subject, true);
  tick();
}

/// Asks for everything that is shown of these families; of all without.
export function refresh(families) {
  for (const subject of wanted.keys()) {
    const isMeant = !families || subject.families.some((family) => families.has(family));
    if (isMeant) subject.refresh();
  }
}

/// Forgets everything that was read, of the other pages too.
export function forgetAll() {
  for (const subject of all) subject.forget();
  tick();
}

function tick() {
  if (document.hidden) return;
  const now = performance.now();
  for (const subject of wanted.keys()) {
    if (now - subject.askedAt >= subject.everyMs) subject.refresh();
  }
}

setInterval(tick, 250);
document.addEventListener("visibilitychange", tick);
