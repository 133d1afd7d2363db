"""Starts the workflow, once for each event.

What an event may be: the schedule's `{"scheduled_time": "2022-01-08T18:00:00Z"}`, for the window of
whole days that ends on that day; a window by hand, `{"date_start": "2022-01-01", "date_end":
"2022-01-08"}` (the end is exclusive); `{}`, which means now; an object that arrived in S3, as
EventBridge or S3 itself reports it, without a window. `params` may be added by hand: an object of
texts and numbers that the script receives; for an upload they hold `s3_bucket` and `s3_key`.

Events can arrive more than once and in any order. The execution's name comes from the event, so
that the second one finds the execution there already, and that is success.
"""

import hashlib
import json
import os
from datetime import UTC, date, datetime, timedelta
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo

import boto3

KEYS = {"scheduled_time", "date_start", "date_end", "params"}
MAX_PARAMS = 256  # SageMaker's limit for an environment variable


def lambda_handler(event, context):
    """Start the executions that the event asks for, each once."""
    if "Records" in event:
        return {"executions": [start(*read_upload(one)) for one in uploads_of_records(event)]}
    if event.get("source") == "aws.s3":
        return start(*read_upload(upload_of_eventbridge(event)))
    run = read_event(event, datetime.now(UTC))
    return start(run, execution_name(run))


def start(run, name):
    """Start one execution, unless it was started before."""
    if run is None:
        print(json.dumps({"message": "nothing to do", "reason": name}))
        return {"started": False, "reason": name}
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
        now = datetime.fromisoformat(scheduled_time)
    return now.astimezone(ZoneInfo(os.environ.get("TIMEZONE", "UTC"))).date()


def execution_name(run):
    """Return the same name for the same run: at most 80 characters, legal for Step Functions."""
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
    return f"{run['date_start']}_{run['date_end']}_{digest}"


def uploads_of_records(event):
    """Return bucket, key and object of every record of an S3 notification; keys are encoded."""
    return [
        (one["s3"]["bucket"]["name"], unquote_plus(one["s3"]["object"]["key"]), one["s3"]["object"])
        for one in event["Records"]
    ]


def upload_of_eventbridge(event):
    """Return bucket, key and object of S3's event from EventBridge; the key is as it is."""
    detail = event["detail"]
    return detail["bucket"]["name"], detail["object"]["key"], detail["object"]


def read_upload(upload):
    """Return the run for an object that has arrived and the execution's name, or None and why."""
    bucket, key, thing = upload
    below = key.removeprefix(os.environ.get("UPLOAD_PREFIX", ""))
    if any(part.startswith((".", "_")) for part in below.split("/")) or key.endswith("/"):
        return None, f"{key} is no data: a folder, or a name that begins with a dot or underscore"
    params = {"s3_bucket": bucket, "s3_key": key}
    if len(json.dumps(params, ensure_ascii=False)) > MAX_PARAMS:
        raise ValueError(f"the key is too long: {MAX_PARAMS} characters is all that a job takes")
    # The sequencer is the same in every report of one upload, and another for each upload.
    words = ("sequencer", "versionId", "version-id", "eTag", "etag")
    version = next((thing[word] for word in words if thing.get(word)), "")
    digest = hashlib.sha256(json.dumps([bucket, key, version]).encode()).hexdigest()[:32]
    return {"date_start": "", "date_end": "", "params": params}, f"upload_{digest}"
