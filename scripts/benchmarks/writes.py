"""Committed writes, beside etcd and beside the disk."""

import json
import os
import subprocess
import sys

from .common import asked, built_replica, conditions, prepare_proxies, start_replicas, wait
from .load import drive, etcd_version, generator, leader_first, median, rate_of, start_etcd

# A report of a failed proxy: who is reported, by whom, and when.
WRITE = "/api/v3/failures/p{}:6000/bench"
ETCD_KEY = "failures/p{}:6000/bench"
ETCD_VALUE = "1234567890123"


def writes(options, work, processes):
    quorate, load = os.environ.get("QUORATE_BIN") or built_replica(), generator()
    replicas = start_replicas(quorate, work, processes)
    urls = [url for _, url in replicas]
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for url in urls))
    prepare_proxies(urls[0])
    ours = leader_first(urls)
    theirs = [] if options.without_etcd else start_etcd(work, processes)
    ways = {"quorate leader": ("http", ours[:1], WRITE, "")}
    ways["quorate follower"] = ("http", ours[1:2], WRITE, "")
    if theirs:
        ways["etcd leader"] = ("etcd", theirs[:1], ETCD_KEY, ETCD_VALUE)
        ways["etcd follower"] = ("etcd", theirs[1:2], ETCD_KEY, ETCD_VALUE)
    rows = []
    for clients in options.clients:
        found = {way: [] for way in ways}
        disk = []
        for _ in range(options.rounds):
            disk.append(synced(load, work))
            for way, (kind, targets, write, body) in ways.items():
                group = f"write:{clients}{rate_of(options)}"
                found[way] += drive(load, kind, targets, [group], options, write=write, body=body)
        row = {way: median(of) for way, of in found.items()}
        rows.append({"clients": clients, "disk": median(disk), **row})
    under = conditions(quorate)
    under.update(rounds=options.rounds, seconds=options.seconds, replicas=3, rate=options.rate)
    under["etcd"] = etcd_version() if theirs else None
    under["note"] = "three replicas, three members and the generator share this machine and disk"
    return {"what": "writes", "conditions": under, "rows": rows}


def synced(load, work):
    command = [load, "sync", "--dir", str(work), "--seconds", "3"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def show_writes(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"median of {under['rounds']} rounds of {under['seconds']} s; {under['note']}; "
        f"{under['processors']} processors, load {under['load_average'][0]:.1f}; "
        f"etcd {under['etcd']}\n",
        file=out,
    )
    print("clients  way               writes/s  of etcd    p50 us    p99 us  failed  gen %", file=out)
    for row in figures["rows"]:
        disk = row["disk"]
        print(f"{'':7}  {'one fdatasync':16} {disk['per_s']:9.0f} {'':8} {disk['p50']:9} {disk['p99']:9}", file=out)
        for way in (key for key in row if key not in ("clients", "disk")):
            one = row[way]
            peer = row.get(f"etcd {way.split()[1]}")
            ratio = f"{one['per_s'] / peer['per_s']:8.2f}" if peer else ""
            print(
                f"{row['clients']:7}  {way:16} {one['per_s']:9.0f} {ratio:>8} {one['p50']:9} "
                f"{one['p99']:9} {one['failed']:7} {one['generator_percent']:6}",
                file=out,
            )
