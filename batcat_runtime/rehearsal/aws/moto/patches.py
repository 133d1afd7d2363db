"""What the embedded AWS replaces in moto (5.2.5), which is pinned; each until moto does it itself.

The interpreter of Step Functions has a file of its own, `interpreter`; what is only read is in
`state`. No issue of moto's is open for any of these where none is named: they are limits that moto
documents (no Docker here, no side effects between services), or details of one service.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import interpreter
from .patching import wraps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...clients import Clients

Event = dict[str, Any]


def install(run_function: Callable[[Any, Any], tuple[str, bool, str]]) -> None:
    """Put every patch in place that needs no room of the embedded AWS.

    Parameters
    ----------
    run_function : callable
        From moto's Lambda function and an event to (payload, failed, log).
    """
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    functions_run_here(run_function)
    registries_have_their_host()
    parts_need_their_upload()
    tables_have_versions()
    buckets_are_closed()


def install_interpreter(clients: Clients) -> None:
    """Import the interpreter of Step Functions, which takes 100 MB, and patch it.

    Parameters
    ----------
    clients : Clients
        For its tasks.
    """
    with _light_batch_package():
        interpreter.install(clients)


def functions_run_here(run_function: Callable[[Any, Any], tuple[str, bool, str]]) -> None:
    """Run a function in a process when a service of moto's invokes it, never in Docker."""
    from moto.awslambda.models import LambdaFunction

    @wraps(LambdaFunction, "_invoke_lambda")
    def _invoke_lambda(_: Any, self: Any, event: Any = None) -> tuple[str, bool, str]:
        return run_function(self, event)


def rules_reach_functions_and_topics(
    complete: Callable[[Event], Event], deliver: Callable[[str, str, Event, Event], None]
) -> None:
    """Let a rule of EventBridge invoke Lambda functions and publish to topics, which moto lacks.

    Parameters
    ----------
    complete : callable
        Words an event as EventBridge does.
    deliver : callable
        From the rule's ARN, the region, the target and the event.
    """
    from moto.events.models import Rule

    @wraps(Rule, "send_to_targets")
    def send_to_targets(
        original: Any, self: Any, original_event: Any, transform_input: bool = True
    ) -> None:
        event = complete(original_event)
        ours = [target for target in self.targets if _service(target) in ("lambda", "sns")]
        others = [target for target in self.targets if target not in ours]
        if ours and self.state == "ENABLED" and self.event_pattern.matches_event(event):
            for target in ours:
                deliver(self.arn, self.region_name, target, event)
        if others:
            kept, self.targets = self.targets, others
            try:
                original(self, _with_seconds(event), transform_input)
            finally:
                self.targets = kept


def _service(target: dict[str, Any]) -> str:
    return str(target["Arn"].split(":")[2])


def _with_seconds(event: Event) -> Event:
    """Return an event whose time is in seconds, as moto's own targets want it."""
    moment = event.get("time")
    if not isinstance(moment, str):
        return event
    return {**event, "time": datetime.fromisoformat(moment).timestamp()}


def executions_tell_their_status(event_of: Callable[[Any, str], Event]) -> None:
    """Tell EventBridge's rules of every execution that begins or ends.

    Parameters
    ----------
    event_of : callable
        From moto's execution and its status to the event.
    """
    from moto.stepfunctions.parser.backend import execution as module

    def tell(execution: Any, status: str) -> None:
        from moto.events.models import events_backends

        buses = events_backends[execution.account_id][execution.region_name].event_buses
        for rule in list(buses["default"].rules.values()):
            rule.send_to_targets(event_of(execution, status), transform_input=False)

    @wraps(module.Execution, "start")
    def start(original: Any, self: Any) -> None:
        original(self)
        tell(self, "RUNNING")  # whatever has become of it by now

    @wraps(module.BaseExecutionWorkerCommunication, "terminated")
    def terminated(original: Any, self: Any) -> None:
        original(self)
        tell(self.execution, self.execution.status)


def registries_have_their_host() -> None:
    """Give repositories in China the host that they have there, ``...amazonaws.com.cn``."""
    from moto.ecr.models import Repository

    @wraps(Repository, "__init__")
    def __init__(original: Any, self: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807
        original(self, *arguments, **named)
        if self.region_name.startswith("cn-"):
            self.uri = self.uri.replace(".amazonaws.com/", ".amazonaws.com.cn/", 1)


def buckets_are_closed() -> None:
    """Encrypt new buckets by default and close them to the public, as S3 does since April 2023."""
    from moto.s3 import models

    @wraps(models.FakeBucket, "__init__")
    def __init__(original: Any, self: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807
        original(self, *arguments, **named)
        by_default = {"SSEAlgorithm": "AES256"}
        self.encryption = {
            "Rule": {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": False}
        }
        self.public_access_block = models.PublicAccessBlock(True, True, True, True)


def parts_need_their_upload() -> None:
    """Refuse a part of an upload that was aborted, or never was; moto crashes."""
    from moto.s3.exceptions import NoSuchUpload
    from moto.s3.models import S3Backend

    @wraps(S3Backend, "upload_part")
    def upload_part(
        original: Any, self: Any, bucket_name: str, multipart_id: str, *rest: Any
    ) -> Any:
        if multipart_id not in self.get_bucket(bucket_name).multiparts:
            raise NoSuchUpload(upload_id=multipart_id)
        return original(self, bucket_name, multipart_id, *rest)


def tables_have_versions() -> None:
    """Refuse to change a table of Glue that is no longer of the version that the caller saw.

    Tables are created and changed one at a time, so that of several callers one wins.
    """
    from moto.glue.exceptions import GlueClientError
    from moto.glue.responses import GlueResponse

    one_at_a_time = threading.Lock()

    def request(original: Any, self: Any) -> Any:
        with one_at_a_time:
            seen = self.parameters.get("VersionId")
            if seen is not None:
                name = self.parameters["TableInput"]["Name"]
                table = self.glue_backend.get_table(self.parameters["DatabaseName"], name)
                if seen != table.as_dict()["VersionId"]:
                    raise GlueClientError(
                        "ConcurrentModificationException",
                        "Update table failed due to concurrent modifications.",
                    )
            return original(self)

    wraps(GlueResponse, "create_table")(request)
    wraps(GlueResponse, "update_table")(request)


@contextmanager
def _light_batch_package() -> Iterator[None]:
    """Import Step Functions without EC2, which costs more than a second and is not needed.

    The task for AWS Batch imports ``moto.batch.utils`` for one enumeration, and the package's
    ``__init__`` imports EC2. While this lasts, ``moto.batch`` is a bare package over the same
    folder; afterwards it is forgotten, and whoever imports it gets the real one.
    """
    spec = importlib.util.find_spec("moto")
    if "moto.batch" in sys.modules or spec is None or not spec.submodule_search_locations:
        yield
        return
    bare = ModuleType("moto.batch")
    bare.__path__ = [str(Path(place) / "batch") for place in spec.submodule_search_locations]
    sys.modules["moto.batch"] = bare
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[:2] == ["moto", "batch"]]:
            del sys.modules[name]
