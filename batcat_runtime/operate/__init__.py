"""Living with a deployed pipeline: one module a command, each a function for notebooks too.

`project` opens a project with its clients; `windows`, `executions`, `history` and `manifests` read
what AWS knows of it; the modules that are called like a command do that command's work and return
plain data. Nothing here prints: `batcat_runtime.commands` does.
"""
