// Asking this replica. Every answer says how old the state was that it shows; every change carries
// a key, so that repeating it is safe.

const TOKEN = "quorate-token";
/// How long a change is repeated while nobody can take it: longer than an election.
const PATIENCE_MS = 8_000;
const PAUSE_MS = 300;
/// The answers whose repetition is safe because their families keep keys.
const KEYED = [/^\/api\/v[123]\//, /^\/quorate\/v1\/pool\//, /^\/quorate\/v1\/(undermoon|kvrocks)\//];

/// Why a request came to nothing.
export class Failure extends Error {
  constructor(message, { status = 0, code = "" } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /// Nobody answered at all.
  get isSilence() {
    return this.status === 0;
  }
}

let onDenied = () => {};

/// Who is told when a token is wanted.
export function whenDenied(listener) {
  onDenied = listener;
}

/// The token of this tab; it ends with it.
export function token() {
  return sessionStorage.getItem(TOKEN) ?? "";
}

/// Takes a token for this tab, or forgets it.
export function setToken(text) {
  if (text) sessionStorage.setItem(TOKEN, text);
  else sessionStorage.removeItem(TOKEN);
}

/// Headers that every request carries.
export function identity() {
  const text = token();
  return text ? { authorization: `Bearer ${text}` } : {};
}

/// Reads; answers `{ value, ageMs, index, headers, status }`.
export async function read(path, { as = "json", headers = {}, accept = [], timeoutMs = 5_000, method = "GET" } = {}) {
  const response = await send(method, path, { headers, timeoutMs });
  if (!response.ok && !accept.includes(response.status)) throw await failure(response);
  const value = as === "json" ? await response.json() : await response.text();
  const number = (name) => Number(response.headers.get(name) ?? Number.NaN);
  const facts = { ageMs: number("quorate-age-ms"), index: number("quorate-index") };
  return { value, status: response.status, headers: response.headers, ...facts };
}

/// Changes something; answers what the server says of it. Repeated while there is no leader, where
/// that is safe.
export async function change(method, path, body, { timeoutMs = 15_000, headers = {} } = {}) {
  const isKeyed = KEYED.some((pattern) => pattern.test(path));
  const key = { "idempotency-key": random() };
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    let failed;
    try {
      const response = await send(method, path, { body, headers: { ...key, ...headers }, timeoutMs });
      if (response.ok) return decode(await response.text());
      failed = await failure(response);
    } catch (error) {
      failed = error;
    }
    const isPassing = failed.isSilence || failed.status === 503 || failed.status === 504;
    if (!isKeyed || !isPassing || performance.now() > until) throw failed;
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

async function send(method, path, { body, headers, timeoutMs }) {
  const all = { ...identity(), ...headers };
  if (body !== undefined) all["content-type"] = "application/json";
  const content = body === undefined ? undefined : JSON.stringify(body);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await fetch(path, { method, headers: all, body: content, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    const text = error.name === "TimeoutError" ? "no answer in time" : "this replica does not answer";
    throw new Failure(text);
  }
}

async function failure(response) {
  const text = await response.text().catch(() => "");
  const value = decode(text);
  const said = value?.error;
  let message = typeof said === "string" ? said : said?.message;
  if (value?.data?.reason) message = `${message}: ${value.data.reason}`;
  message ??= text.trim().slice(0, 300) || `answer ${response.status}`;
  const code = typeof said === "string" ? said : (said?.code ?? "");
  if (response.status === 401) onDenied(message);
  return new Failure(message, { status: response.status, code });
}

function decode(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/// 32 hexadecimal digits; also where the page is not in a secure context.
function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
