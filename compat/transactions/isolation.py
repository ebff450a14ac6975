"""What has to hold of transactions, by what their producers said and what can be read. After Jepsen's Kafka workload.

Not asked for: that transactions of two producers that are open at the same time lie in the same order in all partitions.
Kafka does not promise it (`cycles.write_cycles` counts these); G0 is asked of what one producer, or time, has ordered.
"""
from collections import Counter, defaultdict

import cycles
from history import incarnation, producer


def problems(history, committed, everything, live, ends):
    """All that is wrong. `committed`, `everything` and `live`: partition -> [(offset, value)] as read; `ends`: partition ->
    (last stable offset, high watermark) after all producers are gone."""
    return [*outcomes(history, committed), *disordered(history, committed), *against_time(history, committed),
            *read_too_early(history), *cycles.found(history, visible(history, committed)),
            *unlike("read committed", committed, everything), *not_a_prefix(live, committed),
            *not_a_part(history, committed), *stuck(ends)]


def outcomes(history, committed):
    """Committed is there whole and once, aborted is not there, and what nobody knows is there whole or not at all."""
    seen = Counter(value for records in committed.values() for _, value in records)
    where = {value: p for p, records in committed.items() for _, value in records}
    yield from (f"duplicate: {value} is there {count} times" for value, count in seen.items() if count > 1)
    for t, writes in history.writes.items():
        there = [value for _, value in writes if value in seen]
        outcome = history.outcome[t]
        if outcome == "committed" and len(there) < len(writes):
            yield f"lost write: {t} is committed, {len(writes) - len(there)} of {len(writes)} are missing"
        elif outcome in ("aborted", "open") and there:
            yield f"aborted read (G1a): {t} is {outcome}, {there[0]} was read"
        elif 0 < len(there) < len(writes):
            yield f"torn transaction: {len(there)} of {len(writes)} writes of {t}"
        yield from (f"wrong partition: {value}" for p, value in writes if where.get(value, p) != p)
    yield from (f"invented: {value}" for value in seen if value not in history.writer)


def visible(history, committed):
    """The transactions that took effect."""
    there = {history.writer.get(value) for records in committed.values() for _, value in records}
    return {t for t, outcome in history.outcome.items() if outcome == "committed" or t in there}


def disordered(history, committed):
    """Writes of one producer lie in each partition in the order in which it sent them (G0)."""
    place = {}
    for transactions in history.order.values():
        for index, (_, value) in enumerate(w for t in transactions for w in history.writes[t]):
            place[value] = index
    for p, records in committed.items():
        last = {}
        for offset, value in records:
            who = producer(value)
            if value in place and place[value] < last.get(who, -1):
                yield f"disorder (G0): {value} at offset {offset} of partition {p} comes after a later write"
            last[who] = max(last.get(who, -1), place.get(value, -1))


def against_time(history, committed):
    """What was committed before another transaction began lies before it (G0)."""
    for p, records in committed.items():
        latest = 0      # when the youngest of the transactions so far began
        for offset, value in records:
            t = history.writer.get(value)
            if t in history.told and history.told[t] < latest:
                yield (f"disorder (G0): {value} at offset {offset} of partition {p} was committed before one began that lies "
                       "before it")
            latest = max(latest, history.begun.get(t, 0))


def read_too_early(history):
    """Nobody reads what was never to be committed, or not yet (G1a, G1b)."""
    for t, reads in history.reads.items():
        for read in reads:
            writer = history.writer.get(read.value)
            if writer is None:
                yield f"invented: {read.value}, as {t} read"
            elif writer not in history.asked or history.outcome[writer] == "aborted":
                yield f"aborted read (G1a): {read.value} by {t}, {writer} is {history.outcome[writer]}"
            elif read.time < history.asked[writer]:
                yield f"early read (G1b): {t} read {read.value} before {writer} was to be committed"


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


def not_a_part(history, committed):
    """Who began to read somewhere sees from there on what is read at the end, nothing left out."""
    said = defaultdict(list)
    for transactions in history.order.values():
        for t in transactions:
            for read in history.reads[t]:
                said[incarnation(t), read.partition].append((read.offset, read.value))
    index = {p: {record: i for i, record in enumerate(records)} for p, records in committed.items()}
    for (who, p), records in said.items():
        first = index.get(p, {}).get(records[0])
        if first is None:
            yield f"unstable read (G1): {who} read {records[0]} in partition {p}, which is not there at the end"
        elif records != committed[p][first:first + len(records)]:
            yield f"skipped read: what {who} read of partition {p} from offset {records[0][0]} on has gaps or other records"


def stuck(ends):
    return (f"stuck: the last stable offset of partition {p} is {stable}, its end {high}"
            for p, (stable, high) in ends.items() if stable != high)
