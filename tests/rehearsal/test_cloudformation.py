"""CloudFormation of the embedded AWS: change sets, rollback, and every resource type it has."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.wire import ACCOUNT_ID
from tests.rehearsal.conftest import REGION, REGIONS, Cloud, error_of, trust, until

NAME = re.compile(r"(Role|Function|Repository|Bucket|StateMachine|LogGroup)?Name")
CODE = "def handler(event, context):\n    return {word!r}\n"


class Stack:
    """A stack under test, moved from template to template by change sets."""

    def __init__(self, cloud: Cloud, region: str = REGION) -> None:
        self.client = cloud.client("cloudformation", region)
        self.name = f"stack-{uuid.uuid4().hex[:8]}"

    def plan(self, template: Any, **options: Any) -> dict[str, Any]:
        kind = "UPDATE" if self.exists() else "CREATE"
        self.client.create_change_set(
            StackName=self.name,
            ChangeSetName="change",
            ChangeSetType=kind,
            TemplateBody=template if isinstance(template, str) else json.dumps(template),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            **options,
        )
        return dict(self.client.describe_change_set(StackName=self.name, ChangeSetName="change"))

    def deploy(self, template: Any, **options: Any) -> str:
        self.plan(template, **options)
        self.client.execute_change_set(StackName=self.name, ChangeSetName="change")
        return self.settled()

    def settled(self) -> str:
        return str(
            until(
                lambda: self.describe()["StackStatus"],
                lambda status: not status.endswith("_IN_PROGRESS"),
            )
        )

    def exists(self) -> bool:
        names = [one["StackName"] for one in self.client.describe_stacks()["Stacks"]]
        return self.name in names

    def describe(self) -> dict[str, Any]:
        return dict(self.client.describe_stacks(StackName=self.name)["Stacks"][0])

    def outputs(self) -> dict[str, str]:
        return {one["OutputKey"]: one["OutputValue"] for one in self.describe().get("Outputs", [])}

    def events(self) -> list[tuple[str, str, str]]:
        rows = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        return [
            (one["LogicalResourceId"], one["ResourceStatus"], one.get("ResourceStatusReason", ""))
            for one in reversed(rows)
        ]

    def why(self) -> list[str]:
        return [text for _, status, text in self.events() if status.endswith("_FAILED")]

    def delete(self) -> None:
        arn = self.describe()["StackId"]
        self.client.delete_stack(StackName=self.name)
        until(
            lambda: self.client.describe_stacks(StackName=arn)["Stacks"][0]["StackStatus"],
            lambda status: status == "DELETE_COMPLETE",
        )


def machine(value: int) -> str:
    states = {"A": {"Type": "Pass", "Result": {"value": value, "word": "${Word}"}, "End": True}}
    return json.dumps({"StartAt": "A", "States": states})


def everything(tag: str, value: int = 1, word: str = "one", days: int = 14) -> dict[str, Any]:
    """The resources of the product's three stacks, in one template."""
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [allow]}
    managed = {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AmazonS3ReadOnlyAccess"}

    def role(service: str, **more: Any) -> dict[str, Any]:
        properties = {"RoleName": f"{tag}-{service}", "AssumeRolePolicyDocument": trust(service)}
        return {"Type": "AWS::IAM::Role", "Properties": properties | more}

    return {
        "Description": "all of it",
        "Parameters": {"Word": {"Type": "String", "Default": "hello"}},
        "Resources": {
            # Last things first: the order follows from the references.
            "Schedule": {
                "Type": "AWS::Scheduler::Schedule",
                "Properties": {
                    "Name": tag,
                    "ScheduleExpression": f"cron({value} 2 * * ? *)",
                    "ScheduleExpressionTimezone": "Asia/Shanghai",
                    "State": "DISABLED",
                    "FlexibleTimeWindow": {"Mode": "OFF"},
                    "Target": {
                        "Arn": {"Fn::GetAtt": ["Function", "Arn"]},
                        "RoleArn": {"Fn::GetAtt": ["ScheduleRole", "Arn"]},
                        "Input": '{"time": "<aws.scheduler.scheduled-time>"}',
                    },
                },
            },
            "Permission": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "Action": "lambda:InvokeFunction",
                    "FunctionName": {"Ref": "Function"},
                    "Principal": "s3.amazonaws.com",
                    "SourceArn": {"Fn::GetAtt": ["Bucket", "Arn"]},
                },
            },
            "Function": {
                "Type": "AWS::Lambda::Function",
                "DependsOn": "FunctionLog",
                "Properties": {
                    "FunctionName": tag,
                    "Runtime": "python3.12",
                    "Handler": "index.handler",
                    "Role": {"Fn::GetAtt": "FunctionRole.Arn"},
                    "Code": {"ZipFile": CODE.format(word=word)},
                    "Timeout": "10",
                    "Environment": {"Variables": {"MACHINE": {"Ref": "Machine"}}},
                },
            },
            "FunctionLog": {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {"LogGroupName": f"/aws/lambda/{tag}", "RetentionInDays": days},
            },
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "StateMachineName": tag,
                    "RoleArn": {"Fn::GetAtt": ["MachineRole", "Arn"]},
                    "DefinitionString": machine(value),
                    "DefinitionSubstitutions": {"Word": {"Ref": "Word"}},
                    "LoggingConfiguration": {
                        "Level": "ERROR",
                        "IncludeExecutionData": True,
                        "Destinations": [
                            {
                                "CloudWatchLogsLogGroup": {
                                    "LogGroupArn": {"Fn::GetAtt": ["MachineLog", "Arn"]}
                                }
                            }
                        ],
                    },
                },
            },
            "MachineLog": {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {"LogGroupName": f"/aws/vendedlogs/states/{tag}"},
            },
            "MachineRole": role(
                "states",
                Policies=[{"PolicyName": f"p{value}", "PolicyDocument": policy}],
                ManagedPolicyArns=[managed] if value == 1 else [],
            ),
            "FunctionRole": role("lambda"),
            "ScheduleRole": role("scheduler"),
            "Repository": {
                "Type": "AWS::ECR::Repository",
                "Properties": {
                    "RepositoryName": tag,
                    "ImageScanningConfiguration": {"ScanOnPush": value == 1},
                    "EmptyOnDelete": True,
                },
            },
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "BucketName": f"{tag}-bucket",
                    "VersioningConfiguration": {"Status": "Enabled"},
                    "BucketEncryption": {
                        "ServerSideEncryptionConfiguration": [
                            {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                        ]
                    },
                    "PublicAccessBlockConfiguration": {
                        "BlockPublicAcls": True,
                        "BlockPublicPolicy": True,
                        "IgnorePublicAcls": True,
                        "RestrictPublicBuckets": True,
                    },
                },
            },
        },
        "Outputs": {
            "Machine": {"Value": {"Ref": "Machine"}},
            "Function": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}},
            "Uri": {"Value": {"Fn::GetAtt": ["Repository", "RepositoryUri"]}},
            "Schedule": {"Value": {"Fn::GetAtt": ["Schedule", "Arn"]}},
            "Role": {"Value": {"Fn::GetAtt": ["MachineRole", "Arn"]}},
            "Text": {"Value": {"Fn::Sub": "${AWS::Region}/${Repository}/${Bucket.Arn}"}},
        },
    }


