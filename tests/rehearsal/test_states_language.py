"""Executions out of AWS's documentation: what a page says comes out is what comes out here.

Every row names its source: a chapter of the States Language specification
(https://states-language.net/spec.html#...) or a page of the Step Functions developer guide
(https://docs.aws.amazon.com/step-functions/latest/dg/....html). The output or error is the one that
the source states. Functions of Lambda in the source's examples are Pass or Fail states here, or the
function below.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from dataclasses import dataclass
from typing import Any

import pytest

from .conftest import REGION, Cloud, error_of, until

CODE = """
import time

class HandledError(Exception):
    pass

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    raise HandledError("no")
"""


@dataclass(frozen=True)
class Fails:
    """The execution fails with this error."""

    error: str
    cause: str = ""


@dataclass(frozen=True)
class Refused:
    """The definition is refused, with these words in the message."""

    words: str = ""


def state(kind: str, **fields: Any) -> dict[str, Any]:
    ends = {} if kind in ("Choice", "Fail", "Succeed") or "Next" in fields else {"End": True}
    return {"Type": kind, **fields, **ends}


def machine(*states: dict[str, Any], **named: dict[str, Any]) -> dict[str, Any]:
    """Return a definition of one state, `X`, and others by name."""
    return {"StartAt": "X", "States": {"X": states[0], **named}}


def parameters(text: str | dict[str, Any]) -> dict[str, Any]:
    """Return a Pass state that evaluates an intrinsic function, or these parameters."""
    return machine(state("Pass", Parameters={"x.$": text} if isinstance(text, str) else text))


def jsonata(output: Any) -> dict[str, Any]:
    return machine(state("Pass", Output=output)) | {"QueryLanguage": "JSONata"}


def choice(*rules: dict[str, Any], default: bool = True) -> dict[str, Any]:
    """Return a Choice that comes out as the number of the rule that matched, or "default"."""
    ends = {f"R{i}": state("Pass", Result=i) for i in range(len(rules))}
    start = state("Choice", Choices=[{**rule, "Next": f"R{i}"} for i, rule in enumerate(rules)])
    if default:
        start["Default"] = "D"
        ends["D"] = state("Pass", Result="default")
    return machine(start, **ends)


def is_true(**rule: Any) -> dict[str, Any]:
    return choice(rule)


def mapped(items: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    inner = machine(items or state("Pass"))
    inner = {"StartAt": "I", "States": {"I": inner["States"]["X"]}}
    return machine(state("Map", **({"Iterator": inner} | fields)))


def parallel(*branches: dict[str, Any], **fields: Any) -> dict[str, Any]:
    made = [{"StartAt": f"B{i}", "States": {f"B{i}": one}} for i, one in enumerate(branches)]
    return state("Parallel", Branches=made, **fields)


def failing(error: str = "ErrorA", **fields: Any) -> dict[str, Any]:
    return parallel(state("Fail", Error=error, Cause="why"), **fields)


def lambda_task(**fields: Any) -> dict[str, Any]:
    name = f"arn:aws-cn:lambda:{REGION}:123456789012:function:fails"
    return state("Task", Resource=name, **fields)


SPEC = "spec.html#"
NUMBERS = {"inputArray": [1, 2, 3, 4, 5, 6, 7, 8, 9]}
DATASETS = {"dataset1": {"val1": 1}, "dataset2": {"val1": "a", "val2": "b", "val3": "c"}}
PRODUCT = {
    "comment": "Example for Parameters.",
    "product": {
        "details": {"color": "blue", "size": "small", "material": "cotton"},
        "availability": "in stock",
        "sku": "2317",
    },
}
PEOPLE = [{"who": "bob"}, {"who": "meg"}, {"who": "joe"}]
SHIPPED = [
    {"prod": "R31", "dest-code": 9511, "quantity": 1344},
    {"prod": "S39", "dest-code": 9511, "quantity": 40},
]
SHIPMENT = {
    "ship-date": "2016-03-14T01:59:00Z",
    "detail": {"delivery-partner": "UQS", "shipped": SHIPPED},
}
HELLO = "Hello, AWS Step Functions!"
STRINGS = {"comment": "An input comment.", "strings": {"string1": "foo"}, "who": "me"}
JSON1 = {"a": {"a1": 1, "a2": 2}, "b": 2}
JSON2 = {"a": {"a3": 1, "a4": 2}, "c": 3}
ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image-recipe/recipe/1.0.0"
TYPE_RULES = (
    {"Not": {"Variable": "$.type", "StringEquals": "Private"}},
    {"Variable": "$.value", "NumericEquals": 0},
    {
        "And": [
            {"Variable": "$.value", "NumericGreaterThanEquals": 20},
            {"Variable": "$.value", "NumericLessThan": 30},
        ]
    },
)
JSONATA_RULES = (
    {"Condition": "{% $states.input.type != 'Private' %}"},
    {"Condition": "{% $states.input.value = 0 %}"},
    {"Condition": "{% $states.input.value >= 20 and $states.input.value < 30 %}"},
)


def jsonata_choice(**fields: Any) -> dict[str, Any]:
    ends = {f"R{i}": state("Pass", Output=i) for i in range(3)}
    rules = [{**rule, "Next": f"R{i}"} for i, rule in enumerate(JSONATA_RULES)]
    if "Default" in fields:
        ends["D"] = state("Pass", Output="default")
    start = state("Choice", Choices=rules, **fields)
    return machine(start, **ends) | {"QueryLanguage": "JSONata"}


# What is in a row: the source, the definition, the input, and what comes out.
OUTPUTS: dict[str, tuple[str, dict[str, Any], Any, Any]] = {
    # Intrinsic functions
    "array": (
        "intrinsic-functions", parameters("States.Array($.Id)"), {"Id": 123456}, [123456]),
    "array of literals": (
        SPEC + "appendix-b", parameters("States.Array('Foo', 2020, $.someJson, null)"),
        {"someJson": {"random": "abcdefg"}, "zebra": "stripe"},
        ["Foo", 2020, {"random": "abcdefg"}, None]),
    "partition": (
        "intrinsic-functions", parameters("States.ArrayPartition($.inputArray,4)"), NUMBERS,
        [[1, 2, 3, 4], [5, 6, 7, 8], [9]]),
    "contains": (
        "intrinsic-functions", parameters("States.ArrayContains($.inputArray, $.lookingFor)"),
        NUMBERS | {"lookingFor": 5}, True),
    "range": ("intrinsic-functions", parameters("States.ArrayRange(1, 9, 2)"), {}, [1, 3, 5, 7, 9]),
    "get item": (
        "intrinsic-functions", parameters("States.ArrayGetItem($.inputArray, $.index)"),
        NUMBERS | {"index": 5}, 6),
    "length": ("intrinsic-functions", parameters("States.ArrayLength($.inputArray)"), NUMBERS, 9),
    "unique": (
        "intrinsic-functions", parameters("States.ArrayUnique($.inputArray)"),
        {"inputArray": [1, 2, 3, 3, 3, 3, 3, 3, 4]}, [1, 2, 3, 4]),
    "base64 encode": (
        "intrinsic-functions", parameters("States.Base64Encode($.input)"),
        {"input": "Data to encode"}, "RGF0YSB0byBlbmNvZGU="),
    "base64 decode": (
        "intrinsic-functions", parameters("States.Base64Decode($.base64)"),
        {"base64": "RGF0YSB0byBlbmNvZGU="}, "Data to encode"),
    "hash": (
        "intrinsic-functions", parameters("States.Hash($.Data, $.Algorithm)"),
        {"Data": "input data", "Algorithm": "SHA-1"}, "aaff4a450a104cd177d28d18d74485e8cae074b7"),
    "merge": (
        "intrinsic-functions", parameters("States.JsonMerge($.json1, $.json2, false)"),
        {"json1": JSON1, "json2": JSON2}, {"a": {"a3": 1, "a4": 2}, "b": 2, "c": 3}),
    "string to json": (
        "intrinsic-functions", parameters("States.StringToJson($.escapedJsonString)"),
        {"escapedJsonString": '{"foo": "bar"}'}, {"foo": "bar"}),
    "json to string": (
        "intrinsic-functions", parameters("States.JsonToString($.unescapedJson)"),
        {"unescapedJson": {"foo": "bar"}}, '{"foo":"bar"}'),
    "add": (
        "intrinsic-functions", parameters("States.MathAdd($.value1, $.step)"),
        {"value1": 111, "step": -1}, 110),
    "split": (
        "intrinsic-functions", parameters("States.StringSplit($.inputString, $.splitter)"),
        {"inputString": "1,2,3,4,5", "splitter": ","}, ["1", "2", "3", "4", "5"]),
    "split at several": (
        "intrinsic-functions", parameters("States.StringSplit($.inputString, $.splitter)"),
        {"inputString": "This.is+a,test=string", "splitter": ".+,="},
        ["This", "is", "a", "test", "string"]),
    "format": (
        "intrinsic-functions", parameters("States.Format('Hello, my name is {}.', $.name)"),
        {"name": "Arnav"}, "Hello, my name is Arnav."),
    "format with a template": (
        "intrinsic-functions", parameters("States.Format($.template, $.name)"),
        {"name": "Arnav", "template": "Hello, my name is {}."}, "Hello, my name is Arnav."),
    "format a number": (
        SPEC + "appendix-b",
        parameters("States.Format('Your name is {}, we are in the year {}', $.name, 2020)"),
        {"name": "Foo", "zebra": "stripe"}, "Your name is Foo, we are in the year 2020"),
    "format keeps every character": (  # what is not reserved stands for itself
        "intrinsic-functions", parameters("States.Format('ü 电池 {}', $.n)"), {"n": "é"},
        "ü 电池 é"),
    "escaped braces": (
        "intrinsic-functions#amazon-states-language-intrinsic-functions-escapes",
        parameters(r"States.Format('\{\} is {}', $.n)"), {"n": 1}, "{} is 1"),
    "escaped quote": (
        "intrinsic-functions#amazon-states-language-intrinsic-functions-escapes",
        parameters(r"States.Format('it\'s {}', $.n)"), {"n": 1}, "it's 1"),
    "escaped backslash": (
        "intrinsic-functions#amazon-states-language-intrinsic-functions-escapes",
        parameters(r"States.Format('C:\\{}', $.n)"), {"n": "x"}, "C:\\x"),
    "escaped outside of format": (
        "intrinsic-functions#amazon-states-language-intrinsic-functions-escapes",
        parameters(r"States.Array('\'a\'', '\{é\}')"), {}, ["'a'", "{é}"]),
    "nested functions": (
        "intrinsic-functions",
        parameters(
            "States.Format('{}.{}.{}', "
            "States.ArrayGetItem(States.StringSplit(States.ArrayGetItem("
            "States.StringSplit($.ImageRecipe.Arn, '/'), 2), '.'), 0), "
            "States.ArrayGetItem(States.StringSplit(States.ArrayGetItem("
            "States.StringSplit($.ImageRecipe.Arn, '/'), 2), '.'), 1), 'x')"),
        {"ImageRecipe": {"Arn": ARN}}, "1.0.x"),
    "function that cannot be": (
        "concepts-error-handling", parameters("States.ArrayGetItem($.inputArray, 99)"), NUMBERS,
        Fails("States.IntrinsicFailure")),
    "too few arguments for format": (
        "intrinsic-functions", parameters("States.Format('{} {}', $.n)"), {"n": 1},
        Fails("States.IntrinsicFailure")),
    # Paths, input and output
    "path to a number": (
        SPEC + "paths", machine(state("Pass", OutputPath="$.foo")), {"foo": 123}, 123),
    "path to a member": (
        SPEC + "paths", machine(state("Pass", InputPath="$.car.cdr")), {"car": {"cdr": True}},
        True),
    "input path": (
        "input-output-inputpath-params", machine(state("Pass", InputPath="$.dataset2")), DATASETS,
        DATASETS["dataset2"]),
    "slice": (
        "input-output-inputpath-params", machine(state("Pass", InputPath="$.a[0:2]")),
        {"a": [1, 2, 3, 4]}, [1, 2]),
    "null input path": (
        SPEC + "inputoutput-processing", machine(state("Pass", InputPath=None)), {"a": 1}, {}),
    "null output path": (
        SPEC + "inputoutput-processing", machine(state("Pass", OutputPath=None)), {"a": 1}, {}),
    "parameters": (
        "input-output-inputpath-params",
        parameters({
            "comment": "Selecting what I care about.",
            "MyDetails": {
                "size.$": "$.product.details.size",
                "exists.$": "$.product.availability",
                "StaticValue": "foo",
            },
        }),
        PRODUCT,
        {
            "comment": "Selecting what I care about.",
            "MyDetails": {"size": "small", "exists": "in stock", "StaticValue": "foo"},
        }),
    "payload template": (
        SPEC + "payload-template",
        parameters({"flagged": True, "parts": {"first.$": "$.vals[0]", "last3.$": "$.vals[-3:]"}}),
        {"flagged": 7, "vals": [0, 10, 20, 30, 40, 50]},
        {"flagged": True, "parts": {"first": 0, "last3": [30, 40, 50]}}),
    "input path that is missing": (
        "concepts-error-handling", machine(state("Pass", InputPath="$.missing")), {},
        Fails("States.Runtime")),
    "result path discards": (
        "input-output-resultpath", machine(state("Pass", Result=HELLO, ResultPath=None)),
        STRINGS, STRINGS),
    "result replaces": (
        "input-output-resultpath", machine(state("Pass", Result=HELLO, ResultPath="$")),
        STRINGS, HELLO),
    "result is added": (
        "input-output-resultpath",
        machine(state("Pass", Result=HELLO, ResultPath="$.strings.lambdaresult")), STRINGS,
        STRINGS | {"strings": {"string1": "foo", "lambdaresult": HELLO}}),
    "result updates": (
        "input-output-resultpath", machine(state("Pass", Result=HELLO, ResultPath="$.comment")),
        STRINGS, STRINGS | {"comment": HELLO}),
    "result path makes what is missing": (
        SPEC + "resultpath", machine(state("Pass", Result=6, ResultPath="$.master.result.sum")),
        {"master": {"detail": [1, 2, 3]}},
        {"master": {"detail": [1, 2, 3], "result": {"sum": 6}}}),
    "result path that cannot be": (
        "concepts-error-handling", machine(state("Pass", Result=6, ResultPath="$.a.b")), {"a": "x"},
        Fails("States.ResultPathMatchFailure")),
    "pass injects data": (
        "state-pass",
        machine(state("Pass", Result={"x-datum": 0.381018, "y-datum": 622.2269926397355},
                      ResultPath="$.coords")),
        {"georefOf": "Home"},
        {"georefOf": "Home", "coords": {"x-datum": 0.381018, "y-datum": 622.2269926397355}}),
    "result selector": (
        "input-output-inputpath-params",
        machine(parallel(
            state("Pass", Result={"resourceType": "emr", "output": {"ClusterId": "AKIA"}}),
            ResultSelector={"ClusterId.$": "$[0].output.ClusterId",
                            "ResourceType.$": "$[0].resourceType"},
            ResultPath="$.EMROutput")),
        {"OtherDataFromInput": {}},
        {"OtherDataFromInput": {}, "EMROutput": {"ClusterId": "AKIA", "ResourceType": "emr"}}),
    # Choice
    "choice in its twenties": (
        "state-choice", choice(*TYPE_RULES), {"type": "Private", "value": 22}, 2),
    "choice of another type": (
        "state-choice", choice(*TYPE_RULES), {"type": "Public", "value": 22}, 0),
    "choice by default": (
        "state-choice", choice(*TYPE_RULES), {"type": "Private", "value": 99}, "default"),
    "choice without the field": (
        "state-choice", choice(*TYPE_RULES), {"value": 22}, Fails("States.Runtime")),
    "choice on an empty input": (
        "state-choice", is_true(Variable="$.foo", NumericEquals=1), {}, Fails("States.Runtime")),
    "choice with a missing path beside it": (
        "state-choice", is_true(Variable="$.foo", StringEqualsPath="$.bar"), {"foo": "a"},
        Fails("States.Runtime")),
    "choice that matches nothing": (
        "concepts-error-handling", choice(*TYPE_RULES, default=False),
        {"type": "Private", "value": 99}, Fails("States.NoChoiceMatched")),
    "is present guards": (
        "state-choice",
        is_true(And=[{"Variable": "$.key", "IsPresent": True},
                     {"Variable": "$.key", "StringEquals": "foo"}]), {}, "default"),
    "is null": ("state-choice", is_true(Variable="$.v", IsNull=True), {"v": None}, 0),
    "numbers do not match strings": (
        "state-choice", is_true(Variable="$.foo", NumericEquals=1), {"foo": "1"}, "default"),
    "greater string": (
        "state-choice", is_true(Variable="$.foo", StringGreaterThan="MyStringABC"),
        {"foo": "MyStringABD"}, 0),
    "string matches": (
        "state-choice", is_true(Variable="$.foo", StringMatches="log-*.txt"),
        {"foo": "log-2022.txt"}, 0),
    "string matches an escaped star": (
        "state-choice", is_true(Variable="$.foo", StringMatches="a\\*b"), {"foo": "axb"},
        "default"),
    "only the star is special": (
        "state-choice", is_true(Variable="$.foo", StringMatches="log-?.[t]*"),
        {"foo": "log-?.[t]xt"}, 0),
    "equal to another path": (
        "state-choice", is_true(Variable="$.foo", StringEqualsPath="$.bar"),
        {"foo": "a", "bar": "a"}, 0),
    "timestamp": (
        "state-choice", is_true(Variable="$.foo", TimestampEquals="2001-01-01T12:00:00Z"),
        {"foo": "2001-01-01T12:00:00Z"}, 0),
    "timestamp with an offset": (
        SPEC + "timestamps", is_true(Variable="$.foo", TimestampEquals="2001-01-01T12:00:00Z"),
        {"foo": "2001-01-01T14:00:00+02:00"}, 0),
    "timestamp in order": (
        "state-choice", is_true(Variable="$.foo", TimestampLessThan="2016-08-18T17:33:00Z"),
        {"foo": "2016-08-18T17:32:59.999Z"}, 0),
    "timestamp needs its capital T": (
        "state-choice", is_true(Variable="$.foo", IsTimestamp=True),
        {"foo": "2016-08-18t17:33:00Z"}, "default"),
    "timestamp needs a zone": (
        "state-choice", is_true(Variable="$.foo", IsTimestamp=True), {"foo": "2016-08-18T17:33:00"},
        "default"),
    # Wait, Succeed, Fail
    "wait until a moment that is over": (
        "state-wait", machine(state("Wait", Timestamp="2016-03-14T01:59:00Z")), {"a": 1}, {"a": 1}),
    "wait until a moment of the input": (
        "state-wait", machine(state("Wait", TimestampPath="$.expirydate")),
        {"expirydate": "2016-03-14T01:59:00Z"}, {"expirydate": "2016-03-14T01:59:00Z"}),
    "wait for what is no timestamp": (
        "state-wait", machine(state("Wait", TimestampPath="$.at")), {"at": "tomorrow"},
        Fails("States.Runtime")),
    "succeed": (SPEC + "succeed-state", machine(state("Succeed")), {"a": 1}, {"a": 1}),
    "fail": (
        "state-fail", machine(state("Fail", Cause="Invalid response.", Error="ErrorA")), {},
        Fails("ErrorA", "Invalid response.")),
    "fail with paths": (
        "state-fail", machine(state("Fail", CausePath="$.Cause", ErrorPath="$.Error")),
        {"Cause": "c", "Error": "e"}, Fails("e", "c")),
    "fail with functions": (
        "state-fail",
        machine(state("Fail", CausePath="States.Format('This is a custom error message for {}.', "
                      "$.name)", ErrorPath="States.Format('{}', $.Error)")),
        {"name": "María", "Error": "e"}, Fails("e", "This is a custom error message for María.")),
    # Map and Parallel
    "map": (
        "input-output-itemspath", mapped(ItemsPath="$.ThingsPiratesSay"),
        {"ThingsPiratesSay": [{"say": "Avast!"}, {"say": "Yar!"}], "ThingsGiantsSay": []},
        [{"say": "Avast!"}, {"say": "Yar!"}]),
    "map over its own input": ("state-map-inline", mapped(), PEOPLE, PEOPLE),
    "map with parameters of the context": (
        "input-output-contextobject",
        mapped(Parameters={"ContextIndex.$": "$$.Map.Item.Index",
                           "ContextValue.$": "$$.Map.Item.Value"}),
        PEOPLE, [{"ContextIndex": i, "ContextValue": who} for i, who in enumerate(PEOPLE)]),
    "map with a part of its input": (
        "state-map-inline",
        mapped(InputPath="$.detail", ItemsPath="$.shipped", ResultPath="$.detail.shipped",
               MaxConcurrency=0,
               Parameters={"parcel.$": "$$.Map.Item.Value", "courier.$": "$.delivery-partner"}),
        SHIPMENT,
        SHIPMENT | {"detail": {"delivery-partner": "UQS", "shipped": [
            {"parcel": parcel, "courier": "UQS"} for parcel in SHIPPED]}}),
    "map whose iteration fails": (
        "state-map-inline", mapped(state("Fail", Error="ErrorA")), [1, 2], Fails("ErrorA")),
    "parallel": (
        "state-parallel",
        machine(parallel(state("Pass", Parameters={"s.$": "States.MathAdd($[0], $[1])"},
                               OutputPath="$.s"),
                         state("Pass", Result=1))), [3, 2], [5, 1]),
    "parallel gives each branch its input": (
        "state-parallel", machine(parallel(state("Pass"), state("Pass"))), {"a": 1},
        [{"a": 1}, {"a": 1}]),
    "parallel fails with its branch": (
        "state-parallel", machine(parallel(state("Fail", Error="ErrorB"), state("Pass"))), {},
        Fails("ErrorB")),
    # Retry and Catch
    "catch": (
        "concepts-error-handling",
        machine(lambda_task(Catch=[{"ErrorEquals": ["HandledError"], "Next": "fallback"}]),
                fallback=state("Pass", Result=HELLO)), {}, HELLO),
    "catch of any task": (
        "concepts-error-handling",
        machine(lambda_task(Catch=[{"ErrorEquals": ["States.TaskFailed"], "Next": "fallback"}]),
                fallback=state("Pass", Result=HELLO)), {}, HELLO),
    "catch adds to the input": (
        "input-output-resultpath",
        machine(failing("Error here", Catch=[
            {"ErrorEquals": ["States.ALL"], "Next": "Y", "ResultPath": "$.error"}]),
            Y=state("Pass")),
        {"foo": "bar"}, {"foo": "bar", "error": {"Error": "Error here", "Cause": "why"}}),
    "catch replaces the input": (
        "concepts-error-handling",
        machine(failing(Catch=[
            {"ErrorEquals": ["java.lang.Exception"], "Next": "N"},
            {"ErrorEquals": ["States.ALL"], "Next": "Y"}]), N=state("Fail"), Y=state("Pass")),
        {"foo": "bar"}, {"Error": "ErrorA", "Cause": "why"}),
    "catch that does not match": (
        "concepts-error-handling",
        machine(failing(Catch=[{"ErrorEquals": ["ErrorB"], "Next": "Y"}]), Y=state("Pass")), {},
        Fails("ErrorA", "why")),
    "no catch takes a runtime error": (
        "concepts-error-handling",
        machine(parallel(state("Pass", InputPath="$.missing"), Catch=[
            {"ErrorEquals": ["States.ALL"], "Next": "Y"}]), Y=state("Pass")), {},
        Fails("States.Runtime")),
    "retry until attempts are used up": (
        "concepts-error-handling",
        machine(lambda_task(Retry=[
            {"ErrorEquals": ["HandledError"], "IntervalSeconds": 1, "MaxAttempts": 2,
             "BackoffRate": 2.0}])), {}, Fails("HandledError")),
    "retry comes before catch": (
        "concepts-error-handling",
        machine(failing(Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}],
                        Catch=[{"ErrorEquals": ["ErrorA"], "Next": "Y"}]),
                Y=state("Pass", Result=HELLO)), {}, HELLO),
    "timeout is caught": (
        "concepts-error-handling",
        machine(lambda_task(TimeoutSeconds=1, Parameters={"seconds": 3}, Catch=[
            {"ErrorEquals": ["States.Timeout"], "Next": "fallback"}]),
            fallback=state("Pass", Result=HELLO)), {}, HELLO),
    "a timeout is no failed task": (
        "concepts-error-handling",
        machine(lambda_task(TimeoutSeconds=1, Parameters={"seconds": 3}, Catch=[
            {"ErrorEquals": ["States.TaskFailed"], "Next": "N"},
            {"ErrorEquals": ["States.ALL"], "Next": "fallback"}]),
            N=state("Fail"), fallback=state("Pass", Result=HELLO)), {}, HELLO),
    "a failed function is any error": (
        "concepts-error-handling",
        machine(parallel(state("Pass", Parameters={"x.$": "States.ArrayGetItem($, 9)"}), Catch=[
            {"ErrorEquals": ["States.TaskFailed"], "Next": "Y"}]), Y=state("Pass", Result=HELLO)),
        [], HELLO),
    # Variables
    "variables": (
        "workflow-variables",
        machine(state("Pass", Assign={"count": 42, "name.$": "$.who"}, Next="Y"),
                Y=state("Pass", Parameters={"c.$": "$count", "n.$": "$name"})),
        {"who": "María"}, {"c": 42, "n": "María"}),
    "variables are set together": (
        "workflow-variables",
        machine(state("Pass", Assign={"x": 3, "a": 6}, Next="Y"),
                Y=state("Pass", Assign={"x": "{% $a %}", "nextX": "{% $x %}"}, Next="Z"),
                Z=state("Pass", Output=["{% $x %}", "{% $nextX %}"]))
        | {"QueryLanguage": "JSONata"}, {}, [6, 3]),
    # JSONata
    "jsonata arguments": (
        "transforming-data",
        machine(state("Pass", Assign={"customerName": "María"}, Next="Y"),
                Y=state("Pass", Output={"static": "Hello", "title": "{% $states.input.title %}",
                                        "name": "{% $customerName %}",
                                        "not-evaluated": "$customerName"}))
        | {"QueryLanguage": "JSONata"},
        {"title": "Doctor"},
        {"static": "Hello", "title": "Doctor", "name": "María", "not-evaluated": "$customerName"}),
    "jsonata in one state of a jsonpath machine": (
        "transforming-data",
        machine(state("Pass", QueryLanguage="JSONata", Output="{% $states.input.a + 1 %}")),
        {"a": 1}, 2),
    "jsonata context": (
        "transforming-data", jsonata("{% $states.context.Execution.Input.a %}"), {"a": 1}, 1),
    "jsonata partition": (
        "transforming-data", jsonata("{% $partition([1,2,3,4], $states.input.chunkSize) %}"),
        {"chunkSize": 2}, [[1, 2], [3, 4]]),
    "jsonata range": (
        "transforming-data", jsonata("{% $range(0, 10, 2) %}"), {}, [0, 2, 4, 6, 8, 10]),
    "jsonata hash": (
        "transforming-data", jsonata("{% $hash($states.input.content, 'SHA-1') %}"),
        {"content": "input data"}, "aaff4a450a104cd177d28d18d74485e8cae074b7"),
    "jsonata parse": (
        "transforming-data", jsonata("{% $parse($states.input.s) %}"), {"s": '{"a": [1, null]}'},
        {"a": [1, None]}),
    "jsonata seeded random": (
        "transforming-data", jsonata("{% $random(7) = $random(7) %}"), {}, True),
    "jsonata uuid": (
        "transforming-data",
        jsonata("{% $exists($match($uuid(), /^[0-9a-f-]{14}4[0-9a-f-]{21}$/)) %}"), {}, True),
    "jsonata of a missing field": (
        "transforming-data", jsonata("{% $states.input.thisFieldDoesNotExist %}"), {},
        Fails("States.QueryEvaluationError")),
    "jsonata of a wrong type": (
        "transforming-data", jsonata("{% $states.input.x + $states.input.y %}"),
        {"x": 1, "y": "b"}, Fails("States.QueryEvaluationError")),
    "jsonata timeout of a wrong type": (
        "transforming-data",
        machine(lambda_task(TimeoutSeconds="{% $states.input.name %}"))
        | {"QueryLanguage": "JSONata"},
        {"name": "x"}, Fails("States.QueryEvaluationError")),
    "jsonata timeout out of range": (
        "transforming-data",
        machine(lambda_task(TimeoutSeconds="{% $states.input.n %}")) | {"QueryLanguage": "JSONata"},
        {"n": -1}, Fails("States.QueryEvaluationError")),
    "jsonata error is caught": (
        "transforming-data",
        machine(lambda_task(Arguments={"a": "{% $states.input.missing %}"}, Catch=[
            {"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Y"}]),
            Y=state("Pass", Output="caught")) | {"QueryLanguage": "JSONata"}, {}, "caught"),
    "jsonata choice in its twenties": (
        "state-choice", jsonata_choice(Default="D"), {"type": "Private", "value": 22}, 2),
    "jsonata choice by default": (
        "state-choice", jsonata_choice(Default="D"), {"type": "Private", "value": 99}, "default"),
    "jsonata choice that matches nothing": (
        "state-choice", jsonata_choice(), {"type": "Private", "value": 99},
        Fails("States.NoChoiceMatched")),
    "jsonata condition that is no boolean": (
        "state-choice",
        machine(state("Choice", Choices=[{"Condition": "{% 'yes' %}", "Next": "Y"}], Default="Y"),
                Y=state("Pass")) | {"QueryLanguage": "JSONata"}, {},
        Fails("States.QueryEvaluationError")),
    "jsonata fail": (
        "state-fail",
        machine(state("Fail", Error="{% $states.input.e %}",
                      Cause="{% 'for ' & $states.input.n %}"))
        | {"QueryLanguage": "JSONata"}, {"e": "E", "n": "María"}, Fails("E", "for María")),
    "jsonata map": (
        "state-map-inline",
        machine(state("Map", Items="{% $states.input.shipped %}",
                      ItemSelector={"parcel": "{% $states.context.Map.Item.Value.prod %}",
                                    "courier": "{% $states.input.partner %}"},
                      ItemProcessor={"StartAt": "I", "States": {"I": state("Pass")}}))
        | {"QueryLanguage": "JSONata"},
        {"partner": "UQS", "shipped": SHIPPED},
        [{"parcel": "R31", "courier": "UQS"}, {"parcel": "S39", "courier": "UQS"}]),
    "jsonata parallel": (
        "state-parallel",
        machine(parallel(state("Pass", Output="{% $sum($states.input) %}"),
                         state("Pass", Output="{% $states.input[0] - $states.input[1] %}"),
                         Output="{% $states.result[0] & $states.result[1] %}"))
        | {"QueryLanguage": "JSONata"}, [3, 2], "51"),
    "jsonata catch": (
        "concepts-error-handling",
        machine(failing(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Y",
                                "Output": "{% $states.errorOutput.Error %}"}]),
                Y=state("Pass")) | {"QueryLanguage": "JSONata"}, {}, "ErrorA"),
    "jsonata wait": (
        "state-wait",
        machine(state("Wait", Timestamp="{% $states.input.at %}", Output="done"))
        | {"QueryLanguage": "JSONata"}, {"at": "2016-03-14T01:59:00Z"}, "done"),
    "jsonata quotes and newlines are data": (
        "transforming-data",
        jsonata({"s": "{% $states.input.s %}", "n": "{% $length($states.input.s) %}"}),
        {"s": 'a"b\\n\n%}'}, {"s": 'a"b\\n\n%}', "n": 8}),
    # Definitions that are refused
    "no StartAt": (SPEC + "toplevelfields", {"States": {"X": state("Pass")}}, {}, Refused()),
    "start that is not there": (
        SPEC + "toplevelfields", {"StartAt": "Y", "States": {"X": state("Pass")}}, {},
        Refused("MISSING_TRANSITION_TARGET")),
    "next that is not there": (
        SPEC + "transition", machine(state("Pass", Next="Y")), {},
        Refused("MISSING_TRANSITION_TARGET")),
    "neither next nor end": (SPEC + "transition", machine({"Type": "Pass"}), {}, Refused()),
    "name that is too long": (
        SPEC + "states-fields", {"StartAt": "x" * 81, "States": {"x" * 81: state("Pass")}}, {},
        Refused()),
    "choice with an end": (
        "state-choice",
        machine(state("Choice", Choices=[{"Variable": "$.a", "IsNull": True, "Next": "Y"}],
                      End=True), Y=state("Pass")), {}, Refused()),
    "next inside of and": (
        "state-choice",
        machine(state("Choice", Choices=[
            {"And": [{"Variable": "$.a", "IsNull": True, "Next": "Y"}], "Next": "Y"}]),
            Y=state("Pass")), {}, Refused()),
    "states.all is not last": (
        "concepts-error-handling",
        machine(failing(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Y"},
                               {"ErrorEquals": ["E"], "Next": "Y"}]), Y=state("Pass")), {},
        Refused()),
    "states.all is not alone": (
        "concepts-error-handling",
        machine(failing(Retry=[{"ErrorEquals": ["E", "States.ALL"]}])), {}, Refused()),
    "two ways to wait": (
        "state-wait", machine(state("Wait", Seconds=1, SecondsPath="$.s")), {}, Refused()),
    "no way to wait": ("state-wait", machine(state("Wait")), {}, Refused()),
    "parallel without branches": (
        "state-parallel", machine(state("Parallel", Branches=[])), {}, Refused()),
    "branch that leaves": (
        "state-parallel", machine(parallel(state("Pass", Next="Y")) | {"Next": "Y"},
                                  Y=state("Pass")), {}, Refused("MISSING_TRANSITION_TARGET")),
    "result path that is no reference": (
        SPEC + "reference-paths", machine(state("Pass", ResultPath="$.a[*]")), {}, Refused()),
    "jsonata state with parameters": (
        "transforming-data", machine(state("Pass", Parameters={})) | {"QueryLanguage": "JSONata"},
        {}, Refused()),
    "jsonpath state with an output": (
        "transforming-data", machine(state("Pass", Output={})), {}, Refused()),
    "jsonpath state in a jsonata machine": (
        "transforming-data",
        machine(state("Pass", QueryLanguage="JSONPath")) | {"QueryLanguage": "JSONata"}, {},
        Refused()),
    "variable that is reserved": (
        "workflow-variables", machine(state("Pass", Assign={"states": 1})), {}, Refused()),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def function(cloud: Cloud) -> None:
    """Create the function that `lambda_task` calls; it raises HandledError."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("app.py", CODE)
    cloud.client("lambda").create_function(
        FunctionName="fails",
        Runtime="python3.12",
        Handler="app.handler",
        Role=cloud.role("lambda"),
        Code={"ZipFile": archive.getvalue()},
        Timeout=20,
    )


