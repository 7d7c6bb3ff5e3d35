"""What schemathesis may ask of the cluster under test, and what it must not be answered.

Everything that is left out here is left out for a reason, and held by tests of its own.
"""

import json
import os

import schemathesis

# Path and method -> why it is not asked for.
LEFT_OUT = {
    # The cluster must still be there for the next request. tests/membership.rs
    ("/quorate/v1/members", "POST"): "registers replicas that never come",
    ("/quorate/v1/members/{replica}/replace", "POST"): "registers replicas that never come",
    # It would be: every replica knows where the others are by these. tests/membership.rs
    ("/quorate/v1/members/{replica}", "PATCH"): "sends replicas to addresses that nobody has",
    # No one-line mistake: without the two others nothing answers any more.
    ("/quorate/v1/members/{replica}", "DELETE"): "takes the cluster away",
    ("/api/v1/raft/peers", "POST"): "takes the cluster away, or adds replicas that never come",
    # Leadership moves by chance then, and what else is asked meanwhile is answered that there is
    # no leader, as it should be. tests/membership.rs, tests/faults.rs
    ("/quorate/v1/leader/transfer", "POST"): "what else is asked finds no leader for a while",
    # Up to two minutes by contract, waiting for proxies that do not exist. tests/coordinator.rs
    ("/api/v2/clusters/migrations/auto/{name}/{node_number}", "POST"): "waits for two minutes",
    ("/api/v3/clusters/migrations/auto/{name}/{node_number}", "POST"): "waits for two minutes",
}


@schemathesis.hook
def before_load_schema(ctx, raw_schema):
    paths = raw_schema["paths"]
    for path, method in LEFT_OUT:
        paths.get(path, {}).pop(method.lower(), None)
    for path in [path for path, item in paths.items() if not item]:
        del paths[path]


@schemathesis.hook
def filter_case(ctx, case):
    # What is no HTTP is answered 400 before the program sees it, without a word.
    values = [str(value) for value in (case.headers or {}).values()]
    if any(ord(letter) < 32 or ord(letter) == 127 for value in values for letter in value):
        return False
    # What the other requests are about must stay.
    names = case.path_parameters or {}
    if case.method.upper() == "DELETE" and "gone" not in names.values():
        if any(str(names.get(name)) == KEPT[name] for name in GIVEN_UP):
            return False
    # Methods that a path is not documented with are tried as well.
    return (case.operation.path, case.method.upper()) not in LEFT_OUT


# What scripts/schemathesis has made beforehand, and what of it may be taken away.
KEPT = {"namespace": "ns", "cluster": "c1", "name": "mydb", "shard": 0}
GIVEN_UP = {"namespace": "gone", "cluster": "gone", "name": "gone"}


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    # Of made-up names alone hardly one would stand for anything.
    method = ctx.operation.method.upper() if ctx.operation is not None else "GET"
    known = GIVEN_UP if method == "DELETE" else KEPT
    for name, value in (path_parameters or {}).items():
        if name in known and len(str(value)) % 4 != 3:
            path_parameters[name] = known[name]
    return path_parameters


@schemathesis.hook
def before_call(ctx, case, kwargs):
    headers = case.headers
    if headers is not None:
        # Waits for an index that the log reaches in years, and is answered 504 as it should be.
        # tests/program.rs
        for name in [name for name in headers if name.lower() == "quorate-min-index"]:
            value = str(headers[name])
            if value.isdigit() and int(value) > 0:
                headers[name] = "0"
    # Without a time to wait the feed has no end, and a long one is only long. tests/events.rs
    if case.operation.path == "/quorate/v1/events":
        query = dict(case.query or {})
        if query.get("wait") is None or str(query["wait"]).isdigit():
            query["wait"] = 0
        case.query = query


@schemathesis.check
def no_fault_of_a_healthy_cluster(ctx, response, case):
    """No 5xx, but for what the original answers so by contract: a refusal in words."""
    status = response.status_code
    if status < 500:
        return
    # On a busy machine leadership may move; what is asked meanwhile is refused, as it should be.
    term = (response.headers.get("quorate-term") or ["?"])[0]
    if status in (503, 504) and term != os.environ.get("QUORATE_TERM", term):
        return
    path = case.operation.path
    is_kvrocks = path.startswith(("/api/v1/", "/quorate/v1/kvrocks"))
    if status == 500 and is_kvrocks:
        try:
            message = json.loads(response.content)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = ""
        if message and message != "internal error":
            return
    fault = f"{case.method} {case.operation.path} was answered {status}: {response.content[:300]!r}"
    # Told here as well: what does not happen again when it is repeated is shown nowhere else.
    with open(os.environ.get("QUORATE_FAULTS", os.devnull), "a", encoding="utf-8") as faults:
        faults.write(fault + "\n")
    raise AssertionError(fault)
