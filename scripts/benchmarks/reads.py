"""Local reads, beside a bare handler that returns the same bytes; alone and while others write."""

import json
import os
import subprocess
import sys

from .common import asked, built_replica, call, conditions, prepare_proxies, start_replicas, wait
from .load import drive, generator, leader_first, median, rate_of
from .writes import WRITE

JSON = {"Content-Type": "application/json"}
# What is measured of a replica that is read from, and written to besides.
WAYS = {
    "alone": "reads alone",
    "during": "reads beside writers in closed loops",
    "during_writes": "those writers",
    "paced": "reads beside {} writes/s",
    "paced_writes": "those writes",
}


def reads(options, work, processes):
    quorate, load = os.environ.get("QUORATE_BIN") or built_replica(), generator()
    urls = replicas_with_clusters(quorate, work, processes)
    follower = leader_first(urls)[1]
    rows = []
    for name, is_gzip in (("small", False), ("small", True), ("large", False), ("large", True)):
        proxy = proxy_of(urls[0], name)
        path = f"/api/v3/proxies/meta/{proxy}"
        bare = serve(load, f"http://{follower}{path}", is_gzip, processes)
        op = "gzip" if is_gzip else "read"
        for clients in options.clients:
            found = {"quorate": [], "bare handler": []}
            for _ in range(options.rounds):
                for way, target in (("quorate", follower), ("bare handler", bare)):
                    group = f"{op}:{clients}{rate_of(options)}"
                    found[way] += drive(load, "http", [target], [group], options, read=path)
            ways = {way: median(of) for way, of in found.items()}
            rows.append({"cluster": name, "gzip": is_gzip, "clients": clients, **ways})
    under = conditions(quorate)
    under.update(rounds=options.rounds, seconds=options.seconds, replicas=3, rate=options.rate)
    under["note"] = "small: 8 nodes, large: 400; servers and generator share this machine"
    return {"what": "reads", "conditions": under, "rows": rows}


def replicas_with_clusters(quorate, work, processes):
    replicas = start_replicas(quorate, work, processes)
    urls = [url for _, url in replicas]
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for url in urls))
    # The reports that are written need proxies too.
    prepare_proxies(urls[0])
    for number in range(300):
        host = f"q{number}"
        body = {"proxy_address": f"{host}:6000", "nodes": [f"{host}:7001", f"{host}:7002"]}
        call("POST", f"{urls[0]}/api/v3/proxies/meta", body, JSON)
    for name, nodes in (("small", 8), ("large", 400)):
        call("POST", f"{urls[0]}/api/v3/clusters/meta/{name}", {"node_number": nodes}, JSON)
    return urls


def proxy_of(url, cluster):
    answer = json.loads(asked(f"{url}/api/v3/clusters/meta/{cluster}"))
    return answer["cluster"]["nodes"][0]["proxy_address"]


def serve(load, url, is_gzip, processes):
    command = [load, "serve", "--from", url, *(["--gzip"] if is_gzip else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    processes.append(process)
    return process.stdout.readline().strip()


def show_reads(figures):
    show_head(figures)
    out = sys.stderr
    print("cluster  gzip  clients  way             reads/s  of bare      MB/s    p50 us    p99 us  gen %", file=out)
    for row in figures["rows"]:
        for way in ("bare handler", "quorate"):
            one = row[way]
            ratio = f"{one['per_s'] / row['bare handler']['per_s']:8.2f}"
            print(
                f"{row['cluster']:8} {'yes' if row['gzip'] else 'no':5} {row['clients']:7}  {way:13} "
                f"{one['per_s']:9.0f} {ratio} {one['bytes_per_s'] / 1e6:9.1f} {one['p50']:9} "
                f"{one['p99']:9} {one['generator_percent']:6}",
                file=out,
            )


def mixed(options, work, processes):
    quorate, load = os.environ.get("QUORATE_BIN") or built_replica(), generator()
    urls = replicas_with_clusters(quorate, work, processes)
    leader, follower, _ = leader_first(urls)
    path = f"/api/v3/proxies/meta/{proxy_of(urls[0], 'small')}"
    rows = []
    loops = {"during": "", "paced": f":{options.rate}"}
    for name, target in (("follower", follower), ("leader", leader)):
        found = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            groups = [f"read:{options.readers}"]
            found["alone"] += drive(load, "http", [target], groups, options, read=path)
            for way, rate in loops.items():
                both = [*groups, f"write:{options.writers}{rate}"]
                both = drive(load, "http", [target], both, options, read=path, write=WRITE)
                found[way].append(both[0])
                found[f"{way}_writes"].append(both[1])
        rows.append({"replica": name, **{way: median(of) for way, of in found.items()}})
    under = conditions(quorate)
    under.update(rounds=options.rounds, seconds=options.seconds, replicas=3, rate=options.rate)
    under["note"] = f"{options.readers} readers, {options.writers} writers, one generator"
    return {"what": "mixed", "conditions": under, "rows": rows}


def show_mixed(figures):
    show_head(figures)
    out, rate = sys.stderr, figures["conditions"]["rate"]
    print("replica   what                                per s  of alone    p50 us    p99 us  failed  gen %", file=out)
    for row in figures["rows"]:
        for way, what in WAYS.items():
            one = row[way]
            ratio = of_alone(row, way)
            ratio = " " * 8 if ratio is None else f"{ratio:8.2f}"
            print(
                f"{row['replica']:9} {what.format(rate):34} {one['per_s']:8.0f} {ratio}  {one['p50']:8} "
                f"{one['p99']:9} {one['failed']:7} {one['generator_percent']:6}",
                file=out,
            )


def of_alone(row, way):
    """How many reads there were for each without writers; nothing for the writers themselves."""
    return None if way.endswith("writes") else row[way]["per_s"] / row["alone"]["per_s"]


def show_head(figures):
    under = figures["conditions"]
    print(
        f"median of {under['rounds']} rounds of {under['seconds']} s; {under['note']}; "
        f"{under['processors']} processors, load {under['load_average'][0]:.1f}\n",
        file=sys.stderr,
    )
