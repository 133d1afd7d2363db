"""Starts the workflow for the window of whole days that ends on the day of the event.

Three kinds of events: the schedule's `{"scheduled_time": "2022-01-08T18:00:00Z"}`; a window by
hand, `{"date_start": "2022-01-01", "date_end": "2022-01-08"}` (the end is exclusive); and `{}`,
which means now. `params` may be added: an object of texts and numbers that the script receives.

Events can arrive more than once. The execution's name comes from the event, so that the second one
finds the execution there already, and that is success.
"""

import hashlib
import json
import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import boto3

KEYS = {"scheduled_time", "date_start", "date_end", "params"}
MAX_PARAMS = 256  # SageMaker's limit for an environment variable


def lambda_handler(event, context):
    """Start the execution that the event asks for, once."""
    run = read_event(event, datetime.now(UTC))
    name = execution_name(run)
    states = boto3.client("stepfunctions")
    try:
        answer = states.start_execution(
            stateMachineArn=os.environ["STATE_MACHINE_ARN"],
            name=name,
            input=json.dumps(run, sort_keys=True),
        )
    except states.exceptions.ExecutionAlreadyExists:
        print(json.dumps({"message": "already started", "execution": name, **run}))
        return {"execution": name, "started": False, **run}
    print(json.dumps({"message": "started", "execution": name, **run}))
    return {"execution": name, "executionArn": answer["executionArn"], "started": True, **run}


def read_event(event, now):
    """Return the run that an event asks for: `date_start`, `date_end` and `params`."""
    unknown = set(event) - KEYS
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)} in the event; known: {sorted(KEYS)}")
    if ("date_start" in event) != ("date_end" in event):
        raise ValueError("give both date_start and date_end, or neither")
    params = event.get("params", {})
    if not isinstance(params, dict) or len(json.dumps(params)) > MAX_PARAMS:
        raise ValueError(f"params must be an object of at most {MAX_PARAMS} characters")
    if "date_start" in event:
        start, end = (date.fromisoformat(event[key]) for key in ("date_start", "date_end"))
    else:
        end = local_day(event.get("scheduled_time"), now)
        start = end - timedelta(days=int(os.environ.get("WINDOW_DAYS", "1")))
    if start >= end:
        raise ValueError(f"the window is empty: {start} is not before {end}")
    return {"date_start": start.isoformat(), "date_end": end.isoformat(), "params": params}


def local_day(scheduled_time, now):
    """Return the day of a moment in the schedule's own time zone."""
    if scheduled_time:
        now = datetime.fromisoformat(scheduled_time.replace("Z", "+00:00"))
    return now.astimezone(ZoneInfo(os.environ.get("TIMEZONE", "UTC"))).date()


def execution_name(run):
    """Return the same name for the same run: at most 80 characters, legal for Step Functions."""
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
    return f"{run['date_start']}_{run['date_end']}_{digest}"
