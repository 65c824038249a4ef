#!/usr/bin/env python3
"""Checks a running node from outside, with a gRPC client that shares no code with it.

Usage: grpcio_check.py HOST:PORT [--token TOKEN] [--ca CA.pem]

Needs grpcio, grpcio-reflection, grpcio-health-checking and grpcio-status. It uses no generated files: the messages are
built from what the node's reflection service reports. Prints what it finds; exits with 1 at the first thing that is not
as thinker.proto says. With --token it also checks how a call without the token is refused.
"""

import argparse
import queue
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection
from grpc_status import rpc_status

PACKAGE = "specthink.v1"
SERVICE = f"{PACKAGE}.Thinker"
HEALTH = "grpc.health.v1.Health"
SECONDS = 60


def fnv1a_64(text):
    """The hash of committed text, implemented only from the description in the proto file."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def expect(condition, what):
    if not condition:
        print(f"MISMATCH: {what}")
        sys.exit(1)


class Node:
    """A channel, and message classes built from the node's reflection service."""

    def __init__(self, target, token, ca):
        if ca:
            with open(ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            self.channel = grpc.secure_channel(target, credentials)
        else:
            self.channel = grpc.insecure_channel(target)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        calls = grpc.intercept_channel(self.channel, WithMetadata(self.metadata))
        self.database = reflection.ProtoReflectionDescriptorDatabase(calls)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def message(self, name):
        descriptor = self.pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
        return message_factory.GetMessageClass(descriptor)

    def method(self, name):
        descriptor = self.pool.FindServiceByName(SERVICE).methods_by_name[name]
        request = message_factory.GetMessageClass(descriptor.input_type)
        response = message_factory.GetMessageClass(descriptor.output_type)
        stream = descriptor.client_streaming and descriptor.server_streaming
        make = self.channel.stream_stream if stream else self.channel.unary_unary
        return make(
            f"/{SERVICE}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )


class WithMetadata(grpc.StreamStreamClientInterceptor):
    """Shows the token to the reflection service too."""

    def __init__(self, metadata):
        self.metadata = metadata

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(details._replace(metadata=self.metadata), requests)


class Think:
    """One session: commands in, events out."""

    def __init__(self, node):
        self.command = node.message("Command")
        self.commands = queue.Queue()
        requests = iter(self.commands.get, None)
        self.call = node.method("Think")(requests, metadata=node.metadata, timeout=SECONDS)

    def send(self, **command):
        self.commands.put(self.command(**command))

    def close(self):
        self.commands.put(None)

    def next(self):
        """Returns the next event's name and message, skipping heartbeats."""
        for event in self.call:
            name = event.WhichOneof("event")
            if name != "heartbeat":
                return name, getattr(event, name)
        return None, None

    def expect(self, expected):
        name, event = self.next()
        expect(name == expected, f"expected {expected}, got {name}: {event}")
        return event


def check_reflection(node):
    services = sorted(node.database.get_services())
    print("services:", ", ".join(services))
    for service in (SERVICE, HEALTH):
        expect(service in services, f"{service} is not listed")
    shape = {}
    for method in node.pool.FindServiceByName(SERVICE).methods:
        shape[method.name] = (
            method.input_type.name,
            method.client_streaming,
            method.output_type.name,
            method.server_streaming,
        )
        inward = "stream " if method.client_streaming else ""
        outward = "stream " if method.server_streaming else ""
        print(
            f"  rpc {method.name}({inward}{method.input_type.full_name})"
            f" returns ({outward}{method.output_type.full_name})"
        )
    wanted = {
        "Think": ("Command", True, "Event", True),
        "Describe": ("DescribeRequest", False, "DescribeResponse", False),
    }
    expect(shape == wanted, f"the methods are {shape}")


def check_health(node):
    stub = health_pb2_grpc.HealthStub(node.channel)
    for service in ("", SERVICE):
        request = health_pb2.HealthCheckRequest(service=service)
        status = stub.Check(request, timeout=SECONDS).status
        print(f"health of {service!r}:", health_pb2.HealthCheckResponse.ServingStatus.Name(status))
        expect(status == health_pb2.HealthCheckResponse.SERVING, f"{service!r} does not serve")


def check_describe(node):
    request = node.message("DescribeRequest")()
    card = node.method("Describe")(request, metadata=node.metadata, timeout=SECONDS)
    print(f"protocol version {card.protocol_version}, model:")
    for field, value in card.model.ListFields():
        print(f"  {field.name}: {value}")
    expect(card.protocol_version == 1, "the protocol's version is not 1")
    expect(card.model.name and card.model.context_tokens, "the model card is empty")
    return card.model


def open_session(node, **fields):
    session = Think(node)
    session.send(
        open=dict(
            protocol_version=1,
            question_id="grpcio-check",
            messages=[dict(role="user", content="What is 7 times 8?")],
            **fields,
        )
    )
    return session


def read_proposal(session, max_tokens):
    text, tokens, settled = "", 0, 0
    while True:
        name, event = session.next()
        if name == "finished":
            break
        expect(name == "delta", f"expected delta or finished, got {name}: {event}")
        text += event.text
        tokens += event.tokens
        expect(settled <= event.settled_bytes <= len(text.encode()), "settled_bytes is out of range")
        settled = event.settled_bytes
    reason = event.DESCRIPTOR.fields_by_name["reason"].enum_type.values_by_number[event.reason].name
    print(f"proposal: {text!r}, {event.tokens} tokens, {reason}")
    expect(event.bytes == len(text.encode()), "finished.bytes is not the length of the deltas")
    expect(tokens <= event.tokens <= max_tokens, "finished.tokens does not fit the deltas")
    return text


def expect_warmed(session, committed):
    warmed = session.expect("warmed")
    print(f"warmed: {warmed.committed_bytes} bytes, hash {warmed.hash:016x}")
    expect(warmed.committed_bytes == len(committed.encode()), "committed_bytes is wrong")
    expect(warmed.hash == fnv1a_64(committed), "the hash is wrong")


def check_session(node, card):
    """Checks open, append, propose, a partial commit, an empty commit, and the end."""
    session = open_session(node)
    opened = session.expect("opened")
    print(f"opened: {opened.prompt_tokens} prompt tokens, {opened.cached_tokens} cached")
    expect(opened.model == card, "Opened and Describe report different models")
    committed = ""
    expect_warmed(session, committed)

    session.send(append=dict(text="Let me think.\n\n数学"))
    committed += "Let me think.\n\n数学"
    expect_warmed(session, committed)

    session.send(propose=dict(max_tokens=12, seed=7))
    text = read_proposal(session, 12)
    kept = text[: len(text) // 2]
    # Commit and propose are sent together.
    session.send(commit=dict(bytes=len(kept.encode())))
    session.send(propose=dict(max_tokens=5, seed=8))
    committed += kept
    expect_warmed(session, committed)
    read_proposal(session, 5)
    session.send(heartbeat={})
    session.send(commit=dict(bytes=0))
    session.close()
    expect_warmed(session, committed)
    name, _ = session.next()
    expect(name is None, f"after the half-close came {name}")
    expect(session.call.code() == grpc.StatusCode.OK, f"the call ended with {session.call.code()}")


def check_refusals(node):
    session = Think(node)
    session.send(open=dict(protocol_version=99))
    failed = session.expect("failed")
    print(f"version 99: {failed.message}")
    codes = failed.DESCRIPTOR.fields_by_name["code"].enum_type.values_by_number
    expect(codes[failed.code].name == "CODE_UNSUPPORTED_VERSION", f"the code is {failed.code}")

    session = open_session(node)
    session.expect("opened")
    session.expect("warmed")
    session.send(commit=dict(bytes=1))
    failed = session.expect("failed")
    print(f"commit without a proposal: {failed.message}")
    expect(codes[failed.code].name == "CODE_INVALID_ARGUMENT", f"the code is {failed.code}")
    expect(session.next()[0] is None, "an event followed Failed")


def check_missing_token(node):
    """Checks a refusal before there is a session: the failure is in the details of the status."""
    request = node.message("DescribeRequest")()
    try:
        node.method("Describe")(request, timeout=SECONDS)
    except grpc.RpcError as error:
        refused = error
    else:
        expect(False, "a call without the token was answered")
    print(f"without the token: {refused.code().name}: {refused.details()}")
    expect(refused.code() == grpc.StatusCode.UNAUTHENTICATED, f"the status is {refused.code()}")
    # Raises if the code or text in the details differs from the status.
    status = rpc_status.from_call(refused)
    expect(status is not None and len(status.details) == 1, f"the details are {status}")
    failed = node.message("Failed")()
    expect(status.details[0].Unpack(failed), f"the details hold {status.details[0].type_url}")
    codes = failed.DESCRIPTOR.fields_by_name["code"].enum_type.values_by_number
    expect(codes[failed.code].name == "CODE_UNAUTHENTICATED", f"the code is {failed.code}")
    expect(failed.message == refused.details(), f"the message is {failed.message!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--token", help="the bearer token the node asks for")
    parser.add_argument("--ca", help="speak TLS and trust this authority (PEM)")
    arguments = parser.parse_args()
    node = Node(arguments.target, arguments.token, arguments.ca)
    try:
        check_reflection(node)
        check_health(node)
        card = check_describe(node)
        check_session(node, card)
        check_refusals(node)
        if arguments.token:
            check_missing_token(node)
    except grpc.RpcError as error:
        print(f"MISMATCH: the call failed with {error.code()}: {error.details()}")
        sys.exit(1)
    print("all is as it should be")


if __name__ == "__main__":
    main()
