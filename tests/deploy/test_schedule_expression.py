"""Expressions of EventBridge Scheduler: what its user guide says, by example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from batcat_runtime.deploy.schedule_expression import check_expression, next_times
from batcat_runtime.errors import ConfigError


def shown(expression: str, zone: str, after: str, count: int) -> list[str]:
    moment = datetime.fromisoformat(after)
    return [f"{time:%a %Y-%m-%d %H:%M %z}" for time in next_times(expression, zone, moment, count)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("0 2 * * ? *", ["Thu 2026-11-26 02:00", "Fri 2026-11-27 02:00"]),
        ("0/25 8-17/9 ? * MON-FRI 2026-2030", ["Wed 2026-11-25 08:00", "Wed 2026-11-25 08:25"]),
        ("50/5 23 25 NOV ? *", ["Wed 2026-11-25 23:50", "Wed 2026-11-25 23:55"]),
        ("5,1 2 1,L 1/10 ? *", ["Mon 2026-11-30 02:01", "Mon 2026-11-30 02:05"]),
        ("15 10 ? * 6L *", ["Fri 2026-11-27 10:15", "Fri 2026-12-25 10:15"]),
        ("15 10 ? * L *", ["Sat 2026-11-28 10:15", "Sat 2026-12-05 10:15"]),
        ("15 10 ? * 1/3,7 *", ["Wed 2026-11-25 10:15", "Sat 2026-11-28 10:15"]),
        ("15 10 ? * */2 *", ["Thu 2026-11-26 10:15", "Sat 2026-11-28 10:15"]),
        ("0 8 ? * 3#5 *", ["Tue 2026-12-29 08:00", "Tue 2027-03-30 08:00"]),
        # The nearest of Monday to Friday, within the month; a month without that day has none.
        ("0 8 1W 5 ? *", ["Mon 2027-05-03 08:00", "Mon 2028-05-01 08:00"]),
        ("0 8 LW 1 ? *", ["Fri 2027-01-29 08:00", "Mon 2028-01-31 08:00"]),
        ("0 8 31W * ? *", ["Thu 2026-12-31 08:00", "Fri 2027-01-29 08:00"]),
        ("0 8 29W 2 ? *", ["Tue 2028-02-29 08:00", "Fri 2032-02-27 08:00"]),
        ("0 8 29 2 ? *", ["Tue 2028-02-29 08:00", "Sun 2032-02-29 08:00"]),
        ("0 8 1 1 ? 1970/3", ["Fri 2027-01-01 08:00", "Tue 2030-01-01 08:00"]),
        # What never comes again has no time.
        ("0 8 31 2 ? *", []),
        ("0 8 1 1 ? 2020-2026", []),
    ],
)
def test_cron(fields: str, expected: list[str]) -> None:
    found = shown(f"cron({fields})", "UTC", "2026-11-25T02:00Z", max(1, len(expected)))
    assert [time.removesuffix(" +0000") for time in found] == expected


@pytest.mark.parametrize(
    ("fields", "zone", "after", "expected"),
    [
        # A time that the clocks jump over is left out.
        (
            "30 2 * * ? *",
            "America/New_York",
            "2026-03-07T00:00-05:00",
            ["Sat 2026-03-07 02:30 -0500", "Mon 2026-03-09 02:30 -0400"],
        ),
        (
            "0/15 2 * * ? *",
            "Australia/Lord_Howe",  # by half an hour
            "2026-10-04T01:59+10:30",
            ["Sun 2026-10-04 02:30 +1100", "Sun 2026-10-04 02:45 +1100"],
        ),
        # One that comes twice counts once; between the two, the first is over.
        (
            "30 1 * * ? *",
            "America/New_York",
            "2026-10-31T12:00-04:00",
            ["Sun 2026-11-01 01:30 -0400", "Mon 2026-11-02 01:30 -0500"],
        ),
        (
            "30 1 * * ? *",
            "America/New_York",
            "2026-11-01T01:10-05:00",
            ["Mon 2026-11-02 01:30 -0500"],
        ),
        (
            "0/20 * * * ? *",
            "Europe/Berlin",
            "2026-10-25T02:30+02:00",
            ["Sun 2026-10-25 02:40 +0200", "Sun 2026-10-25 03:00 +0100"],
        ),
    ],
)
def test_clocks_that_change(fields: str, zone: str, after: str, expected: list[str]) -> None:
    assert shown(f"cron({fields})", zone, after, len(expected)) == expected


def test_a_rate_counts_true_hours() -> None:
    first = datetime.fromisoformat("2026-10-31T12:00-04:00")
    found = next_times(
        "rate(1 day)", "America/New_York", first + timedelta(hours=1), 2, counted_from=first
    )
    assert [f"{time:%Y-%m-%d %H:%M}" for time in found] == ["2026-11-01 11:00", "2026-11-02 11:00"]
    begin = next_times("rate(2 hours)", "UTC", first, 1, counted_from=first + timedelta(hours=9))
    assert begin == [first + timedelta(hours=9)]
    assert next_times("rate(99999999 days)", "UTC", first, 2) == []


def test_a_single_time_is_on_the_zones_clocks() -> None:
    once = "at(2026-11-26T08:00:00)"
    assert shown(once, "Asia/Shanghai", "2026-11-25T00:00Z", 3) == ["Thu 2026-11-26 08:00 +0800"]
    assert next_times(once, "UTC", datetime(2026, 11, 26, 8, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("cron(0 25 * * ? *)", "'25' is no hours: it is 0 to 23"),
        ("cron(0 2 * * * *)", "one must be `?`"),
        ("cron(0 2 ? * ? *)", "one must be `?`"),
        ("cron(0 2 * * *)", "six fields, not 5"),
        ("cron(0  2 * * ? *)", "six fields, not 7"),
        ("cron(0 2 * FOO ? *)", "'FOO' is no month: it is 1 to 12, or JAN to DEC"),
        ("cron(0 2 ? * 0 *)", "'0' is no day of week"),
        ("cron(0 2 ? * 8 *)", "'8' is no day of week"),
        ("cron(0 2 ? * 3#1,6#3 *)", "'3#1' is no day of week"),
        ("cron(0 2 1,15W * ? *)", "'15W' is no day of month"),
        ("cron(0 2 32W * ? *)", "'32W' is no day of month"),
        ("cron(*/0 2 * * ? *)", "'\\*/0' is no minutes"),
        ("cron(0 5-2 * * ? *)", "'5-2' is no hours"),
        ("rate(0 days)", "none of cron"),
        ("rate(9999999999 days)", "is no schedule"),
        ("at(2022-1-8T02:00:00)", "at\\(yyyy-mm-ddThh:mm:ss\\)"),
        ("at(2022-02-30T02:00:00)", "day is out of range"),
        ("every night", "none of cron"),
    ],
)
def test_a_wrong_expression_is_told_by_its_field(expression: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_expression(expression)
