"""Cycles of transactions, after Adya's G1c as Elle looks for it: who read from whom, and who began after whose end."""
from collections import defaultdict


def found(history, visible):
    """Cycles among the transactions that took effect; `write_cycles` says why an order of writes alone is no edge here."""
    for names in components(reads_from(history, visible) | in_time(history, visible)):
        yield f"cycle (G1c) of {len(names)} transactions: {', '.join(sorted(names)[:4])}"


def write_cycles(history, committed):
    """How many transactions are in cycles by the order of writes alone: open at once, and one first here, the other there.

    Kafka allows these: partitions are appended to independently.
    """
    after = Edges()
    for records in committed.values():
        line = [history.writer.get(value) for _, value in records]
        after.add_all((a, b) for a, b in zip(line, line[1:]) if a != b)
    return sum(map(len, components(after)))


class Edges(defaultdict):
    """transaction -> those that come after it"""

    def __init__(self):
        super().__init__(set)

    def add_all(self, pairs):
        for a, b in pairs:
            self[a].add(b)

    def __or__(self, other):
        both = Edges()
        for some in (self, other):
            for a, all_b in some.items():
                both[a] |= all_b
        return both


def reads_from(history, visible):
    edges = Edges()
    edges.add_all((history.writer.get(read.value), t) for t in visible for read in history.reads.get(t, ()))
    return edges


def in_time(history, visible):
    """Who had committed before another began. Instants stand between them, so that not all pairs are edges."""
    edges = Edges()
    instants = sorted([(history.begun[t], 1, t) for t in visible]
                      + [(history.told[t], 0, t) for t in visible if t in history.told])
    now = None
    for time, begins, t in instants:
        if begins:
            if now is not None:
                edges[now].add(t)
        else:
            edges[t].add(time)
            if now not in (None, time):
                edges[now].add(time)
            now = time
    for transactions in history.order.values():     # one producer's follow each other, told or not
        line = [t for t in transactions if t in visible]
        edges.add_all(zip(line, line[1:]))
    return edges


def components(edges):
    """The transactions of each strongly connected component of more than one node, or of one that leads to itself.

    Tarjan's algorithm, without recursion: the runs are long.
    """
    index, low, on_stack, stack = {}, {}, set(), []
    for root in list(edges):
        if root in index:
            continue
        work = [(root, iter(edges.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, children = work[-1]
            child = next((c for c in children if c not in index or c in on_stack), None)
            if child is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    yield from component(node, stack, on_stack, edges)
            elif child in index:
                low[node] = min(low[node], index[child])
            else:
                index[child] = low[child] = len(index)
                stack.append(child)
                on_stack.add(child)
                work.append((child, iter(edges.get(child, ()))))


def component(node, stack, on_stack, edges):
    """Takes the finished component off the stack."""
    nodes = []
    while not nodes or nodes[-1] != node:
        nodes.append(stack.pop())
    on_stack.difference_update(nodes)
    if len(nodes) > 1 or node in edges.get(node, ()):
        yield [n for n in nodes if isinstance(n, str)]
