"""The server process of the embedded AWS: ``python -m batcat_runtime.rehearsal.aws.server``.

Stages: close the network to everything but loopback; patch moto; bind to
127.0.0.1; tell the parent the port through standard output; serve until the parent is gone.

A request passes these layers, outermost first:

    Guard     no browsers, no strangers            (guard.py)
    Strict    is it legal, as AWS sees it?         (strict.py, rules.py)
    Gate      may the caller do that?              (access/)
    Failsafe  a crash becomes an error             (operations.py)
    Perform   jobs, Lambda, CloudFormation, ...    (processing.py, invocation.py, ...)
    moto      everything else

The parent holds the other end of standard input. Its end, however the parent died, ends this
process; on Linux the kernel's parent-death signal does too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import EmbeddedAWSError

from .environment import MOTO_SETTINGS, SECRETS_VARIABLE, client_environment

# moto reads its settings when it is imported, which the next line does.
os.environ.update(MOTO_SETTINGS)

from ..wire import (
    Environ,
    Response,
    StartResponse,
    WsgiApp,
    send,
)

if TYPE_CHECKING:
    from ..operations import Operations

log = logging.getLogger("batcat.rehearsal")

IDENTITY_PATH = "/_batcat/identity"
_LOOPBACK = ("127.", "::1", "localhost")
_GRACE_SECONDS = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run the server until its parent has gone or a signal arrives."""
    options = _arguments(argv)
    home = Path(options.home)
    # Standard output is the handshake; nothing else may be printed there.
    handshake = os.fdopen(os.dup(1), "w", encoding="utf-8")
    _redirect_output(home / "server.log")
    try:
        close_network(home / "network.log")
        if options.die_with_parent:
            _die_with_parent()
        # A pipe, not an Event: the main thread holds an Event's lock while it waits for it, and a
        # signal handler that runs in that moment would wait for its own thread.
        # And the wake-up descriptor, since the kernel may give the signal to any thread, which
        # does not wake the main one.
        ended, end = os.pipe()
        os.set_blocking(end, False)
        signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        server, rooms = _build(options, home)
    except EmbeddedAWSError as error:
        handshake.write(json.dumps({"error": error.message, "fix": error.fix}) + "\n")
        handshake.close()
        return 1
    except (OSError, SystemExit) as error:
        # werkzeug prints why it cannot bind, and exits.
        text = f"Could not listen on 127.0.0.1:{options.port}: it is in use, or not ours ({error})."
        handshake.write(json.dumps({"error": text, "fix": "Choose another port."}) + "\n")
        handshake.close()
        return 1
    threading.Thread(target=server.serve_forever, daemon=True, name="server").start()
    if options.watch_stdin:
        threading.Thread(target=_watch_parent, args=(end,), daemon=True, name="parent").start()
    handshake.write(json.dumps({"port": server.server_port, "pid": os.getpid()}) + "\n")
    handshake.close()
    log.info("serving on 127.0.0.1:%d", server.server_port)
    os.read(ended, 1)
    log.info("shutting down")
    _shut_down(server, rooms, home if options.remove_home else None)
    return 0


