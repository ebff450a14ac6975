"""What has to hold of transactions, by what their producers said and what can be read. After Jepsen's Kafka workload.

Not asked for: that two producers' transactions lie in the same order in all partitions. Kafka does not promise it.
"""
from collections import Counter, defaultdict


class History:
    """What the producers said: for each transaction its writes in order and its outcome."""

    def __init__(self):
        self.writes = defaultdict(list)     # transaction -> [(partition, value)]
        self.outcome = {}                   # transaction -> committed, aborted, unknown, open
        self.order = defaultdict(list)      # producer -> its transactions in order

    def add(self, line):
        word, *rest = line.split()
        if word == "begin":
            self.outcome[rest[0]] = "open"
            self.order[rest[0].split(":")[0]].append(rest[0])
        elif word == "write":
            self.writes[rest[0]].append((int(rest[1]), rest[2]))
        elif word == "commit":
            self.outcome[rest[0]] = "unknown"   # until it is told
        elif word in ("committed", "aborted", "unknown"):
            if rest[0] in self.outcome:
                # What was never asked to be committed is not: an open transaction that failed is aborted at last.
                self.outcome[rest[0]] = ("open" if word == "unknown" and self.outcome[rest[0]] == "open" else word)


def problems(history, committed, everything, live, ends):
    """All that is wrong. `committed`, `everything` and `live`: partition -> [(offset, value)] as read; `ends`: partition ->
    (last stable offset, high watermark) after all producers are gone."""
    wrong = []
    seen = Counter(value for records in committed.values() for _, value in records)
    where = {value: p for p, records in committed.items() for _, value in records}
    for value, count in seen.items():
        if count > 1:
            wrong.append(f"duplicate: {value} is there {count} times")
    known = set()
    for t, writes in history.writes.items():
        known.update(value for _, value in writes)
        there = [value for _, value in writes if value in seen]
        outcome = history.outcome[t]
        if outcome == "committed" and len(there) < len(writes):
            wrong.append(f"lost write: {t} is committed, {len(writes) - len(there)} of {len(writes)} are missing")
        elif outcome in ("aborted", "open") and there:
            wrong.append(f"aborted read (G1a): {t} is {outcome}, {there[0]} was read")
        elif 0 < len(there) < len(writes):
            wrong.append(f"torn transaction: {len(there)} of {len(writes)} writes of {t}")
        wrong.extend(f"wrong partition: {value}" for p, value in writes if where.get(value, p) != p)
    wrong.extend(f"invented: {value}" for value in seen if value not in known)
    wrong.extend(disordered(history, committed))
    wrong.extend(unlike("read committed", committed, everything))
    wrong.extend(not_a_prefix(live, committed))
    wrong.extend(f"stuck: the last stable offset of partition {p} is {stable}, its end {high}"
                 for p, (stable, high) in ends.items() if stable != high)
    return wrong


def disordered(history, committed):
    """Writes of one producer lie in each partition in the order in which it sent them: no cycle among its transactions (G0)."""
    place = {}
    for transactions in history.order.values():
        for index, (_, value) in enumerate(w for t in transactions for w in history.writes[t]):
            place[value] = index
    for p, records in committed.items():
        last = {}
        for offset, value in records:
            producer = value.split(":")[0]
            if value in place and place[value] < last.get(producer, -1):
                yield f"disorder (G0): {value} at offset {offset} of partition {p} comes after a later write"
            last[producer] = max(last.get(producer, -1), place.get(value, -1))


def unlike(what, some, everything):
    """What is read of a part is read of the whole at the same offsets."""
    for p, records in some.items():
        whole = dict(everything.get(p, ()))
        for offset, value in records:
            if whole.get(offset) != value:
                yield f"{what}: offset {offset} of partition {p} is {value}, and {whole.get(offset)} without isolation"


def not_a_prefix(live, committed):
    """Who reads along sees what is read at the end, from the first record on, nothing left out."""
    for p, records in live.items():
        final = committed.get(p, [])
        if records != final[:len(records)]:
            at = next(i for i, record in enumerate(records) if i >= len(final) or record != final[i])
            yield f"unstable read (G1): partition {p}: {records[at]} was read as number {at}, which is {final[at:at + 1]}"
