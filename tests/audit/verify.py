#!/usr/bin/env python3
"""Verifies an exported audit log, without anything of Tollgate: a second reader of the same format.

  verify.py FILE [--key HEX]... [--mac-key-file FILE]... [--checkpoint FILE]...

--key           an Ed25519 public key that may sign; without one the key that the file names is believed
--mac-key-file  an HMAC key, in hexadecimal digits
--checkpoint    what was seen of the log before: signed notes as text, or JSON Lines with {"checkpoint": note},
                {"end": note} or {"link": {"writer", "incarnation", "sequence", "link"}}

Prints one line. Exits 0 when the log is sound, 1 when it was tampered with, 2 when there is no log to read.

The format is described in core/audit/src/file.rs, seal.rs, tree.rs and checkpoint.rs. There is one way to write each
line, and no other is read: a pattern says what a line is, instead of a JSON parser that forgives.
"""

import argparse
import hashlib
import hmac
import json
import re
import struct
import sys
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

LINE_BYTES_MAX = 64 * 1024
NOTE_BYTES_MAX = 4096
MAC_KEY_BYTES_MIN = 32
# More of a note are not read.
SIGNATURES_MAX = 8
# Databases count so far.
SIZE_MAX = 2**63 - 1
NESTED_MAX = 127
CONTROL_PLANE = "control-plane"
CHAIN_START = bytes(32)

UNSIGNED, SIGNED = "(?:0|[1-9][0-9]{0,19})", "(?:0|-?[1-9][0-9]{0,18})"
HASH = "[0-9a-f]{64}"
HEAD = re.compile(
    rf'\{{"format":"tollgate-audit-1","log":"(?P<log>[0-9a-f]{{32}})","first":(?P<first>{UNSIGNED}),'
    rf'"start":\[(?P<start>(?:"{HASH}"(?:,"{HASH}")*)?)\],"key":"(?P<key>{HASH})"\}}'
)
ENTRY = re.compile(
    rf'\{{"index":(?P<index>{UNSIGNED}),"leaf":"(?P<leaf>{HASH})","mac":"(?P<mac>{HASH})",'
    rf'"writer":"(?P<writer>[0-9A-Za-z-]{{1,64}})","incarnation":(?P<incarnation>{UNSIGNED}),'
    rf'"sequence":(?P<sequence>{UNSIGNED}),"previous":"(?P<previous>(?:{HASH})?)","key":"(?P<key>[0-9a-f]{{16}})",'
    rf'"time_ms":(?P<time_ms>{SIGNED}),"action":"(?P<action>[-0-9a-z_.]{{1,64}})",'
    rf'(?:"salt":"(?P<salt>[0-9a-f]{{32}})"|"commitment":"(?P<commitment>{HASH})")'
    r'(?:,"differs":"(?P<differs>[^"\\\x00-\x1f]+)")?,"body":(?P<body>.+)\}',
    re.DOTALL,
)
BASE64_HASH = "[0-9A-Za-z+/]{43}="
NOTE = re.compile(
    rf"(?P<text>(?P<lines>(?P<origin>tollgate/(?P<log>[0-9a-f]{{32}}))\n(?P<size>{UNSIGNED})\n(?P<root>{BASE64_HASH})\n"
    rf"time (?P<time>{SIGNED})\n)hmac-sha256 (?P<key>[0-9a-f]{{16}}) (?P<mac>{BASE64_HASH})\n)\n"
    r"(?P<signatures>(?:[^\n]*\n)+)"
)
WITNESSED_NOTE = re.compile(r"tollgate/[^\n]*\n(?:[^\n]+\n)*\n(?:— [^\n]*\n)+")
DIGEST = re.compile("[0-9a-fA-F]{64}")


