"""Processing jobs that really run: against a plain moto server, in both kinds of sandbox."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.rehearsal import sandbox
from batcat_runtime.rehearsal.jobs import JobOutcome, ProcessingJobRunner
from tests.rehearsal.plain_moto import ACCOUNT, REGION, REGISTRY, PlainMoto, plain_moto


@pytest.fixture(scope="module")
def moto() -> PlainMoto:
    return plain_moto()


class Bench:
    """Makes an image of a script and runs it as a job."""

    def __init__(self, moto: PlainMoto, tmp_path: Path, way: str) -> None:
        self.moto = moto
        self.home = tmp_path / "home"
        self.context = tmp_path / "context"
        self.way = way
        self.bucket = moto.bucket()
        self.log: list[tuple[str, str]] = []
        self.stop = threading.Event()

    def image(self, script: str, dockerfile: str = "") -> str:
        (self.context / "script").mkdir(parents=True, exist_ok=True)
        (self.context / "script" / "main.py").write_text(script)
        (self.context / "Dockerfile").write_text(
            dockerfile or "FROM python:3.11\nWORKDIR /opt/batcat\nCOPY script script/\n"
        )
        return self.moto.push(self.context, self.home)[0]

    def request(self, image: str, **changes: Any) -> dict[str, Any]:
        request: dict[str, Any] = {
            "ProcessingJobName": "Battery-usage-1",
            "RoleArn": f"arn:aws-cn:iam::{ACCOUNT}:role/job",
            "AppSpecification": {
                "ImageUri": image,
                "ContainerEntrypoint": ["python3", "/opt/batcat/script/main.py"],
            },
            "ProcessingOutputConfig": {"Outputs": [self.output("result")]},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1,
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "Tags": [{"Key": "a", "Value": "b"}],
        }  # fmt: skip
        count = changes.pop("count", 1)
        request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = count
        if "limit" in changes:
            request["StoppingCondition"]["MaxRuntimeInSeconds"] = changes.pop("limit")
        return request | changes

    def output(self, name: str, mode: str = "EndOfJob", path: str = "output") -> dict[str, Any]:
        return {
            "OutputName": name,
            "S3Output": {
                "S3Uri": f"s3://{self.bucket}/out/",
                "LocalPath": f"/opt/ml/processing/{path}",
                "S3UploadMode": mode,
            },
        }

    def input(self, uri: str, name: str = "usage", **options: str) -> dict[str, Any]:
        source = {
            "S3Uri": uri,
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        }
        return {"InputName": name, "S3Input": source | options}

    def run(self, request: dict[str, Any], **environment: str) -> JobOutcome:
        runner = ProcessingJobRunner(
            endpoint_url=self.moto.endpoint_url,
            region=REGION,
            home=self.home,
            environment=self.moto.environment | {"BATCAT_SANDBOX": self.way} | environment,
            grace=0.5,
        )
        outcome = runner.run(
            request, log=lambda stream, line: self.log.append((stream, line)), stop=self.stop
        )
        assert list((self.home / "jobs").iterdir()) == [], "a sandbox was left behind"
        return outcome

    def go(self, script: str, **changes: Any) -> JobOutcome:
        return self.run(self.request(self.image(script), **changes))

    @property
    def lines(self) -> list[str]:
        return [line for _, line in self.log]


@pytest.fixture(params=["namespaces", "paths"])
def bench(request: pytest.FixtureRequest, moto: PlainMoto, tmp_path: Path) -> Bench:
    if request.param == "namespaces" and not sandbox.namespaces().kind:
        pytest.skip(f"no namespaces here: {sandbox.namespaces().reason}")
    return Bench(moto, tmp_path, request.param)


# What does not depend on the sandbox is tested in the one that this machine would choose.
@pytest.fixture
def one(moto: PlainMoto, tmp_path: Path) -> Bench:
    return Bench(moto, tmp_path, sandbox.choose_way())


ROOT = """
import os, sys
from pathlib import Path
ML = Path(os.environ.get("BATCAT_ML_ROOT", "/opt/ml"))
"""


def test_reads_input_writes_result_and_logs(bench: Bench) -> None:
    bench.moto.put(bench.bucket, **{
        "raw/usage/2022/a.csv": "1", "raw/usage/b.csv": "2", "raw/usage/": "", "raw/other.csv": "3",
    })  # fmt: skip
    outcome = bench.go(
        ROOT
        + """
