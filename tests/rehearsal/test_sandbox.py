"""Both ways of giving a process its container paths, with real processes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batcat_runtime.errors import EmbeddedAWSError
from batcat_runtime.rehearsal import sandbox
from batcat_runtime.rehearsal.sandbox_layout import Layout, mount_plan
from batcat_runtime.rehearsal.sandbox_paths import PathRewriter

WAYS: list[sandbox.Way] = ["namespaces", "paths"]
SHELL_PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> sandbox.Way:
    if request.param == "namespaces" and not sandbox.namespaces().kind:
        pytest.skip(f"no namespaces here: {sandbox.namespaces().reason}")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    scripts = tmp_path / "image" / "opt" / "batcat" / "script"
    scripts.mkdir(parents=True)
    (scripts / "main.py").write_text("print('main')")
    made = Layout(tmp_path / "box", {"/opt/batcat/script": scripts}, "/opt/batcat")
    made.make_directories()
    return made


def run(layout: Layout, way: sandbox.Way, command: list[str], **options: object) -> tuple[int, str]:
    environment = options.pop("environment", SHELL_PATH)
    process = sandbox.start(command, environment, layout, way=way, **options)  # type: ignore[arg-type]
    output, _ = process.communicate(timeout=30)
    assert sandbox.launch_failure(layout) is None
    return process.returncode, output.decode()


def is_alive(marker: str) -> bool:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in (entry / "cmdline").read_bytes().decode(errors="replace"):
                return True
    return False


def test_says_whether_this_machine_has_namespaces() -> None:
    found = sandbox.namespaces()
    print(f"namespaces: {found.kind or found.reason}")
    assert (found.kind is None) == bool(found.reason)


def test_finds_script_and_writes_to_opt_ml_at_container_paths(
    layout: Layout, way: sandbox.Way
) -> None:
    (layout.ml_root / "in.txt").write_text("hello")
    code, output = run(
        layout,
        way,
        ["/bin/sh", "-c", 'ls "$0"; pwd; cat "$IN"; echo out > "$1"', "/opt/batcat/script",
         "/opt/ml/out.txt"],
        environment={**SHELL_PATH, "IN": "/opt/ml/in.txt"},
    )  # fmt: skip
    assert code == 0, output
    assert output.split()[0] == "main.py"
    assert output.split()[1].endswith("/opt/batcat")
    assert output.split()[2] == "hello"
    assert (layout.ml_root / "out.txt").read_text() == "out\n"


def test_words_arrive_unchanged_whatever_is_in_them(layout: Layout, way: sandbox.Way) -> None:
    words = ["", " ", "a b", "'\"$(id)`id`\\", "--x=%s", "电池\n", "*"]
    code, output = run(
        layout,
        way,
        [sys.executable, "-c", "import json,sys;print(json.dumps(sys.argv[1:]))", *words],
    )
    assert code == 0
    assert json.loads(output) == words


def test_environment_holds_nothing_but_what_was_given(
    layout: Layout, way: sandbox.Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_SECRET", "tweet")
    _, output = run(layout, way, ["/usr/bin/env"], environment={"ONLY": "this"})
    names = {line.partition("=")[0] for line in output.splitlines()}
    # Python sets LC_CTYPE for itself in a C locale, and passes it on.
    assert names - {"LC_CTYPE"} == ({"ONLY"} if way == "namespaces" else {"ONLY", "BATCAT_ML_ROOT"})


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("exec /nonexistent", 127)],
)
def test_exit_codes_are_those_of_a_shell(
    layout: Layout, way: sandbox.Way, script: str, code: int
) -> None:
    assert run(layout, way, ["/bin/sh", "-c", script])[0] == code


def test_unknown_program_says_so(layout: Layout, way: sandbox.Way) -> None:
    code, output = run(layout, way, ["no-such-program"])
    assert code == 127
    assert "no-such-program" in output


def test_daemons_end_with_their_job(layout: Layout, way: sandbox.Way) -> None:
    script = "setsid sh -c 'sleep 4801' >/dev/null 2>&1 & sleep 4802 & sleep 0.2; exit 0"
    assert run(layout, way, ["/bin/sh", "-c", script])[0] == 0
    assert not is_alive("sleep\x004801")
    assert not is_alive("sleep\x004802")


def test_sigterm_reaches_the_job_and_lets_it_end(layout: Layout, way: sandbox.Way) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    process = sandbox.start(["/bin/sh", "-c", script], SHELL_PATH, layout, way=way)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    output, _ = process.communicate(timeout=10)
    # Its child is told, too, and the shell says so.
    assert (process.returncode, output.splitlines()[-1]) == (7, b"bye")


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(
    layout: Layout, way: sandbox.Way
) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    process = sandbox.start(["/bin/sh", "-c", script], SHELL_PATH, layout, way=way, grace=0.3)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=5)
    assert process.returncode == 137


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PR_SET_PDEATHSIG")
def test_a_job_dies_with_the_process_that_started_it(layout: Layout, way: sandbox.Way) -> None:
    program = f"""
