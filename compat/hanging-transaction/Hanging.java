import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.List;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData;
import org.apache.kafka.common.message.EndTxnRequestData;
import org.apache.kafka.common.message.EndTxnResponseData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.RequestUtils;
import org.apache.kafka.common.requests.ResponseHeader;

/**
 * `Hanging ADDRESS TRANSACTIONAL_ID TOPIC`: a producer of before KIP-890 commits a transaction, and then a record of it comes
 * late (KAFKA-14402). Where partitions are not verified it is written, and its transaction is open for ever. Prints the
 * producer id and the offset of that record. The record's time is twenty minutes ago.
 */
public class Hanging {
    static final short PRODUCE = 9, ADD = 3, END = 3, INIT = 4, FIND = 3;
    static final byte TRANSACTION = 1;
    static final long AGE_MS = 20 * 60 * 1000;

    final Socket socket;
    int correlation;

    Hanging(String address) throws Exception {
        int colon = address.lastIndexOf(':');
        socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    }

    Readable call(ApiKeys key, short version, ApiMessage request) throws Exception {
        RequestHeader header = new RequestHeader(key, version, "late", ++correlation);
        ByteBuffer frame = RequestUtils.serialize(header.data(), header.headerVersion(), request, version);
        DataOutputStream out = new DataOutputStream(socket.getOutputStream());
        out.writeInt(frame.remaining());
        out.write(frame.array(), frame.arrayOffset() + frame.position(), frame.remaining());
        out.flush();
        DataInputStream in = new DataInputStream(socket.getInputStream());
        ByteBuffer answer = ByteBuffer.wrap(in.readNBytes(in.readInt()));
        ResponseHeader.parse(answer, key.responseHeaderVersion(version));
        return new Readable(new ByteBufferAccessor(answer));
    }

    record Readable(ByteBufferAccessor body) { }

    static void check(int code, String what) {
        if (code != 0) {
            throw new IllegalStateException(what + ": error " + code);
        }
    }

    InitProducerIdResponseData init(String id) throws Exception {
        for (int tries = 0; ; tries++) {
            // It is the question that makes the coordinator's topic.
            call(ApiKeys.FIND_COORDINATOR, FIND, new FindCoordinatorRequestData().setKey(id).setKeyType(TRANSACTION));
            var request = new InitProducerIdRequestData().setTransactionalId(id).setTransactionTimeoutMs(60_000);
            var given = new InitProducerIdResponseData(call(ApiKeys.INIT_PRODUCER_ID, INIT, request).body, INIT);
            if (given.errorCode() == 0) {
                return given;
            }
            if (tries == 100) {
                check(given.errorCode(), "InitProducerId");
            }
            Thread.sleep(100);
        }
    }

    void add(String id, InitProducerIdResponseData producer, String topic) throws Exception {
        var topics = new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopicCollection();
        topics.add(new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopic().setName(topic).setPartitions(List.of(0)));
        call(ApiKeys.ADD_PARTITIONS_TO_TXN, ADD, new AddPartitionsToTxnRequestData().setV3AndBelowTransactionalId(id)
                .setV3AndBelowProducerId(producer.producerId()).setV3AndBelowProducerEpoch(producer.producerEpoch())
                .setV3AndBelowTopics(topics));
    }

    long produce(String id, InitProducerIdResponseData producer, String topic, int sequence, String value) throws Exception {
        long time = System.currentTimeMillis() - AGE_MS;
        MemoryRecords records = MemoryRecords.withTransactionalRecords(0L, Compression.NONE, producer.producerId(),
                producer.producerEpoch(), sequence, RecordBatch.NO_PARTITION_LEADER_EPOCH, new SimpleRecord(time, value.getBytes()));
        var partition = new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records);
        var topics = new ProduceRequestData.TopicProduceDataCollection();
        topics.add(new ProduceRequestData.TopicProduceData().setName(topic).setPartitionData(List.of(partition)));
        var request = new ProduceRequestData().setTransactionalId(id).setAcks((short) -1).setTimeoutMs(10_000).setTopicData(topics);
        var answer = new ProduceResponseData(call(ApiKeys.PRODUCE, PRODUCE, request).body, PRODUCE);
        var written = answer.responses().iterator().next().partitionResponses().get(0);
        check(written.errorCode(), "Produce of " + value);
        return written.baseOffset();
    }

    /** Asks until the answer is that it is complete: the marker is written then. */
    void commit(String id, InitProducerIdResponseData producer) throws Exception {
        end(id, producer, Errors.NONE);
        while (end(id, producer, Errors.NONE, Errors.CONCURRENT_TRANSACTIONS) != Errors.NONE) {
            Thread.sleep(10);
        }
    }

    Errors end(String id, InitProducerIdResponseData producer, Errors... expected) throws Exception {
        var request = new EndTxnRequestData().setTransactionalId(id).setProducerId(producer.producerId())
                .setProducerEpoch(producer.producerEpoch()).setCommitted(true);
        var error = Errors.forCode(new EndTxnResponseData(call(ApiKeys.END_TXN, END, request).body, END).errorCode());
        if (!List.of(expected).contains(error)) {
            throw new IllegalStateException("EndTxn: " + error);
        }
        return error;
    }

    public static void main(String[] args) throws Exception {
        String id = args[1], topic = args[2];
        Hanging client = new Hanging(args[0]);
        var producer = client.init(id);
        client.add(id, producer, topic);
        client.produce(id, producer, topic, 0, "in time");
        client.commit(id, producer);
        long offset = client.produce(id, producer, topic, 1, "too late");
        System.out.println(producer.producerId() + " " + offset);
    }
}
