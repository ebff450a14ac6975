"""kcat, as tests call it."""
import json
import re
import time
import uuid

from .cache import debian_program
from .process import call


def fresh(prefix):
    """A name that nothing has had before."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


class Kcat:
    """kcat pointed at one broker, with what it says kept in a log."""

    def __init__(self, address, log, limit=60):
        self.program = debian_program("kcat", "kcat")
        self.address, self.log, self.limit = address, log, limit

    def argv(self, *args, broker=None):
        return [self.program, "-b", broker or self.address, *args]

    def __call__(self, *args, stdin=b"", broker=None, ok=True, limit=None):
        """Runs kcat; its standard output. ok=False: it must fail, and both streams are returned."""
        argv = self.argv(*args, broker=broker)
        result = call(argv, limit or self.limit, stdin=stdin)
        with open(self.log, "a") as log:
            log.write(f"$ {' '.join(argv)}\nexit {result.status}\n{result.errors[:2000]!r}\n{result.output[:500]!r}\n")
        errors = result.errors.decode("utf-8", "replace")[-300:]
        assert result.status is not None, f"timed out after {limit or self.limit} s: kcat {' '.join(args)}: {errors}"
        assert (result.status == 0) == ok, f"kcat exit {result.status}: {errors}"
        return result.output if ok else result.output + result.errors

    def produce(self, topic, lines, *args, **how):
        self("-P", "-t", topic, *args, stdin="".join(line + "\n" for line in lines).encode(), **how)

    def consume(self, topic, *args, start="beginning", **how):
        """The records from `start` to the end of the partitions, as kcat's JSON objects."""
        out = self("-C", "-t", topic, "-o", start, "-e", "-q", "-J", "-X", "check.crcs=true", *args, **how)
        return [json.loads(line) for line in out.splitlines()]

    def metadata(self, *args, **how):
        return json.loads(self("-L", "-J", *args, **how))

    def query(self, topic, partition, when):
        """The offset at a time in milliseconds, or at -1 (end) or -2 (beginning)."""
        out = self("-Q", "-t", f"{topic}:{partition}:{when}").decode()
        return int(re.search(r"offset (-?\d+)", out).group(1))

    def group(self, group, topic, *args, limit=None):
        """What a new member of the group reads from its committed offsets to the end."""
        out = self("-G", group, topic, "-q", "-J", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000",
                   "-e", *args, limit=limit)
        return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]


def values(records):
    return sorted(r["payload"] for r in records)


def now_ms():
    return int(time.time() * 1000)
