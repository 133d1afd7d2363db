"""The embedded AWS as a process: how it starts, whom it serves, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from batcat_runtime.config import get_config
from batcat_runtime.errors import BatcatError, EmbeddedAWSError
from batcat_runtime.project import new_project
from batcat_runtime.rehearsal import EmbeddedAWS, local_down, local_status, local_up
from tests.conftest import batcat
from tests.rehearsal.conftest import Cloud, until


def answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def run_python(code: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **more},
    )


def test_it_starts_sets_the_environment_and_restores_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere.invalid")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    before = dict(os.environ)
    began = time.monotonic()
    with EmbeddedAWS(region="us-gov-west-1") as aws:
        seconds = time.monotonic() - began
        assert os.environ["AWS_ENDPOINT_URL"] == aws.endpoint_url
        assert os.environ["AWS_REGION"] == os.environ["AWS_DEFAULT_REGION"] == "us-gov-west-1"
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_ENDPOINT_URL_S3" not in os.environ
        assert aws.environment().items() <= dict(os.environ).items()
        assert (aws.partition, aws.account_id) == ("aws-us-gov", "123456789012")
        identity = boto3.client("sts").get_caller_identity()
        assert identity["Account"] == aws.account_id
        assert identity["Arn"].startswith("arn:aws-us-gov:")
        home, port = aws.home, port_of(aws.endpoint_url)
        assert aws.log_path.parent == home
    assert dict(os.environ) == before
    assert not home.exists()
    until(lambda: answers(port), lambda open_: not open_, seconds=5)
    # Some 1.5 s on an idle machine; the bound only catches something gone very wrong.
    assert seconds < 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's table of sockets")
def test_it_listens_on_127_0_0_1_and_nowhere_else(cloud: Cloud) -> None:
    port = port_of(cloud.endpoint_url)
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.open()]
    listening = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert listening == {f"0100007F:{port:04X}"}
    # Another address of this very machine is refused.
    assert answers(port)
    assert not answers(port, "127.0.0.2")
    for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}:
        if not str(address).startswith("127.") and address != "::1":
            assert not answers(port, str(address))


STARTER = """
    import os, sys, time
    from batcat_runtime.rehearsal import EmbeddedAWS
    aws = EmbeddedAWS(region="us-east-1")
    aws.start()
    print(aws.endpoint_url, aws.pid, aws.home, flush=True)
    if "fork" in sys.argv[1:] or os.environ.get("AND_FORK"):
        if os.fork() == 0:
            time.sleep(60)
    time.sleep(60)
"""


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("fork", ["", "1"], ids=["alone", "a fork holds the pipe"])
def test_it_dies_with_its_parent_even_by_sigkill(fork: str) -> None:
    parent = run_python(STARTER, AND_FORK=fork)
    assert parent.stdout is not None
    url, pid, home = parent.stdout.readline().split()
    assert answers(port_of(url))
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.wait()
    until(lambda: _is_alive(int(pid)), lambda alive: not alive, seconds=15)
    until(lambda: answers(port_of(url)), lambda open_: not open_, seconds=5)
    for child in children:  # the fork
        if child != pid:
            os.kill(int(child), signal.SIGKILL)
    parent.stdout.close()
    until(lambda: Path(home).exists(), lambda there: not there, seconds=5)


def test_a_port_in_use_is_told_with_a_way_out(cloud: Cloud) -> None:
    port = port_of(cloud.endpoint_url)
    with pytest.raises(EmbeddedAWSError) as caught, EmbeddedAWS(port=port):
        pass
    assert f"127.0.0.1:{port}" in caught.value.message
    assert caught.value.fix


def test_a_server_that_crashes_shows_its_last_log_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "moto"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EmbeddedAWSError) as caught, EmbeddedAWS():
        pass
    assert "broken on purpose" in str(caught.value)


def test_a_region_that_does_not_exist_is_refused_before_anything_starts() -> None:
    with pytest.raises(BatcatError):
        EmbeddedAWS(region="cn-nowhere-7")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_stopping_it_ends_what_it_runs(tmp_path: Path) -> None:
    with EmbeddedAWS(region="cn-northwest-1", home=tmp_path, set_environment=False) as aws:
        cloud = Cloud(aws)
        marker = f"9{os.getpid()}"
        request = cloud.job("ok", marker)
        cloud.client("sagemaker").create_processing_job(**request)
        until(lambda: _processes_with(marker), bool)
    until(lambda: _processes_with(marker), lambda found: not found, seconds=10)
    assert tmp_path.exists()  # a home that was given is kept


def _processes_with(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if word in words:
            found.append(" ".join(words))
    return found


def test_the_server_process_never_leaves_the_machine(tmp_path: Path) -> None:
    """The hook that refuses, and notes, every connection that is not to loopback."""
    record = tmp_path / "network.log"
    code = """
        import socket, sys, urllib.request
        from pathlib import Path
        from batcat_runtime.rehearsal.aws.server import close_network
        close_network(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("network.log"))
        for reach in (
            lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
            lambda: socket.getaddrinfo("s3.cn-northwest-1.amazonaws.com.cn", 443),
            lambda: urllib.request.urlopen("http://169.254.169.254/latest/meta-data/", timeout=1),
        ):
            try:
                reach()
                print("reached")
            except OSError:
                print("refused")
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).close()
        print("loopback")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(record)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["refused"] * 3 + ["loopback"]
    assert "s3.cn-northwest-1.amazonaws.com.cn" in record.read_text()


# ---- the long-lived one


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield tmp_path / "batcat"
    local_down()


