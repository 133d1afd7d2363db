"""Refuse answers that cannot work, before a file is written.

Cookiecutter renders this file with Jinja and runs it inside the empty project folder; a non-zero
exit removes the folder. Each rule is a function from the answers to what is wrong and an example
that works, or to None. `batcat new` loads these rules to check each answer as it is given.

The folder itself comes before this hook. So `__slug_guard` in cookiecutter.json has already put a
harmless random name in the place of an unsafe one ('', '../x', '/x'); `__asked_slug` is what was
asked for then, and what is judged here.

Standard library only, Python 3.9 or later: this runs in the Python that cookiecutter lives in.
"""

import difflib
import json
import re
import sys
import unicodedata

# What follows from the answers. Cookiecutter would replay it, if cookiecutter.json had it, beside
# other answers; this file is rendered, with the very dictionary that the project will be rendered
# with, before every project.
DERIVED = """{{ cookiecutter.update(
    __project_id=cookiecutter.project_name | slugify(
        entities=False, decimal=False, hexadecimal=False, max_length=40) or 'project',
    __purpose_module=cookiecutter.purpose | replace('-', '_'),
    __partition='aws-cn' if cookiecutter.region.startswith('cn-')
        else 'aws-us-gov' if cookiecutter.region.startswith('us-gov-') else 'aws',
    __timezone=cookiecutter._regions.get(cookiecutter.region, 'UTC'),
    __package_index_url=cookiecutter._package_index_urls[cookiecutter.package_index],
) or '' }}"""
# JSON never has three bare quotes in a row and this one ends with a brace, so no answer can end the
# literal; it is raw, so that JSON's own backslashes stay.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

WINDOWS_KEEPS = r"(?i)(con|prn|aux|nul|(com|lpt)\d)(\..*)?"
# script/ comes first on Python's path, so script/json.py would be imported for Python's own json.
# The same goes for what the runtime imports in a job.
IMPORTED = {"batcat_runtime", "awswrangler", "boto3", "botocore", "dateutil", "jmespath", "numpy"}
IMPORTED |= {"packaging", "pandas", "pyarrow", "pydantic", "pytest", "s3transfer", "six", "urllib3"}


def project_name_problem(answers):
    """Want any text that can be printed on one line."""
    name = answers["project_name"]
    broken = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name)
    if broken or not name.strip() or len(name) > 200:
        return "is no text of one line, at most 200 characters, that can be printed", "battery"
    return None


def project_slug_problem(answers):
    """Want one folder name that every system and every shell takes as it is."""
    slug = answers.get("__asked_slug", answers["project_slug"])
    example = f"project_{answers['__project_id']}"
    if re.fullmatch(WINDOWS_KEEPS, slug):
        return "is a name that Windows keeps for itself", example
    if len(slug) > 50 or not re.fullmatch(r"[A-Za-z0-9]([\w.-]*[\w-])?", slug, re.ASCII):
        return (
            "is no plain folder name: at most 50 Latin letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, no dot at the end; --output-dir says where it goes",
            example,
        )
    return None


def purpose_problem(answers):
    """Want a file name that fits into AWS names too, and hides no Python module."""
    purpose = answers["purpose"]
    other = f"{purpose}-analysis"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", purpose) or len(purpose) > 40:
        return (
            "cannot name a script and AWS resources: lower-case letters and digits, words joined "
            "by single hyphens, beginning with a letter, at most 40 characters",
            "usage-analysis",
        )
    if re.fullmatch(WINDOWS_KEEPS, purpose):
        return "is a name that Windows keeps for itself", other
    if purpose in IMPORTED or purpose in getattr(sys, "stdlib_module_names", ()):
        hidden = "which Python would import in the place of its module"
        return f"would make script/{purpose}.py, {hidden} {purpose}", other
    return None


def region_problem(answers):
    """Want a region of the partitions aws, aws-cn and aws-us-gov."""
    region, known = answers["region"], list(answers["_regions"])
    near = difflib.get_close_matches(region.strip().lower(), known, n=1, cutoff=0.5)
    return None if region in known else ("is no AWS region", (near or ["cn-northwest-1"])[0])


def result_s3_bucket_problem(answers):
    """Want a name that S3 accepts (S3 user guide, "General purpose bucket naming rules")."""
    name, example = answers["result_s3_bucket"], f"project-{answers['__project_id']}-result"
    kept = r"^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|\.mrap|--(x|table)-s3)$"
    rules = (
        (
            not re.fullmatch(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name),
            "is no bucket name: 3 to 63 of a-z, 0-9, '-' and '.', beginning and ending with a "
            "letter or digit, never two dots side by side",
        ),
        (re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name), "looks like an IP address"),
        (re.search(kept, name), "begins or ends with what S3 keeps for itself"),
        (
            name.endswith("-an") and not re.search(r"-\d{12}-[a-z0-9-]+-\d-an$", name),
            "ends with '-an', which S3 keeps for names of the form name-account-region-an",
        ),
    )
    return next(((reason, example) for broken, reason in rules if broken), None)


RULES = {
    "project_name": project_name_problem,
    "project_slug": project_slug_problem,
    "purpose": purpose_problem,
    "region": region_problem,
    "result_s3_bucket": result_s3_bucket_problem,
}


def problem(question, answers):
    """Return a sentence that says what is wrong with an answer, and an example; or nothing."""
    reason, example = RULES[question](answers) or ("", "")
    answer = answers[question]
    if question == "project_slug":
        answer = answers.get("__asked_slug", answer)
    shown = answer if len(answer) <= 70 else answer[:67] + "..."
    return reason and f"{question}: {shown!r} {reason}. For example: {question}={example}"


def main():
    """Print what is wrong, all at once, and return the exit code."""
    found = [text for text in (problem(question, ANSWERS) for question in RULES) if text]
    if found:
        # A console that lacks a letter shows its code instead; it must not stop the message.
        sys.stderr.reconfigure(errors="backslashreplace")
        print("No project was made. Please change:", *found, sep="\n  ", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
