"""The analysis on small tables whose answers are known by hand, and once on the sample."""

from __future__ import annotations

import runpy
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "data" / "raw" / "usage"
SCRIPT = PROJECT / "script" / "{{ cookiecutter.purpose }}.py"
script = SimpleNamespace(**runpy.run_path(str(SCRIPT)))
HOUR = 3600


def rows(
    seconds: list[float],
    current_a: list[float],
    voltage_v: list[float] | float = 4.0,
    start: str = "2022-01-01T08:00:00+08:00",
    vin: str = "A",
) -> pd.DataFrame:
    """Return raw rows, as `read_usage` returns them."""
    time = pd.Timestamp(start) + pd.to_timedelta(seconds, unit="s")
    table = {"vin": vin, "usage": 0.0, "time": [t.isoformat() for t in time]}
    return pd.DataFrame({**table, "voltage_v": voltage_v, "current_a": current_a})


def constant(current_a: float, hours: int = 1, **where: str) -> pd.DataFrame:
    """Return a row every 10 s of one current, at 4 V."""
    seconds = list(range(0, hours * HOUR + 1, 10))
    return rows([float(second) for second in seconds], [current_a] * len(seconds), **where)


def step(
    before_s: int = 60, after_s: int = 12, current_a: float = -2.0, seen_after_s: float = 0.001
) -> pd.DataFrame:
    """Return rest at 4.0 V, then load: the voltage falls by 0.1 V a second after the first row."""
    load = [second / 10 for second in range(after_s * 10 + 1)]
    seconds = [float(second) for second in range(before_s + 1)]
    seconds += [before_s + seen_after_s + second for second in load]
    current = [0.0] * (before_s + 1) + [current_a] * len(load)
    voltage = [4.0] * (before_s + 1) + [4.0 - 0.1 * second for second in load]
    return rows(seconds, current, voltage)


def resistances(df: pd.DataFrame) -> list[float]:
    """Return the resistance of every pulse found in raw rows."""
    table = df.pipe(script.clean_rows).pipe(script.add_intervals).pipe(script.add_resistance)
    return table["resistance_ohm"].dropna().tolist()


# --- reading and cleaning -------------------------------------------------------------------------


def test_several_files_of_any_kind_are_read_as_one_table(tmp_path: Path) -> None:
    table = constant(1.0).assign(further="column")
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "b.csv.gz", index=False)
    table.to_parquet(tmp_path / "c.parquet")
    usage = script.read_usage(sorted(tmp_path.iterdir()))
    assert len(usage) == 3 * len(table)
    assert list(usage.columns) == script.COLUMNS


def test_a_vin_of_digits_stays_text(tmp_path: Path) -> None:
    constant(1.0, vin="0123").to_csv(tmp_path / "a.csv", index=False)
    assert set(script.read_usage([tmp_path / "a.csv"])["vin"]) == {"0123"}


def test_missing_columns_are_named_with_the_file_and_what_it_has(tmp_path: Path) -> None:
    constant(1.0).drop(columns=["time", "usage"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"a\.csv has no column usage, time; it has vin, volt"):
        script.read_usage([tmp_path / "a.csv"])


def test_unusable_and_repeated_rows_are_dropped_and_order_is_restored() -> None:
    good = constant(1.0)
    bad = good.head(3).astype(object)
    bad.loc[0, "time"], bad.loc[1, "current_a"], bad.loc[2, "vin"] = "yesterday", "n/a", None
    mixed = pd.concat([good.tail(5), bad, good], ignore_index=True)
    pd.testing.assert_frame_equal(script.analyse(mixed), script.analyse(good))


def test_times_without_an_offset_are_utc() -> None:
    naive = constant(1.0).assign(time=lambda df: df["time"].str.removesuffix("+08:00"))
    assert str(script.clean_rows(naive)["time"].iloc[0]) == "2022-01-01 16:00:00+08:00"


# --- throughput -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current_a", "way", "other"), [(2.0, "charged", "discharged"), (-2.0, "discharged", "charged")]
)
def test_two_amperes_at_four_volts_for_an_hour(current_a: float, way: str, other: str) -> None:
    (day,) = script.analyse(constant(current_a)).to_dict("records")
    assert day[f"{way}_ah"] == pytest.approx(2.0)
    assert day[f"{way}_wh"] == pytest.approx(8.0)
    assert (day[f"{other}_ah"], day[f"{other}_wh"]) == (0.0, 0.0)
    assert (day["rows"], day["sessions"], day["hours"]) == (361, 1, pytest.approx(1.0))


def test_nothing_is_integrated_across_a_gap() -> None:
    two = pd.concat([constant(2.0), constant(2.0, start="2022-01-01T12:00:00+08:00")])
    (day,) = script.analyse(two).to_dict("records")
    assert (day["sessions"], day["hours"]) == (2, pytest.approx(2.0))
    assert day["charged_ah"] == pytest.approx(4.0)


def test_vehicles_are_kept_apart_even_when_their_times_meet() -> None:
    two = pd.concat([constant(2.0), constant(-1.0, vin="B", start="2022-01-01T09:00:10+08:00")])
    result = script.analyse(two).set_index("vin")
    assert result["charged_ah"].to_dict() == {"A": pytest.approx(2.0), "B": 0.0}
    assert result["discharged_ah"].to_dict() == {"A": 0.0, "B": pytest.approx(1.0)}


