"""Draws figures as SVG. Run by `scripts/bench` with a Python of its own that has matplotlib.

    plot.py FIGURES.json OUT.svg
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

# The same figures give the same file.
matplotlib.rcParams["svg.hashsalt"] = "quorate"
matplotlib.rcParams["font.size"] = 9
WIDTH_IN, HEIGHT_IN = 9, 3.6


def writes(figures, axes):
    rows = figures["rows"]
    ways = [way for way in rows[0] if way not in ("clients", "disk")]
    clients = [row["clients"] for row in rows]
    bars(axes[0], clients, {way: [row[way]["per_s"] for row in rows] for way in ways})
    axes[0].set(xlabel="clients", ylabel="committed writes a second")
    for way in ways:
        (line,) = axes[1].plot(clients, [row[way]["p50"] / 1e3 for row in rows], "o-", label=way)
        p99 = [row[way]["p99"] / 1e3 for row in rows]
        axes[1].plot(clients, p99, "o:", color=line.get_color())
    logarithmic(axes[1], clients)
    axes[1].set(xlabel="clients", ylabel="ms: p50 (line), p99 (dots)")


def reads(figures, axes):
    rows = figures["rows"]
    names = [f"{row['cluster']}{' gzip' * row['gzip']}\n{row['clients']} clients" for row in rows]
    ways = ("bare handler", "quorate")
    bars(axes[0], names, {way: [row[way]["per_s"] for row in rows] for way in ways})
    axes[0].set(ylabel="reads a second")
    bars(axes[1], names, {way: [row[way]["bytes_per_s"] / 1e6 for row in rows] for way in ways})
    axes[1].set(ylabel="MB a second")
    for one in axes:
        one.tick_params("x", labelsize=7)


def mixed(figures, axes):
    rows = figures["rows"]
    names = [row["replica"] for row in rows]
    ways = ("alone", "during", "paced")
    bars(axes[0], names, {way: [row[way]["per_s"] for row in rows] for way in ways})
    axes[0].set(ylabel="reads a second")
    bars(axes[1], names, {way: [row[way]["p99"] / 1e3 for row in rows] for way in ways})
    axes[1].axhline(5, color="grey", linewidth=1, linestyle=":")
    axes[1].set(ylabel="read p99, ms")


def failover(figures, axes):
    shares = [key for key in figures["leader_ms"]]
    ways = {"a new leader": "leader_ms", "first acknowledged write": "first_write_ms"}
    bars(axes[0], shares, {name: [figures[key][one] for one in shares] for name, key in ways.items()})
    axes[0].set(ylabel="ms after the kill of the leader")


def scale(figures, axes):
    sizes = figures["sizes"]
    factors = [row["factor"] for row in sizes]
    for kind in sizes[0]["requests_us"]:
        p50 = [row["requests_us"][kind]["p50"] / 1e3 for row in sizes]
        is_growing = figures["costs"].get(kind, "").startswith("n")
        style = {"color": "#c05621"} if is_growing else {"color": "#2b6cb0", "alpha": 0.6}
        axes[0].plot(factors, p50, "o-", linewidth=1, markersize=3, **style)
    axes[0].plot([], [], color="#2b6cb0", label="commands, single objects")
    axes[0].plot([], [], color="#c05621", label="whole lists")
    axes[0].legend()
    axes[0].set(xscale="log", yscale="log", xlabel="size of the state", ylabel="p50, ms")
    memory = [max(one["now"] for one in row["resident_mib"]) for row in sizes]
    disk = [row["log"]["most_bytes"] / 1e6 for row in sizes]
    axes[1].plot(factors, memory, "o-", label="memory of a replica, MiB")
    axes[1].plot(factors, disk, "o-", label="data directory at most, MB")
    axes[1].plot(factors, [max(one["s"] for one in row["restarts"]) * 1e3 for row in sizes], "o-", label="restart, ms")
    axes[1].set(xscale="log", yscale="log", xlabel="size of the state")
    axes[1].legend()


def recovery(figures, axes):
    for number, row in enumerate(figures["rows"]):
        axes[0].plot(row["ready_s"], [number] * len(row["ready_s"]), "o", alpha=0.6)
    names = [row["behind"] for row in figures["rows"]]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].axvline(5, color="grey", linewidth=1, linestyle=":")
    axes[0].set(xlabel="seconds from the start to ready", ylim=(-0.5, len(names) - 0.5))
    axes[0].set_xlim(left=0)


def bars(axes, names, groups):
    """Groups of bars side by side."""
    width = 0.8 / len(groups)
    for number, (label, values) in enumerate(groups.items()):
        places = [place + (number - (len(groups) - 1) / 2) * width for place in range(len(names))]
        axes.bar(places, values, width, label=label)
    axes.set_xticks(range(len(names)), [str(name) for name in names])
    axes.legend()


def logarithmic(axes, ticks):
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


DRAWN = {"writes": (writes, 2), "reads": (reads, 2), "mixed": (mixed, 2), "scale": (scale, 2)}
DRAWN |= {"failover": (failover, 1), "recovery": (recovery, 1)}


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    figures = json.loads(source.read_text())
    draw, count = DRAWN[figures["what"]]
    size = (WIDTH_IN, HEIGHT_IN)
    figure, axes = pyplot.subplots(1, count, figsize=size, squeeze=False, layout="constrained")
    draw(figures, axes[0])
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
