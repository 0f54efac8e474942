"""Has verify.py say what it finds in sample files, and fails where Tollgate's own verifier said something else.

compare.py DIRECTORY [SOUND_MIN TAMPERED_MIN]

DIRECTORY/index.jsonl names each file, what it is verified with, and what was said of it: the verdict, and the index of
the first thing that is wrong. Both must be the same, everywhere. Of each kind the first file is verified by the command
line too.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import verify
from verify import Tampered, Trust, Unreadable, read_witnesses

# Fewer would mean that the samples were not made.
MINIMA = ("1000", "10000")
TOLD_MAX = 20
EXIT_CODES = {"sound": 0, "tampered": 1, "unreadable": 2}


def verdict_of(file: Path, sample: dict[str, Any]) -> tuple[str, int | None, str]:
    """The verdict on a file, the index of what is wrong, and the line that tells it."""
    keys, mac_keys = ([bytes.fromhex(key) for key in sample[name]] for name in ("keys", "mac_keys"))
    trust = Trust(keys=keys, mac_keys=mac_keys, partial=sample.get("partial", False))
    read_witnesses(sample["witnesses"], trust)
    try:
        with file.open("rb") as lines:
            return "sound", None, verify.verify(lines, trust)
    except Tampered as finding:
        return "tampered", finding.index, str(finding)
    except Unreadable as error:
        return "unreadable", 0, str(error)


def exit_code_of(file: Path, sample: dict[str, Any]) -> int:
    """How verify.py exits for the file; it must print one line."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()) as said:
        witnesses = Path(name, "witnesses")
        witnesses.write_text(sample["witnesses"], encoding="utf-8")
        words = [str(file), "--checkpoint", str(witnesses)]
        words += ["--partial"] if sample.get("partial") else []
        for key in sample["keys"]:
            words += ["--key", key]
        for at, key in enumerate(sample["mac_keys"]):
            Path(name, f"key-{at}").write_text(f"{key}\n", encoding="ascii")
            words += ["--mac-key-file", str(Path(name, f"key-{at}"))]
        code = verify.main(words)
    return code if said.getvalue().count("\n") == 1 else -1


def main() -> int:
    """Compares, and tells the first differences."""
    directory = Path(sys.argv[1])
    begun, counts, kinds, differences = time.monotonic(), Counter[str](), set[str](), 0
    with open(directory / "index.jsonl", encoding="utf-8") as index:
        for sample in map(json.loads, index):
            verdict, at, said = verdict_of(directory / sample["file"], sample)
            counts[verdict] += 1
            if sample["kind"] not in kinds and exit_code_of(directory / sample["file"], sample) != EXIT_CODES[verdict]:
                print(f"{sample['file']}: the command line does not say {verdict} in one line")
                differences += 1
            kinds.add(sample["kind"])
            late = at is not None and sample["first_changed"] is not None and at > sample["first_changed"]
            if (verdict, at) != (sample["verdict"], sample["index"]) or late:
                differences += 1
                if differences <= TOLD_MAX:
                    print(f"{sample['file']} ({sample['kind']}): here {verdict}, {said}; "
                          f"there {sample['verdict']}, entry {sample['index']}: {sample['fault']}; "
                          f"changed from entry {sample['first_changed']}")
    if exit_code_of(directory / "none", {"keys": [], "mac_keys": [], "witnesses": "", "partial": False}) != EXIT_CODES["unreadable"]:
        print("the command line does not say that there is no file")
        differences += 1
    seconds = time.monotonic() - begun
    print(f"{dict(counts)}, {len(kinds)} kinds, {differences} differences, {seconds:.1f} s")
    sound_min, tampered_min = map(int, sys.argv[2:4] or MINIMA)
    enough = counts["sound"] >= sound_min and counts["tampered"] + counts["unreadable"] >= tampered_min
    return 0 if differences == 0 and enough else 1


if __name__ == "__main__":
    sys.exit(main())
