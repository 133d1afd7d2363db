"""A save is whole or not at all, whatever happens to the process, the network or the neighbours."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import awswrangler as wr
import numpy as np
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    ConnectError,
    DataFormatError,
    ServiceError,
    ThrottledError,
)
from tests.runtime.saver import big_frame
from tests.s3proxy import CUT_ANSWER, HANG_UP, LOSE_ANSWER, Answer, Request, error, proxy_to
from tests.s3server import S3Server

BUCKET = "2022-rnd-battery"
REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = pd.DataFrame({"a": [1]})
OLD = b"a\n1\n"
BIG_ROWS = 45_000  # two parts
BIG = big_frame(BIG_ROWS)
UNKNOWN = "old one or the new one now is not known"


@pytest.fixture
def server(rclone_server: tuple[S3Server, Any]) -> S3Server:
    return rclone_server[0]


@pytest.fixture
def s3(bucket: Any) -> Any:
    return bucket.meta.client


def content(s3: Any, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def unfinished(s3: Any, key: str) -> list[str]:
    """Return the unfinished uploads of a key; rclone has an error for a bucket without any."""
    try:
        found = s3.list_multipart_uploads(Bucket=BUCKET, Prefix=key).get("Uploads", [])
    except s3.exceptions.NoSuchUpload:
        return []
    return [upload["UploadId"] for upload in found]


class Saver:
    """A process that saves big tables and can be killed while it does."""

    def __enter__(self) -> Saver:
        command, pipe = [sys.executable, "-m", "tests.runtime.saver"], subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY
        )
        return self

    def __exit__(self, *args: object) -> None:
        self._process.communicate(timeout=60)

    def begin(self, endpoint: str, key: str, rows: int) -> int:
        """Start a save and return its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{endpoint} {BUCKET} {key} {rows}\n")
        self._process.stdin.flush()
        return self.end()

    def end(self) -> int:
        """Return the exit status of the save that began last, once it has ended."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.mark.parametrize("rows", [2_000, BIG_ROWS])
def test_killed_at_any_moment(server: S3Server, s3: Any, rows: int) -> None:
    with Saver() as saver:
        took = []
        for _ in range(3):
            with proxy_to(server) as proxy:
                began = time.monotonic()
                saver.begin(proxy.endpoint, "whole", rows)
                assert saver.end() == 0
                took.append(time.monotonic() - began)
        new = content(s3, "whole")
        assert (len(new) > 8 << 20) == (rows == BIG_ROWS)
        chance, seen = random.Random(20), set()
        for point in range(20):
            s3.put_object(Bucket=BUCKET, Key="usage", Body=OLD)
            with proxy_to(server, waits=True) as proxy:
                process = saver.begin(proxy.endpoint, "usage", rows)
                time.sleep(min(took) * (point + chance.random()) / 20)
                with contextlib.suppress(ProcessLookupError):  # it was faster than before
                    os.kill(process, signal.SIGKILL)
                killed = saver.end() == -signal.SIGKILL
            found = content(s3, "usage")
            assert found in ((OLD, new) if killed else (new,)), "a part of an object"
            seen.add(found)
        assert OLD in seen
        saver.begin(server.endpoint, "usage", rows)
        assert saver.end() == 0
        assert content(s3, "usage") == new


def test_ctrl_c_leaves_nothing_behind(server: S3Server, s3: Any) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "interrupted")
    with Saver() as saver:
        process = saver.begin(server.endpoint, "interrupted", 150_000)
        while not unfinished(s3, "interrupted"):
            time.sleep(0.005)
        os.kill(process, signal.SIGINT)
        assert saver.end() == 130, "KeyboardInterrupt"
    assert unfinished(s3, "interrupted") == []
    assert content(s3, "interrupted") == OLD


class Interrupt:
    """A value that is printed while Ctrl-C is pressed."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


def test_awswrangler_still_publishes_what_an_interrupt_leaves(s3: Any) -> None:
    """When this fails awswrangler has mended it, and `wr.s3.to_csv` may be worth another look."""
    frame = pd.DataFrame({"a": ["new", Interrupt()]})
    s3.put_object(Bucket=BUCKET, Key="wrangled", Body=OLD)
    with pytest.raises(KeyboardInterrupt):
        wr.s3.to_csv(frame, f"s3://{BUCKET}/wrangled", index=False, chunksize=1)
    assert content(s3, "wrangled") == b"a\nnew\n"

    bc.save_to_bucket(SMALL, BUCKET, "saved")
    with pytest.raises(KeyboardInterrupt):
        bc.save_to_bucket(frame, BUCKET, "saved")
    assert content(s3, "saved") == OLD


