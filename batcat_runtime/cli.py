"""Where `batcat` begins for what was installed before `commands` had it."""

from batcat_runtime.commands import main as main
