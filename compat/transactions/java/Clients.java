import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.HashMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the Java clients of the checker have in common, as clients.py has it for Python. */
final class Clients {
    static final int TRIES = 12;
    static volatile boolean stop;
    private static final FileOutputStream OUT = new FileOutputStream(FileDescriptor.out);

    private Clients() {}

    /** SIGTERM: the transaction that is open is ended, and nothing more begun. */
    static void untilTerminated() {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop = true;
            try {
                main.join(60_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    /** One line in one write, with the time before it; Linux has one clock for this and Python's monotonic_ns. */
    static void say(Object... words) {
        StringBuilder line = new StringBuilder().append(System.nanoTime());
        for (Object word : words) {
            line.append(' ').append(word);
        }
        try {
            OUT.write(line.append('\n').toString().getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            stop = true;
        }
    }

    /** A producer that may begin; null when there is no more time for that. */
    static KafkaProducer<String, String> producer(String broker, String name, boolean hasty) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", broker, "transactional.id", name,
            "linger.ms", 1, "reconnect.backoff.max.ms", 200, "metadata.max.age.ms", 1000,
            "transaction.timeout.ms", hasty ? 2000 : 8000, "request.timeout.ms", hasty ? 700 : 4000,
            "delivery.timeout.ms", hasty ? 1500 : 8000, "max.block.ms", hasty ? 3000 : 10000));
        KafkaProducer<String, String> made = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        while (!stop) {
            try {
                made.initTransactions();
                return made;
            } catch (TimeoutException e) {
                // once more
            } catch (KafkaException e) {
                made.close(Duration.ZERO);
                made = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
            }
        }
        made.close(Duration.ZERO);
        return null;
    }

    static KafkaConsumer<String, String> consumer(String broker, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", broker, "enable.auto.commit", false,
            "isolation.level", "read_committed", "fetch.max.wait.ms", 50, "max.poll.records", 40,
            "reconnect.backoff.max.ms", 200, "default.api.timeout.ms", 10000, "request.timeout.ms", 4000));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < count; p++) {
            all.add(new TopicPartition(topic, p));
        }
        return all;
    }

    static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Ends the transaction, however often that has to be asked for. */
    static void end(Runnable how) {
        for (int left = TRIES; ; left--) {
            try {
                how.run();
                return;
            } catch (TimeoutException e) {
                if (left == 0) {
                    throw e;
                }
            }
        }
    }

    /**
     * The Java client 4.3.0 now and then keeps a record that was not sent yet over the abort: it came in one batch with the
     * next transaction's, and was committed with these. So nothing is left unsent.
     */
    static void abort(KafkaProducer<String, String> client) {
        client.flush();
        end(client::abortTransaction);
    }

    /** Whether the transaction that failed is aborted, and the producer can go on. */
    static boolean aborted(KafkaProducer<String, String> client, KafkaException failure) {
        if (failure instanceof TimeoutException) {
            return false;   // of EndTxn: it may be committed
        }
        try {
            abort(client);
            return true;
        } catch (RuntimeException e) {
            return false;
        }
    }
}
