"""The generator of load and what it is pointed at."""

import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import time
import urllib.request

from .common import ROOT, asked, free_ports, wait


def generator():
    """The program `load`, built if nobody names it."""
    named = os.environ.get("LOAD_BIN")
    if named:
        return named
    command = ["cargo", "build", "--release", "--locked", "--example", "load"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "examples" / "load")


def drive(load, kind, targets, groups, options, **more):
    """One row for each group, each with the processor time that the generator took."""
    command = [load, "run", "--kind", kind, "--targets", ",".join(targets)]
    command += ["--seconds", str(options.seconds), "--warm-up", str(options.warm_up)]
    for group in groups:
        command += ["--group", group]
    for name, value in more.items():
        command += [f"--{name}", str(value)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    percent = round(100 * used / (time.monotonic() - begun))
    return [{**row, "generator_percent": percent} for row in json.loads(done.stdout)]


def rate_of(options):
    """What makes a loop open: so many requests a second, whatever becomes of them."""
    return f":{options.rate}" if options.rate else ""


def start_etcd(work, processes, count=3):
    """Members of an etcd cluster; the leader's address first."""
    etcd = etcd_program()
    ports = free_ports(2 * count)
    clients, peers = ports[:count], ports[count:]
    cluster = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(peers))
    for number in range(count):
        client, peer = (f"http://127.0.0.1:{ports[number]}" for ports in (clients, peers))
        command = [etcd, "--name", f"m{number}", "--data-dir", str(work / f"etcd{number}")]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", cluster, "--initial-cluster-state", "new"]
        with open(work / f"etcd{number}.log", "w") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    addresses = [f"127.0.0.1:{port}" for port in clients]
    wait("etcd is healthy", lambda: all(asked(f"http://{one}/health") for one in addresses))
    return sorted(addresses, key=lambda address: not leads_etcd(address))


def etcd_program():
    """That of the machine, or else the one that the tests have."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    found = shutil.which("etcd") or shutil.which("etcd", path=target / "tools" / "bin")
    if not found:
        raise SystemExit("bench: no etcd here: scripts/setup test brings one, or --without-etcd")
    return found


def leads_etcd(address):
    url = f"http://{address}/v3/maintenance/status"
    with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=10) as answer:
        status = json.load(answer)
    return status["leader"] == status["header"]["member_id"]


def etcd_version():
    text = subprocess.run([etcd_program(), "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"etcd Version: (\S+)", text)[1]


def leader_first(urls):
    """Addresses of replicas, the leader's first."""
    status = json.loads(asked(f"{urls[0]}/quorate/v1/status"))
    addresses = [url.removeprefix("http://") for url in urls]
    leader = addresses.pop(status["leader"] - 1)
    return [leader, *addresses]


def median(rows, key="per_s"):
    """The row in the middle, and how far the others are from it."""
    ordered = sorted(rows, key=lambda row: row[key])
    middle = dict(ordered[len(ordered) // 2])
    middle["of_rounds"] = [round(row[key]) for row in rows]
    return middle
