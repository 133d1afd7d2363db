"""Times at which a schedule fires, against a slow oracle that looks at every minute."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcat_runtime.deploy.firing import next_firings, parse_expression
from batcat_runtime.errors import ConfigError

ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe")
# Clocks change, months end, a leap day comes.
STARTS = (
    datetime(2026, 3, 7, 20, tzinfo=UTC),
    datetime(2026, 3, 28, 12, tzinfo=UTC),
    datetime(2026, 4, 4, 6, tzinfo=UTC),
    datetime(2026, 10, 24, 12, tzinfo=UTC),
    datetime(2026, 10, 31, 20, tzinfo=UTC),
    datetime(2028, 2, 28, 0, 30, 12, tzinfo=UTC),
    datetime(2026, 12, 31, 11, tzinfo=UTC),
)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


# ---- the oracle: what each rule says of one minute, word for word


def fits(field: str, value: int, low: int, words: list[str] | None = None) -> bool:
    for number, word in enumerate(words or [], 1):
        field = field.replace(word, str(number))
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = ("0", "", "9999") if span == "*" else span.partition("-")
        if span == "*":
            first = str(low)
        end = int(last) if last else 9999 if step else int(first)
        if int(first) <= value <= end and (value - int(first)) % int(step or 1) == 0:
            return True
    return False


def fits_day(field: str, day: date) -> bool:
    tomorrow = day + timedelta(days=1)
    for item in field.split(","):
        if item == "L" and tomorrow.month != day.month:
            return True
        if item == "LW" and day.weekday() < 5:
            later = (day + timedelta(days=n) for n in range(1, 4))
            if all(one.month != day.month or one.weekday() >= 5 for one in later):
                return True
        if re.fullmatch(r"\d+W", item) and day.weekday() < 5:
            try:
                wanted = day.replace(day=int(item[:-1]))
            except ValueError:
                continue
            near = [wanted + timedelta(days=n) for n in (0, -1, 1, -2, 2)]
            near = [one for one in near if one.month == day.month and one.weekday() < 5]
            if near[0] == day:
                return True
        if not re.search("[LW]", item) and fits(item, day.day, 1):
            return True
    return False


def fits_weekday(field: str, day: date) -> bool:
    number = day.isoweekday() % 7 + 1
    for item in field.split(","):
        if item == "L" and number == 7:
            return True
        if re.fullmatch(r"\dL", item):
            if number == int(item[0]) and (day + timedelta(days=7)).month != day.month:
                return True
        elif "#" in item:
            if number == int(item[0]) and (day.day + 6) // 7 == int(item[2]):
                return True
        elif item != "L" and fits(item, number, 1, WEEKDAYS):
            return True
    return False


def fits_all(body: str, local: datetime) -> bool:
    minutes, hours, days, months, weekdays, years = body.split(" ")
    return (
        fits(minutes, local.minute, 0)
        and fits(hours, local.hour, 0)
        and fits(months, local.month, 1, MONTHS)
        and fits(years, local.year, 1970)
        and (weekdays != "?" or fits_day(days, local.date()))
        and (days != "?" or fits_weekday(weekdays, local.date()))
    )


# ---- expressions of every form


def items(low: int, high: int, words: list[str] | None = None) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    name = number.map(lambda n: words[n - low] if words else str(n))
    span = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    step = st.tuples(st.one_of(st.just("*"), number.map(str), span), st.integers(1, high)).map(
        lambda two: f"{two[0]}/{two[1]}"
    )
    return st.one_of(number.map(str), name, span, step, st.just("*"))


def lists(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(one, min_size=1, max_size=3).map(",".join)


minutes = lists(items(0, 59))
hours = lists(items(0, 23))
days = lists(
    st.one_of(items(1, 31), st.sampled_from(["L", "LW"]), st.integers(1, 31).map(lambda n: f"{n}W"))
)
weekdays = st.one_of(
    lists(st.one_of(items(1, 7, WEEKDAYS), st.integers(1, 7).map(lambda n: f"{n}L"), st.just("L"))),
    st.tuples(st.integers(1, 7), st.integers(1, 5)).map(lambda two: f"{two[0]}#{two[1]}"),
)
months = lists(items(1, 12, MONTHS))
years = st.one_of(st.just("*"), lists(items(2024, 2032)), st.just("1970/2"))
day_fields = st.one_of(days.map(lambda one: (one, "?")), weekdays.map(lambda one: ("?", one)))


@settings(max_examples=60, deadline=None)
@given(
    minute=minutes,
    hour=hours,
    day=day_fields,
    start=st.sampled_from(STARTS),
    zone=st.sampled_from(ZONES),
)
def test_no_minute_around_a_change_of_clocks_is_lost_or_doubled(
    minute: str, hour: str, day: tuple[str, str], start: datetime, zone: str
) -> None:
    body = f"{minute} {hour} {day[0]} * {day[1]} *"
    end = start + timedelta(hours=36)
    expected, seen = [], set()
    # A day earlier, so that the first of two equal times is known.
    moment = (start - timedelta(days=1)).replace(second=0)
    while moment <= end:
        local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        new = local not in seen
        seen.add(local)
        if new and moment > start and fits_all(body, local):
            expected.append(moment)
        moment += timedelta(minutes=1)
    found = next_firings(f"cron({body})", zone, start, len(expected) + 1)
    found = [one.astimezone(UTC) for one in found]
    assert found[: len(expected)] == expected
    assert all(one > end for one in found[len(expected) :])


@settings(max_examples=150, deadline=None)
@given(day=day_fields, month=months, year=years, offset=st.integers(0, 1500))
def test_no_day_of_four_years_is_lost_or_added(
    day: tuple[str, str], month: str, year: str, offset: int
) -> None:
    body = f"30 2 {day[0]} {month} {day[1]} {year}"
    start = datetime(2024, 1, 1, 2, 30, tzinfo=UTC) + timedelta(days=offset)
    later = [start + timedelta(days=n) for n in range(1, 1461)]
    expected = [one for one in later if fits_all(body, one.replace(tzinfo=None))][:40]
    found = next_firings(f"cron({body})", "UTC", start, 40)
    assert found[: len(expected)] == expected
    assert len(expected) == 40 or all(one > later[-1] for one in found[len(expected) :])


# ---- what the user guide of EventBridge Scheduler says, by example


def shown(expression: str, zone: str, after: str, count: int = 3) -> list[str]:
    moment = datetime.fromisoformat(after)
    return [f"{one:%a %Y-%m-%d %H:%M %z}" for one in next_firings(expression, zone, moment, count)]


def test_a_time_that_the_clocks_jump_over_is_left_out() -> None:
    assert shown("cron(30 2 * * ? *)", "America/New_York", "2026-03-07T00:00-05:00") == [
        "Sat 2026-03-07 02:30 -0500",
        "Mon 2026-03-09 02:30 -0400",
        "Tue 2026-03-10 02:30 -0400",
    ]


def test_a_time_that_comes_twice_fires_once() -> None:
    assert shown("cron(30 1 * * ? *)", "America/New_York", "2026-10-31T12:00-04:00") == [
        "Sun 2026-11-01 01:30 -0400",
        "Mon 2026-11-02 01:30 -0500",
        "Tue 2026-11-03 01:30 -0500",
    ]
    # Between the two 01:30, the first is over.
    assert shown("cron(30 1 * * ? *)", "America/New_York", "2026-11-01T01:10-05:00", 1) == [
        "Mon 2026-11-02 01:30 -0500"
    ]


def test_a_rate_counts_true_hours() -> None:
    first = datetime.fromisoformat("2026-10-31T12:00-04:00")
    found = next_firings(
        "rate(1 day)", "America/New_York", first + timedelta(hours=1), 2, counted_from=first
    )
    assert [f"{one:%Y-%m-%d %H:%M}" for one in found] == ["2026-11-01 11:00", "2026-11-02 11:00"]
    begin = next_firings("rate(2 hours)", "UTC", first, 1, counted_from=first + timedelta(hours=9))
    assert begin == [first + timedelta(hours=9)]
    assert next_firings("rate(99999999 days)", "UTC", first, 2) == []


def test_words_of_days() -> None:
    after = "2026-11-25T00:00Z"
    assert shown("cron(15 10 ? * 6L *)", "UTC", after, 2) == [
        "Fri 2026-11-27 10:15 +0000",
        "Fri 2026-12-25 10:15 +0000",
    ]
    assert shown("cron(0 8 1W * ? *)", "UTC", "2027-04-30T00:00Z", 1) == [
        "Mon 2027-05-03 08:00 +0000"
    ]
    assert shown("cron(0 8 LW * ? *)", "UTC", "2027-01-02T00:00Z", 1) == [
        "Fri 2027-01-29 08:00 +0000"
    ]
    assert shown("cron(0 8 ? * 3#5 *)", "UTC", after, 2) == [
        "Tue 2026-12-29 08:00 +0000",
        "Tue 2027-03-30 08:00 +0000",
    ]
    assert shown("cron(0 8 29 2 ? *)", "UTC", after, 1) == ["Tue 2028-02-29 08:00 +0000"]


def test_what_never_comes_again_has_no_time() -> None:
    assert shown("cron(0 8 31 2 ? *)", "UTC", "2026-11-25T00:00Z") == []
    assert shown("cron(0 8 1 1 ? 2020-2026)", "UTC", "2026-11-25T00:00Z") == []
    assert shown("at(2026-11-26T08:00:00)", "Asia/Shanghai", "2026-11-25T00:00Z") == [
        "Thu 2026-11-26 08:00 +0800"
    ]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("cron(0 25 * * ? *)", "'25' is no hours: it is 0 to 23"),
        ("cron(0 2 * * * *)", "one must be `?`"),
        ("cron(0 2 * * *)", "six fields, not 5"),
        ("cron(0 2 * FOO ? *)", "'FOO' is no month: it is 1 to 12, or JAN to DEC"),
        ("cron(0 2 ? * 3#1,6#3 *)", "'3#1' is no day of week"),
        ("cron(0 2 32W * ? *)", "'32W' is no day of month"),
        ("cron(*/0 2 * * ? *)", "'\\*/0' is no minutes"),
        ("cron(0 5-2 * * ? *)", "'5-2' is no hours"),
        ("rate(0 days)", "a rate is a number"),
        ("rate(9999999999 days)", "as slow"),
        ("at(2022-1-8T02:00:00)", "a single time is written"),
        ("every night", "none of cron"),
    ],
)
def test_a_wrong_expression_is_told_by_its_field(expression: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_expression(expression)