@pytest.mark.parametrize("region", REGIONS)
def test_a_stack_from_creation_over_update_to_deletion(cloud: Cloud, region: str) -> None:
    tag = f"all-{uuid.uuid4().hex[:8]}"
    stack, partition = Stack(cloud, region), cloud.partition(region)
    client = {
        name: cloud.client(name, region)
        for name in ("lambda", "stepfunctions", "iam", "logs", "ecr", "scheduler", "s3")
    }

    changes = stack.plan(everything(tag), Tags=[{"Key": "team", "Value": "b"}])["Changes"]
    assert {one["ResourceChange"]["Action"] for one in changes} == {"Add"}
    assert len(changes) == len(everything(tag)["Resources"])
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="change")
    assert stack.settled() == "CREATE_COMPLETE", stack.why()

    where = f"{region}:{ACCOUNT_ID}"
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    assert stack.outputs() == {
        "Machine": f"arn:{partition}:states:{where}:stateMachine:{tag}",
        "Function": f"arn:{partition}:lambda:{where}:function:{tag}",
        "Uri": f"{ACCOUNT_ID}.dkr.ecr.{region}.{suffix}/{tag}",
        "Schedule": f"arn:{partition}:scheduler:{where}:schedule/default/{tag}",
        "Role": f"arn:{partition}:iam::{ACCOUNT_ID}:role/{tag}-states",
        "Text": f"{region}/{tag}/arn:{partition}:s3:::{tag}-bucket",
    }
    policies = client["iam"].list_attached_role_policies(RoleName=f"{tag}-states")
    assert policies["AttachedPolicies"][0]["PolicyArn"].startswith(f"arn:{partition}:iam::aws:")
    described = client["stepfunctions"].describe_state_machine(
        stateMachineArn=stack.outputs()["Machine"]
    )
    assert described["loggingConfiguration"]["level"] == "ERROR"
    assert described["definition"] == machine(1).replace("${Word}", "hello")
    answer = client["lambda"].invoke(FunctionName=tag)
    assert answer["Payload"].read() == b'"one"'
    assert client["lambda"].list_tags(Resource=stack.outputs()["Function"])["Tags"] == {"team": "b"}
    assert "s3.amazonaws.com" in client["lambda"].get_policy(FunctionName=tag)["Policy"]
    schedule = client["scheduler"].get_schedule(Name=tag)
    assert (schedule["State"], schedule["ScheduleExpression"]) == ("DISABLED", "cron(1 2 * * ? *)")
    assert schedule["Target"]["Arn"] == stack.outputs()["Function"]
    assert client["s3"].get_bucket_versioning(Bucket=f"{tag}-bucket")["Status"] == "Enabled"

    # The same again is no change, and so is the same in another layout.
    again = stack.plan(json.dumps(everything(tag), indent=3))
    assert again["Status"] == "FAILED"
    assert again["StatusReason"].startswith("The submitted information didn't contain changes.")
    assert again["ExecutionStatus"] == "UNAVAILABLE"
    stack.client.delete_change_set(StackName=stack.name, ChangeSetName="change")

    changes = stack.plan(everything(tag, value=2, word="two", days=30))["Changes"]
    assert {one["ResourceChange"]["LogicalResourceId"] for one in changes} == {
        *("Schedule", "Function", "FunctionLog", "Machine", "MachineRole", "Repository"),
    }
    assert {one["ResourceChange"]["Replacement"] for one in changes} == {"False"}
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="change")
    assert stack.settled() == "UPDATE_COMPLETE", stack.why()
    described = client["stepfunctions"].describe_state_machine(
        stateMachineArn=stack.outputs()["Machine"]
    )
    assert json.loads(described["definition"])["States"]["A"]["Result"]["value"] == 2
    assert client["lambda"].invoke(FunctionName=tag)["Payload"].read() == b'"two"'
    schedule = client["scheduler"].get_schedule(Name=tag)
    assert schedule["ScheduleExpression"] == "cron(2 2 * * ? *)"
    names = client["iam"].list_role_policies(RoleName=f"{tag}-states")["PolicyNames"]
    assert names == ["p2"]
    attached = client["iam"].list_attached_role_policies(RoleName=f"{tag}-states")
    assert attached["AttachedPolicies"] == []
    groups = client["logs"].describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{tag}")
    assert groups["logGroups"][0]["retentionInDays"] == 30

    stack.delete()
    assert not stack.exists()
    assert client["ecr"].describe_repositories()["repositories"] == [] or tag not in str(
        client["ecr"].describe_repositories()["repositories"]
    )
    for call, arguments, code in (
        (client["lambda"].get_function, {"FunctionName": tag}, "ResourceNotFoundException"),
        (client["iam"].get_role, {"RoleName": f"{tag}-states"}, "NoSuchEntity"),
        (client["scheduler"].get_schedule, {"Name": tag}, "ResourceNotFoundException"),
        (client["s3"].list_objects_v2, {"Bucket": f"{tag}-bucket"}, "NoSuchBucket"),
    ):
        assert error_of(call, **arguments)[0] == code