class Tampered(Exception):
    """What is wrong first, and at which index."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(f"entry {index}: {what}")
        self.index = index


class Unreadable(Exception):
    """There is no log to say anything about, or nothing to compare it with."""


class Fault(ValueError):
    """What is wrong with a line."""


def read_json(text: bytes | str) -> Any:
    """Reads JSON in which no member stands twice and every number is one."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise Fault("a member stands twice")
        return members

    def whole(digits: str) -> int:
        if digits == "-0":
            raise Fault("a number is not written in the one way")
        return int(digits)

    def refuse(word: str) -> None:
        raise Fault(f"{word} is no JSON")

    if isinstance(text, bytes):
        text = text.decode()
    try:
        return json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_constant=refuse)
    except RecursionError:
        raise Fault("it is nested too deep") from None


def depth(value: Any) -> int:
    """How deep objects and arrays are within others."""
    levels, within = 0, [value]
    while within := [one for one in within if isinstance(one, dict | list)]:
        levels += 1
        within = [part for one in within for part in (one.values() if isinstance(one, dict) else one)]
    return levels


def member(value: Any, name: str, kind: type) -> Any:
    """The member of an object, of exactly that type (a bool is no int)."""
    if type(value) is not dict or type(value.get(name)) is not kind:
        raise Fault(f"its body is of another form: {name}")
    return value[name]


def from_base64(text: str) -> bytes:
    """Decodes base64, of which there is one way to write each value."""
    decoded = b64decode(text, validate=True)
    if b64encode(decoded).decode() != text:
        raise Fault("base64 in another way than the one")
    return decoded


class Tree:
    """The Merkle tree of RFC 6962 (section 2.1), of which only perfect subtrees without a sibling are kept."""

    def __init__(self, size: int, roots: list[bytes]) -> None:
        heights = [bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]
        if not 0 <= size < SIZE_MAX or len(heights) != len(roots):
            raise Fault("the frontier does not fit the first index")
        self.size = size
        self._subtrees = list(zip(heights, roots, strict=True))

    def push(self, leaf: bytes) -> None:
        """Adds a leaf by its hash."""
        height = 0
        while self._subtrees and self._subtrees[-1][0] == height:
            leaf = self._node(self._subtrees.pop()[1], leaf)
            height += 1
        self._subtrees.append((height, leaf))
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves."""
        if not self._subtrees:
            return hashlib.sha256().digest()
        *larger, (_, root) = self._subtrees
        for _, left in reversed(larger):
            root = self._node(left, root)
        return root

    @staticmethod
    def _node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()


class Note:
    """A signed checkpoint: a C2SP tlog-checkpoint with a MAC in its text."""

    def __init__(self, note: str) -> None:
        found = NOTE.fullmatch(note)
        if not found or len(note.encode()) > NOTE_BYTES_MAX:
            raise Fault("is none")
        self.origin, self.log = found["origin"], bytes.fromhex(found["log"])
        self.size, self.root = int(found["size"]), from_base64(found["root"])
        self._text, self._lines = found["text"].encode(), found["lines"].encode()
        self._mac_key, self._mac = bytes.fromhex(found["key"]), from_base64(found["mac"])
        self._signatures = found["signatures"].split("\n")[:-1]
        struct.pack(">Qq", self.size, int(found["time"]))

    def is_signed_by_none_but(self, key: bytes) -> bool:
        """Whether there is one signature, and this public key made it."""
        return len(self._signatures) == 1 and self.is_signed_by(key)

    def is_signed_by(self, key: bytes) -> bool:
        """Whether this public key made one of the signatures."""
        return any(self._is_signature(line, key) for line in self._signatures[:SIGNATURES_MAX])

    def _is_signature(self, line: str, key: bytes) -> bool:
        # C2SP signed-note.
        prefix = f"— {self.origin} "
        if not line.startswith(prefix):
            return False
        named = hashlib.sha256(self.origin.encode() + b"\n\x01" + key).digest()[:4]
        try:
            signature = from_base64(line.removeprefix(prefix))
            VerifyKey(key).verify(self._text, signature[4:])
        except (BadSignatureError, ValueError):
            return False
        return signature[:4] == named

    def has_mac_of(self, key: bytes) -> bool:
        """Whether its MAC is that of this HMAC key."""
        mac = hmac.digest(key, self._lines, "sha256")
        return mac_key_id(key) == self._mac_key and hmac.compare_digest(mac, self._mac)


class Link(NamedTuple):
    """An entry of a writer's own chain, as somebody saw it."""

    writer: str
    incarnation: int
    sequence: int
    link: bytes


