"""Answers one request of flow-shim's builder with Airbyte's CDK, which runs low-code manifests.

What takes time is imported first, so that a process can wait with everything loaded. The request is a line of JSON in the named
pipe that the command line names. The answer is a line of stdout, {"flow_shim": {"answer": ...}} or {"flow_shim": {"error": ...}};
everything else there is the CDK's log.
"""
import dataclasses
import enum
import hashlib
import inspect
import json
import os
import sys
import traceback

import jsonschema
import orjson
from airbyte_cdk.connector_builder.connector_builder_handler import TestLimits, full_resolve_manifest, read_stream
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import (
    AirbyteStateMessageSerializer,
    AirbyteStream,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    Status,
    SyncMode,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory
from airbyte_cdk.sources.declarative.stream_slicers import declarative_partition_generator
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets


class Failure(Exception):
    """A failure that the builder tells from others by its kind."""

    def __init__(self, kind, message, **details):
        super().__init__(message)
        self.details = {"kind": kind, "message": message, **details}


def catalog_of(stream_name):
    modes = [SyncMode.full_refresh, SyncMode.incremental]
    stream = AirbyteStream(name=stream_name, json_schema={}, supported_sync_modes=modes)
    return ConfiguredAirbyteCatalog(
        streams=[
            ConfiguredAirbyteStream(
                stream=stream, sync_mode=SyncMode.incremental, destination_sync_mode=DestinationSyncMode.overwrite
            )
        ]
    )


def states_of(messages):
    """The states that are valid ones; others mean nothing, as for Airbyte's own server."""
    states = []
    for message in messages:
        try:
            state = AirbyteStateMessageSerializer.load(message)
        except Exception:
            continue
        # The type alone is valid for the CDK, which then fails.
        if state.stream or state.global_ or state.data:
            states.append(state)
    return states


def source_of(request, config, catalog=None, state=None):
    manifest = dict(request["manifest"])
    normalize, migrate = (bool(manifest.pop(name, False)) for name in ("__should_normalize", "__should_migrate"))
    if request["command"] == "test_read":
        # On a single thread, so that the messages of a slice stay together.
        level = manifest.get("concurrency_level") or {"type": "ConcurrencyLevel"}
        manifest["concurrency_level"] = {**level, "default_concurrency": 1}
    limits = request.get("limits", {})
    arguments = {
        "catalog": catalog,
        "config": config,
        "state": state,
        "source_config": manifest,
        "emit_connector_builder_messages": True,
        "migrate_manifest": migrate,
        "normalize_manifest": normalize,
        "limits": TestLimits(
            max_records=limits.get("records", 100),
            max_pages_per_slice=limits.get("pages", 5),
            max_slices=limits.get("slices", 5),
            max_streams=limits.get("streams", 100),
        ),
        "custom_components_trusted": False,
    }
    # Older versions do not know all of them.
    known = inspect.signature(ConcurrentDeclarativeSource.__init__).parameters
    try:
        return ConcurrentDeclarativeSource(**{name: it for name, it in arguments.items() if name in known})
    except jsonschema.exceptions.ValidationError as error:
        message = f"Invalid manifest: {error.message}"
        cause = error.__cause__
        if isinstance(cause, jsonschema.exceptions.ValidationError):
            message += f" ({cause.json_path}: {cause.message[:300]})"
        raise Failure("manifest", message) from error


def refuse_custom_code():
    """Has no class be imported that a manifest names: older versions of the CDK do so without asking."""

    def refuse(self, model, config, **arguments):
        raise ValueError("custom Python code is off: start flow-shim builder with --custom-code to run it")

    ModelToComponentFactory.create_custom_component = refuse


def stop_at(limit, stream_name):
    """Stops reading a stream after so many records: the CDK has the limit, but never sets it."""
    factory = declarative_partition_generator.DeclarativePartitionFactory
    create = factory.create

    def limited(self, stream_slice):
        if self._stream_name == stream_name:
            self._max_records_limit = limit
        return create(self, stream_slice)

    factory.create = limited


def messages_of(entrypoint_messages):
    for message in entrypoint_messages:
        error = message.trace.error if message.trace else None
        if error:
            raise Failure("failed", error.message or error.internal_message, stack=error.stack_trace)
        yield message


def resolve(request, config):
    return {"manifest": source_of(request, {}).resolved_manifest}


def full_resolve(request, config):
    source = source_of(request, config)
    limits = TestLimits(max_streams=request["limits"]["streams"])
    return data_of(full_resolve_manifest(source, limits))


def check(request, config):
    source = source_of(request, config)
    messages = AirbyteEntrypoint(source=source).check(source.spec(source.logger), config)
    statuses = [it.connectionStatus for it in messages_of(messages) if it.connectionStatus]
    if not statuses:
        return {"success": False, "message": "Connection check did not return a status message"}
    return {"success": statuses[-1].status == Status.SUCCEEDED, "message": statuses[-1].message}


def discover(request, config):
    source = source_of(request, config)
    messages = AirbyteEntrypoint(source=source).discover(source.spec(source.logger), config)
    catalogs = [it.catalog for it in messages_of(messages) if it.catalog]
    if not catalogs:
        raise Failure("no_catalog", "Connector did not return a discovered catalog")
    return {"catalog": catalogs[-1]}


def test_read(request, config):
    name, limits = request["stream_name"], request["limits"]
    catalog, state = catalog_of(name), states_of(request["state"])
    source = source_of(request, config, catalog, state)
    streams, streams_of = [], source.streams

    def remembered(*arguments, **named):
        streams[:] = streams_of(*arguments, **named)
        return list(streams)

    source.streams = remembered
    stop_at(limits["records"], name)
    read = data_of(
        read_stream(
            source,
            config,
            catalog,
            state,
            TestLimits(
                max_records=limits["records"], max_pages_per_slice=limits["pages"], max_slices=limits["slices"]
            ),
        )
    )
    stream = next((it for it in streams if it.name == name), None)
    if streams and not stream:
        raise Failure("unknown_stream", name, names=[it.name for it in streams])
    try:
        stream = stream and stream.as_airbyte_stream()
    except Exception as error:
        # A schema that is asked for at the API, which has just failed.
        stream, read["stream_error"] = None, filter_secrets(str(error))
    return {"read": read, "stream": stream}


def data_of(message):
    """The data of the one record that a handler of the CDK returns."""
    if message.record:
        return message.record.data
    error = message.trace.error
    message = error.message
    if message.startswith("Error reading stream with config=") and error.internal_message:
        # It quotes the config and the catalog.
        message = error.internal_message
    raise Failure("failed", message, stack=error.stack_trace)


COMMANDS = {it.__name__: it for it in (resolve, full_resolve, check, discover, test_read)}

TITLES = {
    "resolve": "Error resolving manifest",
    "full_resolve": "Error full resolving manifest",
    "check": "Error checking connection",
    "discover": "Error discovering streams",
    "test_read": "Error reading stream",
}


def respond(request):
    config = request["config"]
    components = request.get("components")
    if components:
        config["__injected_components_py"] = components
        config["__injected_components_py_checksums"] = {"md5": hashlib.md5(components.encode()).hexdigest()}
    try:
        return {"answer": COMMANDS[request["command"]](request, config)}
    except Failure as failure:
        details = failure.details
        if details["kind"] == "failed" and not details["message"].startswith("Error "):
            details["message"] = f"{TITLES[request['command']]}: {details['message']}"
    except Exception as error:
        message = f"{TITLES[request['command']]}: {error}"
        details = {"kind": "failed", "message": message, "stack": traceback.format_exc()}
    for name in ("message", "stack"):
        if details.get(name):
            details[name] = filter_secrets(details[name])
    return {"error": details}


def plain(value):
    """What orjson can't write by itself."""
    if dataclasses.is_dataclass(value):
        return {it.name: getattr(value, it.name) for it in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    return str(value)


def main():
    with open(sys.argv[1], encoding="utf-8") as pipe:
        request = json.loads(pipe.readline())
    if os.environ.get("AIRBYTE_ENABLE_UNSAFE_CODE", "").lower() != "true":
        refuse_custom_code()
    response = {"flow_shim": respond(request)}
    try:
        line = orjson.dumps(response, default=plain, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # A number beyond 64 bits.
        line = json.dumps(response, default=plain).encode()
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\n" + line + b"\n")
    sys.stdout.buffer.flush()
    # Without the threads and caches of the CDK.
    os._exit(0)


main()
