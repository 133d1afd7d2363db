"""What AWS refuses, the embedded AWS refuses: with the service's code and in its words."""

from __future__ import annotations

import http.client
import json
from typing import Any

import botocore.session
import pytest

from batcat_runtime.rehearsal.aws.constraints import compile_pattern
from tests.rehearsal.conftest import Cloud, error_of, trust

PATTERN_ERROR = (
    "1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
    "Member must satisfy regular expression pattern: {pattern}"
)


# ---- names, exactly where AWS fails them


ILLEGAL_BUCKETS = (
    *("2022-RnD-battery", "a_b", "ab", "x" * 64, "-ab", "ab-", "a..b", "192.168.5.4"),
    *("xn--bucket", "sthree-x", "some-s3alias", "some--ol-s3"),
)


@pytest.mark.parametrize("name", ILLEGAL_BUCKETS)
def test_bucket_names(cloud: Cloud, name: str) -> None:
    s3 = cloud.client("s3")
    for use in (s3.create_bucket, s3.list_objects_v2):
        code, message = error_of(use, Bucket=name)
        assert (code, message) == ("InvalidBucketName", "The specified bucket is not valid.")
    assert error_of(s3.put_object, Bucket=name, Key="k", Body=b"1")[0] == "InvalidBucketName"
    assert error_of(s3.head_bucket, Bucket=name)[0] == "400"


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


ROLE = "arn:aws-cn:iam::123456789012:role/x"
FLOW = "arn:aws-cn:states:cn-northwest-1:123456789012:stateMachine:x"
TRUST = json.dumps(trust("lambda"))
ZIP = {"ZipFile": b"x"}
# service, operation: what is asked, the code, and words of the message
ANSWERS: list[tuple[str, str, dict[str, Any], str, str]] = [
    (
        *("logs", "create_log_group", {"logGroupName": "a b"}, "InvalidParameterException"),
        PATTERN_ERROR.format(value="a b", path="logGroupName", pattern=r"[\.\-_/#A-Za-z0-9]+"),
    ),
    (
        *("iam", "create_role", {"RoleName": "a b", "AssumeRolePolicyDocument": TRUST}),
        *("ValidationError", "The specified value for roleName is invalid. It must contain only"),
    ),
    (
        *("iam", "create_role", {"RoleName": "a", "AssumeRolePolicyDocument": "{}"}),
        *("MalformedPolicyDocument", "Syntax errors in policy."),
    ),
    (
        *("iam", "create_role", {"RoleName": "a"}, "ValidationError"),
        "Value null at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must not be",
    ),
    (
        *("stepfunctions", "create_state_machine"),
        *({"name": "a b", "definition": "{}", "roleArn": ROLE}, "InvalidName"),
        "Invalid Name: 'a b'",
    ),
    (
        *("stepfunctions", "start_execution", {"stateMachineArn": "nonsense"}, "InvalidArn"),
        "Invalid Arn: 'nonsense'",
    ),
    (
        *("stepfunctions", "start_execution", {"stateMachineArn": FLOW, "name": "x" * 81}),
        *("ValidationException", "Member must have length less than or equal to 80"),
    ),
    (
        *("stepfunctions", "start_execution", {"stateMachineArn": FLOW}),
        *("StateMachineDoesNotExist", "State Machine Does Not Exist"),
    ),
    (
        *("lambda", "create_function", {"FunctionName": "a b", "Role": ROLE, "Code": ZIP}),
        *("ValidationException", "at 'functionName' failed to satisfy constraint"),
    ),
    (
        *("lambda", "create_function"),
        {"FunctionName": "ab", "Role": ROLE, "Code": ZIP, "Runtime": "python9.9"},
        "InvalidParameterValueException",
        "Value runtime 'python9.9' failed to satisfy constraint: Member must satisfy enum",
    ),
    (
        *("athena", "start_query_execution", {"QueryString": ""}, "InvalidRequestException"),
        "Member must have length greater than or equal to 1",
    ),
    (
        *("s3", "create_bucket"),
        {"Bucket": "b-b", "CreateBucketConfiguration": {"LocationConstraint": "mars-north-1"}},
        *("InvalidLocationConstraint", "The specified location-constraint is not valid"),
    ),
    (
        *("s3", "put_object", {"Bucket": "b-b", "Key": "k" * 1025}, "KeyTooLongError"),
        "Your key is too long",
    ),
]


