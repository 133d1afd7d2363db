"""`batcat data`: the inputs' files, into S3; and the template's sample."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from batcat_runtime.commands.terminal import any_purpose_option, err, folder_option, human_size


@click.group()
def data() -> None:
    """Bring data to where jobs read them."""


@data.command("push")
@folder_option
@any_purpose_option
def push_command(folder: Path, purpose: str | None) -> None:
    """Upload data/raw to S3.

    The files in data/raw/NAME go to the prefix of the input NAME in script/config.json. What is
    there with the same content stays as it is, and nothing is deleted.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.data import find_missing, find_samples, push
    from batcat_runtime.io.aws_errors import translated
    from batcat_runtime.io.clients import client

    project = find_project(folder)
    config = get_config(project)
    names = [config.purpose_name(purpose)] if purpose else list(config.purposes)
    samples = {
        sample: None
        for name in names
        for sample in find_samples(config, name, project, strict=False)
    }
    if not samples:
        find_samples(config, names[0], project)  # says what there should be
    with translated(f"the bucket {config.result_s3_bucket}", "s3:ListBucket"):
        s3 = client("s3", region=config.region)
    missing = dict.fromkeys(find_missing(s3, samples))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        for path, bucket, key in missing:
            size = path.stat().st_size
            task = progress.add_task(path.name, total=size)
            push(s3, path, bucket, key, partial(progress.advance, task))
            progress.remove_task(task)
            click.echo(f"{path.relative_to(project)} -> s3://{bucket}/{key} ({human_size(size)})")
    count = sum(len(sample.files) for sample in samples)
    click.echo(f"{len(missing)} uploaded, {count - len(missing)} were there already.")


@data.command("sample")
@folder_option
def sample_command(folder: Path) -> None:
    """Put the template's sample into data/raw.

    A clone of a project has no data, since git does not keep them.
    """
    from batcat_runtime.config import find_project
    from batcat_runtime.data import bring_sample

    project = find_project(folder)
    for path in bring_sample(project):
        click.echo(path.relative_to(project))
