"""Finish a new project: say where its runtime comes from, show its files and the next commands.

The runtime that a project installs is the one that its template came from. So requirements.txt gets
a direct reference, made from the address that cookiecutter was given: a folder becomes a
``file://`` URL, a repository a ``git+`` URL at the very commit. Only `batcat new` of a release that
was installed from a package index names that release instead (``==0.1.0``).

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
from urllib.parse import urlsplit, urlunsplit

# JSON never has three bare quotes in a row and this one ends with a brace, so no answer can end the
# literal; it is raw, so that JSON's own backslashes stay.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

NEXT = """
Next:
    cd {path}
    make test         run the example's tests
    make rehearse     run the whole pipeline on an embedded AWS: no account, no Docker"""


def runtime_source(answers, folders):
    """Return what pip installs the template's own runtime from, a URL or ``==version``; or None.

    `folders` are those that a relative template path may start from.
    """
    given = answers.get("_runtime_source")
    if given:
        as_it_is = "://" in given or given.startswith("==")
        return given if as_it_is else Path(folders[0], given).resolve().as_uri()
    template = answers.get("_template") or ""
    # A clone knows what a short form such as gh:owner/name stands for; cruft has none of either.
    origin = git(answers.get("_repo_dir"), "remote", "get-url", "origin")
    return local_source(template, folders, answers) or remote_source(origin or template, answers)


def local_source(template, folders, answers):
    """Return the URL of a template that is a folder, an archive or a bare repository here."""
    for folder in folders:
        path = Path(folder, template).resolve()
        project = path / "pyproject.toml"
        if template and Path(path, "HEAD").is_file():
            return remote_source(path.as_uri(), answers)
        is_template = project.is_file() and '"batcat-runtime"' in project.read_text("utf-8")
        if is_template or (path.is_file() and path.suffix == ".zip"):
            return path.as_uri()
    return None


def remote_source(url, answers):
    """Return the pip URL of a repository at its commit, or of an archive; None if it is neither."""
    if "://" not in url:
        url = re.sub(r"^([\w.-]+@[\w.-]+):", r"ssh://\1/", url)  # git@host:owner/name
    parts = urlsplit(url[len("git+") :] if url.startswith("git+") else url)
    if parts.scheme not in ("http", "https", "ssh", "git", "file"):
        return None
    # A token in the URL is the user's own and must not end up in a file that is committed.
    host = parts.netloc if parts.scheme == "ssh" else parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path, "", ""))
    if parts.path.endswith(".zip"):
        return address
    # What never moves: cruft tells the commit, cookiecutter leaves its clone.
    commit = answers.get("_commit") or git(answers.get("_repo_dir"), "rev-parse", "HEAD")
    return f"git+{address}@{commit}" if commit else None


def git(folder, *command):
    """Return what git says about the repository in `folder`; nothing where there is none."""
    if not folder or not any(Path(folder, name).exists() for name in (".git", "HEAD")):
        return ""
    try:
        done = subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def tree(folder, name, depth=0):
    """Return the lines that show a folder: files first, four spaces a level."""
    hidden = (".gitkeep", ".git", ".venv")  # the latter two where the project was there already
    entries = sorted(entry for entry in folder.iterdir() if entry.name not in hidden)
    if depth and len(entries) == 1 and entries[0].is_dir():
        return tree(entries[0], f"{name}/{entries[0].name}", depth)
    files = [entry.name for entry in entries if not entry.is_dir()]
    indent = "    " * depth
    lines = [f"{indent}{name}/"]
    lines += [f"{indent}    {file}" for file in sorted(files, key=lambda file: file != "README.md")]
    for entry in entries:
        lines += tree(entry, entry.name, depth + 1) if entry.is_dir() else []
    return lines


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
    requirements = project / "requirements.txt"  # one that was there already has its source
    text = requirements.read_text(encoding="utf-8")
    if " @ unknown\n" in text:
        reference = source if source.startswith("==") else f" @ {source}"
        requirements.write_bytes(text.replace(" @ unknown\n", f"{reference}\n").encode())
    # pip compiles a template that it installs. A .venv of this folder is not ours to clean.
    for cache in list(project.glob("[!.]*/**/__pycache__")):
        shutil.rmtree(cache)
    path = os.path.relpath(project, start) if Path(start) in project.parents else str(project)
    path = f'"{path}"' if os.name == "nt" else shlex.quote(path)
    try:
        sys.stdout.reconfigure(errors="replace")
        print("", *tree(project, project.name), NEXT.format(path=path), sep="\n", flush=True)
    except (OSError, AttributeError):  # nobody reads this, and the project is made all the same
        os._exit(0)


if __name__ == "__main__":
    main()
