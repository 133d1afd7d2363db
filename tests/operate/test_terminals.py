"""What only looks at a pipeline, each in a pseudo-terminal, in each region."""

from __future__ import annotations

from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject


@IN_EACH_REGION
def test_every_command_that_looks_answers_in_a_terminal(project: DeployedProject) -> None:
    given = {"date_start": "2019-05-01", "date_end": "2019-05-02"}
    assert project.execute("in-a-terminal", **given)["status"] == "SUCCEEDED"
    for words, shown in (
        (("doctor",), "credentials: "),
        (("plan",), "Nothing would change: everything is deployed as it is."),
        (("status", "in-a-terminal"), "SUCCEEDED"),
        (("logs", "in-a-terminal"), "line 0 of 2019-05-01"),
        (("results", "--first", "2019-05-01", "--last", "2019-05-01"), "in-a-terminal"),
        (("schedule",), f"{PURPOSE}: o"),
    ):
        terminal = project.terminal(*words, timeout=120)
        assert terminal.wait() == 0, terminal.shown
        assert shown in terminal.shown, words
        assert "Traceback" not in terminal.shown
