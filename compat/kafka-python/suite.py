"""kafka-python 3.0.12's own integration tests, from its source package on PyPI.

KAFKA_VERSION=4.3.0 is what the tests take the broker for: the clients use the versions of that release unasked.
"""
import pathlib
import shutil

from harness import cache, python_tests

VERSION = "3.0.12"
SETTINGS = {"num.partitions": "2", "group.min.session.timeout.ms": "1000"}
LIMIT = 600
PINS = [*python_tests.PYTEST, "pytest-mock==3.15.1", "py==1.11.0", "crc32c==2.8", "lz4==4.4.5", "python-snappy==0.7.3",
        "cramjam==2.11.0", "zstandard==0.25.0"]
# The source package leaves this helper of its tests out.
SERVICE = """
class ExternalService:
    def __init__(self, host, port): self.host, self.port = host, port
    def open(self): pass
    def close(self): pass
    def stop(self): pass
    def dump_logs(self): pass
    def wait_for(self, pattern, timeout=30): return True
class SpawnedService:
    def __init__(self, *a, **k): raise RuntimeError('this run has an external broker only')
"""


def run(suite):
    home = cache.python_packages(f"kafka-python-{VERSION}", *PINS,
                                 source=lambda folder: cache.source_package(folder, "kafka-python", VERSION))
    folder = suite.work / "tests"
    shutil.copytree(home / "src/test", folder / "test")
    (folder / "kafka-root").mkdir()
    (folder / "test/__init__.py").touch()
    (folder / "test/service.py").write_text(SERVICE)
    left_out = adapt(suite, folder)
    env = {"KAFKA_VERSION": "4.3.0", "KAFKA_URI": f"kafka://{suite.broker.address}",
           "KAFKA_ROOT": str(folder / "kafka-root")}
    files = ["test/integration", *(f"--ignore=test/integration/{name}" for name in left_out)]
    python_tests.run(suite, home / "venv/bin/python", folder, files, env, timeout=60)


def adapt(suite, folder):
    """Points the tests at the broker and at its listeners; the files of tests for which it has no listener."""
    tests: pathlib.Path = folder / "test/integration"
    left_out = []
    # The tests suppose that the one broker has the id 0.
    cache.edit(tests / "test_admin_integration.py",
               ("NewPartitions(new_total, [[0], [0]])",
                "NewPartitions(new_total, [[b.node_id for b in kafka_admin_client._manager.cluster.brokers()][:1]] * 2)"))
    if sasl := suite.broker.sasl_address:
        cache.edit(tests / "test_sasl_integration.py",
                   ("pytestmark = ", "_unused = "),
                   ("in sasl_kafka.get_topic_names()", "in admin.list_topics()"))
        external = "            return KafkaFixture.instance(0, host=host, port=port, external=True)"
        cache.edit(tests / "conftest.py",
                   (external,
                    '            if "sasl_mechanism" in broker_params:\n'
                    f'                host, port = "{sasl}".rsplit(":", 1)\n'
                    "            return KafkaFixture.instance(0, host=host, port=int(port), external=True, **broker_params)"))
    else:
        left_out.append("test_sasl_integration.py")
    if ssl := suite.broker.ssl_address:
        (folder / "ssl").mkdir()
        shutil.copy(suite.broker.certificates / "ca.pem", folder / "ssl/ca-cert")
        cache.edit(tests / "test_ssl_integration.py",
                   ("KafkaFixture.instance(0, tmp_dir=tmp, transport='SSL')",
                    f'KafkaFixture.instance(0, host="localhost", port={ssl.rsplit(":", 1)[1]}, external=True, '
                    f'transport="SSL"); broker.ssl_dir = "{folder}/ssl"'))
    else:
        left_out.append("test_ssl_integration.py")
    return left_out
