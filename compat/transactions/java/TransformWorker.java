import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** As transform.py, by the Java client: with transaction.version 2, and a group that rebalances step by step (KIP-429). */
public final class TransformWorker {
    private final String source;
    private final String target;
    private final Random some;

    private TransformWorker(String source, String target, Random some) {
        this.source = source;
        this.target = target;
        this.some = some;
    }

    public static void main(String[] args) {
        Clients.untilTerminated();
        TransformWorker worker = new TransformWorker(args[1], args[2], new Random((args[5] + "/" + args[4]).hashCode()));
        while (!Clients.stop) {
            try {
                worker.work(args[0], args[4], args[6]);
            } catch (KafkaException e) {
                Clients.say("failed", e);
                Clients.pause(200);
            }
        }
    }

    /** Goes on until something fails for good; then all is to be begun anew. */
    private void work(String broker, String name, String group) {
        // The producer first: what the one before it left open is decided before the committed offsets are asked for.
        KafkaProducer<String, String> client = Clients.producer(broker, name, false);
        if (client == null) {
            return;
        }
        Map<String, Object> settings = Map.of("group.id", group, "auto.offset.reset", "earliest", "session.timeout.ms", 6000,
            "heartbeat.interval.ms", 1000, "partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        try (KafkaConsumer<String, String> consumer = Clients.consumer(broker, settings)) {
            consumer.subscribe(List.of(source));
            boolean whole = true;
            while (!Clients.stop && whole) {
                ConsumerRecords<String, String> batch = consumer.poll(Duration.ofMillis(200));
                whole = batch.isEmpty() || transaction(client, consumer, batch);
            }
        } finally {
            client.close(Duration.ZERO);
        }
    }

    /** Turns the batch into output; whether the producer can go on. */
    private boolean transaction(KafkaProducer<String, String> client, KafkaConsumer<String, String> consumer,
                                ConsumerRecords<String, String> batch) {
        try {
            client.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (ConsumerRecord<String, String> record : batch) {
                client.send(new ProducerRecord<>(target, record.partition(), null, record.value()));
                offsets.put(new TopicPartition(source, record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            client.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            if (some.nextInt(7) != 0) {
                Clients.end(client::commitTransaction);
                Clients.say("committed", batch.count());
                return true;
            }
            Clients.abort(client);
            Clients.say("aborted", batch.count());
            rewind(consumer);
            return true;
        } catch (KafkaException e) {
            Clients.say("failed", e);
            if (!Clients.aborted(client, e)) {
                return false;
            }
            rewind(consumer);
            return true;
        }
    }

    /** Back to what is committed. */
    private static void rewind(KafkaConsumer<String, String> consumer) {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        for (TopicPartition each : consumer.assignment()) {
            OffsetAndMetadata place = committed.get(each);
            consumer.seek(each, place == null ? 0 : place.offset());
        }
    }
}
