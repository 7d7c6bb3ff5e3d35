"""Figures that are kept: as JSON, as plots, and as tables of docs/performance.md."""

import json
import os
import pathlib
import subprocess
import sys
import venv

from .common import ROOT
from .tables import TABLES

PLACE = ROOT / "docs" / "performance"
DOCUMENT = ROOT / "docs" / "performance.md"
# What draws; pinned, so that the same figures give the same picture.
PLOTTER = ["matplotlib==3.11.2", "numpy==2.4.6"]


def keep(figures, json_path, plot_path, is_kept):
    """Writes figures wherever they are wanted."""
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")
    if is_kept:
        PLACE.mkdir(exist_ok=True)
        kept = PLACE / f"{figures['what']}.json"
        kept.write_text(json.dumps(figures, indent=1) + "\n")
        report()
    if plot_path:
        plot(figures, plot_path)


def plot(figures, path):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    source = target / "bench-figures.json"
    target.mkdir(parents=True, exist_ok=True)
    source.write_text(json.dumps(figures))
    script = pathlib.Path(__file__).with_name("plot.py")
    subprocess.run([python(target / "bench-venv"), str(script), str(source), str(path)], check=True)


def python(place):
    """A Python with matplotlib; made if it is not there, from what pip has or fetches."""
    found = place / "bin" / "python"
    wanted = place / "wanted"
    if not wanted.exists() or wanted.read_text() != "\n".join(PLOTTER):
        print(f"bench: installing {', '.join(PLOTTER)} into {place}", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([found, "-m", "pip", "install", "-q", *PLOTTER], check=True)
        wanted.write_text("\n".join(PLOTTER))
    return str(found)


def report():
    """Puts tables and plots of what is kept in place of those that are in the document."""
    text = DOCUMENT.read_text()
    for path in sorted(PLACE.glob("*.json")):
        figures = json.loads(path.read_text())
        plot(figures, path.with_suffix(".svg"))
        text = insert(text, figures)
    DOCUMENT.write_text(text)


def insert(text, figures):
    what = figures["what"]
    begin, end = f"<!-- {what} -->\n", f"<!-- end of {what} -->"
    if begin not in text or end not in text:
        raise SystemExit(f"bench: {DOCUMENT} has no place for {what}")
    before, after = text.split(begin, 1)[0], text.split(end, 1)[1]
    picture = f"![{what}](performance/{what}.svg)"
    parts = [under(figures["conditions"]), "\n".join(TABLES[what](figures)), picture]
    return before + begin + "\n\n".join(parts) + "\n\n" + end + after


def under(conditions):
    load = conditions["load_average"][0]
    return (
        f"`{conditions['command']}`, {conditions['date']}, commit {conditions['revision']}. "
        f"{conditions['processors']} processors ({conditions['processor']}), "
        f"{conditions['memory_gib']} GiB, {conditions['file_system']}, Linux "
        f"{conditions['kernel']}; {conditions['note']}; syncs on; load before {load:.1f}."
    )
