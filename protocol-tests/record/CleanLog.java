// Records what Kafka's own cleaner makes of a log: src/log/cleaner/testdata.
//
//   java -cp 'LIBS/*' CleanLog.java DIR
//
// writes DIR/input, a log with keys, tombstones, codecs, idempotent and transactional producers, and what Kafka leaves of it:
// DIR/first at T, DIR/second behind the delete horizons that this has set.
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class CleanLog {
    static final long T = 1_700_000_000_000L;
    static final long HOUR = 3_600_000L;

    /** Stands still, so that no producer expires. */
    static final Time TIME = (Time) Proxy.newProxyInstance(Time.class.getClassLoader(), new Class<?>[] {Time.class},
        (proxy, method, args) -> method.getName().equals("milliseconds") ? T : method.invoke(Time.SYSTEM, args));

    static UnifiedLog open(File dir) throws IOException {
        Properties settings = new Properties();
        settings.put("cleanup.policy", "compact");
        settings.put("segment.bytes", Integer.toString(1 << 20));
        settings.put("index.interval.bytes", "200");
        settings.put("delete.retention.ms", Long.toString(HOUR));
        settings.put("file.delete.delay.ms", "0");
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        return UnifiedLog.create(dir, new LogConfig(settings), 0, 0, scheduler, new BrokerTopicStats(), TIME,
            Integer.MAX_VALUE, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), Integer.MAX_VALUE,
            new LogDirFailureChannel(1), true, Optional.empty());
    }

    static void write(UnifiedLog log) throws IOException {
        Random random = new Random(5);
        Compression[] codecs = {Compression.NONE, Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build()};
        int[] sequences = new int[7];
        boolean[] open = new boolean[7];
        for (int n = 0; n < 150; n++) {
            int producer = random.nextInt(7);
            if (producer >= 4 && open[producer] && random.nextInt(3) == 0) {
                end(log, producer, random);
                open[producer] = false;
                continue;
            }
            SimpleRecord[] records = new SimpleRecord[1 + random.nextInt(4)];
            for (int i = 0; i < records.length; i++) {
                byte[] key = ("key-" + random.nextInt(14)).getBytes();
                byte[] value = random.nextInt(5) == 0 ? null : ("value-" + n + "-" + i).getBytes();
                records[i] = new SimpleRecord(T - HOUR + n * 1000 + random.nextInt(900), key, value);
            }
            Compression codec = codecs[random.nextInt(codecs.length)];
            MemoryRecords batch;
            if (producer < 2) {
                batch = MemoryRecords.withRecords(codec, records);
            } else if (producer < 4) {
                batch = MemoryRecords.withIdempotentRecords(codec, producer, (short) 0, sequences[producer], records);
            } else {
                batch = MemoryRecords.withTransactionalRecords(codec, producer, (short) 0, sequences[producer], records);
                open[producer] = true;
            }
            sequences[producer] += records.length;
            log.appendAsLeader(batch, n / 40, AppendOrigin.COORDINATOR);
            if (n % 35 == 34) log.roll();
        }
        for (int producer = 4; producer < 7; producer++) if (open[producer]) end(log, producer, random);
        log.roll();
        log.appendAsLeader(MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(T, "key-0".getBytes(), null)), 9);
    }

    static void end(UnifiedLog log, int producer, Random random) throws IOException {
        ControlRecordType type = random.nextBoolean() ? ControlRecordType.COMMIT : ControlRecordType.ABORT;
        EndTransactionMarker marker = new EndTransactionMarker(type, 0);
        log.appendAsLeader(MemoryRecords.withEndTransactionMarker(T - HOUR, producer, (short) 0, marker), 0, AppendOrigin.COORDINATOR,
            RequestLocal.noCaching(), VerificationGuard.SENTINEL, (short) 1);
    }

    static void clean(UnifiedLog log, long now) throws Exception {
        log.updateHighWatermark(log.logEndOffset());
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 20), 65536, 65536, 0.9,
            new Throttler(Double.MAX_VALUE, Long.MAX_VALUE, "throttler", "entries", TIME), TIME, tp -> { });
        long end = cleaner.doClean(new LogToClean(log, 0, log.activeSegment().baseOffset(), false), now).getKey();
        System.out.println("cleaned to " + end);
    }

    static void keep(Path from, Path to) throws IOException {
        Files.createDirectories(to);
        try (var files = Files.list(from)) {
            for (Path file : files.toList()) {
                if (file.getFileName().toString().matches("\\d{20}\\.(log|index|timeindex|txnindex|snapshot)")) {
                    Files.copy(file, to.resolve(file.getFileName()));
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        Path work = dir.resolve("t-0");
        Files.createDirectories(work);
        UnifiedLog log = open(work.toFile());
        write(log);
        log.close();
        keep(work, dir.resolve("input"));
        log = open(work.toFile());
        clean(log, T);
        log.close();
        keep(work, dir.resolve("first"));
        log = open(work.toFile());
        clean(log, T + HOUR);
        log.close();
        keep(work, dir.resolve("second"));
        System.exit(0);
    }
}
