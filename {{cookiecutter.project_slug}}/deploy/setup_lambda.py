"""The trigger: the function in deploy/lambda/, and the schedule that invokes it (trigger.yaml).

The schedule stays switched off until script/config.json says `"enabled": true`.
"""

from __future__ import annotations

import sys

import batcat_runtime as bc
from batcat_runtime.deploy.project import run_as_script


def main() -> None:
    """Deploy the trigger of every purpose."""
    config = bc.get_config()
    for purpose in config.purposes:
        bc.setup_trigger(config, purpose)


if __name__ == "__main__":
    sys.exit(run_as_script(main))
