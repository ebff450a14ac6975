"""What the producers said: their transactions, with what these wrote and read, how they ended, and when."""
from collections import defaultdict, namedtuple

Read = namedtuple("Read", "time partition offset value")
WORDS = {"begin": 0, "write": 2, "read": 3, "commit": 0, "committed": 0, "abort": 0, "aborted": 0, "unknown": 0}


class History:
    def __init__(self):
        self.writes = defaultdict(list)     # transaction -> [(partition, value)]
        self.reads = defaultdict(list)      # transaction -> [Read]: what was committed by others
        self.outcome = {}                   # transaction -> committed, aborted, unknown, open
        self.order = defaultdict(list)      # producer -> its transactions in order
        self.begun, self.asked, self.told = {}, {}, {}  # transaction -> when it began, was to commit, had committed
        self.writer = {}                    # value -> its transaction

    def add(self, line):
        words = line.split()
        if len(words) < 3 or len(words) - 3 != WORDS.get(words[1]):
            return  # the half line of one that was killed: what it announces has not been done yet
        time, word, t, *rest = words
        getattr(self, word)(int(time), t, *rest)

    def begin(self, time, t):
        self.outcome[t] = "open"
        self.begun[t] = time
        self.order[producer(t)].append(t)

    def write(self, _, t, partition, value):
        self.writes[t].append((int(partition), value))
        self.writer[value] = t

    def read(self, time, t, partition, offset, value):
        self.reads[t].append(Read(time, int(partition), int(offset), value))

    def commit(self, time, t):
        self.outcome[t] = "unknown"     # until it is told
        self.asked[t] = time

    def committed(self, time, t):
        self.outcome[t] = "committed"
        self.told[t] = time

    def abort(self, *_):
        pass

    def aborted(self, _, t):
        self.outcome[t] = "aborted"

    def unknown(self, _, t):
        # What was never asked to be committed is not: an open transaction that failed is aborted at last.
        if self.outcome.get(t) not in (None, "open"):
            self.outcome[t] = "unknown"


def producer(t):
    return t.split(":")[0]


def incarnation(t):
    return t.rsplit(":", 1)[0]
