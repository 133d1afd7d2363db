"""How a deploy script ends: exit code 0, or one clear message and the code that goes with it.

2 is the user's mistake, 130 an interruption, 1 anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from batcat_runtime.errors import BatcatError


def run_as_script(action: Callable[[], Any]) -> int:
    """Run `action` and return the exit code; errors are printed without a traceback.

    ``BATCAT_DEBUG=1`` shows the traceback instead.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        action()
    except BatcatError as error:
        if os.environ.get("BATCAT_DEBUG"):
            raise
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "Error: Stopped.\n  Fix: Deploy again: what has not changed is skipped.",
            file=sys.stderr,
        )
        return 130
    except (BotoCoreError, ClientError) as error:
        if os.environ.get("BATCAT_DEBUG"):
            raise
        print(
            f"Error: AWS refused: {error}\n"
            "  Fix: Check the credentials in use and what they may do.",
            file=sys.stderr,
        )
        return 1
    return 0
