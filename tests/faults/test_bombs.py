"""Small files that speak of more than they hold, given to every reader of files that come in.

A reader that believes one of them takes all memory or never ends: so each runs in a process of its
own with 4 GiB of address space and 60 s of processor time.
"""

import json
import os
import struct
import subprocess
import sys
import zlib

import pytest

from wattbench.processes.children import Child

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits of a process")

READ = """
import json, resource, sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

from wattbench.cli import summary, tune
from wattbench.errors import UsageError
from wattbench.hosts.remote import batch
from wattbench.law import calibration as law
from wattbench.measure.meters import replay
from wattbench.quant.calibrate import Calibration
from wattbench.quant.files import TensorFile
from wattbench.quant.gguf_files import GgufFile
from wattbench.report import folder
from wattbench.study import plan


def picture(path):
    if folder.thumbnail(path, True, str) is None:
        raise ValueError("not shown")


def verdict(path):
    if folder.tuned_of(path.parent) is None:
        raise ValueError("not shown")


READERS = {
    "gguf": GgufFile,
    "safetensors": TensorFile,
    "law": law.load,
    "calibration": Calibration.load,
    "trace": replay.load,
    "workflow": batch.check_workflow,
    "tuned": tune.read_workflow,
    "table": summary.read_table,
    "journal": summary.read_journal,
    "plan": lambda path: plan.read_plan(path, path.parent),
    "picture": picture,
    "verdict": verdict,
}
for kind, path in json.loads(sys.argv[1]):
    try:
        READERS[kind](Path(path))
    except (ValueError, RuntimeError, UsageError) as error:
        print("refused:", str(error).replace(chr(10), " "), flush=True)
    else:
        print("taken", flush=True)
"""

DEEP = "[" * 100_000


def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf(keys=0, tensors=0, body=b"", version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def array(kind, count, body=b""):
    return text(b"a") + struct.pack("<IIQ", 9, kind, count) + body


def nested(depth):
    """Arrays in arrays, each with one item; a byte is the innermost."""
    return array(9, 1, struct.pack("<IQ", 9, 1) * (depth - 2) + struct.pack("<IQB", 0, 1, 7))


GGUF_BOMBS = {
    "array_items": gguf(1, 0, array(0, 2**62)),
    "array_of_strings": gguf(1, 0, array(8, 2**61, text(b"x"))),
    "array_of_arrays": gguf(1, 0, array(9, 2**60)),
    "nested": gguf(1, 0, nested(2000)),
    "nested_five": gguf(1, 0, nested(5)),
    "string": gguf(1, 0, text(b"a") + struct.pack("<IQ", 8, 2**63)),
    "key": gguf(1, 0, struct.pack("<Q", 2**64 - 1)),
    "keys": gguf(2**64 - 1, 0),
    "tensors": gguf(0, 2**64 - 1),
    "dimensions": gguf(0, 1, text(b"t") + struct.pack("<I", 2**32 - 1)),
    "weights": gguf(0, 1, text(b"t") + struct.pack("<IQIQ", 1, 2**62, 0, 0)),
    "overflow": gguf(0, 1, text(b"t") + struct.pack("<IQQIQ", 2, 2**32, 2**32, 0, 0)),
    "type": gguf(1, 0, text(b"a") + struct.pack("<I", 77)),
    "empty": b"",
    "cut": gguf()[:10],
    "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 2**64 - 1),
}
SAFETENSORS_BOMBS = {
    "length": struct.pack("<Q", 2**63) + b"{}",
    "deep": struct.pack("<Q", 100_001) + b"{" + DEEP.encode(),
    "empty": b"",
}
JSON_BOMBS = {
    "deep": DEEP.encode(),
    "digits": b'{"J": ' + b"9" * 100_000 + b"}",
    "nul": b"\x00" * 1000,
    "list": b"[]",
    "secret": b'{"J": {"domain": {}, "hunter2": "hunter2"}, "version": 1, "layers": {"hunter2": 1}}'
    b"",
}
PLAN_BOMBS = {
    "deep": b"a = " + DEEP.encode(),
    "tables": b"[" + b"a." * 50_000 + b"a]\n",
    "digits": b"a = " + b"9" * 100_000,
    "nul": b"\x00" * 1000,
    "long": b"#" * (2**20 + 1),
    "secret": b'hunter2 = "hunter2',
}
TABLE_BOMBS = {
    "zeros": b"\x00" * 1_000_000,
    "commas": b"," * 1_000_000,
    "quote": b'"' + b"x" * 1_000_000,
    "secret": b"hunter2\nhunter2,1,2,3\n",
    "empty": b"",
}


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, *chunks, rows=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    made = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


PICTURE_BOMBS = {
    "wide": png(2**31 - 1, 2**31 - 1),
    "empty_pixels": lambda: png(9000, 9000, rows=zlib.compress(bytes(9001 * 9000), 9)),
    "text": lambda: png(1, 1, chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(2**27), 9))),
    "cut": png(64, 64)[:40],
    "text_file": b"hunter2",
}


