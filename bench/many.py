#!/usr/bin/env python3
"""How much faster two workers draw one queue than one: each on a core of its own, a PostgreSQL beside them.

    bench/many.py build/kadr [PANELS]

Panels of the mini model as it draws them unless told otherwise. Pictures a second are taken from the times at which
the database was told of the first and the last; one and two workers take turns, three times.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
import postgres  # noqa: E402


def measure(kadr, database, url, env, cores, panels):
    for n in range(panels):
        body = json.dumps({"prompt": "a red fox in the snow", "seed": n}).encode()
        urllib.request.urlopen(urllib.request.Request(url + "/api/v1/jobs", body, {"Content-Type": "application/json"})).close()
    before = int(database.sql("SELECT coalesce(max(id), 0) FROM kadr.pictures")[0][0])
    workers = [subprocess.Popen(["taskset", "-c", str(core), kadr, "work", "-t", "1"], env=env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for core in cores]
    while database.sql("SELECT count(*) FROM kadr.parts") != [["0"]]:
        time.sleep(0.5)
    for w in workers:
        w.terminate()
        w.wait()
    (count, ms), = database.sql(f"SELECT count(*), max(created) - min(created) FROM kadr.pictures WHERE id > {before}")
    assert int(count) == panels
    return (panels - len(cores)) / (int(ms) / 1000)  # the first of each worker has its beginning in it


def main():
    kadr, panels = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 16
    folder = tempfile.mkdtemp(prefix="kadr-bench-")
    database = postgres.Postgres()
    env = os.environ | {"KADR_STORE": database.url(), "HOME": folder, "XDG_CACHE_HOME": folder + "/cache"}
    cores = sorted(os.sched_getaffinity(0))[:2]
    server = subprocess.Popen([kadr, "serve", "--no-draw", "--port", "0", "--rate", "0"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip().rstrip("/")
        rates = {1: [], 2: []}
        measure(kadr, database, url, env, cores[:1], 2)  # the machine is measured, files are read
        for _ in range(3):
            for n in rates:
                rates[n].append(measure(kadr, database, url, env, cores[:n], panels * n))
        one, two = (statistics.median(r) for r in rates.values())
        print(f"one worker {one:.3f} pictures/s, two {two:.3f}: {two / one:.2f} times; all: {rates}")
    finally:
        server.terminate()
        server.wait()
        database.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