def close_network(record: Path) -> None:
    """Refuse every connection and every name look-up that leaves this machine.

    Parameters
    ----------
    record : pathlib.Path
        Gets a line for every attempt, so that a test can prove there was none.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        if isinstance(host, bytes):
            host = host.decode(errors="replace")
        if host is None or str(host).startswith(_LOOPBACK):
            return
        with record.open("a", encoding="utf-8") as lines:
            lines.write(f"{event} {host}\n")
        raise PermissionError(f"The embedded AWS never leaves this machine ({event} {host}).")

    sys.addaudithook(hook)


def _build(options: argparse.Namespace, home: Path) -> tuple[Any, list[Any]]:
    # From the environment, which only this user can read, and not for the children.
    told = json.loads(os.environ.pop(SECRETS_VARIABLE))
    token, keys = told["token"], tuple(told["keys"])
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    from .. import quotas, registry_login
    from ..bucket_places import bucket_rule
    from ..clients import Clients
    from ..container.codebuild import CodeBuild
    from ..operations import Failsafe, Perform
    from . import rules
    from .alerts import Alerts
    from .cloudformation.api import CloudFormation
    from .events import EventRules, status_change
    from .guard import Guard, given_out
    from .iam import simulation
    from .iam.gate import Access, Gate
    from .iam.trail import Trail
    from .jobs.processing import ProcessingJobs
    from .lambdas import Invocations
    from .logs import Logs
    from .moto import patches, state
    from .objects import keep_replaced_objects
    from .strict import Strict

    class Handler(MotoRequestHandler):  # type: ignore[misc,unused-ignore]
        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            log.debug(message, *args)

    server = make_server(
        "127.0.0.1", options.port, lambda *_: [], threaded=True, request_handler=Handler
    )
    port = server.server_port
    os.environ["MOTO_PORT"] = str(port)
    endpoint = f"http://127.0.0.1:{port}"
    base = client_environment(endpoint, options.region, home, keys)
    # Whatever in moto makes a client of its own must not fall back to a real endpoint.
    os.environ.update(base)
    # Tests have a proxy in between, which answers what a sound AWS does not.
    clients = Clients(os.environ.get("BATCAT_EMBEDDED_VIA") or endpoint, keys)

    def trust_policy(region: str, arn: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            role = clients.get("iam", region).get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except ClientError:
            return None
        return dict(role["AssumeRolePolicyDocument"]) if role["Arn"] == arn else None

    def locate(kind: str, name: str, region: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            if kind in ("role", "boundary"):
                role = clients.get("iam", region).get_role(RoleName=name)["Role"]
                limit = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
                return limit if kind == "boundary" else str(role["Arn"])
            return str(clients.get("secretsmanager", region).describe_secret(SecretId=name)["ARN"])
        except ClientError:
            return None

    access = Access(clients.keys_of, Trail(home), enforced=options.enforce, locate=locate)
    jobs = ProcessingJobs(clients, home, access)
    alerts = Alerts(clients, home)
    invocations = Invocations(
        clients,
        state.lambda_function,
        home,
        alerts.function_failed,
    )
    formation = CloudFormation(clients)
    builds = CodeBuild(clients, home)
    rooms: list[Any] = [jobs, invocations, formation, builds, alerts]
    keep_replaced_objects()
    patches.install(invocations.run_for_moto)
    events = EventRules(clients, state.bucket_notifications, alerts)
    patches.rules_reach_functions_and_topics(events.complete, events.deliver)
    rooms.append(events)
    rooms.append(Logs(state.log_group))

    @functools.cache
    def step_functions() -> Operations:
        from .workflow import Executions
        from .workflow_maps import MapRuns

        patches.install_interpreter(clients)
        map_runs = MapRuns(state.state_machines, access)
        map_runs.install()
        patches.executions_tell_their_status(status_change)
        return add(Executions(state.state_machines, access, map_runs))

    @functools.cache
    def athena() -> Operations:
        from .lake.athena import Athena

        return add(Athena(clients, home))

    @functools.cache
    def redshift() -> Operations:
        from .lake.redshift_room import Redshift

        return add(
            Redshift(
                clients,
                home,
                trust_policy,
                state.redshift_cluster,
                lambda key: (state.holder_of_key(key) or (None,))[0],
                state.redshift_clusters,
            )
        )

    def add(room: Any) -> Operations:
        rooms.append(room)
        return dict(room.operations())

    # Imported when first asked for: their imports take long, and a lot of memory.
    late = {"stepfunctions": step_functions, "athena": athena, "glue": athena}
    late |= dict.fromkeys(("redshift", "redshift-data", "redshift-serverless"), redshift)
    operations: dict[Any, Any] = registry_login.operations() | quotas.operations()
    operations |= simulation.operations(state.policies_of_arn)
    for room in rooms:
        operations |= room.operations()
    app: WsgiApp = DomainDispatcherApplication(create_backend_app)
    app = Failsafe(Perform(app, operations, late))
    app = Gate(app, access)
    places = bucket_rule(state.bucket_place, state.account_of_key)
    app = Strict(app, (*rules.ALL, rules.role_rule(trust_policy), places))
    guard = Guard(app, port, lambda key, region: key == keys[0] or given_out(key, region))
    server.app = _identity(guard, token)
    return server, rooms


def _identity(app: WsgiApp, token: str) -> WsgiApp:
    """Answer who we are to whoever knows the token; `local_down` asks before it kills."""

    def answer(environ: Environ, start_response: StartResponse) -> Any:
        if environ.get("PATH_INFO") != IDENTITY_PATH:
            return app(environ, start_response)
        known = bool(token) and environ.get("HTTP_X_BATCAT_TOKEN") == token
        body = json.dumps({"pid": os.getpid()} if known else {}).encode()
        headers = {"Content-Type": "application/json"}
        return send(Response(200 if known else 403, headers, body), start_response)

    return answer


def _write_quietly(pipe: int) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, b"x")


def _watch_parent(end: int) -> None:
    # The parent never writes. End of file means that it is gone, or has closed the pipe to say so.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _write_quietly(end)


def _die_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies, for when a fork holds the pipe open."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)


def _shut_down(server: Any, rooms: list[Any], home: Path | None) -> None:
    threading.Timer(_GRACE_SECONDS, os._exit, args=(0,)).start()
    for room in rooms:
        if hasattr(room, "shut_down"):
            room.shut_down(_GRACE_SECONDS / 2)
    threading.Thread(target=server.shutdown, daemon=True).start()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        # What jobs and functions left behind in our process group.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(os.getpgrp(), signal.SIGTERM)
    logging.shutdown()
    if home is not None:
        # The parent does it too, unless it is what died.
        shutil.rmtree(home, ignore_errors=True)
    # Not sys.exit: threads of moto's interpreter may still be waiting, and nothing is left to save.
    os._exit(0)


def _redirect_output(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    logging.getLogger("botocore").setLevel(logging.WARNING)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="batcat-embedded-aws")
    parser.add_argument("--home", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--region", required=True)
    parser.add_argument("--remove-home", action="store_true")
    parser.add_argument("--enforce", action="store_true")
    parser.add_argument("--watch-stdin", action="store_true")
    parser.add_argument("--die-with-parent", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