ILLEGAL = {
    "AWS::ECR::Repository": (
        {"RepositoryName": "2022-RnD-battery"},
        "Invalid parameter at 'repositoryName'",
    ),
    "AWS::S3::Bucket": ({"BucketName": "a_b"}, "The specified bucket is not valid."),
    "AWS::IAM::Role": (
        {"RoleName": "a b", "AssumeRolePolicyDocument": trust("lambda")},
        "The specified value for roleName is invalid.",
    ),
    "AWS::Logs::LogGroup": ({"LogGroupName": "a b"}, "at 'logGroupName' failed to satisfy"),
    "AWS::StepFunctions::StateMachine": (
        {
            "StateMachineName": "a b",
            "RoleArn": {"Fn::GetAtt": ["Good", "Arn"]},
            "DefinitionString": machine(1),
        },
        "Invalid Name: 'a b'",
    ),
}


def bad(kind: str, tag: str) -> dict[str, Any]:
    """Return one resource that AWS refuses, by its name, and one that is made before it."""
    good = {"RoleName": tag, "AssumeRolePolicyDocument": trust("states")}
    return {
        "Resources": {
            "Good": {"Type": "AWS::IAM::Role", "Properties": good},
            "Bad": {"Type": kind, "DependsOn": "Good", "Properties": ILLEGAL[kind][0]},
        }
    }


