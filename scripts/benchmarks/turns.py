"""The same request on two ways by turns, so that both meet the same machine."""

import re
import socket
import time

from .common import percentiles


def compare(ways, kind, requests, names=("direct", "gateway"), heads=("", "")):
    """Microseconds of each way, request by request and by turns."""
    method, path = kind
    sockets = [socket.create_connection(way.split(":")) for way in ways]
    times = [[], []]
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for turn in range(requests + 100):
        # Whoever is second finds warm caches, so the ways change places.
        for way in (0, 1) if turn % 2 else (1, 0):
            target = path.format((2 * turn + way) % 200)
            head = f"{method} {target} HTTP/1.1\r\nhost: {ways[way]}\r\n{heads[way]}"
            request = f"{head}\r\n".encode()
            begun = time.perf_counter_ns()
            sockets[way].sendall(request)
            read_answer(sockets[way], target)
            if turn >= 100:
                times[way].append((time.perf_counter_ns() - begun) / 1000)
    for one in sockets:
        one.close()
    direct, through = (percentiles(one) for one in times)
    return {
        names[0]: direct,
        names[1]: through,
        "difference": {key: round(through[key] - direct[key], 1) for key in direct},
        "ratio": {key: round(through[key] / direct[key], 3) for key in direct},
        "ratio_of_all": round(sum(times[1]) / sum(times[0]), 4),
    }


def read_answer(connection, target):
    answer = connection.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, body = answer.split(b"\r\n\r\n", 1)
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    if not head.startswith(b"HTTP/1.1 200") or not length:
        raise SystemExit(f"bench: {target} was answered {head.decode()}")
    left = int(length[1]) - len(body)
    while left:
        left -= len(connection.recv(min(left, 65536)))
