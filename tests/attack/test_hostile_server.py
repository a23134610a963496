"""A server that is none: it says what it likes to whoever connects. triage_db ends with a line of plain text that names it, shows
nothing else that it said, and keeps a bounded part of it.

    test_hostile_server.py BIN
"""

import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

triage_db = Path(sys.argv[1]).resolve() / "triage_db"
EVIL = b"\x1b[2J\x1b]0;owned\x07a stranger's\nsecond line\r\n\0"
MEMORY_KB = 1 << 20  # of the program, whatever it is told


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def error(severity):
    return message(b"E", b"S" + severity + b"\0C42P01\0M" + EVIL + b"\0")


READY = (message(b"R", struct.pack("!I", 0)) + message(b"S", b"server_encoding\0UTF8\0") + message(b"S", b"client_encoding\0UTF8\0")
         + message(b"S", b"server_version\00016.0\0") + message(b"K", struct.pack("!II", 1, 2)) + message(b"Z", b"I"))
COLUMN = message(b"T", struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIHIH", 0, 0, 25, 0xFFFF, 0xFFFFFFFF, 0))


def rows(bytes_a_row):
    return 64 * message(b"D", struct.pack("!HI", 1, bytes_a_row) + bytes_a_row * b"a")


NOTICES = 64 * message(b"N", b"SNOTICE\0C00000\0M" + EVIL + b"\0")
# What each says once, and what from then on without an end.
WAYS = {"an error instead of a connection": (error(b"FATAL"), b"", False),
        "notices, then an error instead of a connection": (message(b"R", struct.pack("!I", 0)) + NOTICES + error(b"FATAL"), b"", False),
        "no word of the protocol": (b"\xff" * 100000, b"", False),
        "an error for each question": (error(b"ERROR") + message(b"Z", b"I"), b"", True),
        "notices, then the end": (NOTICES, b"", True),
        "notices without an end": (NOTICES, NOTICES, True),
        "a message of 2 GB": (b"T" + struct.pack("!I", 0x7FFFFF00), bytes(65536), True),
        "rows without an end": (COLUMN, rows(1000), True),
        "small rows without an end": (COLUMN, rows(1), True),
        "settings without an end": (COLUMN, 64 * message(b"S", b"a\0b\0"), True)}


def serve(listener, once, then, connects):
    client, _ = listener.accept()
    with client:
        try:
            if client.recv(8192)[4:8] == struct.pack("!I", 80877103):  # TLS? No.
                client.sendall(b"N")
                client.recv(8192)
            if connects:
                client.sendall(READY)
                client.recv(65536)
            client.sendall(once)
            while then:
                client.sendall(then)
        except OSError:
            pass  # it has left


def check(name, once, then, connects):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, once, then, connects), daemon=True).start()
        url = f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/d"
        run = subprocess.Popen([triage_db, "status", "--db", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PGSSLMODE": "disable"})
        out, err = run.communicate(timeout=600)
    assert run.returncode == 74, f"{name}: ends with {run.returncode}: {err!r}"
    assert not out and err.startswith(b"triage_db: " + url.encode()) and err.count(b"\n") == 1, f"{name}: {err!r}"
    assert all(byte >= 32 for byte in err[:-1]), f"{name}: {err!r}"
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert most < MEMORY_KB, f"{name}: {most} kB"
    print(f"{name}: {err.decode(errors='replace').strip()[-90:]} ({most} kB at most)", flush=True)


for name, way in WAYS.items():
    check(name, *way)