def entry(begin, end, shape=(4,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


SAFETENSORS_HEADERS = {
    "shape": {"t": entry(0, 0, [2**62, 4])},
    "overlap": {"hunter2": entry(0, 16), "hunter2 ": entry(8, 24)},
    "backwards": {"hunter2": entry(16, 0)},
    "negative": {"hunter2": entry(-16, 0)},
    "beyond": {"hunter2": entry(0, 2**40, [2**38])},
    "dtype": {"t": entry(0, 16, dtype="hunter2")},
    "metadata": {"__metadata__": "hunter2", "t": entry(0, 16)},
    "dimensions": {"t": entry(0, 4, [1] * 100_000)},
    "no_values": {"t": entry(0, 0, [0, 2**62])},
    "list": ["hunter2"],
}
for name, header in SAFETENSORS_HEADERS.items():
    written = json.dumps(header).encode()
    SAFETENSORS_BOMBS[name] = struct.pack("<Q", len(written)) + written + bytes(16)

KINDS = ("gguf", "safetensors", "law", "calibration", "trace", "workflow", "tuned", "plan")
KINDS += ("table", "journal", "picture", "verdict")
SUFFIXES = {"picture": ".png", "journal": ".jsonl"}

BOMBS = [
    *(("gguf", name, data) for name, data in GGUF_BOMBS.items()),
    *(("safetensors", name, data) for name, data in SAFETENSORS_BOMBS.items()),
    *(("law", name, data) for name, data in JSON_BOMBS.items()),
    *(("calibration", name, data) for name, data in JSON_BOMBS.items()),
    *(("trace", name, data) for name, data in JSON_BOMBS.items() if name != "list"),
    ("trace", "deep_object", b'{"t_s":' + DEEP.encode()),
    ("trace", "cell", b"t_s,power_w\n0," + b"9" * 200_000 + b"\n1,1\n"),
    *(("workflow", name, data) for name, data in JSON_BOMBS.items()),
    *(("tuned", name, data) for name, data in JSON_BOMBS.items() if name != "secret"),
    *(("plan", name, data) for name, data in PLAN_BOMBS.items()),
    *(("table", name, data) for name, data in TABLE_BOMBS.items()),
    *(("journal", name, data) for name, data in JSON_BOMBS.items() if name != "nul"),
    *(("picture", name, data) for name, data in PICTURE_BOMBS.items()),
    *(("verdict", name, data) for name, data in JSON_BOMBS.items()),
    *((kind, "pipe", None) for kind in KINDS),
]


def read_all(jobs, tmp_path):
    """What became of each file, all read in one process; the process ends early at a bomb."""
    script = tmp_path / "read.py"
    script.write_text(READ, "utf-8")
    command = [sys.executable, str(script), json.dumps(jobs)]
    with Child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        out, err = child.communicate()
    return child.returncode, out.decode().splitlines(), err.decode()


def test_every_bomb_is_refused_and_quotes_nothing(tmp_path, figures):
    jobs = []
    for kind, name, data in BOMBS:
        path = tmp_path / f"{kind}_{name}{SUFFIXES.get(kind, '')}"
        if kind == "verdict":
            path = tmp_path / name / "verdict.json"
            path.parent.mkdir(exist_ok=True)
        if data is None:
            os.mkfifo(path)
        else:
            path.write_bytes(data() if callable(data) else data)
        jobs.append((kind, str(path)))
    code, answers, err = read_all(jobs, tmp_path)
    assert code == 0, f"ended at {jobs[len(answers)]}: {err[-2000:]}"
    taken = [job for job, answer in zip(jobs, answers, strict=True) if answer == "taken"]
    assert taken == []
    assert "hunter2" not in "".join(answers)
    figures(files=len(jobs), refused=len(answers) - len(taken))


def test_whole_headers_are_taken(tmp_path):
    """Each bound from inside: nothing that a model needs is refused."""
    from wattbench.quant.gguf_header import check_header

    path = tmp_path / "a.gguf"
    words = b"".join(text(b"w") for _ in range(1000))
    keys = [
        text(b"n") + struct.pack("<IQ", 10, 7),
        text(b"s") + struct.pack("<I", 8) + text(b"name"),
        array(8, 1000, words),
        array(5, 3, struct.pack("<iii", 1, 2, 3)),
        nested(4),
    ]
    tensor = text(b"t") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    whole = gguf(len(keys), 1, b"".join(keys) + tensor) + b"\x00" * 64
    path.write_bytes(whole)
    check_header(path)
    path.write_bytes(whole[: -64 - 1])
    with pytest.raises(ValueError, match="ends within"):
        check_header(path)