for path in sorted((ML / "processing/input/usage").rglob("*")):
    print(path.relative_to(ML), path.is_file() and path.read_text())
print("to stderr", file=sys.stderr)
out = ML / "processing/output/date=2022-01-01"
out.mkdir()
(out / "result.csv").write_text("r"); (out / "_manifest.json").write_text("{}")
(ML / "processing/output/link").symlink_to("/etc/passwd")
(ML / "output/message").write_text("all well")
""",
        ProcessingInputs=[bench.input(f"s3://{bench.bucket}/raw/usage/")],
    )
    assert (outcome.status, outcome.failure_reason) == ("Completed", None), bench.lines
    assert outcome.exit_message == "all well"
    assert outcome.started < outcome.ended
    assert bench.lines == [
        "processing/input/usage/2022 False",
        "processing/input/usage/2022/a.csv 1",
        "processing/input/usage/b.csv 2",
        "to stderr",
    ]
    (stream,) = {stream for stream, _ in bench.log}
    assert stream == f"Battery-usage-1/algo-1-{int(outcome.started.timestamp() * 1000)}"
    stored = bench.moto.read(bench.bucket)
    assert {key: body for key, body in stored.items() if key.startswith("out/")} == {
        "out/date=2022-01-01/result.csv": "r",
        "out/date=2022-01-01/_manifest.json": "{}",
    }


def test_failing_job(bench: Bench) -> None:
    outcome = bench.go(
        ROOT
        + "(ML / 'output/message').write_text('é' * 600)\n"
        + "(ML / 'processing/output/half.csv').write_text('x')\nsys.exit(3)"
    )
    assert outcome.status == "Failed"
    assert outcome.failure_reason == "AlgorithmError: , exit code: 3"
    assert outcome.exit_message == "é" * 512
    assert bench.moto.read(bench.bucket) == {}


def test_job_that_runs_for_too_long_is_killed_with_all_it_started(bench: Bench) -> None:
    began = time.monotonic()
    outcome = bench.go(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '4821'], start_new_session=True)\n"
        "print('hanging', flush=True)\ntime.sleep(600)\n",
        limit=2,
    )
    assert 2 < time.monotonic() - began < 10
    assert outcome.status == "Stopped"
    assert outcome.failure_reason == "Processing job runtime exceeded MaxRuntimeInSeconds (2)"
    assert bench.lines == ["hanging"]
    assert not processes("sleep\x004821")


def test_stop(one: Bench) -> None:
    threading.Timer(0.7, one.stop.set).start()
    outcome = one.go("import time\ntime.sleep(600)")
    assert (outcome.status, outcome.failure_reason) == ("Stopped", None)


def test_daemon_that_holds_the_pipe_ends_with_the_job(bench: Bench) -> None:
    began = time.monotonic()
    outcome = bench.go(
        "import os, subprocess\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execvp('sleep', ['sleep', '4822'])\n"
        "    os._exit(0)\n"
        "os.wait(); print('done')\n"
    )
    assert (outcome.status, bench.lines) == ("Completed", ["done"])
    assert time.monotonic() - began < 8
    assert not processes("sleep\x004822")


def test_output_of_every_kind_arrives(one: Bench) -> None:
    outcome = one.go(
        """
import os, sys, time
for number in range(20_000):
    print("line", number)