@pytest.mark.parametrize("name", OUTPUTS)
def test_comes_out_as_the_source_says(cloud: Cloud, name: str) -> None:
    source, definition, given, expected = OUTPUTS[name]
    if isinstance(expected, Refused):
        states = cloud.client("stepfunctions")
        code, message = error_of(states.create_state_machine, **request(cloud, definition))
        assert code == "InvalidDefinition", source
        assert expected.words in message
        return
    done = executed(cloud, request(cloud, definition), given)
    if isinstance(expected, Fails):
        assert (done["status"], done.get("error")) == ("FAILED", expected.error), source
        assert expected.cause in (done.get("cause") or "")
        return
    assert done["status"] == "SUCCEEDED", (done.get("error"), done.get("cause"))
    output = json.loads(done["output"])
    single = list(definition["States"]["X"].get("Parameters", {})) == ["x.$"]
    assert (output["x"] if single else output) == expected, source


def test_a_definition_may_escape_its_characters_or_not(cloud: Cloud) -> None:
    _, definition, given, expected = OUTPUTS["format keeps every character"]
    plain = request(cloud, definition, ensure_ascii=False)
    assert "电池" in plain["definition"]
    assert json.loads(executed(cloud, plain, given)["output"]) == {"x": expected}


def request(cloud: Cloud, definition: dict[str, Any], **how: Any) -> dict[str, Any]:
    return {
        "name": f"m-{uuid.uuid4().hex}",
        "definition": json.dumps(definition, **how),
        "roleArn": cloud.role("states"),
    }


def executed(cloud: Cloud, made: dict[str, Any], given: Any) -> dict[str, Any]:
    states = cloud.client("stepfunctions")
    arn = states.create_state_machine(**made)["stateMachineArn"]
    run = states.start_execution(stateMachineArn=arn, input=json.dumps(given))["executionArn"]
    return dict(
        until(
            lambda: states.describe_execution(executionArn=run),
            lambda answer: answer["status"] != "RUNNING",
        )
    )
