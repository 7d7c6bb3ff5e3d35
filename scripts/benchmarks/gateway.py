"""What a gateway adds."""

import os
import subprocess
import sys
import time

from .common import asked, built_replica, conditions, free_ports, prepare_proxies, start_replicas, wait
from .turns import compare


def gateway(options, work, processes):
    quorate = os.environ.get("QUORATE_BIN") or built_replica()
    replicas = start_replicas(quorate, work, processes, options.replicas)
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for _, url in replicas))
    direct = replicas[0][1].removeprefix("http://")
    [port] = free_ports(1)
    command = [quorate, "gateway", "--listen", f"127.0.0.1:{port}", "--endpoints", direct]
    with open(work / "gateway.log", "w") as log:
        process = subprocess.Popen([*command, "--learn-members", "false"], stdout=log, stderr=log)
    processes.append(process)
    wait("the gateway forwards", lambda: asked(f"http://127.0.0.1:{port}/readyz"))
    prepare_proxies(f"http://{direct}")
    ways = [direct, f"127.0.0.1:{port}"]
    kinds = {
        "epoch": ("GET", "/api/v3/epoch"),
        "proxy meta": ("GET", "/api/v3/proxies/meta/p0:6000"),
        "100 addresses": ("GET", "/api/v3/proxies/addresses?offset=0&limit=100"),
        "report (write)": ("POST", "/api/v3/failures/p{}:6000/bench"),
    }
    shown = {name: compare(ways, kind, options.requests) for name, kind in kinds.items()}
    under = conditions(quorate)
    under["note"] = f"{options.replicas} replicas, gateway and client share this machine"
    under["requests"] = options.requests
    return {"what": "gateway", "conditions": under, "requests_us": shown}


def show_gateway(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"{under['requests']} requests of each kind on each way, by turns, one at a time; "
        f"{under['note']}; {under['processors']} processors, load {under['load_average'][0]:.1f}\n",
        file=out,
    )
    print("microseconds        direct p50/p99     gateway p50/p99    difference p50/p99  ratio", file=out)
    for name, row in figures["requests_us"].items():
        cells = [f"{row[way]['p50']} / {row[way]['p99']}" for way in ("direct", "gateway", "difference")]
        ratio = f"{row['ratio']['p50']} / {row['ratio']['p99']}"
        print(f"{name:16} {cells[0]:>18} {cells[1]:>19} {cells[2]:>19}  {ratio}", file=out)
