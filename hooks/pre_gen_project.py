"""Refuse answers that cannot work, before a file is written.

Cookiecutter renders this file with Jinja and runs it inside the empty project folder; a non-zero
exit removes the folder. Every rule below is one function from the answers to a problem, or to
nothing; all problems are reported at once, each with an example that works.

The folder itself comes before this hook. So `__slug_guard` in cookiecutter.json has already put a
harmless random name in the place of an unsafe one ('', '../x', '/x'); `__asked_slug` is what was
asked for, and what is judged here.

Standard library only, Python 3.9 or later: this runs in the Python that cookiecutter lives in.
"""

import difflib
import json
import re
import sys
import textwrap
import unicodedata

# JSON never has three bare quotes in a row and this one ends with a brace, so no answer can end the
# literal; it is raw, so that JSON's own backslashes stay.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

# script/ comes first on Python's path, so script/json.py would be imported for Python's own json.
# The same goes for what the runtime imports in a job.
IMPORTED = {"batcat_runtime", "awswrangler", "boto3", "botocore", "dateutil", "jmespath", "numpy"}
IMPORTED |= {"packaging", "pandas", "pyarrow", "pydantic", "pytest", "s3transfer", "six", "urllib3"}


def project_name_problem(answers):
    """Want any text that can be printed on one line."""
    name = answers["project_name"]
    if not name.strip():
        return "is empty", "battery"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return "has a line break, a control character or broken text in it", "battery"
    if len(name) > 200:
        return f"has {len(name)} characters; 200 are allowed", name[:40].strip()
    return None


def project_slug_problem(answers):
    """Want one folder name that every system and every shell takes as it is."""
    slug = answers["__asked_slug"]
    if not slug:
        return "is empty", "project_battery"
    words = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_").removeprefix("project_")[:40]
    example = f"project_{words or 'battery'}"
    if "/" in slug or "\\" in slug:
        return (
            "is a path; give one folder name, and say where it goes with --output-dir",
            example,
        )
    if slug.lower().split(".")[0] in answers["_reserved_names"]:
        return "is a name that Windows keeps for itself", example
    if len(slug) > 50:
        return f"has {len(slug)} characters; 50 are allowed", example
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?", slug):
        return (
            "is no plain folder name: Latin letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit and not ending with a dot",
            example,
        )
    if slug != answers["project_slug"]:  # The guard is never stricter than this rule; be safe.
        return "was refused", example
    return None


def purpose_problem(answers):
    """Want a file name that fits into AWS names too, and hides no Python module."""
    reserved = answers["_reserved_names"]
    reason = purpose_rule_broken(answers["purpose"], reserved)
    if not reason:
        return None
    example = re.sub(r"[^a-z0-9]+", "-", answers["purpose"].lower())[:30].strip("-")
    if purpose_rule_broken(example, reserved):
        example += "-analysis"
    return reason, "usage-analysis" if purpose_rule_broken(example, reserved) else example


def purpose_rule_broken(purpose, reserved):
    """Say why a purpose cannot name a script and, as a part of them, AWS resources."""
    if not purpose:
        return "is empty"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", purpose) or len(purpose) > 40:
        return (
            "cannot name a script and AWS resources: lower-case letters and digits, words joined "
            "by single hyphens, beginning with a letter, at most 40 characters"
        )
    if purpose in reserved:
        return "is a name that Windows keeps for itself"
    if purpose in IMPORTED or purpose in getattr(sys, "stdlib_module_names", ()):
        return (
            f"would make script/{purpose}.py, which Python would import in the place of its "
            f"module {purpose}"
        )
    return ""


def region_problem(answers):
    """Want a region of the partitions aws, aws-cn and aws-us-gov."""
    region = answers["region"]
    known = answers["_regions"]
    if region in known:
        return None
    near = difflib.get_close_matches(region.strip().lower(), known, n=1, cutoff=0.5)
    return "is no AWS region", (near or ["cn-northwest-1"])[0]


def result_s3_bucket_problem(answers):
    """Want a name that S3 accepts."""
    name = answers["result_s3_bucket"]
    reason = bucket_rule_broken(name)
    if not reason:
        return None
    example = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if bucket_rule_broken(example):
        example = f"project-{answers['__project_id']}-result"
    return reason, example


def bucket_rule_broken(name):
    """Say which rule of the S3 user guide, "General purpose bucket naming rules", is broken."""
    rules = (
        (not 3 <= len(name) <= 63, f"has {len(name)} characters; S3 wants 3 to 63"),
        (not re.fullmatch(r"[a-z0-9.-]*", name), "may hold only a-z, 0-9, '.' and '-'"),
        (
            not re.fullmatch(r"[a-z0-9](.*[a-z0-9])?", name),
            "must begin and end with a letter or digit",
        ),
        (".." in name, "has two dots side by side"),
        (re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name), "looks like an IP address"),
        (
            name.startswith(("xn--", "sthree-", "amzn-s3-demo-")),
            "begins with 'xn--', 'sthree-' or 'amzn-s3-demo-', which S3 keeps for itself",
        ),
        (
            name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")),
            "ends with '-s3alias', '--ol-s3', '.mrap', '--x-s3' or '--table-s3', which S3 keeps "
            "for itself",
        ),
        (
            name.endswith("-an") and not re.search(r"-\d{12}-[a-z0-9-]+-\d-an$", name),
            "ends with '-an', which S3 keeps for names of the form name-account-region-an",
        ),
    )
    return next((reason for broken, reason in rules if broken), "")


WRAPPED = textwrap.TextWrapper(
    96,
    initial_indent="  ",
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
)
RULES = {
    "project_name": project_name_problem,
    "project_slug": project_slug_problem,
    "purpose": purpose_problem,
    "region": region_problem,
    "result_s3_bucket": result_s3_bucket_problem,
}


def problems(answers):
    """Return a paragraph for each answer that cannot work."""
    found = []
    for question, rule in RULES.items():
        problem = rule(answers)
        if problem:
            reason, example = problem
            answer = answers["__asked_slug" if question == "project_slug" else question]
            shown = answer if len(answer) <= 70 else answer[:67] + "..."
            text = f"{question}: {shown!r} {reason}. For example: {question}={example}"
            found.append(WRAPPED.fill(text))
    return found


def main():
    """Print what is wrong and return the exit code."""
    found = problems(ANSWERS)
    if found:
        # A console that lacks a letter shows its code instead; it must not stop the message.
        sys.stderr.reconfigure(errors="backslashreplace")
        print("No project was made. Please change:", *found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
