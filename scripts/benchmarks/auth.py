"""What a token costs."""

import json
import os
import sys
import time

from .common import asked, built_replica, call, conditions, prepare_proxies, start_replicas, wait
from .turns import compare


def authenticated(options, work, processes):
    quorate = os.environ.get("QUORATE_BIN") or built_replica()
    replicas = start_replicas(quorate, work, processes, options.replicas)
    wait("every replica is ready", lambda: all(asked(f"{url}/readyz") for _, url in replicas))
    url = replicas[0][1]
    prepare_proxies(url)
    json_type = {"Content-Type": "application/json"}
    for _ in range(options.tokens):
        made = json.loads(
            call("POST", f"{url}/quorate/v1/tokens", {"role": "operate"}, json_type)
        )
    bearer = f"authorization: Bearer {made['token']}\r\n"
    kinds = {
        "epoch": ("GET", "/api/v3/epoch"),
        "proxy meta": ("GET", "/api/v3/proxies/meta/p0:6000"),
        "100 addresses": ("GET", "/api/v3/proxies/addresses?offset=0&limit=100"),
        "report (write)": ("POST", "/api/v3/failures/p{}:6000/bench"),
    }
    ways = [url.removeprefix("http://")] * 2
    names, heads = ("anonymous", "token"), ("", bearer)
    shown = {
        name: compare(ways, kind, options.requests, names, heads) for name, kind in kinds.items()
    }
    under = conditions(quorate)
    under["note"] = f"{options.replicas} replicas and the client share this machine"
    under["requests"], under["tokens"] = options.requests, options.tokens
    return {"what": "auth", "conditions": under, "requests_us": shown}


def show_auth(figures):
    under, out = figures["conditions"], sys.stderr
    print(
        f"{under['requests']} requests of each kind on each way, by turns, one at a time; "
        f"{under['tokens']} tokens; {under['note']}; {under['processors']} processors, "
        f"load {under['load_average'][0]:.1f}\n",
        file=out,
    )
    print("microseconds     anonymous p50/p99       token p50/p99  ratio p50  ratio of all", file=out)
    for name, row in figures["requests_us"].items():
        cells = [f"{row[way]['p50']} / {row[way]['p99']}" for way in ("anonymous", "token")]
        ratios = f"{row['ratio']['p50']:>9}  {row['ratio_of_all']:>12}"
        print(f"{name:16} {cells[0]:>17} {cells[1]:>19}  {ratios}", file=out)
