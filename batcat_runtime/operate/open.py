"""`batcat open`: where a project is in the AWS console, of the right partition.

Links are put together from names; AWS is asked for the account, for an execution that is named, and
for whether there is a backfill. The console's pages have no documented addresses; these are the
ones that the console itself shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from batcat_runtime.errors import NoSuchExecutionError
from batcat_runtime.names import slug
from batcat_runtime.operate.executions import find_execution
from batcat_runtime.operate.history import read_states
from batcat_runtime.operate.project import Project, open_project

HOSTS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
JOB_LOGS = "/aws/sagemaker/ProcessingJobs"
NEWEST = "execution"


@dataclass(frozen=True)
class Link:
    """A page of the AWS console.

    Attributes
    ----------
    what : str
        What `batcat open` calls it: ``workflow``, ``results``; ``job`` for an execution's jobs.
    purpose : str
        Whose; empty when all pipelines share it.
    name : str
        What AWS calls it.
    url : str
        The page.
    """

    what: str
    purpose: str
    name: str
    url: str


def open(  # noqa: A001 - it is the command's name; here the builtin is not used
    what: str | None = None,
    *,
    folder: str | Path | None = None,
    purpose: str | None = None,
    browser: Callable[[str], object] | None = None,
) -> list[Link]:
    """Return where things are in the AWS console, and open one of them.

    Parameters
    ----------
    what : str, optional
        ``workflow``, ``results`` and so on, as the list names them; ``execution`` for the newest
        one; or an execution's name or ARN. By default everything is listed.
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        Which pipeline. The list has all by default; one thing needs it when there are several.
    browser : callable, optional
        Called with the address of the one thing that was named, e.g. ``webbrowser.open``.

    Returns
    -------
    list of Link
        What was asked for; of an execution, the pages of its jobs too.

    Raises
    ------
    NoSuchExecutionError
        Nothing is called like that.

    Examples
    --------
    >>> open("workflow")[0].url  # doctest: +SKIP
    'https://console.aws.amazon.com/states/home?region=us-east-1#/statemachines/view/arn:...'
    """
    project = open_project(folder)
    if what is None:
        return list(_all(project, project.purposes(purpose)))
    found = _one(project, what, purpose)
    if browser is not None:
        browser(found[0].url)
    return found


def _one(project: Project, what: str, purpose: str | None) -> list[Link]:
    known = list(_all(project, project.purposes(purpose)))
    found = [one for one in known if one.what == what]
    if found and found[0].purpose and purpose is None:
        owner = project.config.purpose_name(None)  # raises when there are several
        found = [one for one in found if one.purpose == owner]
    if found:
        return found
    try:
        execution = find_execution(project, None if what == NEWEST else what, purpose)
    except NoSuchExecutionError as error:
        if what == NEWEST:
            raise
        names = ", ".join(dict.fromkeys(one.what for one in known))
        raise NoSuchExecutionError(
            f"There is nothing that is called {what!r}, and no execution of that name.",
            fix=f"Take one of {names}, {NEWEST}; or an execution's name (`batcat status`).",
        ) from error
    pages = Pages.of(project)
    links = [Link(NEWEST, execution.purpose, execution.name, pages.execution(execution.arn))]
    client = project.client("stepfunctions")
    with project.asked(f"the execution {execution.name}", "states:GetExecutionHistory"):
        states = list(read_states(client, execution.arn))
    jobs = [job for state in states for job in state.jobs]
    return links + [Link("job", execution.purpose, job, pages.job(job)) for job in jobs]


def _all(project: Project, purposes: list[str]) -> Iterator[Link]:
    """Yield every link, those of each pipeline first."""
    pages = Pages.of(project)
    for purpose in purposes:
        yield from _of_purpose(project, pages, purpose)
    names = project.names(purposes[0])
    yield Link("images", "", names.repository, pages.repository(names.repository))
    stacks = f"batcat-{slug(project.config.project)}"
    yield Link("stacks", "", stacks, pages.stacks(stacks))
    yield Link("jobs", "", "processing jobs", pages.page("sagemaker", "#/processing-jobs"))
    yield Link("job-logs", "", JOB_LOGS, pages.log_group(JOB_LOGS))
    yield Link("athena", "", "query editor", pages.page("athena", "#/query-editor"))


def _of_purpose(project: Project, pages: Pages, purpose: str) -> Iterator[Link]:
    names, config = project.names(purpose), project.config.purposes[purpose]
    yield Link("workflow", purpose, names.state_machine, pages.machine(names.state_machine))
    prefix = f"{names.result_prefix}/"
    bucket = project.config.result_s3_bucket
    yield Link("results", purpose, f"s3://{bucket}/{prefix}", pages.objects(bucket, prefix))
    yield Link("function", purpose, names.function, pages.function(names.function))
    if config.schedule is not None:
        yield Link("schedule", purpose, names.schedule, pages.schedule(names.schedule))
    if config.s3_trigger is not None:
        yield Link("uploads", purpose, names.rule, pages.rule(names.rule))
    machine = names.backfill_machine
    yield Link("backfill", purpose, machine, pages.machine(machine))
    for what, group in (
        ("workflow-logs", names.workflow_log_group),
        ("function-logs", names.function_log_group),
    ):
        yield Link(what, purpose, group, pages.log_group(group))


@dataclass(frozen=True)
class Pages:
    """The console's pages for one account and region.

    Attributes
    ----------
    partition, region, account : str
        Where.
    """

    partition: str
    region: str
    account: str

    @classmethod
    def of(cls, project: Project) -> Pages:
        """Return the pages of a project's account and region."""
        return cls(project.config.partition, project.config.region, project.account)

    def page(self, service: str, rest: str) -> str:
        """Return a page of a service that keeps its place behind the ``#``."""
        return f"https://{HOSTS[self.partition]}/{service}/home?region={self.region}{rest}"

    def machine(self, name: str) -> str:
        """Return the page of a state machine."""
        arn = f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:{name}"
        return self.page("states", f"#/statemachines/view/{_quoted(arn)}")

    def execution(self, arn: str) -> str:
        """Return the page of an execution."""
        return self.page("states", f"#/v2/executions/details/{_quoted(arn)}")

    def function(self, name: str) -> str:
        """Return the page of a Lambda function."""
        return self.page("lambda", f"#/functions/{_quoted(name)}")

    def schedule(self, name: str) -> str:
        """Return the page of a schedule of EventBridge Scheduler."""
        return self.page("scheduler", f"#schedules/default/{_quoted(name)}")

    def rule(self, name: str) -> str:
        """Return the page of a rule of EventBridge."""
        return self.page("events", f"#/eventbus/default/rules/{_quoted(name)}")

    def job(self, name: str) -> str:
        """Return the page of a processing job."""
        return self.page("sagemaker", f"#/processing-jobs/{_quoted(name)}")

    def stacks(self, text: str) -> str:
        """Return the list of stacks whose name holds a text, deleted ones left out."""
        return self.page(
            "cloudformation", f"#/stacks?filteringStatus=active&filteringText={_quoted(text)}"
        )

    def log_group(self, name: str) -> str:
        """Return the page of a log group: encoded twice, and ``$`` stands for ``%``."""
        name = quote(quote(name, safe=""), safe="").replace("%", "$")
        return self.page("cloudwatch", f"#logsV2:log-groups/log-group/{name}")

    def repository(self, name: str) -> str:
        """Return the page of an image repository."""
        path = f"ecr/repositories/private/{self.account}/{quote(name)}"
        return f"https://{HOSTS[self.partition]}/{path}?region={self.region}"

    def objects(self, bucket: str, prefix: str) -> str:
        """Return the page of what lies under a prefix."""
        path = f"s3/buckets/{bucket}?region={self.region}&prefix={quote(prefix)}"
        return f"https://{HOSTS[self.partition]}/{path}"


def _quoted(text: str) -> str:
    return quote(text, safe=":/")
