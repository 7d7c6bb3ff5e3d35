"""Figures as tables of docs/performance.md."""

from .reads import WAYS, of_alone
from .scale import middle


def table(heads, rows):
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


def ms(us):
    return f"{us / 1e3:.2f}"


def writes(figures):
    rows = []
    for row in figures["rows"]:
        disk = row["disk"]
        rows.append([row["clients"], "one fdatasync", f"{disk['per_s']:.0f}", "", ms(disk["p50"]), ms(disk["p99"]), ""])
        for way in (key for key in row if key not in ("clients", "disk")):
            one = row[way]
            peer = row.get(f"etcd {way.split()[1]}")
            ratio = f"{one['per_s'] / peer['per_s']:.2f}" if peer else ""
            cells = [f"{one['per_s']:.0f}", ratio, ms(one["p50"]), ms(one["p99"])]
            rows.append(["", way, *cells, f"{one['generator_percent']} %"])
    heads = ["clients", "way", "writes/s", "of etcd", "p50 ms", "p99 ms", "generator"]
    return table(heads, rows)


def reads(figures):
    rows = []
    for row in figures["rows"]:
        name = f"{row['cluster']}{', gzip' if row['gzip'] else ''}"
        for way in ("bare handler", "quorate"):
            one = row[way]
            ratio = f"{one['per_s'] / row['bare handler']['per_s']:.2f}"
            megabytes = f"{one['bytes_per_s'] / 1e6:.1f}"
            cells = [f"{one['per_s']:.0f}", ratio, megabytes, ms(one["p50"]), ms(one["p99"])]
            rows.append([name, row["clients"], way, *cells, f"{one['generator_percent']} %"])
    heads = ["cluster", "clients", "way", "reads/s", "of bare", "MB/s", "p50 ms", "p99 ms", "generator"]
    return table(heads, rows)


def mixed(figures):
    rows = []
    for row in figures["rows"]:
        for way, what in WAYS.items():
            one = row[way]
            ratio = of_alone(row, way)
            ratio = "" if ratio is None else f"{ratio:.2f}"
            cells = [f"{one['per_s']:.0f}", ratio, ms(one["p50"]), ms(one["p99"]), one["failed"]]
            what = what.format(figures["conditions"]["rate"])
            rows.append([row["replica"], what, *cells, f"{one['generator_percent']} %"])
    heads = ["replica", "what", "per s", "of alone", "p50 ms", "p99 ms", "failed", "generator"]
    return table(heads, rows)


def failover(figures):
    ways = {"a new leader": "leader_ms", "first acknowledged write": "first_write_ms"}
    shares = list(figures["leader_ms"])
    rows = [[name, *(figures[key][share] for share in shares)] for name, key in ways.items()]
    return table(["ms after the kill", *shares], rows)


def scale(figures):
    sizes = figures["sizes"]
    yield from of_sizes(sizes)
    yield ""
    factors = [f"{row['factor']}x" for row in sizes]
    heads = [cell for one in factors for cell in (f"{one} p50", f"{one} p99")]
    rows = []
    for kind in sizes[0]["requests_us"]:
        found = [row["requests_us"][kind] for row in sizes]
        cells = [cell for one in found for cell in answered(one)]
        size = " / ".join(str(one["bytes"]) for one in found)
        rows.append([kind, figures["costs"].get(kind, ""), *cells, size])
    yield from table(["one client, ms", "grows with", *heads, "answer, bytes"], rows)


def answered(one):
    if one["failed"]:
        return [f"{one['failed']} of {one['failed'] + one['done']} failed", ms(one["p99"])]
    return [ms(one["p50"]), ms(one["p99"])]


def of_sizes(sizes):
    def shown(key):
        return [row["objects"][key] for row in sizes]

    def ratio(row):
        shot = row["snapshot"]
        alone, during = shot["writes_alone"]["p99"], shot["writes_during"]["p99"]
        return f"{ms(alone)} / {ms(during)} ms ({during / alone:.2f})"

    rows = [
        ["proxies, clusters", *pairs(shown("proxies"), shown("undermoon_clusters"))],
        ["nodes of the largest cluster", *shown("nodes_of_the_largest")],
        ["Kvrocks nodes, clusters", *pairs(shown("kvrocks_nodes"), shown("kvrocks_clusters"))],
        ["pool clusters, hosts", *pairs(shown("pool_clusters"), shown("pool_hosts"))],
        ["snapshot, MB", *(f"{row['snapshot']['bytes'] / 1e6:.1f}" for row in sizes)],
        ["snapshot, s", *(row["snapshot"]["s"] for row in sizes)],
        ["write p99 alone / beside snapshots", *(ratio(row) for row in sizes)],
        ["restart to ready, s", *(middle(row["restarts"]) for row in sizes)],
        ["of which processor time, s", *(middle(row["restarts"], "processor_s") for row in sizes)],
        ["memory of replicas, MiB", *(memory(row, "now") for row in sizes)],
        ["the same at most", *(memory(row, "most") for row in sizes)],
        ["processor, idle, %", *(listed(row["idle"]["processor_percent"]) for row in sizes)],
        ["data directory idle, MB", *(f"{row['log']['idle_bytes'] / 1e6:.0f}" for row in sizes)],
        ["the same at most under load, MB", *(f"{row['log']['most_bytes'] / 1e6:.0f}" for row in sizes)],
        ["writes meanwhile", *(row["log"]["writes"] for row in sizes)],
    ]
    return table(["", *(f"{row['factor']}x" for row in sizes)], rows)


def pairs(ones, others):
    return [f"{one} in {other}" for one, other in zip(ones, others)]


def listed(values):
    return ", ".join(str(value) for value in values)


def memory(row, key):
    return listed(round(one[key]) for one in row["resident_mib"])


def recovery(figures):
    rows = []
    for row in figures["rows"]:
        if "entries" in row:
            behind = f"{row['entries']} log entries behind the snapshot"
        else:
            behind = f"a snapshot of {row['snapshot_bytes'] / 1e6:.0f} MB ({row['proxies']} proxies)"
        times = [row["median_s"], row["ready_s"][-1], row["processor_s"]]
        rows.append([behind, *times, f"{row['data_bytes'] / 1e6:.0f}", row["resident_mib"]["most"]])
    heads = ["start with", "ready after s (median)", "at most", "processor s", "MB on disk", "MiB resident at most"]
    return table(heads, rows)


TABLES = {"writes": writes, "reads": reads, "mixed": mixed, "failover": failover}
TABLES |= {"scale": scale, "recovery": recovery}
