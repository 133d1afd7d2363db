"""Following what CloudFormation does to a stack: its events as they come, until it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from batcat_runtime.deploy.readiness import describe_stack
from batcat_runtime.errors import (
    ConnectError,
    CredentialsError,
    ThrottledError,
    WaitInterruptedError,
)
from batcat_runtime.io.aws_errors import translated

_STACK = "AWS::CloudFormation::Stack"


def wait_until(
    look: Callable[[], Any], done: Callable[[Any], bool], sleep: Callable[[float], None]
) -> Any:
    """Look again and again, each time a little later, until `done` says so; return what was seen.

    Parameters
    ----------
    look : callable
        Returns what is there now.
    done : callable
        Takes that, and says whether the waiting is over.
    sleep : callable
        Waits, in seconds: a tenth at first, at most five.
    """
    pause = 0.1
    while True:
        found = look()
        if done(found):
            return found
        sleep(pause)
        pause = min(5.0, pause * 1.5)


@contextlib.contextmanager
def goes_on_without_us(what: str, fix: str) -> Iterator[None]:
    """Say what goes on when the waiting for it ends before its time.

    Parameters
    ----------
    what : str
        ``"CloudFormation goes on with the stack x."``
    fix : str
        How to come back to it.
    """
    try:
        with translated("it", "cloudformation:DescribeStacks"):
            yield
    except KeyboardInterrupt:
        raise WaitInterruptedError(f"Stopped waiting. {what}", fix=fix) from None
    except CredentialsError as error:
        raise WaitInterruptedError(
            f"The credentials in use have expired. {what}",
            fix=f"Renew them, e.g. with `aws sso login`. {fix}",
        ) from error
    except ConnectError as error:
        raise WaitInterruptedError(f"AWS can no longer be reached. {what}", fix=fix) from error


def follow(
    client: Any,
    stack_id: str,
    since: str | None,
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> str:
    """Show what happens to the resources of a stack; return the status in which that ends.

    Parameters
    ----------
    client : botocore client
        For CloudFormation.
    stack_id : str
        The stack's id: its name may be another stack's before long.
    since : str or None
        The newest event before it began.
    progress : callable
        Called with a line for each new state of a resource.
    sleep : callable
        Waits, in seconds.
    """
    told: set[str] = set()
    lines: set[str] = set()  # a resource reports twice that it begins, without and with a name

    def look() -> str:
        try:
            with translated("the stack", "cloudformation:DescribeStacks"):
                # The status before the events: all that led to it is among them then.
                found = describe_stack(client, stack_id) or {}
                new = events_since(client, stack_id, since)
        except ThrottledError:
            return "_IN_PROGRESS"  # to look is all we want, and later will do
        for event in new:
            if event["EventId"] in told:
                continue
            told.add(event["EventId"])
            if event["ResourceType"] == _STACK:
                # Of our own operation: somebody else's may begin right after its end.
                if not event["ResourceStatus"].endswith("_IN_PROGRESS"):
                    return str(event["ResourceStatus"])
                continue
            resource = f"{event['ResourceType']} {event['LogicalResourceId']}"
            line = f"{event['ResourceStatus']} {resource}"
            if line not in lines:
                lines.add(line)
                progress(line)
        return str(found.get("StackStatus", "DELETE_COMPLETE"))

    return str(wait_until(look, lambda status: not status.endswith("_IN_PROGRESS"), sleep))


def newest_event(client: Any, stack_id: str) -> str | None:
    """Return the id of the newest event of a stack."""
    return next(_events(client, stack_id), {}).get("EventId")


def events_since(client: Any, stack_id: str, since: str | None) -> list[dict[str, Any]]:
    """Return the events after one that is known, oldest first."""
    found = []
    for event in _events(client, stack_id):
        if event["EventId"] == since:
            break
        found.append(event)
    return found[::-1]


def _events(client: Any, stack_id: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a stack, newest first."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return (event for page in pages for event in page["StackEvents"])
