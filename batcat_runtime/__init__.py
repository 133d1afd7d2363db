"""BatCat's runtime: S3 IO, the processing-job contract and the deployment of a nightly pipeline.

``import batcat_runtime as bc`` costs next to nothing: every public name is resolved on first use
(PEP 562), so a job that never plots a workflow never pays for the libraries that author one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batcat_runtime.config import Config as Config
    from batcat_runtime.config import Purpose as Purpose
    from batcat_runtime.config import Step as Step
    from batcat_runtime.config import get_config as get_config
    from batcat_runtime.deploy.image import setup_image as setup_image
    from batcat_runtime.deploy.naming import Names as Names
    from batcat_runtime.deploy.trigger import setup_trigger as setup_trigger
    from batcat_runtime.deploy.workflow import processing_step as processing_step
    from batcat_runtime.deploy.workflow import setup_workflow as setup_workflow
    from batcat_runtime.errors import BatcatError as BatcatError
    from batcat_runtime.io.s3 import read_csv_from_bucket as read_csv_from_bucket
    from batcat_runtime.io.s3 import save_to_bucket as save_to_bucket
    from batcat_runtime.job import processing_job as processing_job
    from batcat_runtime.job import processing_output_path as processing_output_path
    from batcat_runtime.log import get_logger as get_logger

__version__ = "0.1.0"

_HOME = {
    "BatcatError": "errors",
    "Config": "config",
    "Names": "deploy.naming",
    "Purpose": "config",
    "Step": "config",
    "get_config": "config",
    "get_logger": "log",
    "processing_job": "job",
    "processing_output_path": "job",
    "processing_step": "deploy.workflow",
    "read_csv_from_bucket": "io.s3",
    "save_to_bucket": "io.s3",
    "setup_image": "deploy.image",
    "setup_trigger": "deploy.trigger",
    "setup_workflow": "deploy.workflow",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
