"""What is deployed, authored here and carried out by CloudFormation: one file a part.

This module can be called: ``bc.deploy(folder)`` is `deploy.project.deploy`.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False  # see batcat_runtime/__init__.py
if TYPE_CHECKING:
    from pathlib import Path

    from batcat_runtime.deploy.project import Deployed


class _CallableModule(ModuleType):
    """A module that is a function too.

    The command `batcat deploy` has a function of its name, as every command has, and `deploy` is
    this sub-package's name as well. Python sets the sub-package as the attribute ``deploy`` of
    `batcat_runtime` whenever any module of it is imported, so no function of that name would last;
    but the module may have a class of its own (data model of Python, "Customizing module attribute
    access").
    """

    def __call__(
        self, folder: str | Path | None = None, *, create_bucket: bool = False
    ) -> Deployed:
        """Deploy the project at or above a folder; see `batcat_runtime.deploy.project.deploy`."""
        from batcat_runtime.deploy.project import deploy

        return deploy(folder, create_bucket=create_bucket)


sys.modules[__name__].__class__ = _CallableModule
