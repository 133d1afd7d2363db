"""What S3 takes as the name of a bucket."""

from __future__ import annotations

import re


def bucket_problem(name: str) -> str:
    """Return why S3 would refuse a general-purpose bucket name, or ``""`` when it is legal.

    The rules are those of the Amazon S3 user guide, "General purpose bucket naming rules".
    """
    rules = (
        (not 3 <= len(name) <= 63, "it must have 3 to 63 characters"),
        (
            not re.fullmatch(r"[a-z0-9.-]*", name),
            "only lower-case letters, digits, dots and hyphens are allowed",
        ),
        (
            not re.fullmatch(r"[a-z0-9].*[a-z0-9]", name, re.DOTALL),
            "it must begin and end with a letter or digit",
        ),
        (".." in name, "two dots may not stand side by side"),
        (re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) is not None, "it looks like an IP address"),
        (
            name.startswith(("xn--", "sthree-", "amzn-s3-demo-")),
            "this prefix is reserved by S3",
        ),
        (
            # account-regional buckets are called <name>-<account>-<region>-an; nothing else is
            name.endswith("-an") and not re.fullmatch(r".+-\d{12}-[a-z0-9-]+-an", name),
            "the suffix -an is reserved by S3",
        ),
        (
            name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")),
            "this suffix is reserved by S3",
        ),
    )
    return next((reason for broken, reason in rules if broken), "")
