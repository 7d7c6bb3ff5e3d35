"""What every measurement needs: replicas, requests, conditions, percentiles."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 120
# What else the machine had to do when the measurement began.
LOAD_BEFORE = os.getloadavg()


def in_work_dir(measure):
    work = pathlib.Path(tempfile.mkdtemp(prefix="quorate-bench-"))
    processes = []
    try:
        figures = measure(work, processes)
    except BaseException:
        print(f"bench: the logs stay in {work}", file=sys.stderr)
        raise
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
    shutil.rmtree(work)
    return figures


def built_replica():
    command = ["cargo", "build", "--release", "--locked", "--bin", "quorate"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "quorate")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_replicas(quorate, work, processes, count=3, more=()):
    ports = free_ports(2 * count)
    clients, peers = ports[:count], ports[count:]
    members = ",".join(f"{number}=127.0.0.1:{port}" for number, port in enumerate(peers, 1))
    replicas = []
    for number, port in enumerate(clients, 1):
        command = [quorate, "serve", "--replica-id", str(number), "--peers", members]
        command += ["--listen", f"127.0.0.1:{port}", "--data-dir", str(work / str(number))]
        command += ["--kvrocks-profile", "program", *more]
        with open(work / f"{number}.log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        processes.append(process)
        replicas.append((process, f"http://127.0.0.1:{port}"))
    return replicas


def prepare_proxies(url):
    """A cluster, so that metadata has something in it, and proxies to report."""
    for number in range(200):
        host = f"p{number}"
        body = {"proxy_address": f"{host}:6000", "nodes": [f"{host}:7001", f"{host}:7002"]}
        json_type = {"Content-Type": "application/json"}
        call("POST", f"{url}/api/v3/proxies/meta", body, json_type)
    call("POST", f"{url}/api/v3/clusters/meta/bench", {"node_number": 64}, json_type)


def percentiles(values, shares=(50, 99), digits=1):
    """Nearest ranks, and the greatest; of few values the 99th percentile is the greatest."""
    ordered = sorted(values)
    rank = lambda share: ordered[max(0, -(-len(ordered) * share // 100) - 1)]
    shown = {f"p{share}": rank(share) for share in shares} | {"max": ordered[-1]}
    return {key: round(value, digits) for key, value in shown.items()}


def leader_of(url):
    return json.loads(asked(f"{url}/quorate/v1/status"))["leader"]


def processor_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) for key in ("VmRSS", "VmHWM"))
    return {"now": round(now / 1024, 1), "most": round(most / 1024, 1)}


def conditions(quorate):
    version = subprocess.run([quorate, "--version"], capture_output=True, text=True, check=True)
    return {
        "quorate": version.stdout.strip(),
        "processors": os.cpu_count(),
        "processor": processor_name(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "file_system": file_system(),
        "machine": os.uname().machine,
        "kernel": os.uname().release,
        "load_average": LOAD_BEFORE,
        "command": "scripts/" + shlex.join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "revision": revision(),
    }


def processor_name():
    found = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else os.uname().machine


def file_system():
    """Where the data directories are."""
    command = ["stat", "-f", "-c", "%T", tempfile.gettempdir()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def revision():
    """Of the programs: those that are named may be of another commit than this file."""
    named = os.environ.get("QUORATE_REVISION")
    if named:
        return named
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def asked(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError):
        return ""


def call(method, url, body, headers={}):
    """A change, repeated while nobody leads."""
    data, deadline = json.dumps(body).encode(), time.monotonic() + PATIENCE_S
    while True:
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            if error.code < 500 and "no leader" not in text or time.monotonic() > deadline:
                raise SystemExit(f"bench: {method} {url}: {error.code} {text}") from error
        time.sleep(0.2)


def wait(what, holds, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: not within {patience_s} s: {what}")
        time.sleep(0.2)
