"""Events of S3 in both forms, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.errors import EventError


def record(key: str, bucket: str = "landing") -> dict[str, Any]:
    return {"eventSource": "aws:s3", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


def test_every_record_of_a_notification_is_told_with_its_key_decoded() -> None:
    event = {"Records": [record("usage/a+b%2Bc.csv"), record("%E7%94%B5%E6%B1%A0.csv", "other")]}
    assert bc.get_bucket_key(event) == [
        ("landing", "usage/a b+c.csv"),
        ("other", "电池.csv"),
    ]


def test_an_event_of_eventbridge_has_its_key_as_it_is() -> None:
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "landing"}, "object": {"key": "a+b%2B 电.csv"}},
    }
    [(bucket, key)] = bc.get_bucket_key(event)
    assert (bucket, key) == ("landing", "a+b%2B 电.csv")


def test_a_notification_without_records_is_about_nothing() -> None:
    assert bc.get_bucket_key({"Records": []}) == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": "x"},
        {"Records": [{"Sns": {"Message": "{}"}}]},
        {"Records": [None]},
        {"source": "aws.s3"},
        {"source": "aws.ecr", "detail": {}},
        [],
        None,
    ],
)
def test_what_is_no_s3_event_is_refused(event: Any) -> None:
    with pytest.raises(EventError, match="S3"):
        bc.get_bucket_key(event)


def test_an_event_is_printed_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    bc.print_event({"Records": [record("电.csv")]})
    printed = capsys.readouterr().out
    assert printed.startswith("Received event: {")
    assert "电.csv" in printed
    assert printed.count("\n") == 1