@dataclass
class Trust:
    """With what a log is compared."""

    keys: list[bytes] = field(default_factory=list)
    mac_keys: list[bytes] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    # Whether the file is known to be a part of the log.
    partial: bool = False


@dataclass
class Chain:
    """What the next entry of a writer's run must be. Nobody knows a link to what was lost."""

    sequence: int
    previous: bytes | None
    # The first sequence that this file can know anything of.
    first: int


def mac_key_id(key: bytes) -> bytes:
    """Names an HMAC key, as headers and checkpoints do."""
    return hashlib.sha256(b"tollgate-audit-key-v1\x00" + key).digest()[:8]


class Verifier:
    """Verifies one file, line after line."""

    def __init__(self, head: bytes, trust: Trust) -> None:
        try:
            found = HEAD.fullmatch(head.decode())
            if not found:
                raise Fault("the first line is not that of an exported audit log")
            roots = [bytes.fromhex(root) for root in re.findall(HASH, found["start"])]
            self._tree = Tree(int(found["first"]) - 1, roots)
        except ValueError as error:
            raise Unreadable(str(error)) from error
        self._log, key = bytes.fromhex(found["log"]), bytes.fromhex(found["key"])
        if trust.keys and key not in trust.keys:
            raise Tampered(0, "the first checkpoint is signed by a key that is not one of yours")
        # The size of the longest kept checkpoint that holds: behind it begins what another one contradicts.
        self._start = self._held = self._tree.size
        self._pruned = self._start > 0
        self._signers, self._announced = [key], list[bytes]()
        self._pinned = trust.keys
        self._mac_keys = {mac_key_id(key): key for key in trust.mac_keys}
        self._last_mac_key: bytes | None = None
        self._chains: dict[tuple[str, int], Chain] = {}
        self._proved, self._ended, self._counts = self._tree.size, False, Counter[str]()
        # Those of what is not read yet, and those that no known key signed, with whether they have the root of the log.
        self._notes: defaultdict[int, list[Note]] = defaultdict(list)
        self._unsigned: list[tuple[Note, bool]] = []
        self._links: dict[tuple[str, int, int], bytes] = {}
        # What is gone, and whether an entry says so.
        self._partial, self._erased, self._explained = trust.partial, dict[int, None](), not self._pruned
        self._root_before = self._tree.root() if self._pruned else b""
        self._expect(trust)
        self._compare()

    def line(self, line: bytes) -> None:
        """Verifies the next line, its break included."""
        index = self._tree.size + 1
        try:
            if self._ended:
                raise Fault("there is a line behind the end")
            if len(line) > LINE_BYTES_MAX or not line.endswith(b"\n"):
                raise Fault("the line is too long, or was cut off")
            text = line[:-1].decode()
            kind, _, _ = text.partition(":")
            if kind in ('{"checkpoint"', '{"end"'):
                note = self._note(text, kind[2:-1])
            elif found := ENTRY.fullmatch(text):
                note = None
                self._entry(index, found)
            elif text.startswith('{"index":') and '"broken":' in text:
                raise Fault(f"the stored row is not as any writer stores one: {text}")
            else:
                raise Fault("the line is none of a log")
        except (ValueError, struct.error) as error:
            raise Tampered(index, str(error)) from error
        if note is None:
            self._compare()
        else:
            self._checkpoint(note)
            self._ended = kind == '{"end"'

    def finish(self) -> str:
        """Says what the sound log is, behind its last line."""
        missing = self._tree.size + 1
        for longer in sorted(self._notes, reverse=True):
            if any(self._is_ours(note) for note in self._notes[longer]):
                raise Tampered(missing, f"the log had {longer} entries when it was witnessed")
        if not self._ended:
            raise Tampered(missing, "the file does not end with a checkpoint over its last entry")
        for size in [note.size for note, _ in self._unsigned] + [self._tree.size + 1 for _ in self._notes]:
            # The key that signed over what is before the file may be one that no later file names.
            if not (self._pruned and size == self._start):
                raise Tampered(max(size, 1), "the witness is signed by a key that is not the log's")
            self._counts["older"] += 1
        for writer, incarnation, sequence in self._links:
            chain = self._chains.get((writer, incarnation))
            if not self._pruned or (chain and sequence >= chain.first):
                what = f"{writer} wrote entry {sequence} of its run {incarnation}, and it was acknowledged"
                raise Tampered(missing, f"it is missing: {what}")
            self._counts["older"] += 1
        if not self._partial and not self._explained:
            raise Tampered(1, f"the file begins with entry {self._start + 1}, and no entry says that others were pruned")
        if not self._partial and self._erased:
            raise Tampered(min(self._erased), "its body was erased, and no entry behind it says by whom and why")
        names = ("entries", "MACs", "erased", "witnessed", "older")
        counts = ", ".join(f"{self._counts[name]} {name}" for name in names)
        keys = "keys of yours" if self._pinned else "the file's own key, which nobody vouched for"
        return f"sound up to entry {self._tree.size}: {counts}; signed by {keys}; root {self._tree.root().hex()}"

    def _expect(self, trust: Trust) -> None:
        for note in trust.notes:
            if note.log != self._log:
                raise Tampered(0, "the witness saw another log")
            if note.size < self._tree.size:
                self._counts["older"] += 1
            else:
                self._notes[note.size].append(note)
        for writer, incarnation, sequence, link in trust.links:
            if self._links.setdefault((writer, incarnation, sequence), link) != link:
                raise Tampered(0, "witnesses contradict each other")

    @staticmethod
    def _note(text: str, name: str) -> str:
        note = read_json(text)
        if list(note) != [name] or not isinstance(note[name], str):
            raise Fault("the line is no checkpoint")
        if json.dumps(note, ensure_ascii=False, separators=(",", ":")) != text:
            raise Fault("the line is not written in the one way")
        return str(note[name])

    def _entry(self, index: int, found: re.Match[str]) -> None:
        if int(found["index"]) != index:
            raise Fault(f"entry {found['index']} stands in its place")
        writer, action, body = found["writer"], found["action"].encode(), found["body"].encode()
        run = incarnation, sequence = int(found["incarnation"]), int(found["sequence"])
        previous, mac_key, mac = (bytes.fromhex(found[name]) for name in ("previous", "key", "mac"))
        if previous == CHAIN_START or (found["salt"] is None) != (body == b"null"):
            raise Fault("the line is not written in the one way")
        previous = previous or CHAIN_START
        header = b"\x01" + self._log + struct.pack(">QB", index, len(writer)) + writer.encode()
        header += struct.pack(">QQ", *run) + previous
        header += struct.pack(">qB", int(found["time_ms"]), len(action)) + action + mac_key
        if found["salt"] is None:
            commitment = bytes.fromhex(found["commitment"])
        else:
            commitment = hashlib.sha256(bytes.fromhex(found["salt"]) + body).digest()
        leaf = hashlib.sha256(b"\x00" + header + commitment + mac).digest()
        if leaf.hex() != found["leaf"]:
            raise Fault("its content is not what its leaf hash covers")
        if key := self._mac_keys.get(mac_key):
            if not hmac.compare_digest(hmac.digest(key, header + commitment, "sha256"), mac):
                raise Fault("its MAC is not that of the key that it names")
            self._counts["MACs"] += 1
        if found["salt"] is None:
            self._counts["erased"] += 1
            self._erased[index] = None
        else:
            self._body(found, body)
        if found["differs"]:
            raise Fault(f"the stored row differs from the signed entry: {found['differs']}")
        link = hashlib.sha256(b"\x02" + struct.pack(">QQ", *run) + previous + commitment).digest()
        self._follow(writer, incarnation, sequence, previous, link)
        self._tree.push(leaf)
        self._last_mac_key = mac_key
        self._counts["entries"] += 1

    def _body(self, found: re.Match[str], body: bytes) -> None:
        if not (body.startswith(b"{") and body.endswith(b"}")):
            raise Fault("its body is no object")
        entry = read_json(body)
        # Only of many brackets it has to be known which of them are within others.
        if body.count(b"{") + body.count(b"[") > NESTED_MAX and depth(entry) > NESTED_MAX:
            raise Fault("its body is nested too deep")
        if member(entry, "action", str) != found["action"] or member(entry, "time_ms", int) != int(found["time_ms"]):
            raise Fault("its body is of another action or time")
        # Only the control plane speaks for others.
        if found["writer"] != CONTROL_PLANE:
            return
        if found["action"] == "usage.forget":
            self._forget(member(entry, "target", str), member(entry, "detail", dict))
        elif found["action"] == "audit.rotate_key":
            key = member(member(entry, "detail", dict), "public_key", str)
            if not DIGEST.fullmatch(key):
                raise Fault("its body announces no key")
            self._announced.append(bytes.fromhex(key))
        elif found["action"] == "audit.erase":
            for index in member(member(entry, "detail", dict), "indexes", list):
                struct.pack(">Q", index if type(index) is int else -1)
                self._erased.pop(index, None)
        elif found["action"] == "audit.prune":
            detail = member(entry, "detail", dict)
            pruned_to, root = member(detail, "to", int), member(detail, "root", str)
            struct.pack(">Q", pruned_to)
            if not DIGEST.fullmatch(root):
                raise Fault("its body names no root")
            self._explained |= pruned_to == self._start and bytes.fromhex(root) == self._root_before

    def _forget(self, target: str, detail: dict[str, Any]) -> None:
        numbers = [member(detail, name, int) for name in ("incarnation", "from_sequence", "to_sequence")]
        struct.pack(">QQQ", *numbers)
        incarnation, lost_from, lost_to = numbers
        if not target.startswith("replica/"):
            raise Fault("its body declares entries of no replica as lost")
        run = (target.removeprefix("replica/"), incarnation)
        # What is no stretch, or does not begin where the chain stands, declares nothing.
        if not 0 < lost_from <= lost_to:
            return
        unknown = Chain(lost_from, None, lost_from) if self._pruned else Chain(1, CHAIN_START, 1)
        chain = self._chains.setdefault(run, unknown)
        if lost_from == chain.sequence:
            chain.sequence, chain.previous = lost_to + 1, None

    def _follow(self, writer: str, incarnation: int, sequence: int, previous: bytes, link: bytes) -> None:
        # A file that begins later cannot know where the chain stood.
        unknown = Chain(sequence, None, sequence) if self._pruned else Chain(1, CHAIN_START, 1)
        chain = self._chains.setdefault((writer, incarnation), unknown)
        if sequence != chain.sequence:
            raise Fault(f"the chain of {writer} is broken: entries are missing or out of order")
        if chain.previous not in (None, previous):
            raise Fault(f"the chain of {writer} is broken: the entry before is not the one that it follows")
        chain.sequence, chain.previous = sequence + 1, link
        seen = self._links.pop((writer, incarnation, sequence), None)
        if seen not in (None, link):
            raise Fault(f"{writer} wrote something else here")
        self._counts["witnessed"] += seen is not None

    def _checkpoint(self, text: str) -> None:
        size = self._tree.size
        index = max(size, 1)
        try:
            note = Note(text)
            if (note.log, note.size) != (self._log, size):
                raise Fault("is of another log or size")
            if not note.is_signed_by_none_but(self._signers[-1]):
                raise Fault("is not signed by the key that signs there")
            key = self._mac_keys.get(self._last_mac_key or b"")
            if key and not note.has_mac_of(key):
                raise Fault("has not the MAC of the key of the entries")
        except (ValueError, struct.error) as error:
            raise Tampered(index, f"the checkpoint behind it {error}") from error
        if note.root != self._tree.root():
            first = min(self._proved + 1, index)
            raise Tampered(first, f"it, or an entry behind it up to {size}, is not what the checkpoint over them signs")
        # The key that is announced signs from here on, and the one before it no more.
        announced, self._announced = self._announced, []
        self._proved = size
        if announced:
            self._signers += announced
            # A witness may be signed by a key that the file announces later.
            unsigned, self._unsigned = self._unsigned, []
            for seen, same in unsigned:
                self._judge(seen, same)

    def _compare(self) -> None:
        notes = self._notes.pop(self._tree.size, [])
        root = self._tree.root() if notes else b""
        for note in notes:
            self._judge(note, note.root == root)

    def _judge(self, note: Note, same: bool) -> None:
        if not self._is_ours(note):
            self._unsigned.append((note, same))
        elif not same:
            first = min(self._held + 1, max(note.size, 1))
            raise Tampered(first, f"this entry, or one behind it up to {note.size}, was another when it was witnessed")
        else:
            self._counts["witnessed"] += 1
            self._held = max(self._held, note.size)

    def _is_ours(self, note: Note) -> bool:
        return any(note.is_signed_by(key) for key in [*self._signers, *self._pinned])