@pytest.mark.parametrize("kind", ILLEGAL)
def test_names_fail_in_a_template_as_they_fail_from_boto3(cloud: Cloud, kind: str) -> None:
    stack, tag = Stack(cloud), f"bad-{uuid.uuid4().hex[:8]}"
    assert stack.deploy(bad(kind, tag)) == "ROLLBACK_COMPLETE"
    told = {(name, status): text for name, status, text in stack.events()}
    assert ILLEGAL[kind][1] in told["Bad", "CREATE_FAILED"]
    assert "[Bad]" in told[stack.name, "ROLLBACK_IN_PROGRESS"]
    assert ("Good", "DELETE_COMPLETE") in told
    # Nothing is left behind.
    assert error_of(cloud.client("iam").get_role, RoleName=tag)[0] == "NoSuchEntity"
    assert stack.client.describe_stack_resources(StackName=stack.name)["StackResources"] == []


def test_a_failed_update_puts_everything_back(cloud: Cloud) -> None:
    stack, tag = Stack(cloud), f"back-{uuid.uuid4().hex[:8]}"
    assert stack.deploy(everything(tag)) == "CREATE_COMPLETE", stack.why()
    before = stack.outputs()
    worse = everything(tag, value=2, word="two", days=30)
    worse["Resources"]["Extra"] = {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {"LogGroupName": tag},
    }
    worse["Resources"]["Worse"] = {
        "Type": "AWS::S3::Bucket",
        "DependsOn": [*everything(tag)["Resources"], "Extra"],
        "Properties": {"BucketName": "NOT-LEGAL"},
    }
    assert stack.deploy(worse) == "UPDATE_ROLLBACK_COMPLETE", stack.why()
    assert stack.outputs() == before
    function = cloud.client("lambda").invoke(FunctionName=tag)
    assert function["Payload"].read() == b'"one"'
    described = cloud.client("stepfunctions").describe_state_machine(
        stateMachineArn=before["Machine"]
    )
    assert json.loads(described["definition"])["States"]["A"]["Result"]["value"] == 1
    roles = cloud.client("iam").list_attached_role_policies(RoleName=f"{tag}-states")
    assert len(roles["AttachedPolicies"]) == 1
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=tag)["logGroups"]
    assert groups == []
    # And it can be updated again.
    assert stack.deploy(everything(tag, value=3)) == "UPDATE_COMPLETE"
    stack.delete()


def group(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}, **more}


def test_replacement_removal_and_retention(cloud: Cloud) -> None:
    stack, tag = Stack(cloud), f"re-{uuid.uuid4().hex[:8]}"
    logs = cloud.client("logs")

    def groups() -> set[str]:
        listed = logs.describe_log_groups(logGroupNamePrefix=tag)["logGroups"]
        return {one["logGroupName"].removeprefix(f"{tag}-") for one in listed}

    first = {"A": group(f"{tag}-a"), "B": group(f"{tag}-b"), "C": group(f"{tag}-c")}
    first["C"]["DeletionPolicy"] = "Retain"
    assert stack.deploy({"Resources": first}) == "CREATE_COMPLETE"
    changes = stack.plan({"Resources": {"A": group(f"{tag}-a2")}})["Changes"]
    assert {
        (one["ResourceChange"]["Action"], one["ResourceChange"].get("Replacement"))
        for one in changes
    } == {("Modify", "True"), ("Remove", None)}
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="change")
    assert stack.settled() == "UPDATE_COMPLETE"
    assert groups() == {"a2", "c"}
    assert ("C", "DELETE_SKIPPED", "") in stack.events()
    stack.delete()
    assert groups() == {"c"}


def test_a_name_that_is_taken_fails_the_stack_and_survives_it(cloud: Cloud) -> None:
    tag = f"taken-{uuid.uuid4().hex[:8]}"
    cloud.client("logs").create_log_group(logGroupName=tag)
    stack = Stack(cloud)
    assert stack.deploy({"Resources": {"A": group(tag)}}) == "ROLLBACK_COMPLETE"
    assert any("AlreadyExists" in reason for _, _, reason in stack.events())
    assert cloud.client("logs").describe_log_groups(logGroupNamePrefix=tag)["logGroups"]


