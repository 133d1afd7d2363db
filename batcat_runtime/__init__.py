"""BatCat's runtime: S3 IO, the processing-job contract and the deployment of a nightly pipeline.

``import batcat_runtime as bc`` costs next to nothing: every public name is resolved on first use
(PEP 562), so a job that never plots a workflow never pays for the libraries that author one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # checkers take this name for True; to import typing takes half our time
if TYPE_CHECKING:
    from typing import Any

    from batcat_runtime.config import Config as Config
    from batcat_runtime.config import Purpose as Purpose
    from batcat_runtime.config import Step as Step
    from batcat_runtime.config import get_config as get_config
    from batcat_runtime.deploy.image import setup_image as setup_image
    from batcat_runtime.deploy.processing import processing_step as processing_step
    from batcat_runtime.deploy.processing import processing_steps as processing_steps
    from batcat_runtime.deploy.project import deploy as deploy
    from batcat_runtime.deploy.templates import template_docker as template_docker
    from batcat_runtime.deploy.templates import template_lambda as template_lambda
    from batcat_runtime.deploy.templates import template_stepfunctions as template_stepfunctions
    from batcat_runtime.deploy.trigger import setup_trigger as setup_trigger
    from batcat_runtime.deploy.workflow import setup_workflow as setup_workflow
    from batcat_runtime.errors import BatcatError as BatcatError
    from batcat_runtime.events import get_bucket_key as get_bucket_key
    from batcat_runtime.events import print_event as print_event
    from batcat_runtime.io.athena import read_data_from_athena as read_data_from_athena
    from batcat_runtime.io.copy import copy_objects as copy_objects
    from batcat_runtime.io.dataset import save_dataset as save_dataset
    from batcat_runtime.io.places import list_keys as list_keys
    from batcat_runtime.io.query import get_date_with_delta as get_date_with_delta
    from batcat_runtime.io.redshift import read_data_from_redshift as read_data_from_redshift
    from batcat_runtime.io.redshift_data import (
        read_data_from_redshift_by_secret as read_data_from_redshift_by_secret,
    )
    from batcat_runtime.io.redshift_save import save_df_to_redshift as save_df_to_redshift
    from batcat_runtime.io.s3 import read_csv_from_bucket as read_csv_from_bucket
    from batcat_runtime.io.s3 import read_excel_from_bucket as read_excel_from_bucket
    from batcat_runtime.io.s3 import read_from_bucket as read_from_bucket
    from batcat_runtime.io.s3 import read_parquet_from_bucket as read_parquet_from_bucket
    from batcat_runtime.io.save import save_to_bucket as save_to_bucket
    from batcat_runtime.io.secrets import get_secret as get_secret
    from batcat_runtime.job import processing_job as processing_job
    from batcat_runtime.job import processing_output_path as processing_output_path
    from batcat_runtime.log import get_logger as get_logger
    from batcat_runtime.names import Names as Names
    from batcat_runtime.operate.backfill import backfill as backfill
    from batcat_runtime.operate.destroy import destroy as destroy
    from batcat_runtime.operate.doctor import doctor as doctor
    from batcat_runtime.operate.estimate import estimate as estimate
    from batcat_runtime.operate.logs import logs as logs
    from batcat_runtime.operate.plan import plan as plan
    from batcat_runtime.operate.register import register_results as register_results
    from batcat_runtime.operate.results import get_results as get_results
    from batcat_runtime.operate.results import read_results as read_results
    from batcat_runtime.operate.results import results as results
    from batcat_runtime.operate.run import run as run
    from batcat_runtime.operate.run import test_workflow as test_workflow
    from batcat_runtime.operate.schedule import schedule as schedule
    from batcat_runtime.operate.status import status as status
    from batcat_runtime.operate.stop import stop as stop

__version__ = "0.1.0"

_HOME = {
    name: home
    for home, names in {
        "config": "Config Purpose Step get_config",
        "errors": "BatcatError",
        "events": "get_bucket_key print_event",
        "job": "processing_job processing_output_path",
        "log": "get_logger",
        "names": "Names",
        "io.athena": "read_data_from_athena",
        "io.copy": "copy_objects",
        "io.dataset": "save_dataset",
        "io.places": "list_keys",
        "io.query": "get_date_with_delta",
        "io.redshift": "read_data_from_redshift",
        "io.redshift_data": "read_data_from_redshift_by_secret",
        "io.redshift_save": "save_df_to_redshift",
        "io.s3": "read_csv_from_bucket read_excel_from_bucket read_from_bucket "
        "read_parquet_from_bucket",
        "io.save": "save_to_bucket",
        "io.secrets": "get_secret",
        "deploy": "deploy",
        "deploy.image": "setup_image",
        "deploy.processing": "processing_step processing_steps",
        "deploy.templates": "template_docker template_lambda template_stepfunctions",
        "deploy.trigger": "setup_trigger",
        "deploy.workflow": "setup_workflow",
        "operate.backfill": "backfill",
        "operate.destroy": "destroy",
        "operate.doctor": "doctor",
        "operate.estimate": "estimate",
        "operate.logs": "logs",
        "operate.plan": "plan",
        "operate.register": "register_results",
        "operate.results": "get_results read_results results",
        "operate.run": "run test_workflow",
        "operate.schedule": "schedule",
        "operate.status": "status",
        "operate.stop": "stop",
    }.items()
    for name in names.split()
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value: Any = import_module(f"{__name__}.{_HOME[name]}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith(__name__):
            raise
        raise AttributeError(
            f"bc.{name} is not in the image, which holds what a job needs and nothing that deploys "
            "or operates. Call it on your machine."
        ) from error
    if _HOME[name] != name:  # else the module itself is what is called; see deploy/__init__.py
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
