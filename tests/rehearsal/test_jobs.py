"""Processing jobs that really run, through SageMaker's API, in both kinds of sandbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.aws.jobs.sandbox import why_no_namespaces
from tests.rehearsal.conftest import REGION, Cloud, error_of, until

ROOT = """
import json, os, sys, time
from pathlib import Path
ML = Path(os.environ.get("BATCAT_ML_ROOT", "/opt/ml"))
"""
NEEDS_NAMESPACES = pytest.mark.skipif(bool(why_no_namespaces()), reason=why_no_namespaces() or "-")


@pytest.fixture(scope="module")
def paths_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Return an embedded AWS that rewrites paths, as on a Mac, with secrets around it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCAT_SANDBOX", "paths")
        patch.setenv("CANARY_SECRET", "tweet")
        patch.setenv("HTTPS_PROXY", "http://proxy.invalid")
        home = tmp_path_factory.mktemp("paths")
        with EmbeddedAWS(region=REGION, home=home, set_environment=False) as aws:
            yield Cloud(aws)


@pytest.fixture(params=["namespaces", "paths"])
def each(request: pytest.FixtureRequest, cloud: Cloud, paths_cloud: Cloud) -> Cloud:
    if request.param == "namespaces" and why_no_namespaces():
        pytest.skip(why_no_namespaces())
    return cloud if request.param == "namespaces" else paths_cloud


def files_of(cloud: Cloud, uri: str, **options: Any) -> tuple[dict[str, Any], Any]:
    """Run a job that lists the files of one input."""
    script = ROOT + (
        "root = ML / 'processing/input/usage'\n"
        "print(sorted(str(p.relative_to(root)) for p in root.rglob('*') if p.is_file()))"
    )
    return cloud.run(script, ProcessingInputs=[an_input(uri, **options)])


def an_input(uri: str, name: str = "usage", **options: str) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"/opt/ml/processing/input/{name}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    return {"InputName": name, "S3Input": source | options}


def an_output(bucket: str, path: str = "output", mode: str = "EndOfJob") -> dict[str, Any]:
    place = {"S3Uri": f"s3://{bucket}/out", "LocalPath": f"/opt/ml/processing/{path}"}
    output = {"OutputName": "result", "S3Output": {**place, "S3UploadMode": mode}}
    return {"Outputs": [output]}


# ---------------------------------------------------------------- what a job does


def test_a_job_reads_its_input_writes_its_result_and_logs(each: Cloud) -> None:
    keys = {"in/2022/a.csv": "1", "in/b.csv": "2", "in/": "", "other.csv": "3"}
    bucket = each.bucket(**keys)
    job, lines = each.run(
        ROOT
        + """
for path in sorted((ML / "processing/input/usage").rglob("*")):
    print(path.relative_to(ML), path.is_file() and path.read_text())
