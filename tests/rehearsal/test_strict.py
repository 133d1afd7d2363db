"""What AWS refuses, the embedded AWS refuses: with the service's code and in its words."""

from __future__ import annotations

import http.client
import json
from typing import Any

import botocore.session
import pytest

from batcat_runtime.rehearsal.aws.workflow_definition import definition_errors
from batcat_runtime.rehearsal.constraints import violations
from batcat_runtime.rehearsal.patterns import compile_pattern
from batcat_runtime.rehearsal.rules import bucket_name_is_possible, trusts
from batcat_runtime.rehearsal.schedules import is_schedule_expression, is_timezone
from tests.rehearsal.conftest import Cloud, error_of, trust

PATTERN_ERROR = (
    "1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
    "Member must satisfy regular expression pattern: {pattern}"
)


# ---- names, exactly where AWS fails them


@pytest.mark.parametrize("name", ["2022-RnD-battery", "a_b", "ab", "x" * 64, "-ab", "ab-", "a..b"])
def test_bucket_names(cloud: Cloud, name: str) -> None:
    s3 = cloud.client("s3")
    for use in (s3.create_bucket, s3.list_objects_v2, s3.get_bucket_location):
        code, message = error_of(use, Bucket=name)
        assert (code, message) == ("InvalidBucketName", "The specified bucket is not valid.")
    assert error_of(s3.put_object, Bucket=name, Key="k", Body=b"1")[0] == "InvalidBucketName"
    assert error_of(s3.head_bucket, Bucket=name)[0] == "400"


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("project-battery-result", True),
        ("a.b-c.1", True),
        ("123", True),
        ("a" * 63, True),
        ("192.168.5.4", False),
        ("xn--bucket", False),
        ("sthree-x", False),
        ("some-s3alias", False),
        ("some--ol-s3", False),
        ("a\nb", False),
        ("bücket", False),
        ("", False),
    ],
)
def test_bucket_name_rules(name: str, possible: bool) -> None:
    assert bucket_name_is_possible(name) is possible


def test_repository_names(cloud: Cloud) -> None:
    ecr = cloud.client("ecr")
    code, message = error_of(ecr.create_repository, repositoryName="2022-RnD-battery")
    assert code == "InvalidParameterException"
    assert message.startswith(
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: "
        "'must satisfy regular expression '"
    )
    # ECR takes an underscore, where S3 and SageMaker do not.
    ecr.create_repository(repositoryName="a_b")
    ecr.delete_repository(repositoryName="a_b")
    code, message = error_of(ecr.create_repository, repositoryName="x")
    assert "Member must have length greater than or equal to 2" in message


