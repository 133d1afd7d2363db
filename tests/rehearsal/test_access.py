"""The embedded AWS refuses what a policy does not allow, in the words of the service."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.aws.iam.sessions import Principal
from batcat_runtime.rehearsal.aws.iam.trail import Entry, read_trail
from tests.rehearsal.conftest import Cloud, error_of, trust, until

REGION = "cn-northwest-1"
ACCOUNT = "123456789012"
IAM = f"arn:aws-cn:iam::{ACCOUNT}"
Documents = dict[str, Any]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("enforcing")
    with EmbeddedAWS(region=REGION, home=home, set_environment=False, enforce_policies=True) as aws:
        yield Cloud(aws)


def allow(*actions: str, resource: str = "*", **more: Any) -> Documents:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


class Role:
    """A role with one policy, and what it takes to act as it."""

    def __init__(self, cloud: Cloud, service: str, *statements: Documents) -> None:
        self.cloud, self.name = cloud, f"role-{uuid.uuid4().hex[:8]}"
        iam = cloud.client("iam")
        made = iam.create_role(
            RoleName=self.name, AssumeRolePolicyDocument=json.dumps(trust(service))
        )
        self.arn = str(made["Role"]["Arn"])
        self.allow(*statements)

    def allow(self, *statements: Documents) -> None:
        """Replace what the role may do."""
        document = {"Version": "2012-10-17", "Statement": list(statements) or [allow("sts:Tag*")]}
        self.cloud.client("iam").put_role_policy(
            RoleName=self.name, PolicyName="only", PolicyDocument=json.dumps(document)
        )

    def client(self, service: str) -> Any:
        keys = self.cloud.client("sts").assume_role(RoleArn=self.arn, RoleSessionName="tester")
        return client(self.cloud, service, keys["Credentials"])

    @property
    def session(self) -> str:
        return f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/{self.name}/tester"


def client(cloud: Cloud, service: str, keys: dict[str, str]) -> Any:
    return boto3.Session().client(
        service,
        region_name=REGION,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys.get("SessionToken"),
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def entries(cloud: Cloud, role: Role) -> list[Entry]:
    return [one for one in read_trail(cloud.aws.home) if one.role == role.arn]


def test_who_one_is(strict: Cloud) -> None:
    role = Role(strict, "lambda")
    assert role.client("sts").get_caller_identity()["Arn"] == role.session
    strict.bucket(**{"a": "1"})
    assert strict.client("s3").list_buckets()["Buckets"]


LAND = '"arn:aws-cn:s3:::land'
PLACE = f"{REGION}:{ACCOUNT}"
FLOW = f"arn:aws-cn:states:{PLACE}:stateMachine:m"
# service, operation, parameters: action, and the resource as the service shows it
REFUSALS: dict[tuple[str, str], tuple[dict[str, Any], str, str]] = {
    ("s3", "get_object"): ({"Bucket": "land", "Key": "a b"}, "s3:GetObject", f'{LAND}/a b"'),
    ("s3", "list_objects_v2"): ({"Bucket": "land"}, "s3:ListBucket", f'{LAND}"'),
    ("s3", "create_multipart_upload"): (
        {"Bucket": "land", "Key": "x"},
        "s3:PutObject",
        f'{LAND}/x"',
    ),
    ("iam", "create_user"): ({"UserName": "eve"}, "iam:CreateUser", f"{IAM}:user/eve"),
    ("stepfunctions", "start_execution"): (
        {"stateMachineArn": FLOW},
        "states:StartExecution",
        FLOW,
    ),
    ("logs", "create_log_group"): (
        {"logGroupName": "/aws/x"},
        "logs:CreateLogGroup",
        f"arn:aws-cn:logs:{PLACE}:log-group:/aws/x:log-stream:",
    ),
    ("lambda", "invoke"): (
        {"FunctionName": "f"},
        "lambda:InvokeFunction",
        f"arn:aws-cn:lambda:{PLACE}:function:f",
    ),
    ("ecr", "get_authorization_token"): ({}, "ecr:GetAuthorizationToken", "*"),
    ("secretsmanager", "get_secret_value"): (
        {"SecretId": "dw"},
        "secretsmanager:GetSecretValue",
        f"arn:aws-cn:secretsmanager:{PLACE}:secret:dw",
    ),
    ("glue", "get_table"): (
        {"DatabaseName": "lake", "Name": "usage"},
        "glue:GetTable",
        f"arn:aws-cn:glue:{PLACE}:catalog",
    ),
    ("sqs", "create_queue"): ({"QueueName": "q"}, "sqs:CreateQueue", "*"),
}


@pytest.fixture(scope="module")
def nobody(strict: Cloud) -> Role:
    return Role(strict, "lambda")


@pytest.mark.parametrize(("service", "operation"), REFUSALS)
def test_refusals(nobody: Role, service: str, operation: str) -> None:
    given, action, resource = REFUSALS[service, operation]
    code, message = error_of(getattr(nobody.client(service), operation), **given)
    assert code in ("AccessDenied", "AccessDeniedException")
    assert message == (
        f"User: {nobody.session} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )


def test_a_deny_and_a_boundary_say_so(strict: Cloud) -> None:
    bucket = strict.bucket(**{"a": "1"})
    denying = {
        "Effect": "Deny",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws-cn:s3:::{bucket}/*",
    }
    role = Role(strict, "lambda", allow("s3:*"), denying)
    code, message = error_of(role.client("s3").get_object, Bucket=bucket, Key="a")
    assert (code, message.endswith("with an explicit deny in an identity-based policy")) == (
        "AccessDenied",
        True,
    )
    role.allow(allow("s3:*"))
    limit = {"Version": "2012-10-17", "Statement": [allow("s3:ListBucket")]}
    iam = strict.client("iam")
    name = f"limit-{uuid.uuid4().hex[:6]}"
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(limit))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=role.name, PermissionsBoundary=arn)
    assert role.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    _, message = error_of(role.client("s3").get_object, Bucket=bucket, Key="a")
    assert "because no permissions boundary allows the s3:GetObject action" in message


def test_a_policy_counts_from_the_moment_it_is_there(strict: Cloud) -> None:
    bucket = strict.bucket(**{"a": "1"})
    role = Role(strict, "lambda")
    s3 = role.client("s3")
    assert error_of(s3.head_bucket, Bucket=bucket)[0] == "403"
    role.allow(allow("s3:ListBucket", resource=f"arn:aws-cn:s3:::{bucket}"))
    s3.head_bucket(Bucket=bucket)
    iam = strict.client("iam")
    iam.delete_role_policy(RoleName=role.name, PolicyName="only")
    iam.delete_role(RoleName=role.name)
    assert error_of(s3.head_bucket, Bucket=bucket)[0] == "403"


def test_users_have_their_own_and_their_groups_policies(strict: Cloud) -> None:
    iam, bucket = strict.client("iam"), strict.bucket(**{"a": "1"})
    name = f"ada-{uuid.uuid4().hex[:6]}"
    iam.create_user(UserName=name)
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    s3 = client(strict, "s3", keys)
    _, message = error_of(s3.get_object, Bucket=bucket, Key="a")
    assert message.startswith(f"User: {IAM}:user/{name} is not authorized")
    iam.create_group(GroupName=name)
    document = {"Version": "2012-10-17", "Statement": [allow("s3:GetObject")]}
    iam.put_group_policy(GroupName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    iam.add_user_to_group(GroupName=name, UserName=name)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_a_role_is_handed_on_only_with_pass_role_to_that_service(strict: Cloud) -> None:
    job = Role(strict, "sagemaker")
    creating = allow("sagemaker:CreateProcessingJob", "sagemaker:AddTags")
    to_lambda = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    passing = allow("iam:PassRole", resource=job.arn, Condition=to_lambda)
    caller = Role(strict, "states", creating, passing)
    request = strict.job(RoleArn=job.arn)
    create = caller.client("sagemaker").create_processing_job
    code, message = error_of(create, **request)
    assert code == "AccessDeniedException"
    assert f"iam:PassRole on resource: {job.arn}" in message
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    caller.allow(creating, allow("iam:PassRole", resource=job.arn, Condition=to_sagemaker))
    create(**request)


IMAGE = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetAuthorizationToken",
)
LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("ecr:BatchGetImage", "could not pull the image: the role {role} does not allow ecr:Batch"),
        ("s3:ListBucket", 'has "s3:ListBucket" permissions'),
        ("s3:GetObject", "Data download failed"),
        ("s3:PutObject", "Data upload failed"),
        ("s3:DeleteObject", "could not let Spark move its files: the role {role} does not"),
    ],
)
def test_a_job_fails_for_want_of_a_permission(strict: Cloud, missing: str, said: str) -> None:
    s3 = {f"s3:{name}" for name in ("ListBucket", "GetObject", "PutObject", "DeleteObject")}
    role = Role(strict, "sagemaker", allow(*sorted({*IMAGE, *LOGS, *s3} - {missing})))
    request = strict.job(RoleArn=role.arn, Environment={"BATCAT_ENGINE": "spark"})
    strict.client("sagemaker").create_processing_job(**request)
    job = strict.ended_job(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert said.format(role=role.arn) in job["FailureReason"]
    denied = {one.action for one in entries(strict, role) if one.reason != "allowed"}
    assert missing in denied


def test_a_jobs_own_calls_are_its_roles(strict: Cloud) -> None:
    role = Role(strict, "sagemaker", allow(*IMAGE, *LOGS, "s3:*", "cloudwatch:PutMetricData"))
    code = "import boto3; print('I am', boto3.client('sts').get_caller_identity()['Arn'])"
    specification = {
        "ImageUri": strict.image_uri(REGION),
        "ContainerEntrypoint": ["python3", "-c", code],
    }
    request = strict.job(RoleArn=role.arn, AppSpecification=specification)
    strict.client("sagemaker").create_processing_job(**request)
    job = strict.ended_job(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    lines = strict.log_lines("/aws/sagemaker/ProcessingJobs", request["ProcessingJobName"])
    assert f"I am arn:aws-cn:sts::{ACCOUNT}:assumed-role/{role.name}/SageMaker" in lines
    by = {one.action: one.by for one in entries(strict, role)}
    assert by["ecr:GetDownloadUrlForLayer"] == "sagemaker.amazonaws.com"
    assert by["s3:GetObject"] == ""


def test_a_job_in_a_vpc_with_keys_needs_them_allowed(strict: Cloud) -> None:
    key = f"arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/11111111-1111-4111-8111-111111111111"
    role = Role(strict, "sagemaker", allow(*IMAGE, *LOGS, "s3:*"))
    request = strict.job(RoleArn=role.arn)
    vpc = {"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}
    request["NetworkConfig"] = vpc
    request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] = key
    strict.client("sagemaker").create_processing_job(**request)
    job = strict.ended_job(request["ProcessingJobName"])
    assert "could not make network interfaces" in job["FailureReason"]
    role.allow(allow(*IMAGE, *LOGS, "s3:*", "ec2:*"))
    request["ProcessingJobName"] += "-2"
    strict.client("sagemaker").create_processing_job(**request)
    job = strict.ended_job(request["ProcessingJobName"])
    assert f"does not allow kms:CreateGrant on {key}" in job["FailureReason"]


def function(strict: Cloud, role: Role) -> dict[str, Any]:
    """Make a function that lists buckets, invoke it and return what it answers."""
    name = f"f-{uuid.uuid4().hex[:8]}"
    code = (
        "import boto3\ndef handler(event, context):\n"
        "    return len(boto3.client('s3').list_buckets()['Buckets'])\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", code)
    made = strict.client("lambda")
    made.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role.arn,
        Handler="index.handler",
        Code={"ZipFile": buffer.getvalue()},
    )
    return dict(json.loads(made.invoke(FunctionName=name)["Payload"].read() or b"null") or {})


def test_a_functions_calls_are_its_roles(strict: Cloud) -> None:
    role = Role(strict, "lambda", allow(*LOGS))
    answer = function(strict, role)
    assert answer["errorType"] == "AccessDenied"
    assert "s3:ListAllMyBuckets on resource" in answer["errorMessage"]
    assert f"assumed-role/{role.name}/f-" in answer["errorMessage"]


def machine(strict: Cloud, role: Role, definition: Documents, **more: Any) -> str:
    made = strict.client("stepfunctions").create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}",
        roleArn=role.arn,
        definition=json.dumps(definition),
        **more,
    )
    return str(made["stateMachineArn"])


def ended(strict: Cloud, arn: str) -> dict[str, Any]:
    states = strict.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    return dict(
        until(
            lambda: states.describe_execution(executionArn=execution),
            lambda one: one["status"] != "RUNNING",
        )
    )


def definition(resource: str, parameters: Documents) -> Documents:
    state = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}
    return {"StartAt": "work", "States": {"work": state}}


def test_a_state_machine_acts_with_its_role(strict: Cloud) -> None:
    job = Role(strict, "sagemaker", allow(*IMAGE, *LOGS, "s3:*", "cloudwatch:PutMetricData"))
    sync = "arn:aws-cn:states:::sagemaker:createProcessingJob.sync"
    flow = definition(sync, strict.job(RoleArn=job.arn))
    rules = allow("events:PutRule", "events:PutTargets", "events:DescribeRule")
    role = Role(strict, "states", rules, allow("sagemaker:CreateProcessingJob"))
    answer = ended(strict, machine(strict, role, flow))
    assert answer["status"] == "FAILED"
    assert "sagemaker:AddTags on resource" in answer["cause"]
    running = ("sagemaker:CreateProcessingJob", "sagemaker:AddTags", "iam:PassRole")
    role.allow(rules, allow(*running, "sagemaker:DescribeProcessingJob"))
    assert ended(strict, machine(strict, role, flow))["status"] == "SUCCEEDED"


def test_other_tasks_act_with_the_role_too(strict: Cloud) -> None:
    publish = "arn:aws-cn:states:::sns:publish"
    topic = strict.client("sns").create_topic(Name=f"t-{uuid.uuid4().hex[:6]}")["TopicArn"]
    flow = definition(publish, {"TopicArn": topic, "Message": "done"})
    role = Role(strict, "states")
    answer = ended(strict, machine(strict, role, flow))
    assert answer["status"] == "FAILED"
    assert "sns:Publish" in answer["cause"]
    role.allow(allow("sns:Publish", resource=topic))
    assert ended(strict, machine(strict, role, flow))["status"] == "SUCCEEDED"


def test_step_functions_tries_the_role_before_it_takes_a_machine(strict: Cloud) -> None:
    job = Role(strict, "sagemaker")
    sync = "arn:aws-cn:states:::sagemaker:createProcessingJob.sync"
    flow = definition(sync, strict.job(RoleArn=job.arn))
    role = Role(strict, "states", allow("events:PutRule"))
    with pytest.raises(ClientError) as caught:
        machine(strict, role, flow)
    assert caught.value.response["Error"] == {
        "Code": "AccessDeniedException",
        "Message": f"'{role.arn}' is not authorized to create managed-rule.",
    }
    group = f"arn:aws-cn:logs:{REGION}:{ACCOUNT}:log-group:/aws/vendedlogs/x:*"
    logging = {
        "level": "ERROR",
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
    }
    passing = {"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}}
    with pytest.raises(ClientError) as caught:
        machine(strict, role, passing, loggingConfiguration=logging)
    assert caught.value.response["Error"]["Message"] == (
        "The state machine IAM Role is not authorized to access the Log Destination"
    )


def test_cloudformation_calls_with_the_rights_of_its_caller(strict: Cloud) -> None:
    stacks = (
        "cloudformation:CreateStack",
        "cloudformation:DescribeStacks",
        "cloudformation:DescribeStackEvents",
    )
    name = f"stack-{uuid.uuid4().hex[:6]}"
    arn = f"arn:aws-cn:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/*"
    role = Role(strict, "lambda", allow(*stacks, resource=arn))
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/x/{name}"}}
    formation = role.client("cloudformation")
    formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Group": group}}))
    status = until(
        lambda: formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"],
        lambda one: not one.endswith("IN_PROGRESS"),
    )
    assert status == "ROLLBACK_COMPLETE"
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [one.get("ResourceStatusReason", "") for one in events]
    assert any("logs:CreateLogGroup on resource" in one for one in reasons)
    (denied,) = [one for one in entries(strict, role) if one.reason != "allowed"]
    assert (denied.by, denied.action) == ("cloudformation.amazonaws.com", "logs:CreateLogGroup")
    assert error_of(formation.describe_stacks, StackName="other")[0] == "AccessDenied"


def test_without_enforcement_calls_are_recorded_only(cloud: Cloud) -> None:
    role = Role(cloud, "lambda")
    cloud.bucket(**{"a": "1"})
    assert role.client("s3").list_buckets()["Buckets"]
    assert [(one.action, one.reason) for one in entries(cloud, role)] == [
        ("s3:ListAllMyBuckets", "implicit")
    ]


def test_a_session_ends_when_sts_said(strict: Cloud) -> None:
    role, now = Role(strict, "lambda", allow("*")), datetime.now(UTC)
    session = {"RoleArn": role.arn, "RoleSessionName": "me", "DurationSeconds": 900}
    end = strict.client("sts").assume_role(**session)["Credentials"]["Expiration"]
    assert timedelta(seconds=880) < end - now <= timedelta(seconds=910)
    for when, expected in ((now + timedelta(minutes=1), False), (now, True), (None, False)):
        assert Principal("arn", end=when).is_expired is expected


def test_a_boundary_can_be_made_a_condition(strict: Cloud) -> None:
    iam = strict.client("iam")
    name = f"limit-{uuid.uuid4().hex[:6]}"
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:*")]})
    limit = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": limit}}
    caller = Role(strict, "lambda", allow("iam:CreateRole", "iam:PutRolePolicy", Condition=bounded))
    mine, asked = caller.client("iam"), {"AssumeRolePolicyDocument": json.dumps(trust("lambda"))}
    free = Role(strict, "lambda")
    assert error_of(mine.create_role, RoleName=f"{name}-a", **asked)[0] == "AccessDenied"
    mine.create_role(RoleName=f"{name}-b", PermissionsBoundary=limit, **asked)
    more = {"PolicyName": "p", "PolicyDocument": document}
    mine.put_role_policy(RoleName=f"{name}-b", **more)
    assert error_of(mine.put_role_policy, RoleName=free.name, **more)[0] == "AccessDenied"
