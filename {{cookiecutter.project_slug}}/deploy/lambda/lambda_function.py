"""Starts the workflow, once for each event.

What an event may be: the schedule's `{"scheduled_time": "2022-01-08T18:00:00Z"}`, for the window of
whole days that ends on that day; a window by hand, `{"date_start": "2022-01-01", "date_end":
"2022-01-08"}` (the end is exclusive); `{}`, which means all data, now; an object that arrived in
S3, as EventBridge or S3 itself reports it, without a window. `params` may be added by hand: an
object of texts, numbers and booleans that the script receives; for an upload they hold `s3_bucket`
and `s3_key`. Anything else is a ValueError that says what is wrong.

Events can arrive more than once and in any order. The execution's name comes from the event, so
that the second one finds the execution there already, and that is success. Only `{}` is a new run
every time.
"""

import hashlib
import json
import os
import uuid
from datetime import UTC, date, datetime, timedelta
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo

import boto3

KEYS = {"scheduled_time", "date_start", "date_end", "params"}
MAX_PARAMS = 256  # SageMaker's limit for an environment variable


def lambda_handler(event, context):
    """Start the executions that the event asks for, each once."""
    need(isinstance(event, dict), f"an event is an object, not {type(event).__name__}")
    if "Records" in event:
        return {"executions": [start(*read_upload(one)) for one in uploads_of_records(event)]}
    if event.get("source") == "aws.s3":
        return start(*read_upload(upload_of(event.get("detail"), str)))
    run = read_event(event)
    # Not in the name: by hand, the same window is the same execution.
    by = {"by": "schedule"} if "scheduled_time" in event else {}
    return start({**run, **by}, execution_name(run))


def need(good, words):
    """Refuse an event that is not as it must be."""
    if not good:
        raise ValueError(words)


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


def read_event(event):
    """Return the run that an event asks for: `date_start`, `date_end` and `params`."""
    unknown = sorted(map(str, set(event) - KEYS))
    if unknown:
        raise ValueError(f"unknown keys {unknown} in the event; known: {sorted(KEYS)}")
    if ("date_start" in event) != ("date_end" in event):
        raise ValueError("give both date_start and date_end, or neither")
    if "date_start" in event and "scheduled_time" in event:
        raise ValueError("give a window or scheduled_time, not both")
    run = {"date_start": "", "date_end": "", "params": checked_params(event.get("params", {}))}
    if "date_start" in event:
        first, end = (read_day(key, event[key]) for key in ("date_start", "date_end"))
    elif "scheduled_time" in event:
        end = local_day(event["scheduled_time"])
        days = int(os.environ.get("WINDOW_DAYS", "1"))
        if end.toordinal() <= days:
            raise ValueError(f"scheduled_time {event['scheduled_time']!r} is too early")
        first = end - timedelta(days=days)
    else:
        return run
    if first >= end:
        raise ValueError(f"the window is empty: {first} is not before {end}")
    return {**run, "date_start": first.isoformat(), "date_end": end.isoformat()}


def checked_params(params):
    """Return params if a job takes them."""
    need(isinstance(params, dict), f"params must be an object, not {type(params).__name__}")
    for name, value in params.items():
        number = isinstance(value, (int, float)) and abs(value) < float("inf")  # nor NaN
        good = number or isinstance(value, str)
        need(good, f"params: {name} must be a text, a number or a boolean")
    length = len(json.dumps(params, ensure_ascii=False))
    need(length <= MAX_PARAMS, f"params must be an object of at most {MAX_PARAMS} characters")
    return params


def read_day(key, text):
    """Return a date as it is written: 2022-01-08."""
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"{key} is {text!r}, and must be a date such as 2022-01-08") from None


def local_day(scheduled_time):
    """Return the day of a moment in the schedule's own time zone."""
    try:
        moment = datetime.fromisoformat(scheduled_time)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(ZoneInfo(os.environ.get("TIMEZONE", "UTC"))).date()
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"scheduled_time is {scheduled_time!r}, and must be like 2022-01-08T18:00:00Z"
        ) from None


def execution_name(run):
    """Return the same name for the same window and params, a new one for all data.

    At most 80 characters, legal for Step Functions.
    """
    if not run["date_start"]:
        return f"all_{datetime.now(UTC):%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:8]}"
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
    return f"{run['date_start']}_{run['date_end']}_{digest}"


def uploads_of_records(event):
    """Return bucket, key and object of every record of an S3 notification; keys are encoded."""
    records = event["Records"]
    need(isinstance(records, list), "Records must be a list")
    return [
        upload_of(one.get("s3") if isinstance(one, dict) else None, unquote_plus) for one in records
    ]


def upload_of(detail, decode):
    """Return bucket, key and object of one report of S3's."""
    try:
        bucket, thing = detail["bucket"]["name"], detail["object"]
        key = thing["key"]
        if not (isinstance(bucket, str) and isinstance(key, str) and isinstance(thing, dict)):
            raise TypeError
    except (TypeError, KeyError):
        raise ValueError("an upload has a bucket with a name and an object with a key") from None
    return bucket, decode(key), thing


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