@pytest.mark.parametrize(("service", "operation", "given", "code", "words"), ANSWERS)
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


def test_a_body_that_is_no_json_object(cloud: Cloud) -> None:
    port = int(cloud.endpoint_url.rpartition(":")[2])
    for body, words in (
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        scope = f"{cloud.aws.keys[0]}/20260101/us-east-1/sagemaker/aws4_request"
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


def test_an_error_carries_no_secret(cloud: Cloud) -> None:
    create = cloud.client("secretsmanager").create_secret
    code, message = error_of(create, Name="a", SecretString="x" * 70_000)
    assert (code, "at 'secretString'" in message) == ("ValidationException", True)
    assert "xxx" not in message


# ---- patterns

USED = (
    *("athena", "cloudformation", "cloudwatch", "ecr", "events", "glue", "iam", "kms", "lambda"),
    *("logs", "redshift-data", "s3", "sagemaker", "scheduler", "secretsmanager", "sns", "sqs"),
    *("ssm", "stepfunctions", "sts"),
)


def test_every_pattern_of_the_services_in_use_compiles() -> None:
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    failed = set()
    for service in USED:
        shapes = loader.load_service_model(service, "service-2")["shapes"]
        for name, shape in shapes.items():
            if "pattern" in shape and compile_pattern(shape["pattern"]) is None:
                failed.add((service, name))
    assert failed == set()


@pytest.mark.parametrize(
    ("key", "legal"),
    [("电池 Straße 1", True), ("a#", False), ("a🔋", False), ("a\n", False)],
)
def test_patterns_mean_what_they_mean_in_java(cloud: Cloud, key: str, legal: bool) -> None:
    """The key of a tag: letters, white space and numbers of Unicode, and some others."""
    name = cloud.role("lambda").rpartition("/")[2]
    given = {"RoleName": name, "Tags": [{"Key": key, "Value": "x"}]}
    if legal:
        cloud.client("iam").tag_role(**given)
        return
    assert error_of(cloud.client("iam").tag_role, **given)[0] == "ValidationError"
    # Java's \\w is of ASCII.
    trusted = json.dumps(trust("lambda"))
    code, _ = error_of(
        cloud.client("iam").create_role, RoleName="\u00e9", AssumeRolePolicyDocument=trusted
    )
    assert code == "ValidationError"


# ---- rules beyond the models


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


TASK = {
    "Type": "Task",
    "Resource": "arn:aws-cn:states:::sagemaker:createProcessingJob.sync",
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
            {"A": {**TASK, "Resource": "arn:aws:states:::lambda:invoke"}},
            "is not recognized. The value is not a valid resource ARN",
        ),
        (
            {"A": {"Type": "Pass", "Parameters": {"x.$": "no path"}, "End": True}},
            "The value for the field 'x.$' must be a valid JSONPath",
        ),
        ({"A": {**TASK, "Catch": [{"ErrorEquals": ["X"], "Next": "C"}]}}, "target: C at"),
        (
            {"A": {"Type": "Parallel", "Branches": [{"StartAt": "X", "States": {}}], "End": True}},
            "'States' must be an object with at least one state",
        ),
    ],
)
def test_definitions(cloud: Cloud, states: dict[str, Any], problem: str | None) -> None:
    text = json.dumps({"StartAt": "A", "States": states})
    validate = cloud.client("stepfunctions").validate_state_machine_definition
    told = validate(definition=text)["diagnostics"]
    found = "\n".join(f"{one['message']} at {one['location']}" for one in told)
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
