"""SSL listeners with the clients that people have: Kafka's own tools, kcat and openssl; PEM, PKCS12 and JKS; with and without
certificates of clients; new certificates without a restart. openssl and keytool make the certificates at each run.
"""
import re
import socket
import struct

from harness import broker, kafka
from harness.kcat import Kcat, fresh, values
from harness.process import call, must, until

BROKER = False
LIMIT = 300
PASSWORD = "suite-secret"
KEY_PASSWORD = "key-secret"
RECORDS = 20_000


def run(suite):
    tests = Tests(suite)
    for name in ("kcat_pem tools_pkcs12 perf_tools tls12 large_messages mutual_pkcs12 mutual_pem mutual_without_certificate "
                 "mutual_by_another_authority jks jks_keys_of_two_kinds plaintext_client new_certificate_by_configs "
                 "new_certificate_in_file").split():
        suite.case(name, getattr(tests, name))


def openssl(folder, words):
    must(["openssl", *words.split()], 60, cwd=folder)


def keytool(folder, words):
    must(["keytool", "-noprompt", *words.split(), "-storepass", PASSWORD], 60, cwd=folder)


class Tests:
    def __init__(self, suite):
        self.suite = suite
        self.folder = suite.work / "certificates"
        self.make_certificates()
        self.plain, self.ssl, self.mutual, self.jks_address, controller = (f"127.0.0.1:{port}" for port in broker.free_ports(5))
        listeners = f"PLAINTEXT://{self.plain},SSL://{self.ssl},MUTUAL://{self.mutual},JKS://{self.jks_address}"
        self.broker = suite.new_broker(settings={
            "listeners": f"{listeners},CONTROLLER://{controller}",
            "controller.quorum.voters": f"1@{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,MUTUAL:SSL,JKS:SSL,CONTROLLER:PLAINTEXT",
            "listener.name.ssl.ssl.keystore.type": "PEM",
            "listener.name.ssl.ssl.keystore.location": f"{self.folder}/server.pem",
            **({} if suite.kind == "kafka" else {"listener.name.ssl.ssl.key.password": PASSWORD}),
            "listener.name.mutual.ssl.keystore.type": "PKCS12",
            "listener.name.mutual.ssl.keystore.location": f"{self.folder}/server.p12",
            "listener.name.mutual.ssl.keystore.password": PASSWORD,
            "listener.name.mutual.ssl.truststore.location": f"{self.folder}/trust.p12",
            "listener.name.mutual.ssl.truststore.password": PASSWORD,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.jks.ssl.keystore.type": "JKS",
            "listener.name.jks.ssl.keystore.location": f"{self.folder}/server.jks",
            "listener.name.jks.ssl.keystore.password": PASSWORD,
            "listener.name.jks.ssl.key.password": KEY_PASSWORD,
            "listener.name.jks.ssl.truststore.location": f"{self.folder}/trust.jks",
            "listener.name.jks.ssl.client.auth": "requested",
            "ssl.principal.mapping.rules": "RULE:^CN=(.*?),.*$/$1/L,DEFAULT",
        })
        self.broker.port = int(self.plain.rsplit(":", 1)[1])
        self.broker.address = self.plain
        self.broker.start()
        self.trusting = self.properties("trusting", {})
        self.known = self.properties("known", {
            "ssl.keystore.type": "PKCS12", "ssl.keystore.location": f"{self.folder}/client.p12",
            "ssl.keystore.password": PASSWORD})

    # ---- what the clients are given

    def make_certificates(self):
        """Two authorities; a PEM file (with an encrypted key), a PKCS12 and a JKS store for the broker; PEM and PKCS12 for a
        client."""
        self.folder.mkdir()
        (self.folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        for authority in ("ca", "other"):
            openssl(self.folder, f"req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=suite-{authority} "
                                 f"-keyout {authority}.key -out {authority}.pem")
        self.sign("client", "/CN=Client/O=Suite", "ca")
        self.sign("stranger", "/CN=Stranger/O=Suite", "other")
        self.new_server_certificate()
        openssl(self.folder, f"pkcs12 -export -in client.crt -inkey client.key -certfile ca.pem -name client "
                             f"-passout pass:{PASSWORD} -out client.p12")
        keytool(self.folder, "-importcert -alias ca -file ca.pem -keystore trust.p12 -storetype PKCS12")
        keytool(self.folder, "-genkeypair -alias server -keyalg EC -groupname secp256r1 -dname CN=localhost -validity 30 "
                             "-keystore server.p12 -storetype PKCS12")
        keytool(self.folder, "-certreq -alias server -keystore server.p12 -file mutual.csr")
        openssl(self.folder, "x509 -req -in mutual.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names "
                             "-out mutual.crt")
        keytool(self.folder, "-importcert -alias ca -file ca.pem -keystore server.p12")
        keytool(self.folder, "-importcert -alias server -file mutual.crt -keystore server.p12")
        self.sign("rsa", "/CN=localhost", "ca")
        openssl(self.folder, f"pkcs12 -export -in rsa.crt -inkey rsa.key -certfile ca.pem -name rsa "
                             f"-passout pass:{PASSWORD} -out rsa.p12")
        for alias, store in (("server", "server.p12"), ("rsa", "rsa.p12")):
            must(f"keytool -importkeystore -noprompt -srckeystore {store} -srcstorepass {PASSWORD} -srcalias {alias} -destkeystore "
                 f"server.jks -deststoretype JKS -deststorepass {PASSWORD} -destkeypass {KEY_PASSWORD}".split(), 60, cwd=self.folder)
        keytool(self.folder, "-importcert -alias ca -file ca.pem -keystore trust.jks -storetype JKS")

    def sign(self, name, subject, authority):
        openssl(self.folder, f"req -newkey rsa:2048 -nodes -subj {subject} -keyout {name}.key -out {name}.csr")
        openssl(self.folder, f"x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 30 "
                             f"-extfile names -out {name}.crt")

    def new_server_certificate(self):
        """Puts another certificate into the broker's file; its serial number."""
        self.sign("server", "/CN=localhost", "ca")
        # Java 17 does not read keys as openssl encrypts them (PBES2).
        encrypted = "-nocrypt" if self.suite.kind == "kafka" else f"-passout pass:{PASSWORD}"
        openssl(self.folder, f"pkcs8 -topk8 -in server.key {encrypted} -out server.p8")
        parts = [(self.folder / name).read_text() for name in ("server.p8", "server.crt", "ca.pem")]
        (self.folder / "server.pem.new").write_text("".join(parts))
        (self.folder / "server.pem.new").replace(self.folder / "server.pem")
        return must(["openssl", "x509", "-noout", "-serial", "-in", "server.crt"], cwd=self.folder).strip()

    def properties(self, name, more):
        """A file of settings for Kafka's tools."""
        trust = {"security.protocol": "SSL", "ssl.truststore.type": "PKCS12", "ssl.truststore.location": f"{self.folder}/trust.p12",
                 "ssl.truststore.password": PASSWORD}
        path = self.folder / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in {**trust, **more}.items()))
        return path

    def kcat(self, address, certificate=None):
        arguments = ["-X", "security.protocol=ssl", "-X", f"ssl.ca.location={self.folder}/ca.pem"]
        if certificate:
            arguments += ["-X", f"ssl.certificate.location={self.folder}/{certificate}.crt",
                          "-X", f"ssl.key.location={self.folder}/{certificate}.key"]
        return Kcat(address, self.suite.logs / "kcat.log", 20), arguments

    def tools(self, address):
        return kafka.Tools(address, self.suite.logs / "tools.log")

    def serial(self):
        result = call(["openssl", "s_client", "-connect", self.ssl], 20)
        shown = call(["openssl", "x509", "-noout", "-serial"], 20, stdin=result.output)
        return shown.output.decode().strip()

    # ---- the tests

    def exchange(self, address, certificate=None):
        topic, (kcat, how) = fresh("tls"), self.kcat(address, certificate)
        sent = [f"record {n}" for n in range(500)]
        kcat.produce(topic, sent, *how)
        assert values(kcat.consume(topic, *how)) == sorted(sent)

    def console(self, address, properties):
        topic, tools = fresh("tls"), self.tools(address)
        status, output = tools("console-producer", "--topic", topic, "--command-config", properties, stdin="a\nb\nc\n")
        assert status == 0, output
        status, output = tools("console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "3",
                               "--command-config", properties)
        assert status == 0 and "a\nb\nc\n" in output, output

    def kcat_pem(self):
        self.exchange(self.ssl)

    def tools_pkcs12(self):
        self.console(self.ssl, self.trusting)

    def perf_tools(self):
        topic, tools = fresh("tls-perf"), self.tools(self.ssl)
        status, output = tools("producer-perf", "--topic", topic, "--num-records", RECORDS, "--record-size", "1000",
                               "--throughput", "-1", "--command-config", self.trusting, heap="256m")
        assert status == 0 and f"{RECORDS} records sent" in output, output
        status, output = tools("consumer-perf", "--topic", topic, "--num-records", RECORDS, "--timeout", "20000",
                               "--command-config", self.trusting, heap="256m")
        assert status == 0 and re.search(rf", {RECORDS}, ", output), output

    def tls12(self):
        for protocol, suite in (("-tls1_2", "ECDHE-RSA-AES256-GCM-SHA384"), ("-tls1_3", "TLS_AES_256_GCM_SHA384")):
            result = call(["openssl", "s_client", protocol, "-CAfile", self.folder / "ca.pem", "-connect", self.ssl], 20)
            text = result.output.decode()
            assert suite in text and "Verify return code: 0" in text, text[-500:]

    def large_messages(self):
        topic, (kcat, how) = fresh("tls-large"), self.kcat(self.ssl)
        sent = [chr(97 + n) * 900_000 for n in range(12)]
        kcat.produce(topic, sent, *how)
        assert values(kcat.consume(topic, *how)) == sent

    def mutual_pkcs12(self):
        self.console(self.mutual, self.known)

    def mutual_pem(self):
        self.exchange(self.mutual, "client")

    def mutual_without_certificate(self):
        kcat, how = self.kcat(self.mutual)
        kcat("-L", *how, ok=False)

    def mutual_by_another_authority(self):
        kcat, how = self.kcat(self.mutual, "stranger")
        kcat("-L", *how, ok=False)

    def jks(self):
        self.console(self.jks_address, self.known)
        self.exchange(self.jks_address, "client")
        kcat, how = self.kcat(self.jks_address, "stranger")
        kcat("-L", *how, ok=False)

    def jks_keys_of_two_kinds(self):
        # RSA+SHA256 signs certificates, in TLS 1.3 nothing else.
        for algorithms, expected in (("ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256", "ECDSA"), ("RSA+SHA256:ECDSA+SHA256", "ECDSA"),
                                     ("RSA-PSS+SHA256:ECDSA+SHA256:RSA+SHA256", "RSA-PSS"), ("RSA-PSS+SHA256:RSA+SHA256", "RSA-PSS")):
            result = call(["openssl", "s_client", "-tls1_3", "-sigalgs", algorithms, "-CAfile", self.folder / "ca.pem",
                           "-connect", self.jks_address], 20)
            text = result.output.decode()
            assert f"Peer signature type: {expected}\n" in text and "Verify return code: 0" in text, text[-500:]

    def plaintext_client(self):
        request = struct.pack(">ihhih", 10, 18, 0, 7, -1)
        with socket.create_connection(self.ssl.split(":"), 10) as s:
            s.sendall(request)
            s.settimeout(10)
            received = s.recv(100)
            assert not received or received[0] == 21, received  # at most an alert
        until(lambda: "SSL handshake failed" in self.broker.log_text(), 10, "a line in the log")
        self.exchange(self.ssl)

    def new_certificate_by_configs(self):
        serial = self.new_server_certificate()
        status, output = self.tools(self.plain)(
            "configs", "--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config",
            f"listener.name.ssl.ssl.keystore.location={self.folder}/server.pem")
        assert status == 0, output
        until(lambda: self.serial() == serial, 20, "the new certificate")
        self.exchange(self.ssl)

    def new_certificate_in_file(self):
        serial = self.new_server_certificate()
        until(lambda: self.serial() == serial, 20, "the new certificate")
        self.exchange(self.ssl)
