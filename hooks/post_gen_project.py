"""Finish a new project: say where its runtime comes from, show its files and the next commands.

The runtime that a project installs is the one that its template came from, never whatever package
bears the name in a public index. So requirements.txt gets a direct reference, made from the
address that cookiecutter was given: a folder becomes a ``file://`` URL, a repository a ``git+`` URL
at the very commit (or its release tag). Three stages: find the source, write it, show the project.

Cookiecutter renders this file with Jinja and runs it inside the new project; a non-zero exit
removes the project. Standard library only, Python 3.9 or later.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

# JSON never has three bare quotes in a row and this one ends with a brace, so no answer can end the
# literal; it is raw, so that JSON's own backslashes stay.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

DISTRIBUTION = "batcat-runtime"
PLACEHOLDER = f"{DISTRIBUTION}[deploy,rehearse] @ unknown"
# Cookiecutter's own short forms; what a user's settings add is read from the clone instead.
ABBREVIATIONS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}",
}


def runtime_source(answers, folders):
    """Return the URL that pip installs the template's own runtime from, or None.

    `folders` are those that a relative template path may start from.
    """
    given = answers.get("_runtime_source") or ""
    if given:
        return given if "://" in given else Path(folders[0], given).resolve().as_uri()
    template = answers.get("_template") or ""
    clone = answers.get("_repo_dir") or ""
    return (
        local_source(template, folders)
        or remote_source(expand(template), answers)
        or remote_source(git(clone, "remote", "get-url", "origin"), answers)
    )


def local_source(template, folders):
    """Return the URL of a template that is a folder, archive or bare repository here."""
    if template.startswith("file://"):
        template = template[len("file://") :]
    for folder in folders:
        path = Path(folder, template).resolve()
        if path.is_file() and path.suffix == ".zip":
            return path.as_uri()
        project = path / "pyproject.toml"
        if project.is_file() and f'"{DISTRIBUTION}"' in project.read_text(encoding="utf-8"):
            return path.as_uri()
        if (path / "HEAD").is_file() and (path / "objects").is_dir():
            return f"git+{path.as_uri()}@{git(str(path), 'rev-parse', 'HEAD')}"
    return None


def expand(template):
    """Return the URL that a template address means to cookiecutter and git."""
    prefix, _, rest = template.partition(":")
    if prefix in ABBREVIATIONS:
        return ABBREVIATIONS[prefix].format(rest)
    if "://" not in template and re.match(r"[\w.-]+@[\w.-]+:", template):  # git@host:owner/name
        host, _, path = template.partition(":")
        return f"ssh://{host}/{path}"
    return template[len("git+") :] if template.startswith("git+") else template


def remote_source(url, answers):
    """Return the pip URL of a repository at its commit, or of an archive; None if it is neither."""
    parts = urlsplit(expand(url))
    if parts.scheme not in ("http", "https", "ssh", "git"):
        return None
    # A token in the URL is the user's own and must not end up in a file that is committed.
    host = parts.netloc if parts.scheme == "ssh" else parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path, "", ""))
    if parts.path.endswith(".zip"):
        return address
    return f"git+{address}@{quote(revision(answers), safe='/')}"


def revision(answers):
    """Return the release tag if the template is at one, else its commit: what never moves."""
    tag = "v" + answers["_runtime_version"]
    clone = answers.get("_repo_dir") or ""
    if tag in git(clone, "tag", "--points-at", "HEAD").split():
        return tag
    commit = answers.get("_commit") or git(clone, "rev-parse", "HEAD")  # cruft knows the commit
    return commit or answers.get("_checkout") or tag


def git(folder, *command):
    """Return what git says about the repository in `folder`; nothing where there is none."""
    if not folder or not any(Path(folder, name).exists() for name in (".git", "HEAD")):
        return ""
    try:
        done = subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write_requirement(file, source):
    """Put the runtime's source into requirements.txt."""
    text = file.read_text(encoding="utf-8")
    if PLACEHOLDER not in text:
        raise SystemExit(f"BatCat's template is broken: no {PLACEHOLDER!r} in {file.name}.")
    text = text.replace(PLACEHOLDER, PLACEHOLDER.replace("unknown", source))
    file.write_bytes(text.encode())


def tree(folder, depth=0):
    """Return the lines that show a folder: files first, four spaces a level."""
    indent = "    " * depth
    lines = [f"{indent}{folder.name}/"]
    entries = [entry for entry in folder.iterdir() if entry.name != ".gitkeep"]
    files = sorted((entry.name for entry in entries if not entry.is_dir()), key=reading_order)
    lines += [f"{indent}    {name}" for name in files]
    for entry in sorted(entry for entry in entries if entry.is_dir()):
        lines += tree(entry, depth + 1)
    return lines


def reading_order(name):
    """Sort key for files: the README first, then by name."""
    return name != "README.md", name.lower()


def next_commands(project, start):
    """Return the lines that say what to type next, from the folder where the user stands."""
    path = str(project)
    if project.anchor == Path(start).anchor:
        path = min(os.path.relpath(project, start), path, key=len)
    quoted = f'"{path}"' if os.name == "nt" else shlex.quote(path)
    return [
        "Next:",
        f"    cd {quoted}",
        "    make test         run the example's tests",
        "    make rehearse     run the whole pipeline on an embedded AWS: no account, no Docker",
    ]


def main():
    """Write the requirement, then show what was made."""
    project = Path.cwd()
    output = ANSWERS.get("_output_dir") or str(project.parent)
    start = os.environ.get("PWD") or output  # this hook's own folder is the project's
    source = runtime_source(ANSWERS, [start, output])
    if source is None:
        sys.exit(
            f"No project was made: the template's address {ANSWERS.get('_template')!r} does not\n"
            "say where to install the runtime from. Give the template's folder as absolute path,\n"
            "or name the source, for example: _runtime_source=/path/to/batcat"
        )
    write_requirement(project / "requirements.txt", source)
    for cache in list(project.rglob("__pycache__")):  # pip compiles a template that it installs
        shutil.rmtree(cache)
    sys.stdout.reconfigure(errors="replace")
    print("", *tree(project), "", *next_commands(project, start), sep="\n")


if __name__ == "__main__":
    main()