print("to stderr", file=sys.stderr)
out = ML / "processing/output/date=2022-01-01"
out.mkdir()
(out / "result.csv").write_text("r"); (out / "_manifest.json").write_text("{}")
(ML / "processing/output/link").symlink_to("/etc/passwd")
(ML / "output/message").write_text("é" * 600)
unwritable = ML / "processing/x/y"
unwritable.mkdir(parents=True); (unwritable / "f").touch(); unwritable.chmod(0)
configuration = json.loads((ML / "config/processingjobconfig.json").read_text())
print(configuration["ProcessingJobArn"], "Tags" in configuration)
""",
        bucket=bucket,
    )
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ExitMessage"] == "é" * 512
    assert lines == [
        "processing/input/usage/2022 False",
        "processing/input/usage/2022/a.csv 1",
        "processing/input/usage/b.csv 2",
        "to stderr",
        f"{job['ProcessingJobArn']} False",
    ]
    assert each.objects(bucket) == {
        "out/date=2022-01-01/result.csv": b"r",
        "out/date=2022-01-01/_manifest.json": b"{}",
    }
    created, started = job["CreationTime"], job["ProcessingStartTime"]
    assert created <= started <= job["ProcessingEndTime"] <= job["LastModifiedTime"]
    assert list((each.aws.home / "jobs").iterdir()) == [], "a sandbox was left behind"


def test_a_failing_job_uploads_nothing_but_continuous_output(each: Cloud) -> None:
    script = ROOT + "(ML / 'processing/output/seen').write_text('x'); sys.exit(3)"
    bucket = each.bucket(**{"in/a": "1"})
    job, _ = each.run(script, bucket=bucket)
    assert (job["ProcessingJobStatus"], job["FailureReason"]) == (
        "Failed",
        "AlgorithmError: , exit code: 3",
    )
    assert each.objects(bucket) == {}
    each.run(script, bucket=bucket, ProcessingOutputConfig=an_output(bucket, mode="Continuous"))
    assert each.objects(bucket) == {"out/seen": b"x"}


def test_a_job_that_runs_for_too_long_is_killed_with_all_it_started(each: Cloud) -> None:
    job, lines = each.run(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '4821'], start_new_session=True)\n"
        "print('hanging', flush=True)\ntime.sleep(600)\n",
        StoppingCondition={"MaxRuntimeInSeconds": 1},
    )
    assert job["ProcessingJobStatus"] == "Stopped"
    assert job["FailureReason"] == "Processing job runtime exceeded MaxRuntimeInSeconds (1)"
    assert lines == ["hanging"]
    assert not processes("sleep\x004821")


def test_a_daemon_that_holds_the_pipe_ends_with_the_job(each: Cloud) -> None:
    job, lines = each.run(
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execvp('sleep', ['sleep', '4822'])\n"
        "    os._exit(0)\n"
        "os.wait(); print('done')\n"
    )
    assert (job["ProcessingJobStatus"], lines) == ("Completed", ["done"])
    assert not processes("sleep\x004822")


def test_a_job_that_is_stopped_may_say_goodbye(cloud: Cloud) -> None:
    sagemaker = cloud.client("sagemaker")
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))\n"
        "print('up', flush=True)\ntime.sleep(600)\n"
    )
    name = "job-that-is-stopped"

    def stop() -> None:
        read = lambda: cloud.log_lines("/aws/sagemaker/ProcessingJobs", name)  # noqa: E731
        until(read, lambda lines: lines == ["up"])
        sagemaker.stop_processing_job(ProcessingJobName=name)

    cloud.run("")  # so that the log group is there
    thread = threading.Thread(target=stop)
    thread.start()
    job, lines = cloud.run(script, ProcessingJobName=name)
    thread.join()
    assert (job["ProcessingJobStatus"], lines) == ("Stopped", ["up", "bye"])
    code, _ = error_of(sagemaker.stop_processing_job, ProcessingJobName=name)
    assert code == "ValidationException"


def test_output_of_every_kind_arrives(cloud: Cloud) -> None:
    _, lines = cloud.run(
        """
import os, sys, time
for number in range(5_000):
    print("line", number)
sys.stdout.flush()
os.write(1, b"\\xff\\x00binary\\r\\n")
os.write(1, b"x" * 400_000 + b"\\n")
os.write(2, b"no newline")
os.close(1); os.close(2)
time.sleep(0.5)
"""
    )
    assert lines[:5_000] == [f"line {number}" for number in range(5_000)]
    assert lines[5_000] == "\ufffd\x00binary"
    assert lines[5_001:] == ["x" * 250_000, "no newline"]


def test_instances_share_the_keys_and_run_side_by_side(each: Cloud) -> None:
    keys = {f"in/{number}.csv": "x" for number in range(7)} | {"all/reference.csv": "x"}
    bucket = each.bucket(**keys)
    job, lines = each.run(
        ROOT
        + """
