import java.time.Duration;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;

/** As worker.py, by the Java client: with transaction.version 2. */
public final class WriteWorker {
    private final String broker;
    private final String topic;
    private final int partitions;
    private final String prefix;
    private final boolean hasty;
    private final Random some;
    private int number;

    private WriteWorker(String[] args) {
        broker = args[0];
        topic = args[1];
        partitions = Integer.parseInt(args[2]);
        prefix = args[3] + ":" + args[4];
        hasty = args[6].equals("hasty");
        some = new Random((args[5] + "/" + prefix).hashCode());
    }

    public static void main(String[] args) {
        Clients.untilTerminated();
        WriteWorker worker = new WriteWorker(args);
        try (KafkaConsumer<String, String> others = Clients.consumer(args[0], Map.of("auto.offset.reset", "none"))) {
            others.assign(Clients.partitions(args[1], worker.partitions));
            others.seekToEnd(others.assignment());
            while (!Clients.stop) {
                worker.work(args[3], others);
            }
        }
    }

    /** One producer's life. */
    private void work(String name, KafkaConsumer<String, String> others) {
        KafkaProducer<String, String> client = Clients.producer(broker, name, hasty);
        if (client == null) {
            return;
        }
        boolean whole = true;
        while (!Clients.stop && whole) {
            number++;
            String t = prefix + ":" + number;
            try {
                whole = transaction(t, client, others);
            } catch (KafkaException e) {
                Clients.say("unknown", t);
                whole = false;
            }
        }
        client.close(Duration.ZERO);
    }

    /** One transaction; whether the producer can go on. */
    private boolean transaction(String t, KafkaProducer<String, String> client, KafkaConsumer<String, String> others) {
        Clients.say("begin", t);
        client.beginTransaction();
        try {
            int count = 1 + some.nextInt(6);
            for (int n = 0; n < count; n++) {
                int p = some.nextInt(partitions);
                String value = t + ":" + n;
                Clients.say("write", t, p, value);
                client.send(new ProducerRecord<>(topic, p, null, value));
                if (some.nextInt(10) == 0) {
                    client.flush();
                }
            }
            for (ConsumerRecord<String, String> record : others.poll(Duration.ofMillis(20))) {
                Clients.say("read", t, record.partition(), record.offset(), record.value());
            }
            stall();
            if (some.nextInt(4) != 0) {
                Clients.say("commit", t);
                Clients.end(client::commitTransaction);
                Clients.say("committed", t);
            } else {
                Clients.say("abort", t);
                Clients.abort(client);
                Clients.say("aborted", t);
            }
            return true;
        } catch (KafkaException e) {
            boolean whole = Clients.aborted(client, e);
            Clients.say(whole ? "aborted" : "unknown", t);
            return whole;
        }
    }

    /** A hasty producer is slow now and then: about as long as the coordinator waits for it. */
    private void stall() {
        if (hasty && some.nextInt(20) == 0) {
            Clients.pause(1000 + some.nextInt(3000));
        }
    }
}
