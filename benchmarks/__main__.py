"""`python -m benchmarks [row ...]`: measure, print the table, exit with 1 if a target is missed."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import time
from pathlib import Path

from benchmarks import table
from benchmarks.bench import FOLDER, Bench, ContenderError
from benchmarks.machine import machine
from benchmarks.outcome import Outcome, Target
from benchmarks.rows import ON_REQUEST, ROWS

_HERE = Path(__file__).parent
_MARK = "<!-- recorded -->"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that are asked for; return the exit status."""
    options = _options(arguments)
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the S3 server is stopped too
    outcomes = []
    peers = not options.without_peers
    with Bench(options.repeat, options.quick, peers, _say, options.folder.resolve()) as bench:
        for row in options.rows or [name for name in ROWS if name not in ON_REQUEST]:
            try:
                outcome = ROWS[row](bench)
            except ContenderError as error:
                never = Target("measured", None, 0)
                outcome = Outcome(row, row, [], [never], [f"could not be measured: {error}"])
            outcomes.append(outcome)
            _say("")
            print(table.text(outcome), end="\n\n", flush=True)
        facts = machine(bench.python_elsewhere if bench.peers_in_use else None)
    if options.quick:
        print(
            "These are figures of --quick: little data, to see that it works. They prove nothing."
        )
    print(f"{table.summary(outcomes)} It took {time.perf_counter() - started:.0f} s.")
    if options.json:
        options.json.write_text(table.as_json(outcomes, facts), encoding="utf-8")
    if options.record:
        _record(outcomes, facts)
    return 0 if all(outcome.met for outcome in outcomes) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure BatCat beside what else one would use; see benchmarks/README.md.",
        epilog=f"Rows: {', '.join(ROWS)}.",
    )
    parser.add_argument("rows", nargs="*", metavar="row", help="which rows; all if none is named")
    parser.add_argument(
        "--repeat", type=int, default=3, metavar="N", help="how often (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="little data, one try: does it work?")
    parser.add_argument("--without-peers", action="store_true", help="floor and BatCat only")
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        default=FOLDER,
        help="where data and peers are kept, 4 GB (default: .bench)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the figures in benchmarks/results/ and their table in benchmarks/README.md",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    if options.record and (options.quick or options.rows or options.without_peers):
        parser.error("--record is for whole runs: no --quick, no --without-peers, all rows")
    if options.quick:
        options.repeat = 1
    return options


def _record(outcomes: list[Outcome], facts: dict[str, str]) -> None:
    """Keep a run: all figures in a file of its own, the table in the README."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    (_HERE / "results").mkdir(exist_ok=True)
    result = _HERE / "results" / f"{today}.json"
    result.write_text(table.as_json(outcomes, facts), encoding="utf-8")
    readme = _HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(_MARK)
    _, _, after = rest.partition(_MARK)
    words = f"Recorded on {today}, every repetition in [{result.name}](results/{result.name})."
    shown = f"{words}\n\n{table.markdown(outcomes, facts)}"
    readme.write_text(f"{before}{_MARK}\n\n{shown}\n\n{_MARK}{after}", encoding="utf-8")


def _say(line: str) -> None:
    """Show what is being done: on one line of a terminal, and nowhere else."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