def test_glue_compares_the_version_of_a_table_that_is_changed(cloud: Cloud) -> None:
    glue = cloud.client("glue")
    glue.create_database(DatabaseInput={"Name": "dw_bms"})
    glue.create_table(DatabaseName="dw_bms", TableInput={"Name": "usage"})
    place = {"DatabaseName": "dw_bms", "TableInput": {"Name": "usage", "Owner": "me"}}
    seen = glue.get_table(DatabaseName="dw_bms", Name="usage")["Table"]["VersionId"]
    glue.update_table(**place, VersionId=seen)
    with pytest.raises(glue.exceptions.ConcurrentModificationException):
        glue.update_table(**place, VersionId=seen)
    glue.update_table(**place)


def test_local_up_status_and_down(runtime: Path) -> None:
    assert local_status() is None
    assert local_down() is False
    local = local_up(region="cn-north-1")
    assert local_status() == local
    assert local.region == "cn-north-1"
    assert local.environment()["AWS_ENDPOINT_URL"] == local.endpoint_url
    assert local.token not in repr(local)
    assert (runtime / "embedded-aws.json").stat().st_mode & 0o077 == 0
    with pytest.raises(EmbeddedAWSError, match="running already"):
        local_up()
    assert local_down() is True
    assert local_status() is None
    until(lambda: answers(port_of(local.endpoint_url)), lambda open_: not open_, seconds=5)
    assert [path for path in runtime.iterdir() if path.name.startswith("aws-")] == []


def test_it_outlives_the_process_that_started_it(runtime: Path) -> None:
    code = "from batcat_runtime.rehearsal import local_up; print(local_up().endpoint_url)"
    process = run_python(code, XDG_RUNTIME_DIR=str(runtime.parent))
    url = process.communicate(timeout=60)[0].strip()
    local = local_status()
    assert local is not None
    assert local.endpoint_url == url
    assert local_down() is True


def test_one_that_was_killed_while_it_started_is_in_nobodys_way(runtime: Path) -> None:
    code = "from batcat_runtime.rehearsal import local_up; local_up()"
    starting = run_python(code, XDG_RUNTIME_DIR=str(runtime.parent))
    note = runtime / "embedded-aws.json"
    until(note.exists, bool, seconds=30)
    home = json.loads(note.read_text())["home"]
    starting.kill()
    starting.communicate()
    assert local_up() == local_status()
    assert local_down() is True
    until(lambda: _servers_of(home), lambda found: not found, seconds=30)


def _servers_of(home: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if home in line]


def test_a_stopped_one_is_neither_declared_dead_nor_orphaned(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batcat_runtime.rehearsal.local._ANSWER_TIMEOUT", 0.5)
    local = local_up()
    os.kill(local.pid, signal.SIGSTOP)
    try:
        assert local_status() == local
        with pytest.raises(EmbeddedAWSError, match="running already"):
            local_up()
        with pytest.raises(EmbeddedAWSError, match=f"kill -CONT {local.pid}"):
            local_down()
    finally:
        os.kill(local.pid, signal.SIGCONT)
    assert local_status() == local
    assert local_down() is True


def test_a_stale_note_is_cleared_and_a_stranger_is_never_ended(runtime: Path, cloud: Cloud) -> None:
    runtime.mkdir(exist_ok=True)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note = {
        # A server is there, but it does not know this token; and the process is somebody else's.
        "endpoint_url": cloud.endpoint_url,
        "region": "us-east-1",
        "pid": stranger.pid,
        "home": str(runtime / "aws-gone"),
        "token": "not its token",
        "keys": ["a", "b", ""],
    }
    (runtime / "embedded-aws.json").write_text(json.dumps(note))
    try:
        assert local_down() is False
        assert stranger.poll() is None
        assert not (runtime / "embedded-aws.json").exists()
        (runtime / "embedded-aws.json").write_text("{ no json")
        assert local_status() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_deployment_to_a_local_aws_asks_no_real_docker(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`batcat local env` leads the shell that has a real docker on its PATH."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "docker").write_text(f"#!/bin/sh\necho called >> {real}/calls\nexit 1\n")
    (real / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{real}{os.pathsep}{os.environ['PATH']}")
    project = new_project({"region": "eu-central-1"}, no_input=True, output_dir=tmp_path)
    up = batcat("local", "up", "--region", "eu-central-1")
    assert "Its jobs can reach the network" in up.stdout, up.stderr
    printed = batcat("local", "env").stdout
    bucket = get_config(project).result_s3_bucket
    script = f"""{printed}
{sys.executable} -c "import boto3; boto3.client('s3').create_bucket(Bucket='{bucket}',
CreateBucketConfiguration=dict(LocationConstraint='eu-central-1'))"
{sys.executable} -m batcat_runtime deploy -C {project}
command -v docker
"""
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "image" in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(runtime))
    assert not (real / "calls").exists()


def test_concurrent_uploads_of_one_key_leave_each_reader_a_whole_object(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), cloud.bucket()
    bodies = [bytes([number]) * 200_000 for number in range(4)]
    s3.put_object(Bucket=bucket, Key="k", Body=bodies[0])

    def work(number: int) -> set[bytes]:
        seen = set()
        for _ in range(15):
            s3.put_object(Bucket=bucket, Key="k", Body=bodies[number % 4])
            seen.add(s3.get_object(Bucket=bucket, Key="k")["Body"].read())
        return seen

    with ThreadPoolExecutor(8) as pool:
        for seen in pool.map(work, range(8)):
            assert seen <= set(bodies)
