"""Saves on demand, each save in a process of its own, for the tests that kill it.

For every line of standard input, ``ENDPOINT BUCKET KEY ROWS``, a child is forked that saves that
many rows; its process id is printed, and its exit status when it has ended. Forking leaves out the
start-up of Python, its libraries and boto3's models, so that a kill falls into the save.
"""

from __future__ import annotations

import os
import sys
from functools import cache

import boto3
import numpy as np
import pandas as pd

import batcat_runtime as bc


@cache
def big_frame(rows: int) -> pd.DataFrame:
    """Return a table of some 210 bytes of CSV a row, cheap to format."""
    text = pd.Series(["cell" * 50], dtype="str").repeat(rows).reset_index(drop=True)
    return pd.DataFrame({"n": np.arange(rows) + 10**8, "text": text})


def main() -> None:
    """Serve requests until standard input ends."""
    bc.save_to_bucket  # noqa: B018 - loaded before forking
    session = boto3.Session()
    session.client("s3")
    for line in sys.stdin:
        os.environ["AWS_ENDPOINT_URL"], bucket, key, rows = line.split()
        frame = big_frame(int(rows))
        child = os.fork()
        if child == 0:
            try:
                bc.save_to_bucket(frame, bucket, key, boto3_session=session)
            except KeyboardInterrupt:
                os._exit(130)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