resources = json.loads((ML / "config/resourceconfig.json").read_text())
host = resources["current_host"]
seen = sorted(p.name for p in (ML / "processing/input/usage").iterdir())
assert [p.name for p in (ML / "processing/input/all").iterdir()] == ["reference.csv"]
(ML / f"processing/output/{host}.json").write_text(json.dumps([seen, resources]))
(ML / "output/message").write_text(host + " ")
time.sleep(0.5)
""",
        bucket=bucket,
        instances=3,
        ProcessingInputs=[
            an_input(f"s3://{bucket}/in/", S3DataDistributionType="ShardedByS3Key"),
            an_input(f"s3://{bucket}/all/", "all"),
        ],
    )
    assert job["ProcessingJobStatus"] == "Completed", lines
    assert job["ExitMessage"] == "algo-1 algo-2 algo-3 "
    stored = {key: json.loads(body) for key, body in each.objects(bucket).items()}
    assert [len(entry[0]) for entry in stored.values()] == [3, 2, 2]
    assert stored["out/algo-2.json"][1] == {
        "current_host": "algo-2",
        "hosts": ["algo-1", "algo-2", "algo-3"],
        "network_interface_name": "eth0",
    }


def test_one_failing_instance_ends_the_others(cloud: Cloud) -> None:
    job, _ = cloud.run(
        ROOT + "host = json.loads((ML / 'config/resourceconfig.json').read_text())['current_host']"
        "\nsys.exit(5) if host == 'algo-2' else time.sleep(600)",
        instances=2,
    )
    assert job["FailureReason"] == "AlgorithmError: , exit code: 5"


def test_entrypoint_and_command_are_the_images_or_the_requests(cloud: Cloud) -> None:
    dockerfile = (
        "FROM python\nWORKDIR /opt/batcat\nCOPY run.py .\n"
        'ENTRYPOINT ["python", "run.py"]\nCMD ["from-image"]\n'
    )
    script = "import sys; print(sys.argv[1:])"
    image, plain = cloud.image(script, dockerfile), cloud.image("")
    for specification, said in (
        ({"ImageUri": image}, ["['from-image']"]),
        ({"ImageUri": image, "ContainerArguments": ["--given", ""]}, ["['--given', '']"]),
    ):
        assert cloud.run("", AppSpecification=specification)[1] == said
    job, _ = cloud.run("", AppSpecification={"ImageUri": plain})
    assert "no command specified" in job["FailureReason"]
    _, lines = cloud.run("", AppSpecification={"ImageUri": plain, "ContainerEntrypoint": ["no"]})
    assert lines == ['exec: "no": executable file not found in $PATH']


# ---------------------------------------------------------------- what a job sees


def test_the_environment_is_the_images_and_the_requests(each: Cloud) -> None:
    job, lines = each.run(
        "import json, os\nprint(json.dumps([dict(os.environ), os.getcwd()]))",
        "FROM python\nENV FROM_IMAGE=1 BOTH=image DATA=/opt/ml/x\n"
        "WORKDIR /opt/batcat\nCOPY run.py .\n",
        Environment={
            "BOTH": "request",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_ENDPOINT_URL_S3": "https://real.invalid",
        },
    )
    environment, directory = json.loads(lines[0])
    assert directory.endswith("/opt/batcat"), job
    given = {name: environment.pop(name) for name in list(environment) if name.startswith("AWS_")}
    assert given["AWS_ENDPOINT_URL"] == each.endpoint_url
    assert given["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert given["AWS_DEFAULT_REGION"] == "us-west-2"
    assert "AWS_ENDPOINT_URL_S3" not in given
    ml = environment.pop("BATCAT_ML_ROOT", "/opt/ml")
    assert environment["DATA"] == f"{ml}/x"
    assert environment["BOTH"] == "request"
    assert set(environment) - {"TMPDIR", "LC_CTYPE"} == (
        {"DATA", "BOTH", "FROM_IMAGE", "HOME", "LANG", "TZ", "PATH", "PYTHONUNBUFFERED"}
        | {"NO_PROXY", "no_proxy"}
    )


@NEEDS_NAMESPACES
def test_a_job_sees_nothing_of_the_laptop(cloud: Cloud, tmp_path: Path) -> None:
    laptop = tmp_path / "usage.csv"
    laptop.write_text("mine")
    _, lines = cloud.run(
        f"""
import os
from pathlib import Path
print(Path({str(laptop)!r}).exists(), sorted(os.listdir("/opt")), os.path.exists("/home"))
print(Path.home(), os.path.exists("/etc/shadow"), os.path.exists({str(cloud.aws.home)!r}))
Path("/tmp/mine").write_text("x"); Path("~/mine").expanduser().write_text("x")
for place in ("/opt/batcat/run.py", "/usr/bin/mine", "/etc/passwd"):
    try:
        Path(place).open("a")
    except OSError as error:
        print(error.strerror)
open({str(laptop)!r})
"""
    )
    assert lines[:2] == ["False ['batcat', 'ml', 'venv'] False", "/root False False"]
    assert lines[2:5] == ["Read-only file system"] * 3
    assert lines[-1] == f"FileNotFoundError: [Errno 2] No such file or directory: '{laptop}'"


def test_a_job_imports_what_its_lock_names_and_no_more(each: Cloud) -> None:
    context = {
        "requirements.lock": "numpy==1.0 \\\n    --hash=sha256:0\n# moto\nsix==1.16.0\n",
        "Dockerfile": "FROM python AS build\nWORKDIR /build\nCOPY requirements.lock .\n"
        "RUN pip install --require-hashes -r requirements.lock\n"
        "FROM python\nWORKDIR /opt/batcat\nCOPY run.py .\n",
    }
    script = """
import importlib
for name in ("numpy", "six", "moto", "pandas", "batcat_runtime", "json"):
    try:
        importlib.import_module(name)
        print(name)
    except ModuleNotFoundError as error:
        print(error)
