"""The messages of the Open Inference Protocol over gRPC, as fields and their numbers.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
Double and unsigned parameters are Triton's additions. The classes are made in a pool of their own, so that a
program may also import a client's generated ones, which have the same names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}
_PARAMETERS = "map InferParameter"
_NAMED = ("string name", "string version")
_TENSOR = ("string name", "string datatype", "repeated int64 shape", f"{_PARAMETERS} parameters",
           "InferTensorContents contents")  # fmt: skip
# the fields of each message, numbered from 1 in their order
_MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_NAMED, "repeated string extensions"),
    "ModelMetadataRequest": _NAMED,
    "TensorMetadata": ("string name", "string datatype", "repeated int64 shape"),
    "ModelMetadataResponse": ("string name", "repeated string versions", "string platform",
                              "repeated TensorMetadata inputs", "repeated TensorMetadata outputs"),
    "InferParameter": ("oneof bool bool_param", "oneof int64 int64_param", "oneof string string_param",
                       "oneof double double_param", "oneof uint64 uint64_param"),
    "InferTensorContents": ("repeated bool bool_contents", "repeated int32 int_contents",
                            "repeated int64 int64_contents", "repeated uint32 uint_contents",
                            "repeated uint64 uint64_contents", "repeated float fp32_contents",
                            "repeated double fp64_contents", "repeated bytes bytes_contents"),
    "InferInputTensor": _TENSOR,
    "InferRequestedOutputTensor": ("string name", f"{_PARAMETERS} parameters"),
    "ModelInferRequest": ("string model_name", "string model_version", "string id", f"{_PARAMETERS} parameters",
                          "repeated InferInputTensor inputs", "repeated InferRequestedOutputTensor outputs",
                          "repeated bytes raw_input_contents"),
    "InferOutputTensor": _TENSOR,
    "ModelInferResponse": ("string model_name", "string model_version", "string id", f"{_PARAMETERS} parameters",
                           "repeated InferOutputTensor outputs", "repeated bytes raw_output_contents"),
}  # fmt: skip
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="tzml/inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields, 1):
            _add_field(message, text, number)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, text: str, number: int) -> None:
    *labels, kind, name = text.split()
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if "repeated" in labels:
        field.label = _Field.LABEL_REPEATED
    if "oneof" in labels:
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if "map" in labels:  # which is a list of entries with a key and a value
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "string key", 1)
        _add_field(entry, f"{kind} value", 2)
        field.label = _Field.LABEL_REPEATED
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_describe())


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
