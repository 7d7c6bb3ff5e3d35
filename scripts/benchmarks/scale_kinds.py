"""What is measured at each size: commands, queries of one object, lists; and what each costs."""

from .scale_state import kvrocks_address, proxy, request, told

# What the work of one request grows with. n: objects of that kind; m: those of the object itself.
COSTS = {
    "undermoon: add a proxy": "log n",
    "undermoon: report a failure": "log n",
    "undermoon: create a cluster, 8 nodes": "free hosts + m log n",
    "undermoon: change a configuration": "m + log n",
    "undermoon: add 4 nodes": "free hosts + m + log n",
    "undermoon: begin to scale out": "m + log n",
    "undermoon: commit a migration": "m + log n",
    "undermoon: balance the masters": "m + log n",
    "undermoon: fail over a proxy": "hosts with free proxies + m + log n",
    "undermoon: delete a cluster": "m log n",
    "undermoon: remove a proxy": "log n",
    "undermoon: configure the largest": "m + log n",
    "kvrocks: create a cluster, 4 nodes": "m log n",
    "kvrocks: add a shard": "m log n",
    "kvrocks: add a node": "m log n",
    "kvrocks: remove a node": "m log n",
    "kvrocks: queue a migration": "m log n",
    "kvrocks: cancel a migration": "m log n",
    "kvrocks: delete a cluster": "m log n",
    "pool: apply": "log n",
    "pool: apply again": "log n",
    "pool: release": "log n",
    "undermoon: epoch": "1",
    "undermoon: proxy, cluster of 8 nodes": "log n",
    "undermoon: proxy, cluster of 192 nodes": "log n; m once an epoch",
    "undermoon: proxy, the same, gzip": "log n; m once an epoch",
    "undermoon: proxy, largest cluster": "log n; m once an epoch",
    "undermoon: free proxy": "log n",
    "undermoon: cluster of 8 nodes": "log n; m once an epoch",
    "undermoon: cluster info": "m + log n",
    "kvrocks: cluster of 20 nodes": "m + log n",
    "kvrocks: shard": "m + log n",
    "pool: cluster": "log n",
    "pool: host": "m + log n",
    "undermoon: names of clusters": "n",
    "undermoon: addresses of proxies": "n",
    "undermoon: first 100 addresses": "page",
    "undermoon: last 100 addresses": "n to find the page",
    "undermoon: failures": "reports",
    "undermoon: failed proxies": "failed proxies",
    "undermoon: the whole document": "n",
    "undermoon: spares of every host": "n log n",
    "kvrocks: names of clusters": "n",
    "kvrocks: status of everything": "n",
    "pool: clusters of the pool": "n",
    "pool: statistics": "n",
    "status of the replica": "1",
    "metrics": "series",
    "digest of the state": "n",
}
COUNT = 40


def commands(url):
    """Lists of requests; a later one needs what an earlier one made."""
    yield from undermoon_commands(url)
    yield from kvrocks_commands(url)
    yield pool_commands()


