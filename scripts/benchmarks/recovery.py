"""How long a replica takes from its start until it is ready, with much behind it."""

import os
import signal
import subprocess
import sys

from .common import asked, built_replica, call, conditions, resident_mib, start_replicas, wait
from .load import generator, leader_first
from .scale import bytes_below, middle, restart
from .scale_state import ATTEMPTS, gauge, play, proxy, request, told

# A snapshot is taken when it is asked for, and at no other time.
NEVER = ["--snapshot-entries-max", "1000000000", "--snapshot-log-bytes-max", "1000000000000"]
# As hosts are called where there are many of them.
HOST = "redis-proxy-{:06}.rack-{:02}.zone-{}.datacenter-1.example.internal"
CLUSTER_NODES = 4000
PAGE = 200_000


def recovery(options, work, processes):
    quorate, load = os.environ.get("QUORATE_BIN") or built_replica(), generator()
    rows = []
    for what, prepare in (("log entries", entries), ("snapshot", snapshot)):
        if options.only and options.only != what:
            continue
        place = work / what.replace(" ", "-")
        place.mkdir()
        started = []
        try:
            rows.append(measure(options, quorate, load, place, started, (what, prepare)))
        finally:
            for process in started:
                process.send_signal(signal.SIGKILL)
                process.wait()
    under = conditions(quorate)
    under.update(replicas=options.replicas, restarts=options.restarts)
    under["note"] = "kill -9 of one replica; from its start until /readyz answers 200"
    return {"what": "recovery", "conditions": under, "rows": rows}


def measure(options, quorate, load, work, started, case):
    what, prepare = case
    replicas = start_replicas(quorate, work, started, options.replicas, NEVER)
    urls = [url for _, url in replicas]
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for url in urls))
    targets = leader_first(urls)
    behind = prepare(options, load, work, targets)
    wait("all have caught up", lambda: len({index(url) for url in urls}) == 1)
    number = urls.index(f"http://{targets[-1]}")
    took = []
    for _ in range(options.restarts):
        old = started[number]
        old.send_signal(signal.SIGKILL)
        old.wait()
        took.append(restart(old.args, number, work, started, urls[number]))
    return {
        "behind": what,
        **behind,
        "data_bytes": bytes_below(work / str(number + 1)),
        "ready_s": sorted(one["s"] for one in took),
        "median_s": middle(took),
        "processor_s": middle(took, "processor_s"),
        "resident_mib": resident_mib(started[number].pid),
    }


def index(url):
    return told(f"{url}/quorate/v1/status")["applied_index"]


def entries(options, load, work, targets):
    """Reports of failures until there are so many entries; no snapshot but the first."""
    wanted = options.entries
    while (here := index(f"http://{targets[0]}")) < wanted:
        command = [load, "run", "--kind", "http", "--targets", targets[0], "--group", "write:256"]
        command += ["--warm-up", "0", "--seconds", "10", "--keys", "1000"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(f"bench: {here} of {wanted} entries", file=sys.stderr)
    return {"entries": index(f"http://{targets[0]}")}


def snapshot(options, load, work, targets):
    """Proxies with long names in large clusters until the snapshot is as large as wanted."""
    count = 0
    while True:
        names = [HOST.format(n, n % 100, "abc"[n % 3]) for n in range(count, count + PAGE)]
        add = [request("proxy", "POST", "/api/v3/proxies/meta", proxy(f"{one}:6000")) for one in names]
        play(load, work, targets, add, 256, ATTEMPTS)
        count += PAGE
        clusters = range((count - PAGE) * 2 // CLUSTER_NODES, count * 2 // CLUSTER_NODES)
        body = {"node_number": CLUSTER_NODES}
        path = "/api/v3/clusters/meta/"
        play(load, work, targets, [request("cluster", "POST", f"{path}c{n}", body) for n in clusters], 4, ATTEMPTS)
        for target in targets:
            call("POST", f"http://{target}/quorate/v1/snapshot", {})
        size = gauge(targets[-1], "quorate_raft_snapshot_bytes")
        print(f"bench: {count} proxies, a snapshot of {size / 1e6:.0f} MB", file=sys.stderr)
        if size >= options.megabytes * 1e6:
            return {"proxies": count, "snapshot_bytes": size}


def show_recovery(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"{under['replicas']} replicas; {under['note']}; {under['restarts']} restarts; "
        f"{under['processors']} processors, load {under['load_average'][0]:.1f}\n",
        file=out,
    )
    for row in figures["rows"]:
        if "entries" in row:
            behind = f"{row['entries']} log entries"
        else:
            behind = f"a snapshot of {row['snapshot_bytes'] / 1e6:.0f} MB, {row['proxies']} proxies"
        print(
            f"{behind}: ready after {row['median_s']} s, of "
            f"which {row['processor_s']} s processor time (all: {row['ready_s']}); "
            f"{row['data_bytes'] / 1e6:.0f} MB on disk, MiB resident {row['resident_mib']}",
            file=out,
        )