def verify(lines: Iterable[bytes], trust: Trust) -> str:
    """Verifies a log; raises Tampered or Unreadable, or says what it is."""
    lines = iter(lines)
    verifier = Verifier(next(lines, b"").removesuffix(b"\n"), trust)
    for line in lines:
        verifier.line(line)
    return verifier.finish()


def read_witnesses(text: str, trust: Trust) -> None:
    """Adds what somebody kept to what the log is compared with."""
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end].strip()
        if line.startswith("{"):
            _read_witness(line, trust)
        elif note := WITNESSED_NOTE.match(text, at):
            trust.notes.append(Note(note[0]))
            end = note.end()
        elif line:
            raise Fault(f"neither a note nor a JSON line: {line[:80]}")
        at = end


def _read_witness(line: str, trust: Trust) -> None:
    [(name, value)] = read_json(line).items()
    if name in ("checkpoint", "end") and type(value) is str:
        trust.notes.append(Note(value))
    elif name == "link" and DIGEST.fullmatch(member(value, "link", str)):
        incarnation, sequence = member(value, "incarnation", int), member(value, "sequence", int)
        trust.links.append(Link(member(value, "writer", str), incarnation, sequence, bytes.fromhex(value["link"])))
    else:
        raise Fault(f"neither a checkpoint, an end nor a link: {name}")


