"""A deployed project in an embedded AWS, and `batcat` as its user calls it, with a terminal too."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.commands import run as run_command_line  # before `batcat run` is loaded
from batcat_runtime.config import Config, get_config
from batcat_runtime.log import reporting
from batcat_runtime.names import Names
from batcat_runtime.operate.connection import Project
from batcat_runtime.project import new_project
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool
from tests.faultproxy import FaultProxy

REGIONS = ("cn-northwest-1", "us-east-1")
IN_EACH_REGION = pytest.mark.parametrize("project", REGIONS, indirect=True)
PURPOSE = "usage-analysis"
# Quick, and does what its parameters say: wait, print, fail.
SCRIPT = """
import time
import batcat_runtime as bc

with bc.processing_job("usage-analysis") as job:
    for number in range(int(job.parameters.get("lines", 2))):
        print(f"line {number} of {job.date_start}", flush=True)
    time.sleep(float(job.parameters.get("seconds", 0)))
    if job.parameters.get("fail"):
        raise ValueError(f"no usage for {job.date_start}: " + str(job.parameters["fail"]))
    import pandas as pd  # last: most jobs of the tests are to wait or to fail

    job.save(pd.DataFrame({"vin": ["A", "B"], "usage": [1.5, 2.0]}), "usage-analysis.csv")
"""


@dataclass
class World:
    """One embedded AWS and the projects that tests make in it.

    Attributes
    ----------
    aws : EmbeddedAWS
        Policies are enforced, as in an account.
    wire : FaultProxy
        In front of it.
    home : Path
        Where projects are made.
    """

    aws: EmbeddedAWS
    wire: FaultProxy
    home: Path
    made: int = 0

    def client(self, service: str, region: str | None = None) -> Any:
        """Return a client of an administrator."""
        return boto3.Session().client(
            service,
            region_name=region or self.aws.region,
            endpoint_url=self.aws.endpoint_url,
            aws_access_key_id=self.aws.keys[0],
            aws_secret_access_key=self.aws.keys[1],
        )

    def session(self, name: str, *denied: str) -> dict[str, str]:
        """Return the credentials of a role that may do all but these, as STS gives them out."""
        iam, arn = self.client("iam"), f"arn:{self.aws.partition}:iam::{self.aws.account_id}"
        trust = {"Effect": "Allow", "Principal": {"AWS": f"{arn}:root"}, "Action": "sts:AssumeRole"}
        rights = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        never = {"Effect": "Deny", "Action": list(denied), "Resource": "*"}
        statements = [rights, never] if denied else [rights]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document)
        given = self.client("sts").assume_role(
            RoleArn=f"{arn}:role/{name}", RoleSessionName="tester"
        )
        return dict(given["Credentials"])

    def project(
        self,
        *,
        name: str = "",
        deploy: bool = True,
        script: str = SCRIPT,
        change: dict[str, Any] | None = None,
    ) -> DeployedProject:
        """Make a project of its own name, with its bucket; deploy it.

        Parameters
        ----------
        name : str
            What it is called; by default something that no other is.
        deploy : bool
            Whether to run its deploy.sh.
        script : str
            What its one step runs.
        change : dict, optional
            Laid over the purpose in script/config.json.
        """
        self.made += 1
        name = name or f"cells {os.getpid()} {self.made}"
        folder = new_project(
            {"project_name": name, "region": self.aws.region},
            no_input=True,
            output_dir=self.home,
        )
        (folder / "script" / f"{PURPOSE}.py").write_text(script, encoding="utf-8")
        path = folder / "script" / "config.json"
        content = json.loads(path.read_text("utf-8"))
        content["purposes"][PURPOSE] |= change or {}
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
        config = get_config(folder)
        region = config.region
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3 = self.client("s3")
        s3.create_bucket(Bucket=config.result_s3_bucket, **({} if region == "us-east-1" else place))
        for step in config.purposes[PURPOSE].steps:
            for uri in step.places:
                bucket, _, prefix = uri.removeprefix("s3://").partition("/")
                s3.put_object(Bucket=bucket, Key=f"{prefix}usage.csv", Body=b"vin,usage\nA,1\n")
        project = DeployedProject(self, folder, config)
        if deploy:
            project.deploy()
        return project


@dataclass
class DeployedProject:
    """A project in a world, and its user's command line.

    Attributes
    ----------
    folder : Path
        The project's folder.
    config : Config
        As it was when the project was made.
    environment : dict of str to str
        What commands run with; tests may add to it.
    """

    world: World
    folder: Path
    config: Config
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tools = self.world.aws.home / "bin"
        tools.mkdir(exist_ok=True)
        container_tool.install(tools)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name[:4] != "AWS_"},
            **self.world.aws.environment(),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "COLUMNS": "120",
        }

    @property
    def names(self) -> Names:
        return Names.of(self.config, PURPOSE)

    @property
    def opened(self) -> Project:
        """The project as the functions of `operate` take it."""
        return Project(self.folder, get_config(self.folder))

    def client(self, service: str) -> Any:
        return self.world.client(service)

    def deploy(self) -> str:
        """Deploy it in this process, which loads the SDKs once; return what was said."""
        said: list[str] = []
        with pytest.MonkeyPatch.context() as patch, reporting(said.append):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            bc.deploy(self.folder)
        return "\n".join(said)

    def batcat(
        self, *arguments: str, code: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `batcat` in the project's folder without a terminal; it must exit with `code`.

        None accepts any exit code. It runs in this process, whose libraries are loaded; `process`,
        `start` and `terminal` start one.
        """
        out, err = io.StringIO(), io.StringIO()
        found = in_process(arguments, self.folder, self.environment | environment, out, err)
        done = subprocess.CompletedProcess(arguments, found, out.getvalue(), err.getvalue())
        return self._checked(done, code)

    def process(
        self, *arguments: str, code: int | None = 0, timeout: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `batcat` in a process of its own; see `batcat`."""
        done = subprocess.run(
            [sys.executable, "-m", "batcat_runtime", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        return self._checked(done, code)

    def _checked(
        self, done: subprocess.CompletedProcess[str], code: int | None
    ) -> subprocess.CompletedProcess[str]:
        assert code is None or done.returncode == code, done.stdout + done.stderr
        # On standard output it can be a job's, as in `batcat logs`; in an explanation it is
        # indented.
        assert "\nTraceback" not in f"\n{done.stderr}", done.stdout + done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run `batcat ... --json` and return what it printed."""
        return json.loads(self.batcat(*arguments, "--json", code=code).stdout)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `batcat` without a terminal, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "batcat_runtime", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def terminal(self, *arguments: str, timeout: float = 60) -> Terminal:
        """Start `batcat` in a pseudo-terminal of 120 columns."""
        return Terminal(
            [sys.executable, "-m", "batcat_runtime", *arguments],
            self.folder,
            {**self.environment, "TERM": "xterm-256color"},
            timeout,
        )

    def execute(self, name: str, wait: bool = True, **given: Any) -> dict[str, Any]:
        """Start an execution directly, and wait for its end; return its description."""
        states = self.client("stepfunctions")
        machine = self.names.arn(
            "states", f"stateMachine:{self.names.state_machine}", self.world.aws.account_id
        )
        arn = states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))[
            "executionArn"
        ]
        deadline = time.monotonic() + 60
        while True:
            described: dict[str, Any] = states.describe_execution(executionArn=arn)
            if not wait or described["status"] != "RUNNING":
                return described
            assert time.monotonic() < deadline, described
            time.sleep(0.1)


