"""What it costs to probe Kvrocks nodes."""

import concurrent.futures
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

from .common import asked, call, conditions, in_work_dir, leader_of, percentiles, processor_s, resident_mib, start_replicas, wait

METRIC = "quorate_kvrocks_probe_cycle_seconds"


def programs():
    """The replica and the stand-in, built if nobody names them."""
    named = [os.environ.get(name) for name in ("QUORATE_BIN", "KVROCKS_NODE_BIN")]
    if not all(named):
        build = ["cargo", "build", "--release", "--locked", "--bin", "quorate"]
        subprocess.run([*build, "--example", "kvrocks-node"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    built = [target / "quorate", target / "examples" / "kvrocks-node"]
    return [str(name or path) for name, path in zip(named, built)]


def kvrocks_probe(options, binaries):
    # Every replica keeps a connection or two to every node.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return in_work_dir(lambda work, processes: measured(options, binaries, work, processes))


def measured(options, binaries, work, processes):
    quorate, node = binaries
    command = [node, "--count", str(options.nodes)]
    stand_in = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    processes.append(stand_in)
    addresses = [stand_in.stdout.readline().strip() for _ in range(options.nodes)]
    replicas = start_replicas(quorate, work, processes)
    urls = [url for _, url in replicas]
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for url in urls))
    settings = {"ping_interval_ms": options.interval_ms}
    call("PUT", f"{urls[0]}/quorate/v1/kvrocks/settings", settings)
    call("POST", f"{urls[0]}/api/v1/namespaces", {"namespace": "bench"})
    begun = time.monotonic()
    create_clusters(options, urls, addresses)
    created_s = time.monotonic() - begun
    wait("every replica finds every node well", lambda: all(all_well(url, options) for url in urls))
    settled_s = time.monotonic() - begun
    pids = [process.pid for process, _ in replicas]
    before = [processor_s(pid) for pid in [*pids, stand_in.pid]]
    cycles, silent, measured_s = watch_cycles(urls, options.seconds)
    after = [processor_s(pid) for pid in [*pids, stand_in.pid]]
    percents = [round(100 * (new - old) / measured_s, 1) for old, new in zip(before, after)]
    leader = leader_of(urls[0])
    shown = [
        {
            "replica": number,
            "is_leader": number == leader,
            "cycle_ms": summary(cycles[number - 1]),
            # All nodes run all the time: a node that seems silent was not asked well.
            "nodes_silent_most": silent[number - 1],
            "processor_percent": percents[number - 1],
            "resident_mib": resident_mib(pid),
        }
        for number, pid in enumerate(pids, 1)
    ]
    return {
        "what": "kvrocks-probe",
        "conditions": probe_conditions(options, quorate),
        "created_s": round(created_s, 1),
        "settled_s": round(settled_s, 1),
        "measured_s": round(measured_s, 1),
        "replicas": shown,
        "stand_ins": {
            "processor_percent": percents[-1],
            "resident_mib": resident_mib(stand_in.pid),
        },
    }


def create_clusters(options, urls, addresses):
    size = options.nodes // options.clusters

    def create(number):
        nodes = addresses[number * size : (number + 1) * size]
        body = {"name": f"c{number}", "nodes": nodes, "replicas": options.replicas}
        url = f"{urls[number % len(urls)]}/api/v1/namespaces/bench/clusters"
        call("POST", url, body, {"Idempotency-Key": f"bench-{number}"})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(options.clusters)))


def all_well(url, options):
    answer = asked(f"{url}/quorate/v1/kvrocks/status")
    clusters = json.loads(answer)["data"]["clusters"] if answer else []
    return sum(cluster["nodes_well"] for cluster in clusters) == options.nodes


def watch_cycles(urls, seconds):
    """Seconds of every cycle on every replica: the growth of sum by growth of count."""
    cycles, silent = [[] for _ in urls], [0 for _ in urls]
    last = [totals(url) for url in urls]
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        time.sleep(0.1)
        for index, url in enumerate(urls):
            now = totals(url)
            ended, taken = now[0] - last[index][0], now[1] - last[index][1]
            silent[index] = max(silent[index], now[2])
            # Two that ended between two questions are told apart by nobody.
            cycles[index].extend([taken / ended] * ended if ended else [])
            last[index] = now
    return cycles, silent, time.monotonic() - begun


def totals(url):
    text = asked(f"{url}/metrics")
    count = re.search(rf"^{METRIC}_count (\S+)", text, re.M)
    total = re.search(rf"^{METRIC}_sum (\S+)", text, re.M)
    silent = re.search(r"^quorate_kvrocks_nodes_silent (\S+)", text, re.M)
    if not (count and total and silent):
        # A metric is there once something was measured.
        return 0, 0.0, 0
    return int(count[1]), float(total[1]), int(float(silent[1]))


def summary(seconds):
    if not seconds:
        raise SystemExit("bench: no cycle ended; measure for longer than an interval")
    return {"count": len(seconds), **percentiles([1000 * value for value in seconds])}


def probe_conditions(options, quorate):
    return {
        "clusters": options.clusters,
        "nodes": options.nodes,
        "nodes_per_shard": options.replicas,
        "interval_ms": options.interval_ms,
        **conditions(quorate),
        "note": "three replicas and all nodes share this machine",
    }


def show(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"{under['clusters']} clusters, {under['nodes']} nodes, a probe every "
        f"{under['interval_ms']} ms, measured for {figures['measured_s']} s on "
        f"{under['processors']} processors\n"
        f"created in {figures['created_s']} s, all nodes well after {figures['settled_s']} s\n",
        file=out,
    )
    print("                cycles   p50 ms   p99 ms   max ms   silent   CPU %   RSS MiB", file=out)
    for replica in figures["replicas"]:
        name = f"{'leader' if replica['is_leader'] else 'follower'} {replica['replica']}"
        cycle = replica["cycle_ms"]
        print(
            f"{name:14} {cycle['count']:7} {cycle['p50']:8} {cycle['p99']:8} {cycle['max']:8} "
            f"{replica['nodes_silent_most']:8} {replica['processor_percent']:7} "
            f"{replica['resident_mib']['now']:9}",
            file=out,
        )
    others = figures["stand_ins"]
    print(
        f"{'stand-ins':50} {others['processor_percent']:16} {others['resident_mib']['now']:9}",
        file=out,
    )
