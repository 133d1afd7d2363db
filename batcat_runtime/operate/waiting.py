"""Asking AWS again and again for as long as someone watches: what is lost meanwhile is asked again.

A request that got no answer is sent again as it was, with the same token, so that nothing is left
out and nothing comes twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from batcat_runtime.errors import BatcatError, ConnectError, ServiceError, ThrottledError
from batcat_runtime.operate.connection import Project
from batcat_runtime.text import format_seconds

_LONGEST_PAUSE = 15.0


class Connection:
    """How someone who watches asks AWS.

    Parameters
    ----------
    project : Project
        Where.
    patience : float
        Seconds for which a lost connection is tried again; 0 for not at all.
    come_back : str
        What to do when it stays lost, for the error's `fix`.
    progress : callable
        Called with a line when the connection is lost and when it is back.
    sleep : callable
        Waits, in seconds.

    Attributes
    ----------
    project : Project
        The same with clients that give up soon, if we try again ourselves.
    """

    def __init__(
        self,
        project: Project,
        *,
        patience: float,
        come_back: str,
        progress: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        self.project = project
        self._patience = patience
        self._come_back = come_back
        self._progress = progress
        self._sleep = sleep
        self._skew = 0.0

    @property
    def now(self) -> int:
        """AWS's time in milliseconds, whatever this machine's clock says."""
        return int((time.time() + self._skew) * 1000)

    def ask(self, place: str, action: str, call: Callable[[], Any]) -> Any:
        """Return what a call answers, trying it again while the connection is lost.

        Raises
        ------
        ConnectError
            It stayed lost.
        BatcatError
            AWS refused, for a reason that does not pass.
        """
        lost, pause = 0.0, 1.0
        while True:
            try:
                with self.project.asked(place, action):
                    answer = call()
            except BatcatError as error:
                if self._patience <= 0 or not _passes(error):
                    raise
                started = time.monotonic()
                if not lost:
                    lost = started
                    self._tell_lost(error)
                elif started - lost > self._patience:
                    raise ConnectError(
                        f"{error.message.rstrip('.')}; it stayed so for "
                        f"{format_seconds(started - lost)}.",
                        fix=self._come_back,
                    ) from error
                self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if lost:
                    self._progress("AWS answers again.")
                self._note_time(answer)
                return answer

    def _tell_lost(self, error: BatcatError) -> None:
        what = (
            "AWS asks to slow down"
            if isinstance(error, ThrottledError)
            else "The connection to AWS is lost"
        )
        again = format_seconds(self._patience)
        self._progress(f"{what}; trying again for up to {again}. No line will be missing.")

    def _note_time(self, answer: Any) -> None:
        try:
            told = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, TypeError, ValueError):
            return  # no answer of AWS's own
        skew = (told - datetime.now(UTC)).total_seconds()
        # The header has whole seconds; less than that is no skew.
        self._skew = skew if abs(skew) > 2 else 0.0


def _passes(error: BatcatError) -> bool:
    """Whether a refusal is one that passes by itself."""
    if isinstance(error, ConnectError | ThrottledError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return isinstance(error, ServiceError) and int(status) >= 500