def test_job_names(cloud: Cloud) -> None:
    sagemaker = cloud.client("sagemaker")
    for name in ("a_b", "-a", "a b", "a" * 64):
        request = cloud.job(bucket="any-bucket", ProcessingJobName=name)
        code, message = error_of(sagemaker.create_processing_job, **request)
        assert code == "ValidationException"
        assert f"Value '{name}' at 'processingJobName' failed to satisfy constraint: " in message
    # SageMaker takes capitals, where ECR and S3 do not.
    name = "2022-RnD-battery"
    sagemaker.create_processing_job(**cloud.job(ProcessingJobName=name))
    assert cloud.ended_job(name)["ProcessingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("service", "operation", "given", "code", "words"),
    [
        (
            "logs",
            "create_log_group",
            {"logGroupName": "a b"},
            "InvalidParameterException",
            PATTERN_ERROR.format(value="a b", path="logGroupName", pattern=r"[\.\-_/#A-Za-z0-9]+"),
        ),
        (
            "iam",
            "create_role",
            {"RoleName": "a b", "AssumeRolePolicyDocument": json.dumps(trust("lambda"))},
            "ValidationError",
            "The specified value for roleName is invalid. It must contain only alphanumeric",
        ),
        (
            "iam",
            "create_role",
            {"RoleName": "a" * 65, "AssumeRolePolicyDocument": json.dumps(trust("lambda"))},
            "ValidationError",
            "Member must have length less than or equal to 64",
        ),
        (
            "iam",
            "create_role",
            {"RoleName": "a", "AssumeRolePolicyDocument": "{}"},
            "MalformedPolicyDocument",
            "Syntax errors in policy.",
        ),
        (
            "iam",
            "create_role",
            {"RoleName": "a"},
            "ValidationError",
            "Value null at 'assumeRolePolicyDocument' failed to satisfy constraint: "
            "Member must not be null",
        ),
        (
            "stepfunctions",
            "create_state_machine",
            {
                "name": "a b",
                "definition": "{}",
                "roleArn": "arn:aws-cn:iam::123456789012:role/x",
            },
            "InvalidName",
            "Invalid Name: 'a b'",
        ),
        (
            "stepfunctions",
            "start_execution",
            {"stateMachineArn": "nonsense"},
            "InvalidArn",
            "Invalid Arn: 'nonsense'",
        ),
        (
            "stepfunctions",
            "start_execution",
            {
                "stateMachineArn": "arn:aws-cn:states:cn-northwest-1:123456789012:stateMachine:x",
                "name": "x" * 81,
            },
            "ValidationException",
            "Member must have length less than or equal to 80",
        ),
        (
            "stepfunctions",
            "start_execution",
            {"stateMachineArn": "arn:aws-cn:states:cn-northwest-1:123456789012:stateMachine:x"},
            "StateMachineDoesNotExist",
            "State Machine Does Not Exist",
        ),
        (
            "lambda",
            "create_function",
            {
                "FunctionName": "a b",
                "Role": "arn:aws-cn:iam::123456789012:role/x",
                "Code": {"ZipFile": b"x"},
            },
            "ValidationException",
            "at 'functionName' failed to satisfy constraint",
        ),
        (
            "lambda",
            "create_function",
            {
                "FunctionName": "ab",
                "Role": "arn:aws-cn:iam::123456789012:role/x",
                "Code": {"ZipFile": b"x"},
                "Runtime": "python9.9",
            },
            "InvalidParameterValueException",
            "Value runtime 'python9.9' failed to satisfy constraint: Member must satisfy enum",
        ),
        (
            "cloudformation",
            "create_stack",
            {"StackName": "a_b", "TemplateBody": "{}"},
            "ValidationError",
            PATTERN_ERROR.format(value="a_b", path="stackName", pattern="[a-zA-Z][-a-zA-Z0-9]*"),
        ),
        (
            "scheduler",
            "get_schedule",
            {"Name": "a b"},
            "ValidationException",
            "at 'name' failed to satisfy constraint",
        ),
        (
            "athena",
            "start_query_execution",
            {"QueryString": ""},
            "InvalidRequestException",
            "Member must have length greater than or equal to 1",
        ),
        (
            "s3",
            "create_bucket",
            {
                "Bucket": "a-bucket",
                "CreateBucketConfiguration": {"LocationConstraint": "mars-north-1"},
            },
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
        ),
        (
            "s3",
            "put_object",
            {"Bucket": "a-bucket", "Key": "k" * 1025},
            "KeyTooLongError",
            "Your key is too long",
        ),
    ],
)
def test_each_service_answers_in_its_own_words(
    cloud: Cloud, service: str, operation: str, given: dict[str, Any], code: str, words: str
) -> None:
    got, message = error_of(getattr(cloud.client(service), operation), **given)
    assert got == code
    assert words in message


# ---- types, ranges, lists


def test_several_broken_constraints_are_told_at_once(cloud: Cloud) -> None:
    cluster = {"InstanceCount": 0, "InstanceType": "ml.nonsense", "VolumeSizeInGB": 30}
    request = cloud.job(bucket="b-b", ProcessingResources={"ClusterConfig": cluster})
    _, message = error_of(cloud.client("sagemaker").create_processing_job, **request)
    assert message.startswith("2 validation errors detected: ")
    path = "processingResources.clusterConfig"
    assert (
        f"Value '0' at '{path}.instanceCount' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    ) in message
    assert f"Value 'ml.nonsense' at '{path}.instanceType'" in message
    assert "Member must satisfy enum value set: [ml.t3.medium, " in message


def test_lists_and_members_of_lists(cloud: Cloud) -> None:
    sagemaker = cloud.client("sagemaker")
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(51)]
    request = cloud.job(bucket="b-b", Tags=tags)
    assert (
        "at 'tags' failed to satisfy constraint: Member must have length less than or equal "
        "to 50" in error_of(sagemaker.create_processing_job, **request)[1]
    )
    request = cloud.job(bucket="b-b", Tags=[{"Key": "ok", "Value": "v"}, {"Key": "a\x07"}])
    message = error_of(sagemaker.create_processing_job, **request)[1]
    assert "Value null at 'tags.2.member.value'" in message
    assert "at 'tags.2.member.key' failed to satisfy constraint" in message


def test_a_json_value_of_the_wrong_type(cloud: Cloud) -> None:
    port = int(cloud.endpoint_url.rpartition(":")[2])
    for body, words in (
        ('{"ProcessingJobName": 5}', "NUMBER_VALUE can not be converted to a String"),
        ('{"ProcessingJobName": ["a"]}', "Start of list can not be converted to a String"),
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        scope = "a/20260101/us-east-1/sagemaker/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=x",
            "X-Amz-Target": "SageMaker.DescribeProcessingJob",
            "Content-Type": "application/x-amz-json-1.1",
        }
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        error = json.loads(answer.read())
        assert (answer.status, error["__type"]) == (400, "SerializationException")
        assert words in error["message"]
        connection.close()