def test_a_table_that_turns_out_bad_leaves_the_old_object(s3: Any) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "turned")
    values = np.empty(50_000, dtype=object)
    values[:] = [{"n": number, "text": "x" * 500} for number in range(len(values))]
    values[-1] = b"bytes"
    with pytest.raises(DataFormatError, match=r"Column 'v' .* holds bytes"):
        bc.save_to_bucket(pd.DataFrame({"v": values}), BUCKET, "turned")
    assert content(s3, "turned") == OLD
    assert unfinished(s3, "turned") == []


def test_of_savers_to_one_key_one_wins_whole(s3: Any) -> None:
    frames = [BIG.assign(n=number) for number in range(4)]
    for number, frame in enumerate(frames):
        bc.save_to_bucket(frame, BUCKET, f"alone{number}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda frame: bc.save_to_bucket(frame, BUCKET, "shared"), frames))
    assert content(s3, "shared") in [content(s3, f"alone{number}") for number in range(4)]
    assert unfinished(s3, "shared") == []


def test_110_saves_through_faults(
    server: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    faults = [
        *(HANG_UP, LOSE_ANSWER, CUT_ANSWER),
        error("InternalError", "We encountered an internal error.", 500),
        error("SlowDown", "Please reduce your request rate.", 503),
    ]

    def faulty(request: Request) -> Answer | None:
        time.sleep(chance.choice([0, 0, 0, 0.2]))
        return chance.choice(faults) if chance.random() < 0.4 else None

    def outcome(number: int) -> str:
        key, frame = f"faulty/{number}", BIG if number % 11 == 0 else pd.DataFrame({"a": [number]})
        try:
            bc.save_to_bucket(frame, BUCKET, key)
        except (ConnectError, ServiceError, ThrottledError) as refusal:
            known = UNKNOWN not in str(refusal)
            if known:
                assert content(s3, key) == OLD, "nothing was changed"
            assert content(s3, key) in (OLD, expected[number])
            return "known" if known else "unknown"
        assert content(s3, key) == expected[number]
        return "saved"

    bc.save_to_bucket(BIG, BUCKET, "big")
    expected = [
        content(s3, "big") if number % 11 == 0 else f"a\n{number}\n".encode()
        for number in range(110)
    ]
    for number in range(110):
        s3.put_object(Bucket=BUCKET, Key=f"faulty/{number}", Body=OLD)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with proxy_to(server, faulty), ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, range(110)))
    assert {"saved", "unknown"} <= set(outcomes)


@pytest.mark.parametrize("frame", [SMALL + 1, BIG], ids=["PutObject", "CompleteMultipartUpload"])
def test_a_lost_answer_is_not_told_as_nothing_changed(
    server: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame
) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "lost")
    bc.save_to_bucket(frame, BUCKET, "found")

    def lose_the_last(request: Request) -> Answer | None:
        last = "uploadId" in request.query if request.method == "POST" else not request.query
        return LOSE_ANSWER if last else None

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with proxy_to(server, lose_the_last), pytest.raises(ConnectError, match=UNKNOWN):
        bc.save_to_bucket(frame, BUCKET, "lost")
    assert content(s3, "lost") == content(s3, "found")


def test_a_denied_part_says_which_permission_and_aborts(server: S3Server, s3: Any) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "denied")
    words = "User: arn:aws-cn:iam::1:user/a is not authorized to perform: kms:GenerateDataKey on it"

    def deny(request: Request) -> Answer | None:
        return error("AccessDenied", words) if request.query.get("partNumber") == "3" else None

    needs = pytest.raises(AccessDeniedError, match="needs kms:GenerateDataKey")
    with proxy_to(server, deny) as proxy, needs as caught:
        bc.save_to_bucket(big_frame(400_000), BUCKET, "denied")
    assert UNKNOWN not in str(caught.value)
    assert len([sent for sent in proxy.requests if "partNumber" in sent.query]) < 8, "gave up"
    assert unfinished(s3, "denied") == []
    assert content(s3, "denied") == OLD
