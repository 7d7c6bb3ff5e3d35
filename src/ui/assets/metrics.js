// What this replica counts of itself, and rates made of two looks at it.

const LINE = /^([a-z_]+)(?:\{([^}]*)\})? (\S+)$/gm;

/// Sums of the few metrics the console shows, by name and one label.
export function parseMetrics(text) {
  const found = { at: performance.now(), proposals: 0, failed: 0, seconds: 0, timed: 0, buckets: new Map(), requests: 0, data: 0, free: 0, size: 0 };
  for (const [, name, labels, number] of text.matchAll(LINE)) {
    const value = Number(number);
    if (name === "quorate_proposals_total") {
      found.proposals += value;
      if (/outcome="(not_accepted|unknown)"/.test(labels)) found.failed += value;
    } else if (name === "quorate_proposal_seconds_sum") found.seconds += value;
    else if (name === "quorate_proposal_seconds_count") found.timed += value;
    else if (name === "quorate_proposal_seconds_bucket") bucket(found.buckets, labels, value);
    else if (name === "quorate_requests_total") found.requests += value;
    else if (name === "quorate_data_bytes") found.data = value;
    else if (name === "quorate_disk_free_bytes") found.free = value;
    else if (name === "quorate_disk_size_bytes") found.size = value;
  }
  return found;
}

function bucket(buckets, labels, value) {
  const bound = /le="([^"]+)"/.exec(labels)?.[1];
  const limit = bound === "+Inf" ? Number.POSITIVE_INFINITY : Number(bound);
  buckets.set(limit, (buckets.get(limit) ?? 0) + value);
}

/// The last minutes of one replica, a sample at a time.
export class History {
  constructor(samplesMax) {
    this.samplesMax = samplesMax;
    this.samples = [];
    this.last = null;
  }

  /// Takes a look; ignores one that was taken already.
  take(look) {
    if (!look || look === this.last) return;
    const before = this.last;
    this.last = look;
    if (!before || look.proposals < before.proposals) return;
    const seconds = (look.at - before.at) / 1_000;
    if (seconds <= 0) return;
    this.samples.push({
      writes: (look.proposals - before.proposals) / seconds,
      requests: (look.requests - before.requests) / seconds,
      p50: quantile(before, look, 0.5),
      p99: quantile(before, look, 0.99),
    });
    if (this.samples.length > this.samplesMax) this.samples.shift();
  }

  /// The newest sample.
  get newest() {
    return this.samples.at(-1);
  }
}

/// The bound of the bucket in which a share of what happened between two looks lies, milliseconds;
/// nothing if nothing happened.
function quantile(before, look, part) {
  const total = look.timed - before.timed;
  if (total <= 0) return null;
  const bounds = [...look.buckets.keys()].sort((a, b) => a - b);
  let below = 0;
  let lower = 0;
  for (const bound of bounds) {
    const within = look.buckets.get(bound) - (before.buckets.get(bound) ?? 0);
    if (within >= part * total) {
      if (!Number.isFinite(bound)) return lower * 1_000;
      const inside = within - below || 1;
      return (lower + ((bound - lower) * (part * total - below)) / inside) * 1_000;
    }
    below = within;
    lower = bound;
  }
  return lower * 1_000;
}