def test_a_session_over_midnight_is_shared_between_its_days() -> None:
    result = script.analyse(constant(2.0, hours=3, start="2022-01-01T23:00:00+08:00"))
    assert result["date"].tolist() == [date(2022, 1, 1), date(2022, 1, 2)]
    # The interval that ends at midnight belongs to the new day.
    assert result["charged_ah"].tolist() == pytest.approx([2.0 - 2 / 360, 4.0 + 2 / 360])


def test_mean_voltage_is_weighted_by_time() -> None:
    fast = [second / 10 for second in range(100)]  # a hundred rows at 3 V, two at 4 V
    df = rows([*fast, 10.0, 70.0], [0.0] * 102, [3.0] * 100 + [4.0, 4.0])
    (day,) = script.analyse(df).to_dict("records")
    assert day["voltage_mean_v"] == pytest.approx((3.0 * 9.9 + 3.5 * 0.1 + 4.0 * 60) / 70)
    assert (day["voltage_min_v"], day["voltage_max_v"]) == (3.0, 4.0)


# --- capacity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("current_a", [5.0, -5.0])
def test_a_full_sweep_gives_the_capacity_either_way(current_a: float) -> None:
    df = constant(current_a, hours=2)
    volts = pd.Series([3.0 + 1.2 * row / (len(df) - 1) for row in range(len(df))])
    df["voltage_v"] = volts if current_a > 0 else volts[::-1].to_numpy()
    assert script.analyse(df)["capacity_ah"].tolist() == pytest.approx([10.0])


def test_a_shallow_sweep_gives_no_capacity() -> None:
    assert script.analyse(constant(-5.0, hours=2))["capacity_ah"].isna().all()


# --- pulse resistance -----------------------------------------------------------------------------


def test_a_known_step_gives_its_resistance() -> None:
    # 10 s after a step of 2 A the voltage is 1.0 V lower: 0.5 ohm.
    assert resistances(step()) == pytest.approx([0.5])


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param({"before_s": 10}, id="not settled before the step"),
        pytest.param({"after_s": 5}, id="the pulse is too short"),
        pytest.param({"current_a": 0.0}, id="no step at all"),
        pytest.param({"seen_after_s": 5.0}, id="the step is seen too late"),
        pytest.param({"seen_after_s": 3600.0}, id="a gap before the pulse"),
    ],
)
def test_a_step_that_cannot_be_used_gives_none(unusable: dict[str, float]) -> None:
    assert resistances(step(**unusable)) == []


def test_an_unsteady_pulse_gives_none() -> None:
    df = step()
    df.loc[100, "current_a"] = -1.5
    assert resistances(df) == []


# --- the window -----------------------------------------------------------------------------------


def test_the_window_has_its_first_day_and_not_its_last() -> None:
    days = [f"2022-01-0{day}T00:00:00+08:00" for day in (1, 2, 3)]
    df = pd.concat([constant(1.0, start=start) for start in days])
    result = script.analyse(df, date(2022, 1, 2), date(2022, 1, 3))
    assert result["date"].tolist() == [date(2022, 1, 2)]
    assert len(script.analyse(df)) == 3
    hours = script.analyse(df, datetime(2022, 1, 2, 0), datetime(2022, 1, 2, 1))
    assert hours["date"].tolist() == [date(2022, 1, 2)]


def test_a_day_does_not_depend_on_its_window() -> None:
    df = constant(2.0, hours=30)
    df["voltage_v"] = [3.0 + 1.2 * row / (len(df) - 1) for row in range(len(df))]
    whole = script.analyse(df)
    alone = script.analyse(df, date(2022, 1, 2), date(2022, 1, 3))
    pd.testing.assert_frame_equal(alone, whole.tail(1).reset_index(drop=True))


@pytest.mark.parametrize("table", [constant(1.0), constant(1.0).head(0)], ids=["rows", "no rows"])
def test_an_empty_window_is_an_error_that_names_it(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"\[2023-01-01, 2023-01-08\)"):
        script.analyse(table, date(2023, 1, 1), date(2023, 1, 8))


# --- the sample -----------------------------------------------------------------------------------


def test_the_sample() -> None:
    if not (SAMPLE / "usage.csv.gz").is_file():
        pytest.skip("data/raw/usage/usage.csv.gz is not here: git does not keep data/")
    df = script.read_usage([SAMPLE / "usage.csv.gz"])
    result = script.analyse(df, date(2022, 1, 1), date(2022, 1, 8))
    assert result["vin"].nunique() == 5
    # What the analysis integrates is what the rows' own `usage` adds up to.
    energy = result["charged_wh"] + result["discharged_wh"]
    assert energy.tolist() == pytest.approx(result["usage_wh"].tolist(), rel=1e-3)
    # The same kind of cell, new and aged, and one charged: about 20 mAh each.
    assert result["capacity_ah"].dropna().tolist() == pytest.approx(
        [0.02206, 0.01927, 0.02081], 1e-3
    )