"""
    image = each.image(script, context.pop("Dockerfile"), **context)
    words = ["python3", "/opt/batcat/run.py"]
    _, lines = each.run("", AppSpecification={"ImageUri": image, "ContainerEntrypoint": words})
    missing = [f"No module named '{name}'" for name in ("moto", "pandas", "batcat_runtime")]
    assert lines == ["numpy", "six", *missing, "json"]


@NEEDS_NAMESPACES
def test_an_image_may_add_to_the_systems_directories_and_to_opt_ml(cloud: Cloud) -> None:
    dockerfile = (
        "FROM python\nCOPY run.py /opt/batcat/\nCOPY run.py /usr/local/bin/tool.py\n"
        "COPY run.py /etc/cells.conf\nCOPY run.py /opt/ml/code/inner.py\nCOPY run.py /bin/own\n"
    )
    script = (
        "import os\nprint([os.path.exists(p) for p in ('/usr/local/bin/tool.py', '/usr/bin/env',"
        " '/etc/cells.conf', '/etc/passwd', '/opt/ml/code/inner.py', '/bin/own', '/bin/sh')])"
    )
    _, lines = cloud.run(script, dockerfile)
    assert lines == [str([True] * 7)]


def test_a_job_that_wants_to_leave_is_told_so(each: Cloud) -> None:
    """In `batcat rehearse` the network itself is gone: test_rehearse has that."""
    _, lines = each.run(
        """
import socket, urllib.request
for attempt in (
    lambda: socket.create_connection(("example.com", 80), 1),
    lambda: socket.create_connection(("192.0.2.7", 80), 1),
    lambda: urllib.request.urlopen("https://s3.amazonaws.com", timeout=1),
):
    try:
        attempt()
    except OSError as error:
        print(error)
