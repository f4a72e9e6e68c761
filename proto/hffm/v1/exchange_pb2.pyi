from hffm.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PushRequest(_message.Message):
    __slots__ = ("manifest", "chunk", "trailer", "resume", "window_bytes")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    TRAILER_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    manifest: _payload_pb2.Manifest
    chunk: bytes
    trailer: Trailer
    resume: bool
    window_bytes: int
    def __init__(self, manifest: _Optional[_Union[_payload_pb2.Manifest, _Mapping]] = ..., chunk: _Optional[bytes] = ..., trailer: _Optional[_Union[Trailer, _Mapping]] = ..., resume: bool = ..., window_bytes: _Optional[int] = ...) -> None: ...

class Trailer(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    def __init__(self, sha256: _Optional[bytes] = ...) -> None: ...

class PushReply(_message.Message):
    __slots__ = ("accept", "receipt", "progress")
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    accept: Accept
    receipt: Receipt
    progress: Progress
    def __init__(self, accept: _Optional[_Union[Accept, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("module", "sender", "offset")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    module: str
    sender: str
    offset: int
    def __init__(self, module: _Optional[str] = ..., sender: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Accept(_message.Message):
    __slots__ = ("module", "sender", "offset")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    module: str
    sender: str
    offset: int
    def __init__(self, module: _Optional[str] = ..., sender: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("module", "sender", "duplicate")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    module: str
    sender: str
    duplicate: bool
    def __init__(self, module: _Optional[str] = ..., sender: _Optional[str] = ..., duplicate: bool = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("run_id", "wants")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    WANTS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    wants: _containers.RepeatedCompositeFieldContainer[Want]
    def __init__(self, run_id: _Optional[str] = ..., wants: _Optional[_Iterable[_Union[Want, _Mapping]]] = ...) -> None: ...

class Want(_message.Message):
    __slots__ = ("module", "sha256", "offset")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    module: str
    sha256: bytes
    offset: int
    def __init__(self, module: _Optional[str] = ..., sha256: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class PullReply(_message.Message):
    __slots__ = ("manifest", "chunk")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    manifest: _payload_pb2.Manifest
    chunk: bytes
    def __init__(self, manifest: _Optional[_Union[_payload_pb2.Manifest, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...
