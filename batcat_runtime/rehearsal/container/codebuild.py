"""CodeBuild on the embedded AWS: builds that really run their buildspec.

moto keeps projects and calls every build a success. Here a build fetches its source from S3, runs
the commands of its buildspec with the rehearsal's `docker` first on the PATH, and fails where they
fail; the log goes to the project's log group. What `deploy/builder.yaml` and its caller use is
here: one shell for all phases, a source in S3, overrides of it and of variables.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

from batcat_runtime.config import partition_of

from ..aws.environment import client_environment
from ..aws.jobs.lines import LogWriter
from ..clients import Clients
from ..operations import Operation
from ..wire import ACCOUNT_ID, Call, ServiceError
from . import tool

# The one command of the AWS CLI that builds need, where the CLI itself is not here.
_AWS = """#!{python} -P
import base64, sys
import boto3
if sys.argv[1:3] != ["ecr", "get-login-password"]:
    sys.exit("aws (BatCat): only `aws ecr get-login-password` is here; install awscli")
answer = boto3.client("ecr").get_authorization_token()["authorizationData"][0]
print(base64.b64decode(answer["authorizationToken"]).decode().partition(":")[2])
"""


class CodeBuild:
    """The build projects of one embedded AWS, and their builds.

    Parameters
    ----------
    clients : Clients
        To read sources and to write logs.
    home : Path
        Work directory of the embedded AWS.
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self._home = home
        self._projects: dict[tuple[str, str], dict[str, Any]] = {}
        self._builds: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {
            ("codebuild", "CreateProject"): self.put_project,
            ("codebuild", "UpdateProject"): self.put_project,
            ("codebuild", "DeleteProject"): self.delete_project,
            ("codebuild", "StartBuild"): self.start_build,
            ("codebuild", "BatchGetBuilds"): self.batch_get_builds,
        }

    def put_project(self, call: Call) -> dict[str, Any]:
        """Make a project, or change one."""
        place = (call.region, str(call.params["name"]))
        arn = _arn(call.region, f"project/{place[1]}")
        if call.operation == "CreateProject" and place in self._projects:
            raise ServiceError("ResourceAlreadyExistsException", f"Project already exists: {arn}")
        if call.operation == "UpdateProject" and place not in self._projects:
            raise _no_project(*place)
        project = self._projects[place] = {
            "created": time.time(),
            **self._projects.get(place, {}),
            **call.params,
            "arn": arn,
            "lastModified": time.time(),
        }
        return {"project": project}

    def delete_project(self, call: Call) -> dict[str, Any]:
        """Remove a project; none of that name is no error, as in AWS."""
        self._projects.pop((call.region, str(call.params["name"])), None)
        return {}

    def start_build(self, call: Call) -> dict[str, Any]:
        """Start a build in the background."""
        name, place = str(call.params["projectName"]), uuid.uuid4()
        project = self._projects.get((call.region, name))
        if project is None:
            raise _no_project(call.region, name)
        logs = (project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
        overrides = {"type": "sourceTypeOverride", "location": "sourceLocationOverride"}
        given = {key: call.params[word] for key, word in overrides.items() if word in call.params}
        build = {
            "id": f"{name}:{place}",
            "arn": _arn(call.region, f"build/{name}:{place}"),
            "startTime": time.time(),
            "currentPhase": "QUEUED",
            "buildStatus": "IN_PROGRESS",
            "buildComplete": False,
            "projectName": name,
            "phases": [],
            "source": project["source"] | given,
            "serviceRole": project["serviceRole"],
            "logs": {
                "groupName": logs.get("groupName") or f"/aws/codebuild/{name}",
                "streamName": str(place),
            },
        }
        self._builds[build["id"]] = build
        listed = [
            *project["environment"].get("environmentVariables", []),
            *call.params.get("environmentVariablesOverride", []),
        ]
        variables = {entry["name"]: entry["value"] for entry in listed}
        arguments = (call.region, build, variables)
        threading.Thread(target=self._run, args=arguments, daemon=True).start()
        return {"build": build}

    def batch_get_builds(self, call: Call) -> dict[str, Any]:
        """Describe builds by id."""
        ids = [str(one) for one in call.params["ids"]]
        found = [self._builds[one] for one in ids if one in self._builds]
        return {"builds": found, "buildsNotFound": [one for one in ids if one not in self._builds]}

    def _run(self, region: str, build: dict[str, Any], variables: dict[str, str]) -> None:
        from batcat_runtime.deploy.builders import run_command

        clients = self._clients.as_role(str(build["serviceRole"]), region, "codebuild")
        group, stream = build["logs"]["groupName"], build["logs"]["streamName"]
        with (
            LogWriter(clients.get("logs", region), group) as lines,
            tempfile.TemporaryDirectory(prefix="build-", dir=self._home) as name,
        ):
            place = Path(name)
            home = client_environment(clients.endpoint_url, region, self._home, clients.keys)
            try:
                source = _fetch(clients.get("s3", region), build["source"], place / "src")
                code = run_command(
                    ["/bin/sh", "-c", _script(build["source"], source)],
                    lambda line: lines.write(stream, line),
                    env=home | variables | {"PATH": _tools(place), "HOME": name},
                    cwd=source,
                )
                reason = f"Error while executing commands. Reason: exit status {code}"
                build["currentPhase"] = (place / "phase").read_text("ascii").strip()
            except Exception as error:
                code, reason = 1, f"{type(error).__name__}: {error}"
                lines.write(stream, reason)
        status = "FAILED" if code else "SUCCEEDED"
        context = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": reason}] if code else []
        build["phases"] = [
            {"phaseType": build["currentPhase"], "phaseStatus": status, "contexts": context}
        ]
        # Last, so that whoever sees the end also sees the whole log.
        build |= {"endTime": time.time(), "buildStatus": status, "buildComplete": True}


def _fetch(s3: Any, source: dict[str, Any], folder: Path) -> Path:
    """Unpack a build's source into a folder of its own."""
    folder.mkdir()
    if source["type"] == "S3":
        bucket, _, key = str(source["location"]).partition("/")
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            archive.extractall(folder)
    elif source["type"] != "NO_SOURCE":
        raise ValueError(f"the embedded AWS has no source of type {source['type']}, only S3")
    return folder


def _script(source: dict[str, Any], folder: Path) -> str:
    """Return the commands of a buildspec, a text or a file of the source, for one shell."""
    import yaml

    text = source.get("buildspec") or "buildspec.yml"
    spec = yaml.safe_load(text if "\n" in text else (folder / text).read_text("utf-8"))
    phases = spec.get("phases") or {}
    lines = ["set -e"]
    for name in ("install", "pre_build", "build", "post_build"):
        lines += [f"echo {name.upper()} > '{folder.parent}/phase'"]
        lines += (phases.get(name) or {}).get("commands") or []
    return "\n".join(lines)


def _no_project(region: str, name: str) -> ServiceError:
    arn = _arn(region, f"project/{name}")
    return ServiceError("ResourceNotFoundException", f"Project cannot be found: {arn}")


def _arn(region: str, resource: str) -> str:
    return f"arn:{partition_of(region)}:codebuild:{region}:{ACCOUNT_ID}:{resource}"


def _tools(place: Path) -> str:
    """Put `docker` and `aws` into a folder, and return the PATH with it in front."""
    tools = place / "tools"
    tool.install(tools)
    path = tools / "aws"
    path.write_text(_AWS.format(python=sys.executable), "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{tools}{os.pathsep}{os.environ.get('PATH', '/usr/bin:/bin')}"
