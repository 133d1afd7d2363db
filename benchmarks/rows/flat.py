"""Work whose memory must not grow with its size: each is done at three sizes.

When reading, the peaks of whole processes are compared, since a chunk is part of the work. When
saving, the table that is saved is there before and does not count.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Contender
from benchmarks.fake_listing import serve_listing
from benchmarks.outcome import Figures, Outcome, Target

_SAVED_LIMIT_MB = 64
_FLAT = 1.10
_TURNS = 2  # memory varies less than time


def chunked_read(bench: Bench) -> Outcome:
    """Read CSV objects of three sizes in chunks."""
    figures = []
    for position in range(3):
        key = f"chunked/size-{position}.csv"
        size = f"{bench.size_mb(key):.0f} MB"
        contenders = [Contender(f"chunksize=, {size}", "BatCat", "chunks:batcat")]
        if position == 2:
            contenders.append(Contender(f"wr.s3.read_csv, {size}", "peer", "chunks:wrangler"))
        figures += bench.contest(
            contenders, key, tiny="tiny-csv/part-000.csv", turns=min(_TURNS, bench.repeat)
        )
    title = f"Read CSV in chunks of {bench.scale.chunk:,} rows, at three sizes"
    return Outcome("chunked-read", title, figures, [_flat(figures)])


def save_memory(bench: Bench) -> Outcome:
    """Save tables of three sizes, as CSV and as Parquet."""
    figures = []
    targets = []
    for suffix, name in (("csv", "CSV"), ("parquet", "Parquet")):
        saved = []
        for position, rows in enumerate(bench.scale.chunked):
            contender = Contender(f"{name}, {rows:,} rows", "BatCat", "saving:batcat")
            frame = bench.data / f"frame-{position}.pickle"
            saved += bench.contest(
                [contender],
                f"saved/memory.{suffix}",
                tiny="saved/tiny",
                frame=frame,
                turns=min(_TURNS, bench.repeat),
            )
        extra = None if any(one.problem for one in saved) else max(one.extra or 0 for one in saved)
        targets.append(Target(f"{name}: memory beside the table", extra, _SAVED_LIMIT_MB, "MB"))
        figures += saved
    return Outcome("save-memory", "Save tables of three sizes", figures, targets)


def listing(bench: Bench) -> Outcome:
    """List keys of three prefixes, from an endpoint that knows nothing but to list."""
    figures = []
    with serve_listing() as environment:
        for position, keys in enumerate(bench.scale.keys):
            contenders = [Contender(f"list_keys, {keys:,} keys", "BatCat", "listing:batcat")]
            if position == 1:
                contenders += [
                    Contender(f"boto3 paginator, {keys:,} keys", "peer", "listing:paginator"),
                    Contender(f"wr.s3.list_objects, {keys:,} keys", "peer", "listing:wrangler"),
                ]
            figures += bench.contest(
                contenders, f"{keys}/", tiny="10/", environment=environment, turns=1
            )
    title = f"List up to {bench.scale.keys[-1]:,} keys"
    note = "The endpoint is a fake that only lists: no server here holds a million objects."
    return Outcome("list", title, figures, [_flat(figures)], [note])


def _flat(figures: list[Figures]) -> Target:
    ours = [one for one in figures if one.role == "BatCat"]
    peaks = [one.peak for one in ours]
    ratio = None
    if all(peaks):
        ratio = (peaks[-1] or 0) / (peaks[0] or 1)
    return Target("peak memory, largest / smallest", ratio, _FLAT)
