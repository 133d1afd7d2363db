"""moto is pinned; what the embedded AWS replaces or calls in it is what it was written for."""

from __future__ import annotations

import importlib
import inspect

ENGINE = "moto.stepfunctions.parser"
PLACES = {
    "engine": ENGINE,
    "asl": f"{ENGINE}.asl",
    "common": f"{ENGINE}.asl.component.common",
    "state": f"{ENGINE}.asl.component.state",
    "map": f"{ENGINE}.asl.component.state.exec.state_map.iteration",
    "service": f"{ENGINE}.asl.component.state.exec.state_task.service",
}
# module, name: parameters
SIGNATURES = """
moto.core.parse RequestParser.parse: self request_dict
moto.core.serialize ResponseSerializer.__init__:
    self operation_model context pretty_print value_picker
moto.core.serialize ResponseSerializer.serialize: self result
moto.core.serialize get_serializer_class: service_name protocol
moto.core.routing ServiceOperationRouter.match: self request
moto.core.utils get_service_model: service_name
moto.core.request determine_request_protocol: service_model content_type
moto.moto_server.werkzeug_app DomainDispatcherApplication.__init__: self create_app
moto.awslambda.models LambdaFunction._invoke_lambda: self event
moto.awslambda.models LambdaBackend.get_function: self function_name_or_arn qualifier
moto.ecr.models Repository.__init__:
    self account_id region_name repository_name registry_id encryption_config image_scan_config
    image_tag_mutability image_tag_mutability_exclusion_filters
moto.events.models Rule.send_to_targets: self original_event transform_input
moto.glue.responses GlueResponse.create_table: self
moto.glue.responses GlueResponse.update_table: self
moto.glue.models GlueBackend.get_table: self database_name table_name
moto.iam.models get_account_id_from: access_key
moto.iam.models IAMBackend.get_role_by_arn: self arn
moto.iam.models IAMBackend.get_user_from_access_key_id: self access_key_id
moto.logs.models LogEvent.__init__: self ingestion_time log_event
moto.logs.models LogStream.put_log_events: self log_events
moto.s3.models FakeBucket.__init__: self name account_id region_name bucket_namespace
moto.s3.models PublicAccessBlock.__init__:
    self block_public_acls ignore_public_acls block_public_policy restrict_public_buckets
moto.s3.models S3Backend.upload_part: self bucket_name multipart_id part_id value
moto.sts.models STSBackend.get_assumed_role_from_access_key: self access_key_id
{engine}.models StepFunctionsParserBackend.start_execution:
    self state_machine_arn name execution_input trace_header
{engine}.models StepFunctionsParserBackend._validate_definition: definition
{engine}.backend.execution Execution.__init__:
    self name sm_type role_arn exec_arn account_id region_name state_machine start_date
    cloud_watch_logging_session activity_store input_data trace_header
{engine}.backend.execution Execution.start: self
{engine}.backend.execution Execution.stop: self stop_date error cause
{engine}.backend.execution BaseExecutionWorkerCommunication.terminated: self
{engine}.backend.execution_worker ExecutionWorker._get_evaluation_environment: self
{asl}.eval.environment Environment.set_error: self error
{asl}.parse.asl_parser AmazonStateLanguageParser.parse: definition
{asl}.parse.preprocessor Preprocessor._inner_string_of: parser_rule_context
{asl}.parse.preprocessor Preprocessor.visitString_intrinsic_function: self ctx
{asl}.parse.intrinsic.preprocessor Preprocessor._text_of_str: parse_tree
{asl}.antlt4utils.antlr4utils from_string_literal: parser_rule_context
{asl}.utils.boto_client boto_client_for: region service state_credentials
{asl}.utils.json_path extract_json: path data
{common}.error_name.error_equals_decl ErrorEqualsDecl._eval_body: self env
{common}.path.result_path ResultPath._eval_body: self env
{common}.string.string_expression StringJSONata._eval_body: self env
{common}.string.string_expression StringVariableSample._eval_body: self env
{common}.string.string_expression StringIntrinsicFunction._eval_body: self env
{asl}.component.intrinsic.function.statesfunction.generic.string_format StringFormat._to_str_repr:
    value
{state}.choice.state_choice StateChoice._eval_state: self env
{state}.choice.comparison.comparison_variable ComparisonVariable._eval_body: self env
{state}.wait.wait_function.timestamp Timestamp._get_wait_seconds: self env
{state}.exec.state_task.state_task_factory state_task_service_for: service_name
{service}.state_task_service StateTaskService._eval_service_task:
    self env resource_runtime_part normalised_parameters state_credentials
{service}.state_task_service_callback StateTaskServiceCallback._after_eval_execution:
    self env resource_runtime_part normalised_parameters state_credentials
{map}.distributed_iteration_component DistributedIterationComponent._eval_body:
    self env
{map}.itemprocessor.map_run_record MapRunRecord.update:
    self max_concurrency tolerated_failure_count tolerated_failure_percentage
"""


def test_moto_has_what_is_replaced_in_it() -> None:
    wrong = []
    for row in SIGNATURES.format(**PLACES).replace("\n    ", " ").strip().split("\n"):
        where, _, parameters = row.partition(":")
        module, name = where.split()
        thing = importlib.import_module(module)
        for part in name.split("."):
            thing = getattr(thing, part)
        found = list(inspect.signature(thing).parameters)
        if found != parameters.split():
            wrong.append(f"{module}.{name} takes {found}")
    assert wrong == []
