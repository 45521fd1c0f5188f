"""What a power loss can leave of a folder: writes and syncs are recorded with strace, states between them made.

What was synced when the power went is there. Of everything else, each write, change of size and change of names may be
there or not, in any combination; of a write any of its sectors. A name is safe once its folder was synced.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NEVER = sys.maxsize
SECTOR_BYTES = 512
ROOT = 0
FORGOTTEN = "-shm"  # ends the name of a file that says nothing after a power loss: SQLite makes it anew
CALLS = (
    "openat,creat,pwrite64,pwritev,write,writev,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,rename,"
    "renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,sendfile,copy_file_range,lseek,close"
)
UNKNOWN = {"creat", "pwritev", "writev", "truncate", "fallocate", "sync_file_range", "linkat", "link", "symlink",
           "sendfile", "copy_file_range"}  # fmt: skip
LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
RESULT = re.compile(r"(.*)\) += (-?\d+)(?:<.*>)?(?: \w+ \(.*\))?( \(INJECTED\))?")
HANDLE = re.compile(r"(\d+|AT_FDCWD)<(.*)>")


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that a file got."""

    file: int
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """Another size of a file."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Naming:
    """Names that changed together: (folder, name, what it names from then on). Safe once `folder` is synced."""

    folder: int
    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(slots=True)
class Operation:
    """A change, and the moments (lines of the recording) at which it began and ended, and from which on it is safe.
    After a sync that failed, no later one makes it safe: the kernel takes it for written."""

    change: Write | Resize | Naming
    began: int
    ended: int
    safe: int = NEVER
    given_up: bool = False

    @property
    def about(self) -> int:
        """What has to be synced."""
        return self.change.folder if isinstance(self.change, Naming) else self.change.file


@dataclass(frozen=True)
class State:
    """What is left after a power loss at some moment: numbers of operations, and of one torn write its sectors."""

    moment: int
    kept: frozenset[int]
    torn: int | None = None
    sectors: frozenset[int] = frozenset()


def can_record() -> bool:
    """Whether strace is there and may trace."""
    command = ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", "trace=fsync", "true"]
    return shutil.which("strace") is not None and subprocess.run(command, capture_output=True).returncode == 0


def record(commands: Sequence[tuple[Sequence[str], str]], folder: Path, trace: Path) -> Recording:
    """Run commands, which have to end well, each with calls that fail (as strace has it; "": none); what they did to
    `folder`, which is empty before."""
    tracing = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "1000000000", "-e", f"trace={CALLS}"]
    recording = Recording(folder)
    for command, failing in commands:
        inject = ["-e", f"inject={failing}"] if failing else []
        done = subprocess.run([*tracing, *inject, "-o", str(trace), *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        recording.begin()
        for line in trace.read_text("ascii").splitlines():
            recording.read(line)
    return recording


@dataclass
class Recording:
    """What happened to a folder. `noted` are writes to files right in it, which survive everything: (moment, name,
    content)."""

    folder: Path
    operations: list[Operation] = field(default_factory=list)
    noted: list[tuple[int, str, bytes]] = field(default_factory=list)
    moment: int = 0
    _begun: dict[str, tuple[int, str]] = field(default_factory=dict)  # by thread: what goes on in it
    _folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    _sizes: dict[int, int] = field(default_factory=dict)
    _handles: dict[str, int] = field(default_factory=dict)
    _offsets: dict[str, int] = field(default_factory=dict)
    _last: int = ROOT  # number of a file or folder

    # -- lines of strace ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Another process begins."""
        self._begun.clear()
        self._handles.clear()

    def read(self, line: str) -> None:
        """Take in the next line."""
        found = LINE.fullmatch(line)
        if found is None:
            return  # an exit or a signal
        self.moment += 1
        thread, resumed, name, rest = found.groups()
        if rest.endswith(" <unfinished ...>"):
            self._begun[thread] = (self.moment, rest.removesuffix(" <unfinished ...>"))
            return
        began, text = self.moment, rest
        if resumed:
            began, before = self._begun.pop(thread)
            text = before + rest
        done = RESULT.fullmatch(text)
        if done is None:
            return
        call, given = resumed or name, done[1].split(", ")
        if int(done[2]) >= 0:
            self._take(call, given, int(done[2]), began)
        elif call in ("fsync", "fdatasync") and (handle := _number(given[0])) in self._handles:
            self._sync(self._handles[handle], began, failed=True)

    def _take(self, name: str, given: list[str], result: int, began: int) -> None:
        if name == "openat":
            self._open(_path(given[1]), given[2], str(result), began)
        elif name == "close":
            self._handles.pop(_number(given[0]), None)
        elif name in ("rename", "unlink", "mkdir", "rmdir"):
            self._rename(began, *(_path(argument) for argument in given[:2] if argument.startswith('"')), made=name)
        elif name in ("renameat", "renameat2"):
            self._rename(began, _path(given[1]), _path(given[3]), made="rename")
        elif name in ("unlinkat", "mkdirat"):
            self._rename(began, _at(given[0], _path(given[1])), made=name.removesuffix("at"))
        elif (handle := _number(given[0])) in self._handles:
            assert name not in UNKNOWN, f"{name} is not understood"
            self._change(name, handle, given, result, began)

    def _change(self, name: str, handle: str, given: list[str], result: int, began: int) -> None:
        file = self._handles[handle]
        if name == "pwrite64":
            self._write(Write(file, int(given[3]), _bytes(given[1])[:result]), began)
        elif name == "write":
            self._write(Write(file, self._offsets[handle], _bytes(given[1])[:result]), began)
            self._offsets[handle] += result
        elif name == "lseek":
            self._offsets[handle] = result
        elif name == "ftruncate":
            self._resize(file, int(given[1]), began)
        elif name in ("fsync", "fdatasync"):
            self._sync(file, began)

    # -- what they mean ----------------------------------------------------------------------------------------------

    def _open(self, path: str, flags: str, handle: str, began: int) -> None:
        place = self._place(path)
        self._handles.pop(handle, None)
        if place is None:
            return
        folder, name = place
        file = self._folders[folder].get(name) if name else ROOT
        if file is None:
            if "O_CREAT" not in flags:
                return
            file = self._new()
            self._sizes[file] = 0
            self._name(folder, ((folder, name, file),), began)
        elif "O_TRUNC" in flags and self._sizes[file]:
            self._resize(file, 0, began)
        self._handles[handle] = file
        self._offsets[handle] = self._sizes.get(file, 0) if "O_APPEND" in flags else 0

    def _rename(self, began: int, path: str, to: str = "", made: str = "") -> None:
        place, target = self._place(path), self._place(to) if to else None
        if place is None:
            return
        folder, name = place
        if made == "mkdir":
            new = self._new()
            self._folders[new] = {}
            self._name(folder, ((folder, name, new),), began)
        elif target is not None:
            moved = self._folders[folder][name]
            self._name(target[0], ((folder, name, None), (*target, moved)), began)
        else:
            self._name(folder, ((folder, name, None),), began)

    def _place(self, path: str) -> tuple[int, str] | None:
        """Folder and name of a path; None where it is outside or its folder is not there."""
        if not path.startswith(f"{self.folder}"):
            return None
        *above, name = path.removeprefix(f"{self.folder}").split("/")
        folder = ROOT
        for part in above[1:]:
            if part not in self._folders[folder]:
                return None
            folder = self._folders[folder][part]
        return folder, name

    def _new(self) -> int:
        self._last += 1
        return self._last

    def _name(self, folder: int, changes: tuple[tuple[int, str, int | None], ...], began: int) -> None:
        for inside, name, target in changes:
            _rename_in(self._folders[inside], name, target)
        self.operations.append(Operation(Naming(folder, changes), began, self.moment))

    def _write(self, change: Write, began: int) -> None:
        self._sizes[change.file] = max(self._sizes[change.file], change.offset + len(change.content))
        name = next((name for name, file in self._folders[ROOT].items() if file == change.file), "")
        if name:
            self.noted.append((began, name, change.content))
        else:
            self.operations.append(Operation(change, began, self.moment))

    def _resize(self, file: int, size: int, began: int) -> None:
        self._sizes[file] = size
        self.operations.append(Operation(Resize(file, size), began, self.moment))

    def _sync(self, synced: int, began: int, failed: bool = False) -> None:
        for operation in self.operations:
            if operation.about == synced and operation.ended < began and operation.safe == NEVER:
                operation.given_up |= failed
                operation.safe = NEVER if operation.given_up else self.moment

    # -- what a power loss leaves ------------------------------------------------------------------------------------

    def states(self, moment: int, rng: random.Random, chances: int = 3) -> Iterator[State]:
        """Of a power loss at a moment: nothing lost, all lost, all but one, only one, and by chance."""
        begun = [number for number, operation in enumerate(self.operations) if operation.began <= moment]
        safe = frozenset(number for number in begun if self.operations[number].safe <= moment)
        open_ = [number for number in begun if number not in safe]
        yield State(moment, safe)
        yield State(moment, frozenset(begun))
        for number in open_:
            yield State(moment, safe | {number})
            yield State(moment, frozenset(begun) - {number})
        for _ in range(chances):
            kept = safe | {number for number in open_ if rng.random() < 0.5}
            yield State(moment, kept)
            if writes := [number for number in open_ if isinstance(self.operations[number].change, Write)]:
                yield self._torn(moment, kept, rng.choice(writes), rng)

    def _torn(self, moment: int, kept: frozenset[int], number: int, rng: random.Random) -> State:
        change = self.operations[number].change
        assert isinstance(change, Write)
        sectors = len(change.content) // SECTOR_BYTES + 2
        return State(moment, kept | {number}, number, frozenset(rng.sample(range(sectors), rng.randint(0, sectors))))

    def build(self, state: State, target: Path) -> None:
        """Make a folder that is what was left."""
        folders: dict[int, dict[str, int]] = {ROOT: {}}
        files: dict[int, bytearray] = {}
        for number in sorted(state.kept):
            change = self.operations[number].change
            if isinstance(change, Naming):
                for folder, name, file in change.changes:
                    _rename_in(folders.setdefault(folder, {}), name, file)
            elif isinstance(change, Resize):
                content = files.setdefault(change.file, bytearray())
                content[:] = content[: change.size].ljust(change.size, b"\0")
            else:
                whole = number != state.torn
                for offset, piece in [(change.offset, change.content)] if whole else _pieces(change, state.sectors):
                    content = files.setdefault(change.file, bytearray())
                    content.extend(bytes(max(offset - len(content), 0)))
                    content[offset : offset + len(piece)] = piece
        _make(ROOT, target, folders, files, self._folders.keys())