def in_process(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    out: io.StringIO,
    err: io.StringIO,
) -> int:
    """Run `batcat` in this process, with a folder and an environment; return its exit code."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "stdin", io.StringIO())
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        return run_command_line(list(arguments))


def pointed(project: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> DeployedProject:
    """Let this process's environment point to a project's AWS."""
    for name, value in project.world.aws.environment().items():
        monkeypatch.setenv(name, value)
    return project


class Terminal:
    """A command in a pseudo-terminal: what it shows, and keys for it."""

    def __init__(
        self, command: list[str], folder: Path, environment: dict[str, str], timeout: float
    ) -> None:
        master, slave = pty.openpty()
        self._master = master
        self._timeout = timeout
        self.shown = ""
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def read_until(self, words: str) -> str:
        """Read until the words were shown; fail at the end of output or time."""
        deadline = time.monotonic() + self._timeout
        while words not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{words!r} was not shown: {self.shown}"
            assert self._read(left), f"{words!r} was not shown: {self.shown}"
        return self.shown

    def type(self, text: str) -> None:
        """Type something, a line feed included if it is to be sent."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + self._timeout
        while self._read(max(0.1, deadline - time.monotonic())):
            assert time.monotonic() < deadline, self.shown
        code = self.process.wait(timeout=self._timeout)
        os.close(self._master)
        return code

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            read = os.read(self._master, 65_536)
        except OSError:
            return False
        self.shown += read.decode("utf-8", "replace")
        return bool(read)
