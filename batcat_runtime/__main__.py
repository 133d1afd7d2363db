"""``python -m batcat_runtime`` is the `batcat` command."""

from batcat_runtime.commands import main

if __name__ == "__main__":
    main()