def _make(
    folder: int, target: Path, folders: dict[int, dict[str, int]], files: dict[int, bytearray], known: Sequence[int]
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, file in folders.get(folder, {}).items():
        if file in known:
            _make(file, target / name, folders, files, known)
        elif not name.endswith(FORGOTTEN):
            (target / name).write_bytes(files.get(file, b""))


def _pieces(change: Write, sectors: frozenset[int]) -> Iterator[tuple[int, bytes]]:
    """The sectors of a write that reached the disk."""
    first = change.offset // SECTOR_BYTES
    for sector in sorted(sectors):
        start = max((first + sector) * SECTOR_BYTES, change.offset)
        end = (first + sector + 1) * SECTOR_BYTES
        piece = change.content[start - change.offset : max(end - change.offset, 0)]
        if piece:
            yield start, piece


def _rename_in(folder: dict[str, int], name: str, target: int | None) -> None:
    if target is None:
        folder.pop(name, None)
    else:
        folder[name] = target


def _bytes(argument: str) -> bytes:
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def _path(argument: str) -> str:
    return _bytes(argument).decode()


def _number(argument: str) -> str:
    found = HANDLE.fullmatch(argument)
    return found[1] if found else argument


def _at(handle: str, path: str) -> str:
    found = HANDLE.fullmatch(handle)
    assert found is not None
    return path if path.startswith("/") else f"{_path(found[2])}/{path}"
