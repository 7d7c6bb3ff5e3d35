"""What grows with the state, and how: the same measured at 1x, 10x and 100x."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

from .common import asked, built_replica, call, conditions, processor_s, resident_mib, start_replicas, wait
from .load import drive, generator, leader_first
from .scale_kinds import COSTS, commands, last_commands, queries
from .scale_state import build, gauge, play, sizes, told

READY_POLL_S = 0.005
# Reports of failures of proxies that are there at every size.
WRITE = "/api/v3/failures/h{}:6000/bench"
WRITERS, WRITES_PER_S = 16, 400
# Snapshots come one after the other, but not without end.
SNAPSHOT_PAUSE_S = 1


def scale(options, work, processes):
    quorate, load = os.environ.get("QUORATE_BIN") or built_replica(), generator()
    rows = []
    for factor in options.sizes:
        place = work / f"{factor}x"
        place.mkdir()
        started = []
        try:
            rows.append(measure(options, quorate, load, place, started, factor))
        finally:
            for process in started:
                process.send_signal(signal.SIGKILL)
                process.wait()
    under = conditions(quorate)
    under.update(replicas=3, seconds=options.seconds)
    under["note"] = "three replicas, stand-in daemons and one client share this machine"
    return {"what": "scale", "conditions": under, "costs": COSTS, "sizes": rows}


def measure(options, quorate, load, work, started, factor):
    replicas = start_replicas(quorate, work, started)
    urls = [url for _, url in replicas]
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for url in urls))
    built = build(load, work, started, urls, factor)
    wait("all have caught up", lambda: len({index(url) for url in urls}) == 1)
    targets = leader_first(urls)
    leader = f"http://{targets[0]}"
    idle = idling(replicas)
    requests = {}
    for make in (commands(leader), queries(leader, factor), last_commands(leader)):
        for listed in make:
            rows = play(load, work, targets[:1], listed)
            requests |= {row["op"]: figures_of(row) for row in rows}
    written = snapshot(leader, targets[0])
    return {
        "factor": factor,
        "objects": sizes(factor),
        "built_s": built,
        "idle": idle,
        "requests_us": requests,
        "snapshot": written | beside_snapshots(options, load, targets, urls),
        "log": log_growth(options, load, targets, work),
        "resident_mib": [resident_mib(process.pid) for process, _ in replicas],
        "restarts": restarts(replicas, work, started, targets),
    }


def figures_of(row):
    keep = {key: row[key] for key in ("min", "p50", "p99", "max", "done", "failed")}
    return keep | {"bytes": round(row["bytes_per_s"] / row["per_s"]) if row["done"] else 0}


def index(url):
    return told(f"{url}/quorate/v1/status")["applied_index"]


def idling(replicas, seconds=10):
    """Processor time of each replica that nobody asks anything, and bytes written to its log."""
    pids = [process.pid for process, _ in replicas]
    before = [processor_s(pid) for pid in pids]
    time.sleep(seconds)
    used = [processor_s(pid) - then for pid, then in zip(pids, before)]
    return {"processor_percent": [round(100 * one / seconds, 1) for one in used]}


def snapshot(leader, target):
    begun = time.monotonic()
    call("POST", f"{leader}/quorate/v1/snapshot", {})
    took = time.monotonic() - begun
    return {"s": round(took, 2), "bytes": gauge(target, "quorate_raft_snapshot_bytes")}


def beside_snapshots(options, load, targets, urls):
    """Writes at a fixed rate, first alone and then while every replica writes snapshots."""
    groups = [f"write:{WRITERS}:{WRITES_PER_S}"]
    more = {"write": WRITE, "keys": 10}
    alone = drive(load, "http", targets[:1], groups, options, **more)[0]
    done, taken = threading.Event(), []

    def take(url):
        while not done.is_set():
            request = urllib.request.Request(f"{url}/quorate/v1/snapshot", b"{}", method="POST")
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    taken.append(answer.status)
            except OSError as error:
                print(f"bench: a snapshot at {url}: {error}", file=sys.stderr)
            done.wait(SNAPSHOT_PAUSE_S)

    threads = [threading.Thread(target=take, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    try:
        during = drive(load, "http", targets[:1], groups, options, **more)[0]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return {"writes_alone": alone, "writes_during": during, "taken": len(taken)}


def log_growth(options, load, targets, work):
    """Most bytes of any data directory, idle and while as much is written as can be."""
    dirs = [work / str(number) for number in (1, 2, 3)]
    idle = max(bytes_below(one) for one in dirs)
    most, done = [idle], threading.Event()

    def look():
        while not done.wait(0.5):
            most.append(max(bytes_below(one) for one in dirs))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        more = {"write": WRITE, "keys": 10}
        row = drive(load, "http", targets[:1], ["write:256"], options, **more)[0]
    finally:
        done.set()
        looking.join()
    return {
        "idle_bytes": idle,
        "most_bytes": max(most),
        "last_bytes": most[-1],
        "writes": row["done"],
        "writes_per_s": row["per_s"],
    }


def bytes_below(path):
    total = 0
    for base, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(pathlib.Path(base) / name).st_size
            except FileNotFoundError:
                pass
    return total


def restarts(replicas, work, started, targets, times=3):
    """Seconds from the start of a follower that was killed until it is ready; and what processor
    time it took, which tells more of a machine that has other things to do."""
    number = next(n for n, (_, url) in enumerate(replicas) if url.endswith(targets[1]))
    took = []
    for _ in range(times):
        old = started[number]
        old.send_signal(signal.SIGKILL)
        old.wait()
        took.append(restart(old.args, number, work, started, replicas[number][1]))
    return took


def restart(command, number, work, started, url):
    with open(work / f"{number + 1}.log", "a") as log:
        begun = time.monotonic()
        started[number] = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = begun + 300
    while not is_ready(url):
        if time.monotonic() > deadline:
            raise SystemExit("bench: a restarted replica is not ready within five minutes")
        time.sleep(READY_POLL_S)
    took = time.monotonic() - begun
    return {"s": round(took, 2), "processor_s": processor_s(started[number].pid)}


def middle(restarts, key="s"):
    return sorted(one[key] for one in restarts)[len(restarts) // 2]


def is_ready(url):
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def show_scale(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"{under['note']}; {under['processors']} processors, load "
        f"{under['load_average'][0]:.1f}\n",
        file=out,
    )
    factors = [f"{row['factor']}x" for row in figures["sizes"]]
    heads = "".join(f"{factor + ' p50':>11}{factor + ' p99':>11}{'bytes':>10}" for factor in factors)
    print(f"{'microseconds at one client':40}{heads}  grows with", file=out)
    for kind in figures["sizes"][0]["requests_us"]:
        cells = ""
        for row in figures["sizes"]:
            one = row["requests_us"][kind]
            cells += f"{one['p50']:>11}{one['p99']:>11}{one['bytes']:>10}"
        print(f"{kind:40}{cells}  {figures['costs'].get(kind, '')}", file=out)
    for row in figures["sizes"]:
        shot, log = row["snapshot"], row["log"]
        alone, during = shot["writes_alone"]["p99"], shot["writes_during"]["p99"]
        memory = ", ".join(f"{one['now']:.0f}/{one['most']:.0f}" for one in row["resident_mib"])
        idle = ", ".join(str(one) for one in row["idle"]["processor_percent"])
        print(
            f"\n{row['factor']}x: snapshot of {(shot['bytes'] or 0) / 1e6:.1f} MB in {shot['s']} s; "
            f"write p99 {alone} us alone, {during} us beside {shot['taken']} snapshots "
            f"({during / alone:.2f}); restart {middle(row['restarts'])} s; MiB resident now/most {memory}; "
            f"idle per cent {idle}; data directory {log['idle_bytes'] / 1e6:.0f} MB idle, at most "
            f"{log['most_bytes'] / 1e6:.0f} MB while {log['writes']} writes came",
            file=out,
        )
