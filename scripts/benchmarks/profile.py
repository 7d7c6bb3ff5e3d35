"""Where a replica spends its time, as a flamegraph."""

import os
import pathlib
import shutil
import subprocess
import sys

from .common import ROOT, built_replica, conditions
from .load import drive, generator, leader_first
from .reads import proxy_of, replicas_with_clusters
from .writes import WRITE

# Of a second; no multiple of what else happens in it.
SAMPLES_PER_S = 499
INFERNO = "0.12.8"


def profile(options, work, processes):
    quorate, load = os.environ.get("QUORATE_BIN") or built_replica(), generator()
    if not shutil.which("perf"):
        raise SystemExit("bench: no perf here: apt-get install linux-perf")
    tools = inferno()
    urls = replicas_with_clusters(quorate, work, processes)
    leader = leader_first(urls)[0]
    pid = processes[[url.removeprefix("http://") for url in urls].index(leader)].pid
    groups, more = what(options, urls)
    data = work / "perf.data"
    record = ["perf", "record", "-q", "-F", str(SAMPLES_PER_S), "-g", "-p", str(pid), "-o", str(data)]
    recording = subprocess.Popen([*record, "--", "sleep", str(options.warm_up + options.seconds)])
    rows = drive(load, "http", [leader], groups, options, **more)
    recording.wait()
    script = subprocess.run(["perf", "script", "-i", str(data)], capture_output=True, check=True)
    collapse, draw = tools / "inferno-collapse-perf", tools / "inferno-flamegraph"
    folded = subprocess.run([collapse], input=script.stdout, capture_output=True, check=True).stdout
    title = f"leader, {', '.join(groups)}"
    svg = subprocess.run([draw, "--title", title], input=folded, capture_output=True, check=True)
    options.svg.write_bytes(svg.stdout)
    return {"what": "profile", "conditions": conditions(quorate), "rows": rows}


def what(options, urls):
    if options.of == "writes":
        return [f"write:{options.clients}"], {"write": WRITE}
    cluster = "large" if options.of == "large-reads" else "small"
    path = f"/api/v3/proxies/meta/{proxy_of(urls[0], cluster)}"
    op = "gzip" if options.of == "gzip-reads" else "read"
    return [f"{op}:{options.clients}"], {"read": path}


def inferno():
    """The directory of the programs that draw; they are built if they are not there."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "bench-inferno"
    if not (target / "bin" / "inferno-flamegraph").exists():
        print("bench: installing inferno from crates.io (some minutes)", file=sys.stderr)
        install = ["cargo", "install", "--locked", "--quiet", "--version", INFERNO]
        subprocess.run([*install, "--root", str(target), "inferno"], check=True)
    return target / "bin"


def show_profile(figures):
    for row in figures["rows"]:
        print(f"{row['op']}: {row['per_s']:.0f} a second, p50 {row['p50']} us", file=sys.stderr)
