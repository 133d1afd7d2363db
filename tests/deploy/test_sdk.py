"""The stepfunctions SDK as it is put in place: light, whole on demand, left alone when there."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLACE = "from batcat_runtime.deploy.sdk import quiet_sdk\nimport sys\nwith quiet_sdk():\n    pass\n"


def said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_states_come_without_sagemaker_and_pandas() -> None:
    code = (
        "from stepfunctions.steps import Chain, ChoiceRule, Parallel, Retry, Task, Wait\n"
        "from stepfunctions.steps.states import Graph\n"
        "print(len(Graph(Chain([Wait('a', seconds=1)])).to_dict()['States']))\n"
        "print(sorted({'sagemaker', 'pandas', 'pkg_resources'} & set(sys.modules)))\n"
    )
    assert said(PLACE + code) == "1\n[]\n"


@pytest.mark.parametrize(
    "wanted",
    [
        "from stepfunctions.steps import *; print(TrainingStep.__module__)",
        "from stepfunctions import template; import stepfunctions.steps as steps; "
        "print(steps.TrainingStep.__module__)",
        "import stepfunctions; stepfunctions.set_stream_logger; from stepfunctions.workflow import "
        "Workflow; print(stepfunctions.steps.TrainingStep.__module__)",
    ],
)
def test_what_needs_sagemaker_is_there_on_demand_and_silent(wanted: str) -> None:
    assert said(PLACE + wanted) == "stepfunctions.steps.sagemaker\n"


def test_it_has_every_name_and_leaves_an_sdk_alone_that_was_imported_before() -> None:
    before = "import stepfunctions, stepfunctions.steps as s; t = s.Task\n"
    after = (
        "import stepfunctions.steps as now; print(now is s, now.Task is t)\n"
        "print(sorted(name for name in dir(s) if name[0].isupper()))"
    )
    *_, same, real = said(before + PLACE + after).splitlines()
    assert same == "True True"
    listed = "import stepfunctions.steps as s\nprint(sorted(s.__all__))"
    assert said(PLACE + listed) == f"{real}\n"


def test_a_name_that_is_not_there_is_an_error_as_ever() -> None:
    code = (
        "try:\n    from stepfunctions.steps import Nothing\nexcept ImportError as error:\n"
        "    print(error)\n"
    )
    assert "cannot import name 'Nothing' from 'stepfunctions.steps'" in said(PLACE + code)