def test_properties_are_checked(cloud: Cloud) -> None:
    stack = Stack(cloud)
    template = {"Resources": {"A": {"Type": "AWS::IAM::Role", "Properties": {"RolName": "x"}}}}
    assert stack.deploy(template) == "ROLLBACK_COMPLETE"
    reason = next(text for _, status, text in stack.events() if status == "CREATE_FAILED")
    assert "Properties validation failed for resource A" in reason
    assert "#: extraneous key [RolName] is not permitted" in reason
    assert "#: required key [AssumeRolePolicyDocument] not found" in reason


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("[]", "Template format error: unsupported structure."),
        ("{}", "At least one Resources member must be defined"),
        ({"Resources": {"A": {"Type": "AWS::Foo::Bar"}}}, "Unrecognized resource types: [AWS::Foo"),
        ({"Resources": {"A": group("a")}, "Output": {}}, "Invalid template property or"),
        (
            {"Resources": {"A": group("a"), "B": group({"Ref": "C"})}},  # type: ignore[arg-type]
            "Unresolved resource dependencies [C] in the Resources block",
        ),
        (
            {"Resources": {"A": group("a", DependsOn="B"), "B": group("b", DependsOn="A")}},
            "Circular dependency between resources: [A, B]",
        ),
        (
            {"Resources": {"A": group("a")}, "Outputs": {"X": {"Value": None}}},
            "'null' values are not allowed",
        ),
        ({"Resources": {"A": {**group("a"), "Condition": "C"}}}, "Unresolved condition C"),
        (
            {"Resources": {"A": group("a")}, "Parameters": {"P": {"Type": "String"}}},
            "Parameters: [P] must have values",
        ),
        ({"Resources": {"A": group("a")}, "Description": "x" * 60_000}, "'templateBody' failed"),
    ],
)
def test_bad_templates_are_refused_before_anything_is_made(
    cloud: Cloud, template: Any, words: str
) -> None:
    stack = Stack(cloud)
    body = template if isinstance(template, str) else json.dumps(template)
    code, message = error_of(
        stack.client.create_change_set,
        StackName=stack.name,
        ChangeSetName="c",
        ChangeSetType="CREATE",
        TemplateBody=body,
    )
    assert code == "ValidationError"
    assert words in message
    assert not stack.exists()


def test_iam_resources_need_a_capability(cloud: Cloud) -> None:
    client = cloud.client("cloudformation")
    body = json.dumps(bad("AWS::S3::Bucket", "x"))
    given = {"StackName": "needs-iam", "TemplateBody": body}
    code, message = error_of(client.create_stack, **given, Capabilities=["CAPABILITY_IAM"])
    assert code == "InsufficientCapabilitiesException"
    assert message == "Requires capabilities : [CAPABILITY_NAMED_IAM]"


def test_stacks_and_change_sets_that_are_not_there(cloud: Cloud) -> None:
    client = cloud.client("cloudformation")
    code, message = error_of(client.describe_stacks, StackName="nobody")
    assert (code, message) == ("ValidationError", "Stack with id nobody does not exist")
    code, _ = error_of(client.describe_change_set, StackName="nobody", ChangeSetName="x")
    assert code == "ChangeSetNotFoundException" or code == "ChangeSetNotFound"
    client.delete_stack(StackName="nobody")
    code, message = error_of(
        client.create_change_set,
        StackName="nobody",
        ChangeSetName="x",
        ChangeSetType="UPDATE",
        TemplateBody=json.dumps({"Resources": {"A": group("a")}}),
    )
    assert (code, message) == ("ValidationError", "Stack [nobody] does not exist")


def test_create_update_and_delete_without_change_sets(cloud: Cloud) -> None:
    stack, tag = Stack(cloud), f"plain-{uuid.uuid4().hex[:8]}"
    client = stack.client
    body = json.dumps({"Resources": {"A": group(tag)}})
    client.create_stack(StackName=stack.name, TemplateBody=body)
    assert stack.settled() == "CREATE_COMPLETE"
    assert error_of(client.create_stack, StackName=stack.name, TemplateBody=body)[0] == (
        "AlreadyExistsException"
    )
    absent = error_of(client.update_stack, StackName=stack.name, DisableRollback=True)
    assert absent[0] == "NotInEmbeddedAWS"
    code, message = error_of(client.update_stack, StackName=stack.name, TemplateBody=body)
    assert (code, message) == ("ValidationError", "No updates are to be performed.")
    more = json.dumps({"Resources": {"A": group(tag), "B": group(f"{tag}-b")}})
    client.update_stack(StackName=stack.name, TemplateBody=more)
    assert stack.settled() == "UPDATE_COMPLETE"
    resources = client.describe_stack_resources(StackName=stack.name)["StackResources"]
    assert [one["PhysicalResourceId"] for one in resources] == [tag, f"{tag}-b"]
    assert json.loads(json.dumps(client.get_template(StackName=stack.name)["TemplateBody"]))
    stack.delete()
    listed = client.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]
    assert stack.name in {one["StackName"] for one in listed}


