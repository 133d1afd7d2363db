"""One build of CodeBuild: its source, the phases of its buildspec, and how each ended.

Commands run in a shell on this machine, in a folder of their own, with the rehearsal's stand-ins
for `docker` and `aws` first on the PATH. As in CodeBuild, what one phase exports the next one sees;
`post_build` runs also after a `build` that failed, and a build fails if any phase did.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from . import container_tool

_PHASES = ("install", "pre_build", "build", "post_build")
_PASSED_ON = ("HOME", "LANG", "TMPDIR")


class BuildRun:
    """Runs one build and writes its phases into its description.

    Parameters
    ----------
    build : dict
        CodeBuild's description of the build; `phases` and `currentPhase` are kept up to date.
    s3 : botocore client
        To fetch the source.
    home : Path
        Work directory of the embedded AWS.
    environment : mapping of str to str
        What the commands' environment starts from.
    say : callable
        Takes a line for the log.
    """

    def __init__(
        self,
        build: dict[str, Any],
        *,
        s3: Any,
        home: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._build = build
        self._s3 = s3
        self._home = home
        self._environment = dict(environment)
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._stopped = ""
        self.status = "IN_PROGRESS"

    def perform(self) -> None:
        """Run all phases; `status` tells the outcome."""
        limit = threading.Timer(
            60 * float(self._build["timeoutInMinutes"]), self.stop, ("TIMED_OUT",)
        )
        limit.start()
        try:
            with tempfile.TemporaryDirectory(prefix="build-", dir=self._home) as folder:
                done = self._phases(Path(folder))
        finally:
            limit.cancel()
        self.status = self._stopped or ("SUCCEEDED" if done else "FAILED")

    def stop(self, status: str = "STOPPED") -> None:
        """End the build now."""
        self._stopped = self._stopped or status
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _phases(self, folder: Path) -> bool:
        source = folder / "src"
        source.mkdir()
        if not self._phase("DOWNLOAD_SOURCE", lambda: self._fetch(source)):
            return False
        spec = self._spec(source)
        if spec is None:
            return False
        good = True
        for name in _PHASES:
            commands = (spec.get("phases") or {}).get(name, {}).get("commands") or []
            # As in CodeBuild: post_build after a failed build, nothing after a failed pre_build.
            if self._stopped or not (good or (name == "post_build" and self._ran("BUILD"))):
                continue
            done = self._phase(name.upper(), partial(self._shell, commands, folder))
            good = good and done
        return good

    def _phase(self, name: str, work: Callable[[], str]) -> bool:
        phase: dict[str, Any] = {"phaseType": name, "startTime": time.time()}
        self._build["currentPhase"] = name
        self._build["phases"] = [*self._build["phases"], phase]
        self._say(f"[Container] Entering phase {name}")
        problem = work()
        ended = {
            "endTime": time.time(),
            "durationInSeconds": int(time.time() - phase["startTime"]),
            "phaseStatus": self._stopped or ("FAILED" if problem else "SUCCEEDED"),
        }
        if problem:
            ended["contexts"] = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": problem}]
        self._build["phases"] = [*self._build["phases"][:-1], {**phase, **ended}]
        self._say(f"[Container] Phase complete: {name} State: {ended['phaseStatus']}")
        return not problem and not self._stopped

    def _ran(self, name: str) -> bool:
        return any(phase["phaseType"] == name for phase in self._build["phases"])

    def _fetch(self, target: Path) -> str:
        source = self._build["source"]
        if source["type"] == "NO_SOURCE":
            return ""
        if source["type"] != "S3":
            return f"the embedded AWS has no source of type {source['type']}, only S3"
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = str(source.get("location", "")).removeprefix("arn:").partition("/")
        archive = target.parent / "source.zip"
        try:
            self._s3.download_file(bucket, key, str(archive))
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(target)
        except (ClientError, BotoCoreError, zipfile.BadZipFile) as error:
            return f"{type(error).__name__}: {error} for primary source and source version"
        return ""

    def _spec(self, source: Path) -> dict[str, Any] | None:
        import yaml

        text = self._build["source"].get("buildspec") or "buildspec.yml"
        file = source / text
        problem = ""
        if "\n" not in text:
            if not file.is_file():
                problem = f"YAML_FILE_ERROR: {text}: no such file or directory"
            else:
                text = file.read_text("utf-8")
        spec: Any = None
        if not problem:
            try:
                spec = yaml.safe_load(text)
            except yaml.YAMLError as error:
                problem = f"YAML_FILE_ERROR: {error}"
            else:
                if not isinstance(spec, dict) or str(spec.get("version")) not in ("0.1", "0.2"):
                    problem = "YAML_FILE_ERROR: unknown version of the buildspec"
        if problem:
            self._phase("DOWNLOAD_SOURCE", lambda: problem)
            return None
        return dict(spec)

    def _shell(self, commands: list[str], folder: Path) -> str:
        exported = folder / "exported"
        for command in commands:
            self._say(f"[Container] Running command {command}")
            script = "\n".join(
                (
                    f"[ -f {shlex.quote(str(exported))} ] && . {shlex.quote(str(exported))}",
                    command,
                    "_batcat_code=$?",
                    f"export -p > {shlex.quote(str(exported))}",
                    "exit $_batcat_code",
                )
            )
            code = self._run(script, folder)
            if self._stopped:
                return ""
            if code:
                return f"Error while executing command: {command}. Reason: exit status {code}"
        return ""

    def _run(self, script: str, folder: Path) -> int:
        with subprocess.Popen(
            ["/bin/sh", "-c", script],
            cwd=folder / "src",
            env=self._variables(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            self._process = process
            assert process.stdout is not None
            for line in process.stdout:
                self._say(line)
        return process.returncode

    def _variables(self, folder: Path) -> dict[str, str]:
        tools = folder / "tools"
        if not tools.exists():
            container_tool.install(tools)
            _install_aws(tools)
        own = {
            variable["name"]: variable["value"]
            for variable in self._build["environment"]["environmentVariables"]
            if variable.get("type", "PLAINTEXT") == "PLAINTEXT"
        }
        path = f"{tools}{os.pathsep}{os.environ.get('PATH', '/usr/bin:/bin')}"
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **self._environment,
            "PATH": path,
            "CODEBUILD_BUILD_ID": self._build["id"],
            "CODEBUILD_BUILD_ARN": self._build["arn"],
            "CODEBUILD_BUILD_NUMBER": str(self._build["buildNumber"]),
            "CODEBUILD_SRC_DIR": str(folder / "src"),
            **own,
        }


def _install_aws(directory: Path) -> None:
    """Write the one command of the AWS CLI that builds need, where the CLI itself is not here."""
    if shutil.which("aws"):
        return
    path = directory / "aws"
    path.write_text(
        f"#!{sys.executable} -P\n"
        "import base64, sys\n"
        "import boto3\n"
        "if sys.argv[1:3] != ['ecr', 'get-login-password']:\n"
        "    sys.exit('aws (BatCat): only `aws ecr get-login-password` is here; install awscli')\n"
        "answer = boto3.client('ecr').get_authorization_token()\n"
        "token = answer['authorizationData'][0]['authorizationToken']\n"
        "print(base64.b64decode(token).decode().partition(':')[2])\n",
        "utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