import sys, time
from pathlib import Path
from batcat_runtime.rehearsal import sandbox
from batcat_runtime.rehearsal.sandbox_layout import Layout
layout = Layout(Path({str(layout.directory)!r}))
sandbox.start(["/bin/sh", "-c", "sleep 4803 & sleep 4803"], {SHELL_PATH!r}, layout, way={way!r})
time.sleep(0.5)
print("up", flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    assert is_alive("sleep\x004803")
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 5
    while is_alive("sleep\x004803") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive("sleep\x004803")


@pytest.mark.parametrize("way", ["namespaces"], indirect=True)
def test_image_files_are_read_only(layout: Layout, way: sandbox.Way) -> None:
    _, output = run(layout, way, ["/bin/sh", "-c", "echo x >> /opt/batcat/script/main.py"])
    assert "Read-only" in output
    assert layout.copies["/opt/batcat/script"].joinpath("main.py").read_text() == "print('main')"


@pytest.mark.parametrize("way", ["namespaces"], indirect=True)
def test_isolation_leaves_only_an_own_loopback(layout: Layout, way: sandbox.Way) -> None:
    program = """
import socket
print([name for _, name in socket.if_nameindex()])
with socket.socket() as server:
    server.bind(("127.0.0.1", 0)); server.listen()
    socket.create_connection(server.getsockname(), 1).close(); print("loopback works")
"""
    command = [sys.executable, "-c", program]
    code, output = run(layout, way, command, isolate_network=True)
    assert code == 0, output
    assert output.splitlines() == ["['lo']", "loopback works"]


@pytest.mark.parametrize("way", ["paths"], indirect=True)
def test_a_job_in_rewritten_paths_cannot_change_the_image(layout: Layout, way: sandbox.Way) -> None:
    run(layout, way, ["/bin/sh", "-c", 'echo x > "$0"', "/opt/batcat/script/main.py"])
    assert layout.copies["/opt/batcat/script"].joinpath("main.py").read_text() == "print('main')"


@pytest.mark.parametrize("way", ["namespaces"], indirect=True)
def test_images_add_to_system_directories_and_to_opt_ml(tmp_path: Path, way: sandbox.Way) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "batcat.conf").write_text("conf")
    files = tmp_path / "files"
    layout = Layout(
        tmp_path / "box",
        {"/etc": files, "/usr/src/app": files, "/opt/ml/code": files,
         "/batcat.conf": files / "batcat.conf"},
        "/usr/src/app",
    )  # fmt: skip
    layout.make_directories()
    found = "batcat.conf /etc/batcat.conf /opt/ml/code/batcat.conf /batcat.conf"
    script = f"test -f /etc/passwd && cat {found}"
    assert run(layout, way, ["/bin/sh", "-c", script]) == (0, "conf" * 4)


def test_plan_hides_what_only_the_host_has_in_the_images_own_directories(tmp_path: Path) -> None:
    host = tmp_path / "own"
    (host / "mine").mkdir(parents=True)
    source = tmp_path / "source"
    source.mkdir()
    layout = Layout(tmp_path / "box", {f"{host}/script": source}, str(host))
    plan = mount_plan(layout)
    assert ["bind", f"{host}/script", str(source), True, True] in plan
    assert not any(step[1] == f"{host}/mine" for step in plan)
    # What the process needs stays, wherever the image copies to.
    kept = mount_plan(layout, needed=[f"{host}/mine"])
    assert ["bind", f"{host}/mine", f"{host}/mine", False, False] in kept


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/opt/ml", "/BOX"),
        ("/opt/ml/x", "/BOX/x"),
        ("--in=/opt/ml/x", "--in=/BOX/x"),
        ("/a:/opt/ml/x:/opt/batcat/script", "/a:/BOX/x:/IMG"),
        ('{"path":"/opt/ml/x"}', '{"path":"/BOX/x"}'),
        ("/opt/mlx", "/opt/mlx"),
        ("s3://bucket/opt/ml/x", "s3://bucket/opt/ml/x"),
        ("/data/opt/ml", "/data/opt/ml"),
        ("/opt/batcat/scripts", "/opt/batcat/scripts"),
    ],
)
def test_only_container_paths_are_rewritten(word: str, expected: str) -> None:
    assert PathRewriter({"/opt/ml": "/BOX", "/opt/batcat/script": "/IMG"})(word) == expected


def test_the_way_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCAT_SANDBOX", "paths")
    assert sandbox.choose_way() == "paths"
    with pytest.raises(EmbeddedAWSError, match="no kind of sandbox"):
        sandbox.choose_way("docker")