def test_names_that_cloudformation_makes_up_are_legal(cloud: Cloud) -> None:
    stack = Stack(cloud)
    template = everything("x")
    for resource in template["Resources"].values():
        for name in [name for name in resource["Properties"] if NAME.fullmatch(name)]:
            if (resource["Type"], name) != ("AWS::Lambda::Permission", "FunctionName"):
                del resource["Properties"][name]
    assert stack.deploy(template) == "CREATE_COMPLETE", stack.why()
    rows = stack.client.describe_stack_resources(StackName=stack.name)["StackResources"]
    ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in rows}
    assert ids["FunctionRole"].startswith(f"{stack.name}-FunctionRole-")
    assert ids["Bucket"] == ids["Bucket"].lower()
    stack.delete()


YAML = """
Parameters:
  Names: {Type: CommaDelimitedList, Default: "a, b"}
  Stage: {Type: String, AllowedValues: [dev, prod]}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  Both: !And [!Condition IsProd, !Not [!Equals [a, b]]]
Resources:
  A:
    Type: AWS::Logs::LogGroup
    DependsOn: B
    Condition: IsProd
  B:
    Type: AWS::Logs::LogGroup
    Properties:
      LogGroupName: !Sub "/yaml/${AWS::StackName}"
      RetentionInDays: !If [Both, 7, !Ref "AWS::NoValue"]
Outputs:
  Joined: {Value: !Join ["-", !Ref Names]}
  Text: {Value: !Sub ["${AWS::Region} ${x} ${!kept}", {x: !Ref B}]}
  Only: {Value: "yes", Condition: IsProd}
"""


def test_expressions_and_conditions_of_a_template_in_yaml(cloud: Cloud) -> None:
    stack = Stack(cloud)

    def stage(name: str) -> dict[str, Any]:
        return {"Parameters": [{"ParameterKey": "Stage", "ParameterValue": name}]}

    def retention() -> Any:
        name = f"/yaml/{stack.name}"
        found = cloud.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        return found[0].get("retentionInDays")

    assert "must be one of AllowedValues" in error_of(stack.plan, template=YAML, **stage("x"))[1]
    assert stack.deploy(YAML, **stage("prod")) == "CREATE_COMPLETE", stack.why()
    assert stack.outputs() == {
        "Joined": "a-b",
        "Text": f"{REGION} /yaml/{stack.name} ${{kept}}",
        "Only": "yes",
    }
    assert retention() == 7
    assert stack.deploy(YAML, **stage("dev")) == "UPDATE_COMPLETE", stack.why()
    assert "Only" not in stack.outputs()
    rows = stack.client.describe_stack_resources(StackName=stack.name)["StackResources"]
    assert [one["LogicalResourceId"] for one in rows] == ["B"]
    assert retention() is None
    stack.delete()


def test_a_stack_may_be_the_first_that_asks_for_a_bucket(tmp_path: Path) -> None:
    with EmbeddedAWS(region=REGION, home=tmp_path, set_environment=False) as aws:
        stack = Stack(Cloud(aws))
        assert stack.deploy({"Resources": {"B": {"Type": "AWS::S3::Bucket"}}}) == "CREATE_COMPLETE"


def test_get_template_loses_letters_that_are_not_ascii(cloud: Cloud) -> None:
    stack = Stack(cloud)
    name = f"/letters/{stack.name}"
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}}
    template = {"Description": "夜", "Resources": {"Group": group}}
    stack.deploy(json.dumps(template, ensure_ascii=False))
    returned = stack.client.get_template(StackName=stack.name)["TemplateBody"]
    assert returned["Description"] == "?"
    stack.plan(json.dumps({**template, "Description": "夜間"}, ensure_ascii=True))
    planned = stack.client.get_template(StackName=stack.name, ChangeSetName="change")
    assert planned["TemplateBody"]["Description"] == "夜間"