sys.stdout.flush()
os.write(1, b"\\xff\\x00binary\\r\\n")
os.write(1, b"x" * 400_000 + b"\\n")
os.write(2, b"no newline")
os.close(1); os.close(2)
time.sleep(0.5)
"""
    )
    assert outcome.status == "Completed"
    assert one.lines[:20_000] == [f"line {number}" for number in range(20_000)]
    assert one.lines[20_000] == "\ufffd\x00binary"
    assert one.lines[20_001] == "x" * (256 * 1024 - 26)
    assert one.lines[20_002:] == ["no newline"]


def test_three_instances_share_the_keys_and_run_side_by_side(bench: Bench) -> None:
    bench.moto.put(bench.bucket, **{f"in/{number}.csv": "x" for number in range(7)})
    bench.moto.put(bench.bucket, **{"all/reference.csv": "x"})
    outcome = bench.go(
        ROOT
        + """
import json, time
resources = json.loads((ML / "config/resourceconfig.json").read_text())
host = resources["current_host"]
seen = sorted(p.name for p in (ML / "processing/input/usage").iterdir())
assert [p.name for p in (ML / "processing/input/all").iterdir()] == ["reference.csv"]
assert not list((ML / "processing/input/none").iterdir()) or host == "algo-1"
(ML / f"processing/output/{host}.json").write_text(json.dumps([seen, resources, time.time()]))
(ML / f"processing/output/_manifest-{host}.json").write_text("{}")
(ML / "output/message").write_text(host + " ")
time.sleep(1)
""",
        count=3,
        ProcessingInputs=[
            bench.input(f"s3://{bench.bucket}/in/", S3DataDistributionType="ShardedByS3Key"),
            bench.input(f"s3://{bench.bucket}/all/", "all"),
            bench.input(
                f"s3://{bench.bucket}/all/", "none", S3DataDistributionType="ShardedByS3Key"
            ),
        ],
    )
    assert outcome.status == "Completed", (outcome, bench.lines)
    assert outcome.exit_message == "algo-1 algo-2 algo-3 "
    stored = {
        key.removeprefix("out/"): json.loads(body)
        for key, body in bench.moto.read(bench.bucket).items()
        if key.startswith("out/algo")
    }
    assert sorted(stored) == ["algo-1.json", "algo-2.json", "algo-3.json"]
    shards = [stored[f"algo-{number}.json"][0] for number in (1, 2, 3)]
    assert sorted(name for shard in shards for name in shard) == [f"{n}.csv" for n in range(7)]
    assert [len(shard) for shard in shards] == [3, 2, 2]
    assert stored["algo-2.json"][1] == {
        "current_host": "algo-2",
        "hosts": ["algo-1", "algo-2", "algo-3"],
        "network_interface_name": "eth0",
    }
    started = [entry[2] for entry in stored.values()]
    assert max(started) - min(started) < 1


def test_one_failing_instance_ends_the_others(one: Bench) -> None:
    began = time.monotonic()
    outcome = one.go(
        ROOT
        + "import json, time\n"
        + "host = json.loads((ML / 'config/resourceconfig.json').read_text())['current_host']\n"
        + "sys.exit(5) if host == 'algo-2' else time.sleep(600)",
        count=2,
    )
    assert outcome.failure_reason == "AlgorithmError: , exit code: 5"
    assert time.monotonic() - began < 10


def test_environment_is_clean(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET", "tweet")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    monkeypatch.setenv("PYTHONPATH", "/canary")
    script = "import json, os, sys\nprint(json.dumps([dict(os.environ), sys.prefix, os.getcwd()]))"
    dockerfile = (
        "FROM python:3.11\nENV FROM_IMAGE=1 BOTH=image DATA=/opt/ml/x\n"
        "WORKDIR /opt/batcat\nCOPY script script/\n"
    )
    request = bench.request(
        bench.image(script, dockerfile),
        Environment={
            "BOTH": "request",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_ENDPOINT_URL": "https://real.invalid",
            "AWS_ENDPOINT_URL_S3": "https://real.invalid",
        },
    )
    bench.run(request)
    environment, prefix, directory = json.loads(bench.lines[0])
    assert prefix == sys.prefix
    assert directory.endswith("/opt/batcat")
    assert environment.pop("PATH").split(":")[0] == str(Path(sys.executable).parent)
    box = environment.pop("HOME").removesuffix("/home")
    assert box.startswith(str(bench.home))
    ml = "/opt/ml" if bench.way == "namespaces" else environment.pop("BATCAT_ML_ROOT")
    assert environment.pop("TMPDIR") == f"{box}/tmp"
    assert environment == {
        **bench.moto.environment,
        "AWS_DEFAULT_REGION": "us-west-2",
        "BATCAT_SANDBOX": bench.way,
        "BOTH": "request",
        "DATA": f"{ml}/x",
        "FROM_IMAGE": "1",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
    }


def test_configuration_is_the_request_with_its_arn(one: Bench) -> None:
    one.go(ROOT + "print((ML / 'config/processingjobconfig.json').read_text())")
    written = json.loads(one.lines[0])
    arn = f"arn:aws-cn:sagemaker:{REGION}:{ACCOUNT}:processing-job/battery-usage-1"
    assert written["ProcessingJobArn"] == arn
    assert written["ProcessingJobName"] == "Battery-usage-1"
    assert written["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
    assert "Tags" not in written


def test_image_entrypoint_and_command(one: Bench) -> None:
    dockerfile = (
        "FROM python:3.11\nWORKDIR /opt/batcat\nCOPY script script/\n"
        'ENTRYPOINT ["python", "script/main.py"]\nCMD ["from-image"]\n'
    )
    image = one.image("import sys; print(sys.argv[1:])", dockerfile)
    for specification in ({}, {"ContainerArguments": ["--given"]}):
        one.run(one.request(image, AppSpecification={"ImageUri": image, **specification}))
    assert one.lines == ["['from-image']", "['--given']"]
    plain = one.image("")
    outcome = one.run(one.request(plain, AppSpecification={"ImageUri": plain}))
    assert "no command specified" in (outcome.failure_reason or "")


@pytest.mark.parametrize("by", ["tag", "digest", "unknown tag", "unknown repository"])
def test_image_is_found_through_the_registry(one: Bench, by: str) -> None:
    one.image("print('ran')")
    uri, image = one.moto.push(one.context, one.home)
    name = uri.removesuffix(":latest")
    wanted = {
        "tag": uri,
        "digest": f"{name}@{image.digest}",
        "unknown tag": f"{name}:other",
        "unknown repository": f"{REGISTRY}/no/such:latest",
    }[by]
    outcome = one.run(one.request(wanted))
    if by in ("tag", "digest"):
        assert (outcome.status, one.lines) == ("Completed", ["ran"])
    elif by == "unknown tag":
        assert outcome.failure_reason == (
            f"ClientError: API error (404): manifest for {wanted} not found: manifest unknown:"
            " Requested image not found"
        )
    else:
        assert "The repository with name 'no/such' does not exist" in str(outcome.failure_reason)
    assert (outcome.status == "Completed") == (by in ("tag", "digest"))


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("in/", ["a.csv", "sub/b.csv"]),
        ("in", ["a.csv", "inside.csv", "sub/b.csv"]),
        ("in/a.csv", ["a.csv"]),
    ],
)
def test_where_keys_of_a_prefix_go(one: Bench, prefix: str, expected: list[str]) -> None:
    one.moto.put(one.bucket, **{"in/a.csv": "", "in/sub/b.csv": "", "inside.csv": ""})
    one.go(
        ROOT + "root = ML / 'processing/input/usage'\n"
        "print(sorted(str(p.relative_to(root)) for p in root.rglob('*') if p.is_file()))",
        ProcessingInputs=[one.input(f"s3://{one.bucket}/{prefix}")],
    )
    assert one.lines == [str(expected)]


def test_manifest_file(one: Bench) -> None:
    head = {"prefix": f"s3://{one.bucket}/data/"}
    one.moto.put(one.bucket, **{
        "data/a/1.csv": "x", "data/b.csv": "y", "data/c.csv": "z",
        "list.manifest": json.dumps([head, "a/1.csv", "b.csv"]),
    })  # fmt: skip
    one.go(
        ROOT + "root = ML / 'processing/input/usage'\n"
        "print(sorted(str(p.relative_to(root)) for p in root.rglob('*') if p.is_file()))",
        ProcessingInputs=[one.input(f"s3://{one.bucket}/list.manifest", S3DataType="ManifestFile")],
    )
    assert one.lines == ["['a/1.csv', 'b.csv']"]


Change = Callable[[Bench], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: {"ProcessingInputs": [b.input(f"s3://{b.bucket}/nothing/")]},
         "No S3 objects found under S3 URL"),
        (lambda b: {"ProcessingInputs": [b.input("s3://no-such-bucket-here/x/")]}, "NoSuchBucket"),
        (lambda b: {"ProcessingInputs": [b.input(f"s3://{b.bucket}/evil")]}, "outside its input"),
        (lambda b: {"ProcessingInputs": [
            b.input(f"s3://{b.bucket}/ok/", LocalPath="/opt/ml/processing/../../../etc")]},
         "LocalPath"),
        (lambda b: {"ProcessingInputs": [
            b.input(f"s3://{b.bucket}/ok/", S3CompressionType="Gzip")]}, "Pipe mode"),
        (lambda b: {"ProcessingOutputConfig": {"Outputs": [b.output("x", path="../x")]}},
         "LocalPath"),
    ],
)  # fmt: skip
def test_jobs_that_cannot_start(one: Bench, change: Change, reason: str) -> None:
    one.moto.put(one.bucket, **{"evil/../../../../x": "x", "ok/a": "a"})
    outcome = one.go("print('started')", **change(one))
    assert outcome.status == "Failed"
    assert reason in (outcome.failure_reason or "")
    assert outcome.failure_reason.startswith("ClientError: ")  # type: ignore[union-attr]
    assert one.lines == []


def test_outputs_exist_before_the_job_and_may_be_removed_by_it(one: Bench) -> None:
    outcome = one.go(
        ROOT + "out = ML / 'processing/deep/output'\nprint(out.is_dir()); out.rmdir()",
        ProcessingOutputConfig={"Outputs": [one.output("x", path="deep/output")]},
    )
    assert (outcome.status, one.lines) == ("Completed", ["True"])


def test_continuous_output_of_a_failed_job_is_kept(one: Bench) -> None:
    script = ROOT + "(ML / 'processing/output/seen').write_text('x'); sys.exit(1)"
    output = one.output("result", "Continuous")
    outcome = one.go(script, ProcessingOutputConfig={"Outputs": [output]})
    assert outcome.status == "Failed"
    assert one.moto.read(one.bucket) == {"out/seen": "x"}


def test_upload_to_a_bucket_that_is_not_there(one: Bench) -> None:
    output = one.output("result")
    output["S3Output"]["S3Uri"] = "s3://no-such-bucket-here/x"
    outcome = one.go(
        ROOT + "(ML / 'processing/output/a').write_text('x')",
        ProcessingOutputConfig={"Outputs": [output]},
    )
    assert outcome.status == "Failed"
    assert "Data upload failed" in (outcome.failure_reason or "")


def test_exit_message_that_is_no_text(one: Bench) -> None:
    outcome = one.go(ROOT + "(ML / 'output/message').write_bytes(b'\\xff' * 2000)")
    assert outcome.status == "Failed"
    assert "not UTF-8" in (outcome.failure_reason or "")


def test_network_isolation(bench: Bench) -> None:
    outcome = bench.go(
        "import os, urllib.request\n"
        "try:\n    urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'], timeout=3)\n"
        "except OSError as error:\n    print('unreachable')\n",
        NetworkConfig={"EnableNetworkIsolation": True},
    )
    assert outcome.status == "Completed"
    if bench.way == "namespaces":
        assert bench.lines == ["unreachable"]
    else:
        assert bench.lines == ["batcat: network isolation is not enforced on this machine"]


def test_unwritable_leftovers_are_removed(one: Bench) -> None:
    outcome = one.go(
        ROOT + "d = ML / 'processing/x/y'\nd.mkdir(parents=True)\n(d / 'f').touch()\n"
        "d.chmod(0)\nd.parent.chmod(0)"
    )
    assert outcome.status == "Completed"


def processes(marker: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if marker in command:
            found.append(entry.name)
    return found