def undermoon_commands(url):
    api = "/api/v3"
    names = [f"m{number % 60}:{6000 + number // 60}" for number in range(240)]
    kind = "undermoon: add a proxy"
    yield [request(kind, "POST", f"{api}/proxies/meta", proxy(name)) for name in names]
    kind, body = "undermoon: create a cluster, 8 nodes", {"node_number": 8}
    clusters = [f"s{number}" for number in range(COUNT)]
    yield [request(kind, "POST", f"{api}/clusters/meta/{name}", body) for name in clusters]
    kind = "undermoon: change a configuration"
    config = [{"migration_scan_count": str(number + 1)} for number in range(200)]
    paths = [f"{api}/clusters/config/s{number % COUNT}" for number in range(200)]
    yield [request(kind, "PATCH", path, body) for path, body in zip(paths, config)]
    kind = "undermoon: configure the largest"
    yield [request(kind, "PATCH", f"{api}/clusters/config/largest", body) for body in config[:COUNT]]
    kind, body = "undermoon: add 4 nodes", {"node_number": 4}
    grown = clusters[: COUNT // 2]
    yield [request(kind, "PATCH", f"{api}/clusters/nodes/{name}", body) for name in grown]
    kind = "undermoon: begin to scale out"
    yield [request(kind, "POST", f"{api}/clusters/migrations/expand/{name}") for name in grown]
    yield list(commits(url, grown))
    members = [member(url, name) for name in clusters]
    kind = "undermoon: report a failure"
    reports = [f"{members[number % COUNT]}/r{number // COUNT}" for number in range(200)]
    yield [request(kind, "POST", f"{api}/failures/{report}") for report in reports]
    kind = "undermoon: fail over a proxy"
    failed = members[: COUNT // 4]
    yield [request(kind, "POST", f"{api}/proxies/failover/{name}") for name in failed]
    kind = "undermoon: balance the masters"
    yield [request(kind, "PUT", f"{api}/clusters/balance/{name}") for name in clusters]


def last_commands(url):
    """Takes away what [`commands`] made; what is asked is asked in between."""
    kind = "undermoon: delete a cluster"
    clusters = [f"/api/v3/clusters/meta/s{number}" for number in range(COUNT)]
    yield [request(kind, "DELETE", path) for path in clusters]
    kind = "undermoon: remove a proxy"
    names = [f"m{number % 60}:{6000 + number // 60}" for number in range(240)]
    yield [request(kind, "DELETE", f"/api/v3/proxies/meta/{name}") for name in names]


def member(url, cluster):
    answer = told(f"{url}/api/v3/clusters/meta/{cluster}")
    return answer["cluster"]["nodes"][0]["proxy_address"]


def commits(url, clusters):
    kind = "undermoon: commit a migration"
    for name in clusters:
        answer = told(f"{url}/api/v3/clusters/meta/{name}")
        for node in answer["cluster"]["nodes"]:
            for slots in node["slots"]:
                if "Migrating" in slots["tag"]:
                    body = {"cluster_name": name, "slot_range": slots}
                    yield request(kind, "PUT", "/api/v3/clusters/migrations", body)


def kvrocks_commands(url):
    base = "/api/v1/namespaces/bench/clusters"
    address = lambda number: kvrocks_address(100_000 + number)
    nodes = lambda number: [address(8 * number + node) for node in range(4)]
    kind, create = "kvrocks: create a cluster, 4 nodes", []
    for number in range(COUNT):
        body = {"name": f"s{number}", "nodes": nodes(number), "replicas": 2, "password": ""}
        create.append(request(kind, "POST", base, body))
    yield create
    kind, add = "kvrocks: add a shard", []
    for number in range(COUNT):
        body = {"nodes": [address(8 * number + node) for node in (4, 5)], "password": ""}
        add.append(request(kind, "POST", f"{base}/s{number}/shards", body))
    yield add
    kind, add = "kvrocks: add a node", []
    for number in range(COUNT):
        body = {"addr": address(8 * number + 6), "role": "slave", "password": ""}
        add.append(request(kind, "POST", f"{base}/s{number}/shards/0/nodes", body))
    yield add
    kind, remove = "kvrocks: remove a node", []
    for number in range(COUNT):
        shard = told(f"{url}{base}/s{number}/shards/0")["data"]["shard"]
        node = shard["nodes"][-1]["id"]
        remove.append(request(kind, "DELETE", f"{base}/s{number}/shards/0/nodes/{node}"))
    yield remove
    kind, body = "kvrocks: queue a migration", {"target": 1, "slots": ["0-99"]}
    paths = [f"{base}/s{number}/migrations" for number in range(COUNT)]
    yield [request(kind, "POST", path, body) for path in paths]
    kind, cancel = "kvrocks: cancel a migration", []
    for path in paths:
        jobs = told(f"{url}{path}")["data"]["migrations"][:1]
        cancel += [request(kind, "DELETE", f"{path}/{job['id']}") for job in jobs]
    yield cancel
    kind = "kvrocks: delete a cluster"
    yield [request(kind, "DELETE", f"{base}/s{number}") for number in range(COUNT)]


def pool_commands():
    operate = "/v2/cluster_op?action"
    users = [f"user{number}" for number in range(COUNT)]
    take = [("pool: apply", f"{operate}=apply&user_id={user}") for user in users]
    again = [("pool: apply again", f"{operate}=apply&user_id={user}") for user in users]
    give = [("pool: release", f"/v2/cluster_release?user_id={user}") for user in users]
    return [request(kind, "POST", path) for kind, path in [*take, *again, *give]]


def queries(url, factor):
    """Requests that change nothing, each again and again."""
    last = max(0, 500 * factor - 100)
    free = "/api/v3/proxies/meta/m59:6003"
    pool = told(f"{url}/v2/clusters")["data"][-1]["id"]
    host = told(f"{url}/quorate/v1/pool/hosts")["data"][0]["id"]
    meta, kvrocks = "/api/v3/proxies/meta", "/api/v1/namespaces/bench/clusters"
    one = {
        "undermoon: epoch": "/api/v3/epoch",
        "undermoon: proxy, cluster of 8 nodes": f"{meta}/{member(url, 's39')}",
        "undermoon: proxy, cluster of 192 nodes": f"{meta}/{member(url, 'c0')}",
        "undermoon: proxy, largest cluster": f"{meta}/{member(url, 'largest')}",
        "undermoon: free proxy": free,
        "undermoon: cluster of 8 nodes": "/api/v3/clusters/meta/s39",
        "undermoon: cluster info": "/api/v3/clusters/info/s39",
        "kvrocks: cluster of 20 nodes": f"{kvrocks}/c0",
        "kvrocks: shard": f"{kvrocks}/c0/shards/0",
        "pool: cluster": f"/v2/cluster/{pool}",
        "pool: host": f"/quorate/v1/pool/host/{host}",
        "status of the replica": "/quorate/v1/status",
        "metrics": "/metrics",
        "undermoon: first 100 addresses": "/api/v3/proxies/addresses?offset=0&limit=100",
        "undermoon: last 100 addresses": f"/api/v3/proxies/addresses?offset={last}&limit=100",
        "undermoon: failures": "/api/v3/failures",
        "undermoon: failed proxies": "/api/v3/proxies/failed/addresses",
    }
    gzip = ("undermoon: proxy, the same, gzip", one["undermoon: proxy, cluster of 192 nodes"])
    lists = {
        "undermoon: names of clusters": "/api/v3/clusters/names",
        "undermoon: addresses of proxies": "/api/v3/proxies/addresses",
        "undermoon: the whole document": "/api/v3/metadata",
        "kvrocks: names of clusters": kvrocks,
        "kvrocks: status of everything": "/quorate/v1/kvrocks/status",
        "pool: clusters of the pool": "/v2/clusters",
        "pool: statistics": "/quorate/v1/pool/stat?res=cluster",
        "digest of the state": "/quorate/v1/digest",
    }
    for kind, path in one.items():
        yield [request(kind, "GET", path)] * 200
    yield [request(*gzip[:1], "GET", gzip[1], is_gzip=True)] * 200
    for kind, path in lists.items():
        yield [request(kind, "GET", path)] * 10
    spares = "undermoon: spares of every host"
    yield [request(spares, "POST", "/api/v3/resources/failures/check")] * 3
