"""The sample of the template: made from the records, unaltered, and analysed rightly.

What the analysis says of the sample is held here against the records themselves: against the charge
that the recorder counted, and against single rows looked up by hand.
"""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
import zlib
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from binaryornot.check import is_binary

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
SAMPLE = TEMPLATE / "data/raw/usage/usage.csv.gz"
RECORDS = ROOT / "tests/data/battery"
MAKE_SAMPLE = ROOT / "tests/data/make_sample.py"
WINDOW = (date(2022, 1, 1), date(2022, 1, 8))


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


make_sample = load(MAKE_SAMPLE, "make_sample")
DEALS = {deal.record: deal for deal in make_sample.DEALS}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load(ROOT / "templates/battery/script.py", "usage_analysis")


@pytest.fixture(scope="module")
def sample(script: ModuleType) -> pd.DataFrame:
    return script.read_usage([SAMPLE])


@pytest.fixture(scope="module")
def result(script: ModuleType, sample: pd.DataFrame) -> pd.DataFrame:
    return script.analyse(sample, *WINDOW)


@pytest.fixture(scope="module")
def pulses(script: ModuleType, sample: pd.DataFrame) -> pd.DataFrame:
    table = sample.pipe(script.clean_rows).pipe(script.add_intervals).pipe(script.add_resistance)
    return table.dropna(subset="resistance_ohm")


def record(name: str) -> pd.DataFrame:
    return pd.read_csv(RECORDS / f"{name}.csv.gz").fillna(0.0)


def vehicle(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["vin"] == DEALS[name].vin].reset_index(drop=True)


# --- how it was made ------------------------------------------------------------------------------


def test_the_sample_can_be_remade_to_the_byte(tmp_path: Path) -> None:
    remade = tmp_path / "usage.csv.gz"
    subprocess.run([sys.executable, MAKE_SAMPLE, remade], check=True, capture_output=True)
    assert gzip.decompress(remade.read_bytes()) == gzip.decompress(SAMPLE.read_bytes())
    if zlib.ZLIB_RUNTIME_VERSION.startswith("1.") and "zlib-ng" not in zlib.ZLIB_RUNTIME_VERSION:
        # Other compressors, such as zlib-ng, pack the same text into other bytes.
        assert remade.read_bytes() == SAMPLE.read_bytes()


def test_the_sample_is_small_and_binary_to_cookiecutter() -> None:
    assert SAMPLE.stat().st_size < 1_200_000
    assert is_binary(str(SAMPLE))  # or cookiecutter would render it as a text


def test_the_licence_is_beside_the_sample() -> None:
    licence = (RECORDS / "LICENSE").read_text()
    assert licence.startswith("BSD 3-Clause License")
    assert (SAMPLE.parent / "_LICENSE.ampworks").read_text() == licence


def test_the_readme_names_every_vehicle_record_and_column(sample: pd.DataFrame) -> None:
    text = (SAMPLE.parent / "_README.md").read_text()
    for deal in DEALS.values():
        assert f"| {deal.vin} | `{deal.record}` |" in text
    for column in sample.columns:
        assert f"| `{column}` |" in text
    assert f"{len(sample):,} rows" in text


# --- what it holds --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEALS)
def test_every_row_is_the_recorded_one_but_for_rounding(sample: pd.DataFrame, name: str) -> None:
    raw, dealt = record(name), vehicle(sample, name)
    assert len(dealt) == len(raw)
    assert (dealt["voltage_v"] - raw["Volts"]).abs().max() <= 0.51e-6
    assert (dealt["current_a"] - raw["Amps"]).abs().max() <= 0.51e-8


@pytest.mark.parametrize("name", DEALS)
def test_every_interval_is_the_recorded_one_but_at_the_cuts(
    sample: pd.DataFrame, name: str
) -> None:
    raw, dealt = record(name), vehicle(sample, name)
    interval = pd.to_datetime(dealt["time"], format="ISO8601").diff().dt.total_seconds()
    cut = (interval - raw["Seconds"].diff()).abs() > 0.0011
    assert cut.sum() == len(DEALS[name].cuts)
    assert (interval[cut] > 3600).all()
    # Rest before every cut, so that no charge is lost in a gap that we made.
    assert (raw["Amps"].shift()[cut] == 0).all()
    assert raw["Seconds"][cut].tolist() == pytest.approx(list(DEALS[name].cuts), abs=10)


def test_the_days_are_those_of_the_rehearsal(sample: pd.DataFrame) -> None:
    days = sample["time"].str[:10]
    assert sorted(days.unique()) == [f"2022-01-0{day}" for day in range(1, 8)]
    assert sample["time"].str.endswith("+08:00").all()


