"""franz-go's own integration tests (package kgo).

What runs: the tests of github.com/twmb/franz-go/pkg/kgo (pinned below) that talk to a broker, each in a process of its
own, with the variables that franz-go's own CI sets. The other tests of that package, and all of pkg/kadm's, are unit
tests that need no broker; franz-go's kfake tests run against its own in-process broker only.
The tests take what ApiVersions offers: static membership needs JoinGroup v5, KIP-848 tests need ConsumerGroupHeartbeat
v1, share-group tests need ShareFetch v2 and ShareAcknowledge v2; without these they skip themselves. (On Kafka 4.3.0
only TestIssueProduceBrokerTooOldFailsRecords skips: Kafka still offers Produce v0.)
Requests seen on Kafka 4.3.0: Produce v13, Fetch v18, ListOffsets v11, Metadata v13, OffsetCommit v10, OffsetFetch v10,
FindCoordinator v6, JoinGroup v9, Heartbeat v4, LeaveGroup v5, SyncGroup v5, ApiVersions v4,5, CreateTopics v7,
DeleteTopics v6, InitProducerId v5, OffsetForLeaderEpoch v4, EndTxn v5, TxnOffsetCommit v5, DescribeConfigs v4,
DeleteGroups v2, IncrementalAlterConfigs v1, AlterUserScramCredentials v0, ConsumerGroupHeartbeat v1,
ConsumerGroupDescribe v1, ShareGroupHeartbeat v1, ShareFetch v2, ShareAcknowledge v2, DescribeShareGroupOffsets v1,
AlterShareGroupOffsets v0, DeleteShareGroupOffsets v0, SaslHandshake, SaslAuthenticate.
"""
from harness import go

LIMIT = 1500

VERSION = "v1.22.2"  # github.com/twmb/franz-go
TESTS = """
TestPing TestIssue1034 TestClient_Produce TestClient_ProduceLargeMessages TestIssue325 TestConsumeRegex
TestIssue337 TestDirectPartitionPurge TestIssue434 TestAddRemovePartitions TestPauseIssue489 TestPauseIssueOct2023
TestIssue523 TestIssue648 TestIssue769 TestIssue810 TestIssue831 TestIssue865
TestIssueFetchLargerThanBrokerMaxReadBytes TestIssueProduceBrokerTooOldFailsRecords
TestIssueProduceSyncManualPartitionNegativeDoesNotPanic TestPooling TestHookPollStart TestConsumeMaxDecompressBatchBytes
TestGroupSimple Test848RegexBrokerResolves TestSCRAMAuth TestSCRAMAuthBadCredentials TestShareGroup
TestConsumeRegexShareSkipsInternal TestShareGroupAckOnClose TestShareGroupOffsetsAdmin
TestGroupETL TestTxnEtl TestShareGroupETL
""".split()
TLS = ["TestPing", "TestClient_Produce", "TestPooling"]
LONG = {"TestGroupETL": 600, "TestTxnEtl": 600, "TestShareGroupETL": 600}

# Ours, put beside upstream's tests: makes the SCRAM user that TestSCRAMAuth logs in as.
OURS = """package kgo

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Which protocols the broker has is asked before the first test: upstream runs them all in one process, where some
// earlier test has asked.
func TestMain(m *testing.M) {
	adm()
	os.Exit(m.Run())
}

func TestSuiteCreateScramUser(t *testing.T) {
	user, pass, _ := strings.Cut(os.Getenv("KGO_TEST_SCRAM"), ":")
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt = user, 1, 4096, []byte("suite-salt-suite")
	var err error
	if up.SaltedPassword, err = pbkdf2.Key(sha256.New, pass, up.Salt, 4096, sha256.Size); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, up)
	resp, err := req.RequestWith(context.Background(), adm())
	if err == nil {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}
"""

RECORDS = {False: "50000", True: "500000"}  # of the ETL tests; upstream's CI has 500000


def run(suite):
    wanted = suite.wanted(TESTS + [f"tls.{t}" for t in TLS])
    if not wanted:
        return
    source = go.module("franz-go", "github.com/twmb/franz-go", VERSION, files=(("pkg/kgo/suite_test.go", OURS),))
    folder = source / "pkg/kgo"
    binary = go.test_binary(source, "./pkg/kgo")
    env = {"KGO_SEEDS": suite.broker.address, "KGO_TEST_RF": "1", "KGO_TEST_RECORDS": RECORDS[suite.full]}
    if suite.broker.sasl_address:
        env |= {"KGO_TEST_SCRAM_SEEDS": suite.broker.sasl_address, "KGO_TEST_SCRAM": "testuser:testpass"}
        go.run_test(suite, binary, "TestSuiteCreateScramUser", folder, env, label="suite:CreateScramUser")
    tls = {"KGO_SEEDS": suite.broker.ssl_address, "KGO_TEST_TLS": f"ca:{suite.broker.certificates}/ca.pem"}
    for name in wanted:
        over, _, test = name.rpartition(".")
        if over and not suite.broker.ssl_address:
            suite.report.record(name, "SKIP", "no TLS listener")
            continue
        go.run_test(suite, binary, test, folder, {**env, **tls} if over else env, LONG.get(test, 120), label=name)
