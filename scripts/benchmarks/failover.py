"""How long nobody is acknowledged anything after the leader was killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from .common import asked, built_replica, conditions, percentiles, start_replicas, wait

# A write that is not answered by then is sent again, under the same request id.
ATTEMPT_S = 5
PAUSE_S = 0.005
SHARES = (50, 90, 99)


def failover(options, work, processes):
    quorate = os.environ.get("QUORATE_BIN") or built_replica()
    replicas = start_replicas(quorate, work, processes, options.replicas)
    urls = [url for _, url in replicas]
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for url in urls))
    rows = []
    for kill in range(options.kills):
        # An acknowledged write is behind every replica before the next one dies.
        write(urls, kill, "before")
        wait("every replica has caught up", lambda: len({applied(url) for url in urls}) == 1)
        rows.append(lose_leader(urls, processes, work, kill))
        if (kill + 1) % 20 == 0:
            print(f"bench: {kill + 1} of {options.kills} kills", file=sys.stderr)
    under = conditions(quorate)
    under["kills"], under["replicas"] = options.kills, options.replicas
    under["note"] = "kill -9 of the leader; a writer on each survivor, a new write every 5 ms"
    under["timers_ms"] = "defaults: heartbeat 60, election 210 to 380"
    return {
        "what": "failover",
        "conditions": under,
        "leader_ms": percentiles([row["leader"] for row in rows], SHARES, 0),
        "first_write_ms": percentiles([row["write"] for row in rows], SHARES, 0),
        "campaigns_most": max(row["terms"] for row in rows),
    }


def lose_leader(urls, processes, work, kill):
    """Milliseconds from the kill to a new leader and to the first acknowledged write."""
    leader = status(urls[0])["leader"]
    term = status(urls[0])["term"]
    index = leader - 1
    survivors = [url for number, url in enumerate(urls) if number != index]
    first, done = [], threading.Event()
    threads = [
        threading.Thread(target=press, args=(url, f"{kill}-{number}", first, done))
        for number, url in enumerate(survivors)
    ]
    process = processes[index]
    killed = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.wait()
    for thread in threads:
        thread.start()
    led = wait_leader(survivors, leader)
    for thread in threads:
        thread.join()
    new_term = status(survivors[0])["term"]
    restart(index, processes, work)
    wait("the killed one is back", lambda: asked(f"{urls[index]}/readyz"))
    return {
        "leader": 1000 * (led - killed),
        "write": 1000 * (min(first) - killed),
        "terms": new_term - term,
    }


def press(url, name, first, done):
    """Writes until a write that was begun after the kill is acknowledged somewhere."""
    number, deadline = 0, time.monotonic() + 60
    while not done.is_set() and time.monotonic() < deadline:
        number += 1
        if attempt(url, f"{name}-{number}"):
            first.append(time.monotonic())
            done.set()
        else:
            time.sleep(PAUSE_S)


def attempt(url, name, timeout=ATTEMPT_S):
    path = f"{url}/api/v3/failures/p{name}:6000/bench"
    request = urllib.request.Request(path, b"", {"Idempotency-Key": f"bench-{name}"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def write(urls, kill, what):
    wait("a write is acknowledged", lambda: attempt(urls[kill % len(urls)], f"{kill}-{what}"))


def wait_leader(urls, lost):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for url in urls:
            found = status(url)
            if found and found["leader"] not in (None, lost):
                return time.monotonic()
        time.sleep(PAUSE_S)
    raise SystemExit("bench: no new leader within a minute")


def restart(index, processes, work):
    old = processes[index]
    with open(work / f"{index + 1}.log", "a") as log:
        processes[index] = subprocess.Popen(old.args, stdout=log, stderr=log)


def status(url):
    answer = asked(f"{url}/quorate/v1/status")
    return json.loads(answer) if answer else None


def applied(url):
    found = status(url)
    return found["applied_index"] if found else url


def show_failover(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"{under['kills']} kills, {under['replicas']} replicas; {under['note']}; "
        f"{under['timers_ms']}; {under['processors']} processors, "
        f"load {under['load_average'][0]:.1f}\n",
        file=out,
    )
    print("milliseconds after the kill     p50    p90    p99    max", file=out)
    for name, key in (("a new leader", "leader_ms"), ("first acknowledged write", "first_write_ms")):
        cells = "".join(f"{figures[key][share]:7.0f}" for share in ("p50", "p90", "p99", "max"))
        print(f"{name:28}{cells}", file=out)
    print(f"terms gone through by one election, at most: {figures['campaigns_most']}", file=out)
