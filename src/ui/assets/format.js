// Numbers and times as people read them.

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/// 12,345.
export function count(value) {
  return value === null || value === undefined ? "–" : NUMBER.format(value);
}

/// `1 node`, `2 nodes`.
export function many(value, noun) {
  return `${NUMBER.format(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/// 350 ms, 1.2 s, 5 min, 3 h, 2 d.
export function span(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  const whole = Math.max(0, ms);
  if (whole < 1000) return `${Math.round(whole)} ms`;
  if (whole < 60_000) return `${SHORT.format(whole / 1000)} s`;
  if (whole < 3_600_000) return `${Math.floor(whole / 60_000)} min`;
  if (whole < 86_400_000) return `${Math.floor(whole / 3_600_000)} h`;
  return `${Math.floor(whole / 86_400_000)} d`;
}

/// How long ago, in whole seconds below a minute: it is shown ticking.
export function ago(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 60_000) return `${Math.floor(Math.max(0, ms) / 1000)} s`;
  return span(ms);
}

/// A moment as `2026-11-21 15:21:20`, of the reader's own time zone.
export function moment(ms) {
  if (!ms) return "–";
  const at = new Date(ms);
  const two = (value) => String(value).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/// The time of day of a moment.
export function clock(ms) {
  return ms ? moment(ms).slice(11) : "–";
}

/// 1.2 kB, 3.4 MB.
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let left = value;
  while (left >= 1000 && at < units.length - 1) {
    left /= 1000;
    at += 1;
  }
  return `${SHORT.format(left)} ${units[at]}`;
}

/// 37.5 %.
export function share(part, whole) {
  return whole ? `${SHORT.format((100 * part) / whole)} %` : "–";
}

/// `cluster_created` as `cluster created`.
export function words(text) {
  return String(text ?? "").replaceAll("_", " ");
}
