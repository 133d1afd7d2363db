"""CodeBuild on the embedded AWS: build projects, and builds that really run their buildspec.

moto keeps projects and calls every build a success. Here a build fetches its source from S3, runs
the commands of its buildspec (`build_run`) and fails where they fail; `docker` in them is the
rehearsal's stand-in, and the log goes to the project's log group.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import build_run
from .clients import Clients
from .logstream import LogWriter
from .operations import Operation
from .wire import ACCOUNT_ID, Call, ServiceError

_PLAIN = (
    *("name", "description", "source", "sourceVersion", "artifacts", "environment"),
    *("serviceRole", "timeoutInMinutes", "queuedTimeoutInMinutes", "encryptionKey"),
    *("tags", "logsConfig", "vpcConfig", "cache", "concurrentBuildLimit"),
)
_OVERRIDES = {
    "sourceTypeOverride": ("source", "type"),
    "sourceLocationOverride": ("source", "location"),
    "buildspecOverride": ("source", "buildspec"),
    "imageOverride": ("environment", "image"),
    "computeTypeOverride": ("environment", "computeType"),
    "privilegedModeOverride": ("environment", "privilegedMode"),
}


class CodeBuild:
    """The build projects of one embedded AWS, and their builds.

    Parameters
    ----------
    clients : Clients
        To read sources and to write logs.
    home : Path
        Work directory of the embedded AWS.
    environment : mapping of str to str
        The environment that every build starts from, the embedded endpoint included.
    """

    def __init__(self, clients: Clients, home: Path, environment: Mapping[str, str]) -> None:
        self._clients = clients
        self._home = home
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._projects: dict[tuple[str, str], dict[str, Any]] = {}
        self._builds: dict[str, dict[str, Any]] = {}
        self._runs: dict[str, build_run.BuildRun] = {}
        self._tokens: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
        self._threads: list[threading.Thread] = []

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        own = {
            "CreateProject": self.create_project,
            "UpdateProject": self.update_project,
            "DeleteProject": self.delete_project,
            "BatchGetProjects": self.batch_get_projects,
            "ListProjects": self.list_projects,
            "StartBuild": self.start_build,
            "StopBuild": self.stop_build,
            "BatchGetBuilds": self.batch_get_builds,
            "ListBuilds": self.list_builds,
            "ListBuildsForProject": self.list_builds,
        }
        return {("codebuild", name): operation for name, operation in own.items()}

    def create_project(self, call: Call) -> dict[str, Any]:
        """Make a project."""
        name = str(call.params["name"])
        with self._lock:
            if (call.region, name) in self._projects:
                raise ServiceError(
                    "ResourceAlreadyExistsException",
                    f"Project already exists: {self._arn(call, f'project/{name}')}",
                )
            return {"project": self._store(call, {"created": time.time()})}

    def update_project(self, call: Call) -> dict[str, Any]:
        """Change a project."""
        with self._lock:
            return {"project": self._store(call, self._project(call, str(call.params["name"])))}

    def _store(self, call: Call, before: dict[str, Any]) -> dict[str, Any]:
        given = {key: call.params[key] for key in _PLAIN if call.params.get(key) is not None}
        source = given.get("source", before.get("source", {}))
        if source.get("type") == "NO_SOURCE" and not source.get("buildspec"):
            raise ServiceError(
                "InvalidInputException",
                "Invalid project source: buildspec is required when project source type is "
                "NO_SOURCE",
            )
        project = {
            "timeoutInMinutes": 60,
            "queuedTimeoutInMinutes": 480,
            "cache": {"type": "NO_CACHE"},
            "badge": {"badgeEnabled": False},
            "encryptionKey": self._arn(call, "alias/aws/s3", "kms"),
            **before,
            **given,
            "arn": self._arn(call, f"project/{call.params['name']}"),
            "lastModified": time.time(),
        }
        self._projects[call.region, project["name"]] = project
        return project

    def delete_project(self, call: Call) -> dict[str, Any]:
        """Remove a project; none of that name is no error, as in AWS."""
        with self._lock:
            self._projects.pop((call.region, str(call.params["name"])), None)
        return {}

    def batch_get_projects(self, call: Call) -> dict[str, Any]:
        """Describe projects by name or ARN."""
        names = [str(name).rpartition("project/")[2] or str(name) for name in call.params["names"]]
        with self._lock:
            found = [self._projects.get((call.region, name)) for name in names]
        missing = [name for name, project in zip(names, found, strict=True) if project is None]
        return {"projects": [project for project in found if project], "projectsNotFound": missing}

    def list_projects(self, call: Call) -> dict[str, Any]:
        """List the names of projects."""
        with self._lock:
            return {
                "projects": sorted(name for region, name in self._projects if region == call.region)
            }

    def start_build(self, call: Call) -> dict[str, Any]:
        """Start a build in the background."""
        params = dict(call.params)
        token = params.pop("idempotencyToken", None)
        with self._lock:
            project = self._project(call, str(params["projectName"]))
            known = self._tokens.get((call.region, token)) if token else None
            if known is not None:
                if known[0] != params:
                    raise ServiceError(
                        "InvalidInputException",
                        "The idempotency token was used with other parameters",
                    )
                return {"build": self._builds[known[1]]}
            build = self._new_build(call, project, params)
            if token:
                self._tokens[call.region, token] = (params, build["id"])
        thread = threading.Thread(target=self._run, args=(call.region, build), daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"build": build}

    def _new_build(
        self, call: Call, project: dict[str, Any], params: dict[str, Any]
    ) -> dict[str, Any]:
        number = 1 + sum(b["projectName"] == project["name"] for b in self._builds.values())
        place = uuid.uuid4()
        parts = {name: dict(project[name]) for name in ("source", "environment")}
        for option, (part, key) in _OVERRIDES.items():
            if params.get(option) is not None:
                parts[part][key] = params[option]
        variables = {v["name"]: v for v in parts["environment"].get("environmentVariables", [])}
        variables |= {v["name"]: v for v in params.get("environmentVariablesOverride", [])}
        parts["environment"]["environmentVariables"] = list(variables.values())
        logs = (project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
        group = logs.get("groupName") or f"/aws/codebuild/{project['name']}"
        stream = "/".join(filter(None, (logs.get("streamName"), str(place))))
        build = {
            "id": f"{project['name']}:{place}",
            "arn": self._arn(call, f"build/{project['name']}:{place}"),
            "buildNumber": number,
            "startTime": time.time(),
            "currentPhase": "QUEUED",
            "buildStatus": "IN_PROGRESS",
            "buildComplete": False,
            "projectName": project["name"],
            "phases": [],
            **parts,
            "artifacts": {"location": ""},
            "cache": project["cache"],
            "serviceRole": project["serviceRole"],
            "logs": {
                "groupName": group,
                "streamName": stream,
                "cloudWatchLogsArn": self._arn(
                    call, f"log-group:{group}:log-stream:{stream}", "logs"
                ),
            },
            "timeoutInMinutes": params.get("timeoutInMinutesOverride")
            or project["timeoutInMinutes"],
            "queuedTimeoutInMinutes": project["queuedTimeoutInMinutes"],
            "encryptionKey": project["encryptionKey"],
            "initiator": "batcat",
        }
        self._builds[build["id"]] = build
        return build

    def _run(self, region: str, build: dict[str, Any]) -> None:
        group, stream = build["logs"]["groupName"], build["logs"]["streamName"]
        role = str(build["serviceRole"])
        clients = self._clients.as_role(role, region, "codebuild")
        key, secret, token = clients.keys
        with LogWriter(clients.get("logs", region), group) as lines:
            run = build_run.BuildRun(
                build,
                s3=clients.get("s3", region),
                home=self._home,
                environment=self._environment
                | {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
                | {"AWS_SESSION_TOKEN": token, "AWS_DEFAULT_REGION": region, "AWS_REGION": region},
                say=lambda text: lines.write(stream, text),
            )
            self._runs[build["id"]] = run
            run.perform()
        # Last, so that whoever sees the end also sees the whole log.
        build["endTime"] = time.time()
        build["currentPhase"] = "COMPLETED"
        build["buildStatus"] = run.status
        build["buildComplete"] = True

    def stop_build(self, call: Call) -> dict[str, Any]:
        """Stop a build that runs."""
        build = self._builds.get(str(call.params["id"]))
        if build is None:
            raise ServiceError("ResourceNotFoundException", f"Build not found: {call.params['id']}")
        run = self._runs.get(build["id"])
        if run is not None and not build["buildComplete"]:
            run.stop()
        return {"build": build}

    def batch_get_builds(self, call: Call) -> dict[str, Any]:
        """Describe builds by id."""
        ids = [str(one).rpartition("build/")[2] or str(one) for one in call.params["ids"]]
        missing = [one for one in ids if one not in self._builds]
        found = [self._builds[one] for one in ids if one in self._builds]
        return {"builds": found, "buildsNotFound": missing}

    def list_builds(self, call: Call) -> dict[str, Any]:
        """List build ids, newest first."""
        name = call.params.get("projectName")
        if name is not None:
            self._project(call, str(name))
        builds = [b for b in self._builds.values() if name in (None, b["projectName"])]
        ids = [build["id"] for build in builds]
        return {"ids": ids if call.params.get("sortOrder") == "ASCENDING" else ids[::-1]}

    def shut_down(self, timeout: float) -> None:
        """Stop what still runs, and wait for it."""
        for run in self._runs.values():
            run.stop()
        for thread in self._threads:
            thread.join(timeout)

    def _project(self, call: Call, name: str) -> dict[str, Any]:
        try:
            return self._projects[call.region, name.rpartition("project/")[2] or name]
        except KeyError:
            arn = self._arn(call, f"project/{name}")
            raise ServiceError(
                "ResourceNotFoundException", f"Project cannot be found: {arn}"
            ) from None

    def _arn(self, call: Call, resource: str, service: str = "codebuild") -> str:
        from batcat_runtime.config import partition_of

        return f"arn:{partition_of(call.region)}:{service}:{call.region}:{ACCOUNT_ID}:{resource}"