def test_large_objects_pass_untouched(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), cloud.bucket()
    body = bytes(range(256)) * 40_000  # 10 MB, no text
    s3.put_object(Bucket=bucket, Key="ä b/%2F+c.bin", Body=body, ContentType="application/json")
    assert s3.get_object(Bucket=bucket, Key="ä b/%2F+c.bin")["Body"].read() == body
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "ä b/%2F+c.bin"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_violations_carry_no_sensitive_value() -> None:
    model = botocore.session.get_session().get_service_model("secretsmanager")
    shape = model.operation_model("CreateSecret").input_shape
    found = [str(one) for one in violations(shape, {"Name": "a", "SecretString": "x" * 70_000})]
    assert found
    assert "xxx" not in "".join(found)


# ---- patterns

USED = [
    "athena",
    "cloudformation",
    "cloudwatch",
    "dynamodb",
    "ecr",
    "events",
    "glue",
    "iam",
    "kms",
    "lambda",
    "logs",
    "redshift-data",
    "s3",
    "sagemaker",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
]
# Not regular expressions at all: AWS wrote a length after an anchor. Both are tags of models in
# SageMaker's registry, which nothing here uses.
UNCOMPILABLE = {
    ("sagemaker", "CustomerMetadataKey"),
    ("sagemaker", "CustomerMetadataValue"),
}


def test_every_pattern_of_the_services_in_use_compiles() -> None:
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    failed = set()
    for service in USED:
        shapes = loader.load_service_model(service, "service-2")["shapes"]
        for name, shape in shapes.items():
            if "pattern" in shape and compile_pattern(shape["pattern"]) is None:
                failed.add((service, name))
    assert failed == UNCOMPILABLE


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "电池 Straße 1", True),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "a\u0007", False),
        (r"[\w+=,.@-]+", "é", False),  # Java's \w is ASCII
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "🔋", True),
        (r"[a-zA-Z\d-_/]+", "a-1_/", True),
        (r"\P{C}*", "a\u0000", False),
        (r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", "a_b", False),  # the whole value must match
        (r"^abc$", "abc\n", False),
        (r"\p{ASCII}*", "é", False),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, value: str, matches: bool) -> None:
    compiled = compile_pattern(pattern)
    assert compiled is not None
    assert bool(compiled.fullmatch(value)) is matches


# ---- rules beyond the models


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 2 * * ? *)",
        "cron(0/15 8-17 ? * MON-FRI 2026-2030)",
        "cron(0 0 L * ? *)",
        "cron(0 0 ? * 6L *)",
        "cron(0 0 ? * 2#1 *)",
        "rate(1 hour)",
        "rate(5 minutes)",
        "at(2022-01-08T02:00:00)",
    ],
)
def test_schedule_expressions_that_are_right(expression: str) -> None:
    assert is_schedule_expression(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "0 2 * * *",
        "cron(0 2 * * *)",
        "cron(0 2 * * * *)",
        "cron(0 2 ? * ? *)",
        "cron(60 2 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 2 * 13 ? *)",
        "cron(0 5-2 * * ? *)",
        "cron(0  2 * * ? *)",
        "rate(0 minutes)",
        "rate(5 fortnights)",
        "at(2022-02-30T00:00:00)",
        "at(2022-01-08)",
        "cron()",
        "",
    ],
)
def test_schedule_expressions_that_are_wrong(expression: str) -> None:
    assert not is_schedule_expression(expression)


def test_time_zones() -> None:
    assert is_timezone("Asia/Shanghai")
    assert is_timezone("UTC")
    assert not is_timezone("Asia/Atlantis")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ScheduleExpression": "0 2 * * *"}, "Invalid Schedule Expression 0 2 * * *."),
        ({"ScheduleExpressionTimezone": "Mars/Base"}, "Provided ScheduleExpressionTimezone Mars"),
        ({"Target": {"Arn": "my-function"}}, "Provided Arn is not in correct format."),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "maximum window size"),
        ({"Target": {"RoleArn": "states"}}, "must allow AWS EventBridge Scheduler to assume"),
    ],
)
def test_schedules(cloud: Cloud, change: dict[str, Any], words: str) -> None:
    target = {
        "Arn": "arn:aws-cn:lambda:cn-northwest-1:123456789012:function:f",
        "RoleArn": "scheduler",
        **change.pop("Target", {}),
    }
    target["RoleArn"] = cloud.role(target["RoleArn"])
    request = {
        "Name": "a-schedule",
        "ScheduleExpression": "cron(0 2 * * ? *)",
        "ScheduleExpressionTimezone": "Asia/Shanghai",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
        **change,
    }
    code, message = error_of(cloud.client("scheduler").create_schedule, **request)
    assert code == "ValidationException"
    assert words in message