"""
    )
    told = "A rehearsal reaches no other host, and this wants to reach"
    assert lines[:2] == [f"{told} example.com.", f"{told} 192.0.2.7."]
    assert f"{told} s3.amazonaws.com." in lines[2]


def test_network_isolation_takes_the_embedded_aws_away_too(each: Cloud) -> None:
    _, lines = each.run(
        "import os, urllib.request\n"
        "try:\n    urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'], timeout=3)\n"
        "except OSError as error:\n    print('HTTP' in str(error))\n",
        NetworkConfig={"EnableNetworkIsolation": True},
    )
    not_enforced = "batcat: network isolation is not enforced on this machine"
    assert lines in (["False"], [not_enforced, "True"])
    assert (lines == ["False"]) == (not (each.aws.home.name.startswith("paths")))


# ---------------------------------------------------------------- what S3 gives and takes


def test_where_keys_of_a_prefix_go(cloud: Cloud) -> None:
    bucket = cloud.bucket(**{"in/a.csv": "", "in/sub/b.csv": "", "inside.csv": ""})
    expected = {
        "in/": ["a.csv", "sub/b.csv"],
        "in": ["a.csv", "inside.csv", "sub/b.csv"],
        "in/a.csv": ["a.csv"],
    }
    script = ROOT + (
        "for root in sorted((ML / 'processing/input').iterdir()):\n"
        "    print(sorted(str(p.relative_to(root)) for p in root.rglob('*') if p.is_file()))"
    )
    inputs = [an_input(f"s3://{bucket}/{key}", f"n{n}") for n, key in enumerate(expected)]
    assert cloud.run(script, ProcessingInputs=inputs)[1] == [*map(str, expected.values())]


def test_an_input_may_be_a_manifest_of_keys(cloud: Cloud) -> None:
    bucket = cloud.bucket(**{"data/a/1.csv": "x", "data/b.csv": "y", "data/c.csv": "z"})
    listed = json.dumps([{"prefix": f"s3://{bucket}/data/"}, "a/1.csv", "b.csv"])
    cloud.client("s3").put_object(Bucket=bucket, Key="list", Body=listed.encode())
    _, lines = files_of(cloud, f"s3://{bucket}/list", S3DataType="ManifestFile")
    assert lines == ["['a/1.csv', 'b.csv']"]


@pytest.mark.parametrize("other", ["in/a/b.csv", "in/./a/b.csv"])
def test_two_keys_that_would_be_one_file_fail_the_job(cloud: Cloud, other: str) -> None:
    bucket = cloud.bucket(**{"in/a//b.csv": "1", other: "2"})
    job, lines = files_of(cloud, f"s3://{bucket}/in/")
    assert lines == []
    assert "Data download failed: the key" in job["FailureReason"]
    assert job["FailureReason"].endswith("would be one file, a/b.csv")


@pytest.mark.parametrize(
    ("uri", "options", "reason"),
    [
        ("in/nothing/", {}, "No S3 objects found under S3 URL"),
        ("evil", {}, "outside its input"),
        ("in/", {"S3CompressionType": "Gzip"}, "Pipe mode"),
    ],
)
def test_inputs_that_cannot_be_given(
    cloud: Cloud, uri: str, options: dict[str, str], reason: str
) -> None:
    bucket = cloud.bucket(**{"evil/../../../../x": "x", "in/a": "a"})
    job, lines = files_of(cloud, f"s3://{bucket}/{uri}", **options)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert reason in job["FailureReason"]
    assert lines == []


def test_outputs_exist_before_the_job_and_may_be_removed_by_it(cloud: Cloud) -> None:
    bucket = cloud.bucket(**{"in/a": "1"})
    job, lines = cloud.run(
        ROOT + "out = ML / 'processing/deep/output'\nprint(out.is_dir()); out.rmdir()",
        bucket=bucket,
        ProcessingOutputConfig=an_output(bucket, "deep/output"),
    )
    assert (job["ProcessingJobStatus"], lines) == ("Completed", ["True"])


def test_what_cannot_be_handed_over_fails_the_job(cloud: Cloud) -> None:
    write = ROOT + "(ML / 'processing/output/a').write_text('x')"
    job, _ = cloud.run(write, ProcessingOutputConfig=an_output("no-such-bucket-here"))
    assert "Data upload failed" in job["FailureReason"]
    job, _ = cloud.run(ROOT + "(ML / 'output/message').write_bytes(b'\\xff' * 2000)")
    assert job["ProcessingJobStatus"] == "Failed"
    assert "not UTF-8" in job["FailureReason"]


# ---------------------------------------------------------------- what SageMaker says


def test_a_name_is_used_once_and_jobs_are_listed_and_tagged(cloud: Cloud) -> None:
    sagemaker, request = cloud.client("sagemaker"), cloud.job()
    name = request["ProcessingJobName"]
    arn = sagemaker.create_processing_job(**request)["ProcessingJobArn"]
    job = cloud.ended_job(name)
    for member in ("Environment", "ProcessingInputs", "ProcessingOutputConfig", "RoleArn"):
        assert job[member] == request[member]
    code, message = error_of(sagemaker.create_processing_job, **request)
    assert (code, message.endswith(f"already exists ({arn})")) == ("ResourceInUse", True)
    elsewhere = cloud.client("sagemaker", "us-east-1")
    code, message = error_of(elsewhere.describe_processing_job, ProcessingJobName=name)
    assert code == "ValidationException"
    assert message.startswith("Could not find requested job with name:")
    found = sagemaker.list_processing_jobs(NameContains=name, StatusEquals="Completed")
    assert [one["ProcessingJobName"] for one in found["ProcessingJobSummaries"]] == [name]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "battery"}]


def test_arns_carry_the_partition(cloud: Cloud) -> None:
    request = cloud.job(region="us-gov-west-1")
    made = cloud.client("sagemaker", "us-gov-west-1").create_processing_job(**request)
    arn = "arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:processing-job/"
    assert made["ProcessingJobArn"] == arn + request["ProcessingJobName"]
    ended = cloud.ended_job(request["ProcessingJobName"], "us-gov-west-1")
    assert ended["ProcessingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("tag", "ClientError: API error (404): manifest for "),
        ("repository", "ClientError: API error (404): repository "),
        ("elsewhere", "ClientError: API error (404): manifest for docker.io/library/python"),
        ("bucket", 'ClientError: No S3 objects found under S3 URL "s3://no-such-bucket'),
        ("mode", "ClientError: Input usage missing one or more required fields"),
    ],
)
def test_what_is_missing_fails_the_job(cloud: Cloud, change: str, reason: str) -> None:
    request = cloud.job()
    application, source = request["AppSpecification"], request["ProcessingInputs"][0]["S3Input"]
    uri = application["ImageUri"].partition("@")[0]
    images = {
        "tag": f"{uri}:no",
        "repository": f"{uri}x:1",
        "elsewhere": "docker.io/library/python",
    }
    application["ImageUri"] = images.get(change, application["ImageUri"])
    if change == "bucket":
        source["S3Uri"] = "s3://no-such-bucket/x/"
    if change == "mode":
        del source["S3InputMode"]
    cloud.client("sagemaker").create_processing_job(**request)
    job = cloud.ended_job(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason)


def test_paths_outside_opt_ml_processing_are_refused(cloud: Cloud) -> None:
    request = cloud.job(bucket="b-b")
    request["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/data"
    code, message = error_of(cloud.client("sagemaker").create_processing_job, **request)
    assert code == "ValidationException"
    assert "must start with /opt/ml/processing/" in message


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
