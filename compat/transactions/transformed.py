"""What has to hold of consume-transform-produce: input, output, and the offsets that the group has committed."""


def problems(source, output, everything, offsets, ends):
    """All that is wrong. `source`, `output`: partition -> [(offset, value)] as read committed; `everything`: the output
    without isolation; `offsets`: partition -> what the group has committed; `ends`: partition of the output -> (last stable
    offset, high watermark). The group has had time to take all of the input."""
    for p, records in source.items():
        yield from of_partition(p, records, [value for _, value in output.get(p, ())], offsets.get(p, -1))
    for p, records in output.items():
        whole = dict(everything.get(p, ()))
        yield from (f"read committed: offset {offset} of output {p} is {value}, and {whole.get(offset)} without isolation"
                    for offset, value in records if whole.get(offset) != value)
    yield from (f"stuck: the last stable offset of output {p} is {stable}, its end {high}"
                for p, (stable, high) in ends.items() if stable != high)


def of_partition(p, records, output, committed):
    known, seen = {value: offset for offset, value in records}, set()
    for value in output:
        if value in seen:
            yield f"input twice: {value} in output {p}"
        elif value not in known:
            yield f"output without input: {value} in output {p} is no committed record of input {p}"
        elif known[value] >= committed:
            yield f"output without offset: {value} in output {p} is of offset {known[value]}, committed is {committed}"
        seen.add(value)
    for offset, value in records:
        if offset < committed and value not in seen:
            yield f"offset without output: {value} of offset {offset} is not in output {p}, committed is {committed}"
        elif offset >= committed and value not in seen:
            yield f"left over: {value} of offset {offset} in input {p}, committed is {committed}"
            break
    places = [known[value] for value in output if value in known]
    if len(seen) == len(output) and places != sorted(places):
        yield f"disorder: output {p} is not in the order of input {p}"
