"""A state of a given size, made through the interfaces that clients use."""

import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

from .common import asked, call, wait

# While a state is made, nobody minds a request that is sent again.
ATTEMPTS = 20
JSON = {"Content-Type": "application/json"}
# At factor 1; at 100 it is 50 000 proxies in 500 clusters, 20 000 nodes, 5 000 pool clusters.
PROXIES, CLUSTERS, LARGEST_NODES = 500, 5, 40
KVROCKS_CLUSTERS, KVROCKS_NODES = 10, 20
POOL_HOST_CLUSTERS = 50
NODES = 192
PROXIES_OF_HOST = 50
KIND = {"consensus_plugin": "noops", "consensus_mode": "", "size": 1}


def sizes(factor):
    """How many there are of what."""
    return {
        "proxies": PROXIES * factor,
        "undermoon_clusters": CLUSTERS * factor,
        "nodes_of_the_largest": LARGEST_NODES * factor,
        "kvrocks_nodes": KVROCKS_CLUSTERS * KVROCKS_NODES * factor,
        "kvrocks_clusters": KVROCKS_CLUSTERS * factor,
        "pool_hosts": factor,
        "pool_clusters": POOL_HOST_CLUSTERS * factor,
    }


def request(kind, method, path, body=None, is_gzip=False):
    """One line of a list for `load play`."""
    text = "" if body is None else json.dumps(body)
    return {"kind": kind, "method": method, "path": path, "body": text, "is_gzip": is_gzip}


def play(load, work, targets, requests, clients=1, attempts=1):
    """What each kind of request took. With several attempts everything must have succeeded."""
    path = work / "requests.jsonl"
    with open(path, "w") as file:
        file.writelines(json.dumps(one) + "\n" for one in requests)
    command = [load, "play", "--targets", ",".join(targets), "--clients", str(clients)]
    command += ["--requests", str(path), "--attempts", str(attempts)]
    command += ["--run", f"play-{os.getpid()}-{time.monotonic_ns()}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows = json.loads(done.stdout)
    bad = [row["op"] for row in rows if row["failed"]]
    if bad and attempts > 1:
        raise SystemExit(f"bench: not all of this was done: {', '.join(bad)}")
    return rows


def told(url):
    """What is answered as JSON; asked again while nobody answers."""
    found = []
    wait(f"an answer of {url}", lambda: found.append(asked(url)) or found[-1])
    return json.loads(found[-1])


def build(load, work, processes, urls, factor):
    """Everything there is, in this order; tells how long each family took."""
    targets = [url.removeprefix("http://") for url in urls]
    took = {}
    for name, make in (("undermoon", undermoon), ("kvrocks", kvrocks), ("pool", pool)):
        begun = time.monotonic()
        make(load, work, processes, targets, factor)
        took[name] = round(time.monotonic() - begun, 1)
        print(f"bench: {name} at {factor}x is there after {took[name]} s", file=sys.stderr)
    return took


def proxy(name):
    """A proxy with its two nodes, as it is registered."""
    host, port = name.split(":")
    nodes = [f"{host}:{int(port) + 10000 + node}" for node in (0, 1)]
    return {"proxy_address": name, "nodes": nodes}


def undermoon(load, work, processes, targets, factor):
    hosts = PROXIES * factor // PROXIES_OF_HOST
    names = [f"h{number % hosts}:{6000 + number // hosts}" for number in range(PROXIES * factor)]
    add = [request("proxy", "POST", "/api/v3/proxies/meta", proxy(name)) for name in names]
    play(load, work, targets, add, 64, ATTEMPTS)
    counts = {"largest": LARGEST_NODES * factor}
    counts |= {f"c{number}": NODES for number in range(CLUSTERS * factor - 1)}
    create = [
        request("cluster", "POST", f"/api/v3/clusters/meta/{name}", {"node_number": count})
        for name, count in counts.items()
    ]
    play(load, work, targets, create, 4, ATTEMPTS)


def kvrocks_address(number):
    """Nobody listens there, and the system says so at once."""
    return f"127.{1 + number // 65000}.{number // 250 % 260}.{1 + number % 250}:6666"


def kvrocks(load, work, processes, targets, factor):
    settings = {"ping_interval_ms": 600000, "check_nodes_on_create": "off", "automatic_failover": False}
    call("PUT", f"http://{targets[0]}/quorate/v1/kvrocks/settings", settings, JSON)
    call("POST", f"http://{targets[0]}/api/v1/namespaces", {"namespace": "bench"}, JSON)
    create = []
    for number in range(KVROCKS_CLUSTERS * factor):
        first = number * KVROCKS_NODES
        nodes = [kvrocks_address(first + node) for node in range(KVROCKS_NODES)]
        body = {"name": f"c{number}", "nodes": nodes, "replicas": 2, "password": ""}
        create.append(request("cluster", "POST", "/api/v1/namespaces/bench/clusters", body))
    play(load, work, targets, create, 4, ATTEMPTS)


def pool(load, work, processes, targets, factor):
    command = [load, "docker", "--count", str(factor)]
    daemons = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    processes.append(daemons)
    addresses = [daemons.stdout.readline().strip() for _ in range(factor)]
    base = f"http://{targets[0]}/quorate/v1/pool"
    settle = {"ping_interval_ms": 600000, "sweep_interval_ms": 3600000}
    call("PUT", f"{base}/settings", settle, JSON)
    for template in told(f"{base}/templates")["data"]:
        kind = {key: template[key] for key in KIND}
        call("DELETE", f"{base}/template", kind, JSON)
    call("PUT", f"{base}/template", {**KIND, "image": "bench", "services": [SERVICE]}, JSON)

    def add(number):
        host = {"name": f"host{number}", "daemon_url": f"tcp://{addresses[number]}"}
        host |= {"capacity": POOL_HOST_CLUSTERS, "log_type": "local"}
        host |= {"schedulable": True, "autofill": True}
        call("POST", f"{base}/host", host, JSON | {"Idempotency-Key": f"bench-host-{number}"})

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(factor)))
    wanted = POOL_HOST_CLUSTERS * factor
    wait("the pool is full", lambda: gauge(targets[0], AVAILABLE) == wanted, 900)
    # From here on nobody looks at them, so that what is measured is measured alone.
    call("PUT", f"{base}/settings", {"probe_interval_ms": 600000}, JSON)


SERVICE = {"name": "rest", "offset": 0, "container_port": 5000, "is_published": True}
AVAILABLE = "quorate_pool_clusters_available"


def gauge(target, name):
    """The value of a metric without labels; nothing if it is not shown."""
    found = re.search(rf"^{name} (\S+)", asked(f"http://{target}/metrics"), re.M)
    return float(found[1]) if found else None
