"""What the suites share: brokers, processes, Kafka's tools, Go modules, Python packages, expectations, the report.

The Python standard library only. Clients are installed once into the cache (see `cache.py`).
"""
