import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.LongStream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * `TransactionsRate SECONDS ROUNDS PRODUCERS,.. PARTITIONS,.. NAME=ADDRESS=PID ..`: each producer commits one transaction
 * after the other, with one record to each partition. The brokers take turns, round by round, under one client, so that
 * neither has the warmer one. A line a round: producers, partitions, name, transactions, seconds, the broker's CPU in ms,
 * then the commits' median and 99th percentile in microseconds.
 */
public class TransactionsRate {
    static final int VALUE_BYTES = 100;
    static final int WARM_UP_SECONDS = 2;
    static final int TICK_MS = 10;

    record Broker(String name, String address, String pid) {
        static Broker of(String argument) {
            String[] parts = argument.split("=");
            return new Broker(parts[0], parts[1], parts[2]);
        }

        /** User and system time so far. */
        long cpuMs() throws Exception {
            String stat = Files.readString(Path.of("/proc", pid, "stat"));
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) * TICK_MS;
        }
    }

    /** The producers of one shape on one broker. */
    static class Load implements AutoCloseable {
        final Broker broker;
        final int partitions;
        final String topic = "rate-" + UUID.randomUUID();
        final List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        final ExecutorService threads;

        Load(Broker broker, int count, int partitions) throws Exception {
            this.broker = broker;
            this.partitions = partitions;
            try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.address))) {
                admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
            }
            threads = Executors.newFixedThreadPool(count, work -> {
                Thread thread = new Thread(work);
                thread.setDaemon(true);     // a round that fails ends the program
                return thread;
            });
            for (int n = 0; n < count; n++) {
                var producer = new KafkaProducer<>(Map.of("bootstrap.servers", broker.address, "transactional.id", topic + "-" + n),
                        new ByteArraySerializer(), new ByteArraySerializer());
                producers.add(producer);
                producer.initTransactions();
            }
        }

        /** What the commits took, in ns, until the time is over. */
        long[] commits(KafkaProducer<byte[], byte[]> producer, long until) {
            byte[] value = new byte[VALUE_BYTES];
            LongStream.Builder took = LongStream.builder();
            while (System.nanoTime() < until) {
                producer.beginTransaction();
                for (int partition = 0; partition < partitions; partition++) {
                    producer.send(new ProducerRecord<>(topic, partition, null, value));
                }
                long begin = System.nanoTime();
                producer.commitTransaction();
                took.add(System.nanoTime() - begin);
            }
            return took.build().toArray();
        }

        String round(int seconds) throws Exception {
            long cpu = broker.cpuMs();
            long begin = System.nanoTime();
            long until = begin + seconds * 1_000_000_000L;
            List<Callable<long[]>> work = new ArrayList<>();
            producers.forEach(producer -> work.add(() -> commits(producer, until)));
            LongStream all = LongStream.empty();
            for (var done : threads.invokeAll(work)) {
                all = LongStream.concat(all, Arrays.stream(done.get()));
            }
            double took = (System.nanoTime() - begin) / 1e9;
            cpu = broker.cpuMs() - cpu;
            long[] sorted = all.sorted().toArray();
            return String.format("%d %d %s %d %.3f %d %d %d", producers.size(), partitions, broker.name, sorted.length, took, cpu,
                    sorted[sorted.length / 2] / 1000, sorted[(int) (sorted.length * 0.99)] / 1000);
        }

        @Override
        public void close() throws Exception {
            threads.shutdown();
            producers.forEach(KafkaProducer::close);
            try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.address))) {
                admin.deleteTopics(List.of(topic)).all().get();
            }
        }
    }

    static int[] numbers(String argument) {
        return Arrays.stream(argument.split(",")).mapToInt(Integer::parseInt).toArray();
    }

    public static void main(String[] args) throws Exception {
        int seconds = Integer.parseInt(args[0]);
        int rounds = Integer.parseInt(args[1]);
        List<Broker> brokers = Arrays.stream(args).skip(4).map(Broker::of).toList();
        for (int producers : numbers(args[2])) {
            for (int partitions : numbers(args[3])) {
                Map<Broker, Load> loads = new LinkedHashMap<>();
                for (Broker broker : brokers) {
                    loads.put(broker, new Load(broker, producers, partitions));
                    loads.get(broker).round(WARM_UP_SECONDS);
                }
                for (int round = 0; round < rounds; round++) {
                    for (Load load : loads.values()) {
                        System.out.println(load.round(seconds));
                    }
                }
                for (Load load : loads.values()) {
                    load.close();
                }
            }
        }
    }
}