def test_roles_must_exist_and_trust_the_service(cloud: Cloud) -> None:
    nobody = "arn:aws-cn:iam::123456789012:role/nobody"
    other = cloud.role("events")
    sagemaker = cloud.client("sagemaker").create_processing_job
    for role in (nobody, other):
        code, message = error_of(sagemaker, **cloud.job(bucket="b-b", RoleArn=role))
        assert (code, message) == (
            "ValidationException",
            f"Could not assume role {role}. Please ensure that the role exists and allows "
            "principal 'sagemaker.amazonaws.com' to assume the role.",
        )
    code, message = error_of(
        cloud.client("lambda").create_function,
        FunctionName="f",
        Role=other,
        Code={"ZipFile": b"x"},
        Runtime="python3.12",
        Handler="a.b",
    )
    assert code == "InvalidParameterValueException"
    assert message == "The role defined for the function cannot be assumed by Lambda."
    definition = '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}'
    create = cloud.client("stepfunctions").create_state_machine
    assert error_of(create, name="m", definition=definition, roleArn=other)[0] == (
        "AccessDeniedException"
    )


def test_trust_policies() -> None:
    assert trusts(trust("lambda"), "lambda.amazonaws.com")
    assert not trusts(trust("lambda"), "states.amazonaws.com")
    both = trust("lambda")
    both["Statement"][0]["Principal"]["Service"] = ["a.amazonaws.com", "b.amazonaws.com"]
    assert trusts(both, "b.amazonaws.com")
    both["Statement"][0]["Effect"] = "Deny"
    assert not trusts(both, "b.amazonaws.com")


TASK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
    "Parameters": {
        "ProcessingJobName.$": "$.name",
        "AppSpecification": {},
        "ProcessingResources": {},
        "RoleArn": "x",
    },
    "End": True,
}


@pytest.mark.parametrize(
    ("states", "problem"),
    [
        ({"A": TASK}, None),
        ({"A": {**TASK, "End": False, "Next": "B"}}, "Exactly one of the fields [Next, End]"),
        ({"A": {"Type": "Pass", "Next": "B"}}, "Missing 'Next' target: B at /States/A/Next"),
        ({"A": {"Type": "Succeed"}, "B": {"Type": "Succeed"}}, 'State "B" is not reachable.'),
        ({"A": {"Type": "Pas", "End": True}}, "The state's Type must be one of"),
        (
            {"A": {"Type": "Succeed", "Foo": 1}},
            "Field 'Foo' is not supported in a Succeed state of JSONPath at",
        ),
        (
            {"A": {**TASK, "Parameters": {**TASK["Parameters"], "Foo": 1}}},  # type: ignore[dict-item]
            'The field "Foo" is not supported by Step Functions at /States/A/Parameters',
        ),
        ({"A": {**TASK, "Parameters": {}}}, 'The field "RoleArn" is required but was missing'),
        (
            {"A": {**TASK, "Resource": "arn:aws-cn:states:::lambda:invoke"}},
            "is not recognized. The value is not a valid resource ARN",
        ),
        (
            {"A": {"Type": "Pass", "Parameters": {"x.$": "no path"}, "End": True}},
            "The value for the field 'x.$' must be a valid JSONPath",
        ),
        (
            {"A": {**TASK, "Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["X"]}]}},
            "States.ALL must appear alone, and in the last handler",
        ),
        ({"A": {**TASK, "Catch": [{"ErrorEquals": ["X"], "Next": "C"}]}}, "target: C at"),
        (
            {"A": {"Type": "Parallel", "Branches": [{"StartAt": "X", "States": {}}], "End": True}},
            "'States' must be an object with at least one state",
        ),
    ],
)
def test_definitions(states: dict[str, Any], problem: str | None) -> None:
    text = json.dumps({"StartAt": "A", "States": states})
    found = "\n".join(str(one) for one in definition_errors(text))
    assert (problem in found) if problem else (found == "")


def test_a_bad_definition_is_refused_when_it_is_stored(cloud: Cloud) -> None:
    create = cloud.client("stepfunctions").create_state_machine
    given = {"name": "bad", "roleArn": cloud.role("states")}
    definition = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}'
    code, message = error_of(create, **given, definition=definition)
    assert code == "InvalidDefinition"
    assert message == (
        "Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: Missing 'Next' target: B "
        "at /States/A/Next'"
    )
    assert error_of(create, **given, definition="{")[0] == "InvalidDefinition"