# --- what the analysis says of it, held against the records ---------------------------------------


@pytest.mark.parametrize("name", ["cell1_rough", "cell2_rough", "hppc_discharge"])
def test_net_charge_is_what_the_recorder_counted(result: pd.DataFrame, name: str) -> None:
    days = vehicle(result, name)
    net = days["discharged_ah"].sum() - days["charged_ah"].sum()
    assert net == pytest.approx(record(name)["Ah"].iloc[-1], rel=1e-4)


@pytest.mark.parametrize("name", DEALS)
def test_energy_is_the_integral_of_the_raw_record(result: pd.DataFrame, name: str) -> None:
    raw, days = record(name), vehicle(result, name)
    watts, hours = raw["Amps"] * raw["Volts"], raw["Seconds"] / 3600
    charged = np.trapezoid(watts.clip(lower=0), hours)
    discharged = np.trapezoid(watts.clip(upper=0).abs(), hours)
    # Rounded currents, and a row or two at the cuts: a part in ten thousand.
    assert days["charged_wh"].sum() == pytest.approx(charged, rel=1e-4, abs=1e-8)
    assert days["discharged_wh"].sum() == pytest.approx(discharged, rel=1e-4, abs=1e-8)
    assert days["usage_wh"].sum() == pytest.approx(charged + discharged, rel=1e-4)


def test_capacities_are_those_of_the_whole_sweeps(result: pd.DataFrame) -> None:
    # The aged cell has lost an eighth. The charge moved is that between its voltage limits.
    capacity = {name: vehicle(result, name)["capacity_ah"].dropna().tolist() for name in DEALS}
    assert capacity["cell1_rough"] == pytest.approx([record("cell1_rough")["Ah"].max()], rel=1e-4)
    assert capacity["cell2_rough"] == pytest.approx([record("cell2_rough")["Ah"].max()], rel=1e-4)
    raw = record("ici_charge")
    moved = np.trapezoid(raw["Amps"], raw["Seconds"] / 3600)
    assert capacity["ici_charge"] == pytest.approx([moved], rel=1e-4)
    assert capacity["hppc_discharge"] == capacity["ici_discharge"] == []


def test_the_pulse_test_moved_its_nominal_capacity(result: pd.DataFrame) -> None:
    # Its C/3 steps are of 1.0667 mA and its 1C pulses of 3.2 mA: 3.2 mAh.
    days = vehicle(result, "hppc_discharge")
    assert (days["discharged_ah"] - days["charged_ah"]).sum() == pytest.approx(3.2e-3, rel=0.01)


@pytest.mark.parametrize(
    ("name", "before_s", "after_s", "number"),
    [
        ("hppc_discharge", 8280.002, 8290.003, 2),  # the first 1C pulse, after an hour of rest
        ("hppc_discharge", 8350.004, 8360.005, 4),  # the charge pulse that follows
        ("ici_charge", 900.001, 910.002, 1),  # the first interruption
        ("ici_discharge", 900.001, 910.002, 1),
    ],
)
def test_resistance_is_that_of_two_rows_looked_up(
    pulses: pd.DataFrame, name: str, before_s: float, after_s: float, number: int
) -> None:
    raw = record(name).assign(Seconds=lambda df: df["Seconds"].round(3)).set_index("Seconds")
    volts = raw["Volts"][after_s] - raw["Volts"][before_s]
    amperes = raw["Amps"][after_s] - raw["Amps"][before_s]
    by_hand = volts / amperes
    assert vehicle(pulses, name)["resistance_ohm"][number] == pytest.approx(by_hand, rel=2e-3)


def test_the_number_of_pulses_is_that_of_the_protocols(result: pd.DataFrame) -> None:
    counted = {name: int(vehicle(result, name)["pulses"].sum()) for name in DEALS}
    # Pulse test: a C/3 step and its end; then nine times a 1C pulse and its end, a charge pulse, a
    # C/3 step and its end. The end of a charge pulse, after 10 s of load, does not count.
    assert counted["hppc_discharge"] == 2 + 9 * 5
    # ICI: one first load after ten minutes' rest, then every interruption. The loads after those
    # follow ten seconds of rest only, and do not count.
    for name in ("ici_charge", "ici_discharge"):
        at_rest = record(name)["Amps"] == 0
        interruptions = int((at_rest & ~at_rest.shift(fill_value=True)).sum())
        assert counted[name] == 1 + interruptions
    assert counted["cell1_rough"] == counted["cell2_rough"] == 0
