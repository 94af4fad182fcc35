"""A PostgreSQL of a test's own: in a temporary folder, at a free port of 127.0.0.1, by an unprivileged user."""

import glob
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

PLACES = ["/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"]


def programs():
    """The folder with initdb and pg_ctl; None: PostgreSQL is not installed."""
    found = [shutil.which("initdb"), *(f for p in PLACES for f in sorted(glob.glob(p + "/initdb"), reverse=True))]
    return next((pathlib.Path(os.path.realpath(f)).parent for f in found if f), None)


class Postgres:
    password = "it's-a-secret"

    def __init__(self, durable=True):
        """durable: it survives the machine; without that only its own end, but starts and makes databases faster."""
        self.options = "" if durable else "-c fsync=off -c full_page_writes=off "
        self.bin = programs()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kadr-postgres-", dir="/var/tmp"))
        self.user = {}
        if os.getuid() == 0:  # which PostgreSQL refuses
            names = {p.pw_name for p in pwd.getpwall()}
            self.user = {"user": "postgres" if "postgres" in names else "nobody"}
            shutil.chown(self.folder, self.user["user"])
        (self.folder / "password").write_text(self.password)
        (self.folder / "password").chmod(0o644)
        self.call("initdb", "-D", "data", "-U", "kadr", "-A", "scram-sha-256", "--pwfile", "password", "-E", "UTF8",
                  "--locale", "C", "-N")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    def call(self, program, *arguments):
        done = subprocess.run([self.bin / program, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, **self.user)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        with open(self.folder / "log", "a") as log:  # a pipe would stay open in the server
            subprocess.run([self.bin / "pg_ctl", "-D", "data", "-w", "-t", "60", "-o",
                            f"{self.options}-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=", "start"],
                           cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=90,
                           **self.user)

    def stop(self, how="fast"):
        self.call("pg_ctl", "-D", "data", "-w", "-m", how, "stop")

    def url(self, database="postgres", password=None, user="kadr"):
        secret = (self.password if password is None else password).replace("'", "%27")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def sql(self, text, database="postgres"):
        """Rows of lists of texts."""
        done = subprocess.run([self.bin / "psql", self.url(database), "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", text],
                              capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def close(self):
        try:
            self.stop("immediate")
        except (RuntimeError, subprocess.TimeoutExpired):
            pass
        for _ in range(50):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.1)