def _read_trust(arguments: argparse.Namespace) -> Trust:
    trust = Trust(partial=arguments.partial)
    for key in arguments.key:
        if not DIGEST.fullmatch(key):
            raise Fault(f"--key {key}: a public key has 64 hexadecimal digits")
        trust.keys.append(bytes.fromhex(key))
    for name in arguments.mac_key_file:
        with open(name, encoding="ascii") as file:
            trust.mac_keys.append(bytes.fromhex(file.read().strip()))
        if len(trust.mac_keys[-1]) < MAC_KEY_BYTES_MIN:
            raise Fault(f"{name}: an HMAC key must be at least {MAC_KEY_BYTES_MIN} bytes")
    for name in arguments.checkpoint:
        with open(name, encoding="utf-8", newline="") as file:
            read_witnesses(file.read(), trust)
    return trust


def _lines(name: str) -> Iterator[bytes]:
    with open(name, "rb") as file:
        # Whatever is longer than a line is read in pieces, none of which is one.
        while line := file.readline(LINE_BYTES_MAX + 1):
            yield line


def main(words: list[str] | None = None) -> int:
    """Verifies the file that the command line names."""
    parser = argparse.ArgumentParser(description="Verifies an exported audit log.")
    parser.add_argument("file")
    parser.add_argument("--partial", action="store_true", help="the file is known to be a part of the log")
    for name in ("--key", "--mac-key-file", "--checkpoint"):
        parser.add_argument(name, action="append", default=[])
    arguments = parser.parse_args(words)
    try:
        print(verify(_lines(arguments.file), _read_trust(arguments)))
    except Tampered as finding:
        print(finding)
        return 1
    except (Unreadable, OSError, ValueError) as error:
        print(f"unreadable: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
