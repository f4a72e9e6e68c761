from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Purpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PURPOSE_UNSPECIFIED: _ClassVar[Purpose]
    PURPOSE_UPDATE: _ClassVar[Purpose]
    PURPOSE_AGGREGATE: _ClassVar[Purpose]
    PURPOSE_SNAPSHOT: _ClassVar[Purpose]
PURPOSE_UNSPECIFIED: Purpose
PURPOSE_UPDATE: Purpose
PURPOSE_AGGREGATE: Purpose
PURPOSE_SNAPSHOT: Purpose

class Manifest(_message.Message):
    __slots__ = ("run_id", "round", "module", "sender", "purpose", "size_bytes", "sha256", "weight", "contributors", "padding_bytes", "attempt", "step", "blake3")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    PADDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    round: int
    module: str
    sender: str
    purpose: Purpose
    size_bytes: int
    sha256: bytes
    weight: float
    contributors: _containers.RepeatedScalarFieldContainer[str]
    padding_bytes: int
    attempt: int
    step: int
    blake3: bytes
    def __init__(self, run_id: _Optional[str] = ..., round: _Optional[int] = ..., module: _Optional[str] = ..., sender: _Optional[str] = ..., purpose: _Optional[_Union[Purpose, str]] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., weight: _Optional[float] = ..., contributors: _Optional[_Iterable[str]] = ..., padding_bytes: _Optional[int] = ..., attempt: _Optional[int] = ..., step: _Optional[int] = ..., blake3: _Optional[bytes] = ...) -> None: ...
