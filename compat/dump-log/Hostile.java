import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ConsumerProtocolAssignment;
import org.apache.kafka.common.message.ConsumerProtocolSubscription;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.ByteUtils;

/**
 * Segments with every record of Kafka's internal topics, in every version, and plain ones, full of what is hard to print:
 * control characters, what is no UTF-8, the ends of each number, metadata of consumers that is not what it says.
 * The same for the same seed. Arguments: the directory, the seed, how often each record is written.
 */
public class Hostile {
    static final String[] TEXTS = {
        "", "plain", "\"", "\\", "/", "\u007f", "\u0080\u0085\u009f", "\u00a0\u00ad", "\u2028\u2029", "\ufeff\ufffd\ufffe\uffff",
        "\ud83d\ude00 astral", "\u202eright to left", "e\u0301", "</script>&lt;", "%s ${x} \\u0041", " key: k payload: v", "|", "null",
        "\u0000", "\b\f\n\r\t", "\u000b\u001b\u001f", "a\r\nbaseOffset: 0", "x".repeat(300)};
    static final byte[][] NO_TEXT = {bytes(0xff, 0xfe, 0x80, 0xc0, 0xaf, 0xed, 0xa0, 0x80), bytes(0xf0, 0x9f, 0x98, 0x41, 0xe2, 0x82, 0x41, 0xc3),
        bytes(0xed, 0xbf, 0xbf, 0xed, 0xa0, 0x41, 0xf4, 0x90), bytes(0xf8, 0x88, 0x80, 0x80, 0x80, 0xed, 0xb0, 0xed), bytes(0x41, 0xe0, 0x80, 0x80, 0xc1, 0xbf, 0x22, 0xf0)};
    static final String MARK = "\u0001no txt";  // eight bytes; the last of them tells which
    static final double[] DOUBLES = {0.0, -0.0, 1.0, -1.0, 0.1, 1e-3, 9.999e-4, 9999999.0, 1e7, 12345678.9, 1e21, -2e30, 1.5e300, 1 / 3.0, 1024 * 1024, 1e-300,
        Double.MAX_VALUE, Double.MIN_VALUE, Double.MIN_NORMAL, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};

    static final long[] TIMES = {-1, 0, 1, 1_700_000_000_000L, Long.MAX_VALUE - 1, Long.MAX_VALUE};

    static Random dice;

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        dice = new Random(Long.parseLong(args[1]));
        int times = Integer.parseInt(args[2]);
        List<SimpleRecord> records = new ArrayList<>();
        for (var type : org.apache.kafka.coordinator.group.generated.CoordinatorRecordType.values())
            coordinator(records, times, type.id(), type.newRecordKey(), type.newRecordValue());
        unknown(records, 1000);
        segment(folder, "__consumer_offsets-0", records);
        for (var type : org.apache.kafka.coordinator.transaction.generated.CoordinatorRecordType.values())
            coordinator(records, 8 * times, type.id(), type.newRecordKey(), type.newRecordValue());
        unknown(records, 1000);
        segment(folder, "__transaction_state-0", records);
        for (var type : org.apache.kafka.coordinator.share.generated.CoordinatorRecordType.values())
            coordinator(records, 8 * times, type.id(), type.newRecordKey(), type.newRecordValue());
        unknown(records, 1000);
        segment(folder, "__share_group_state-0", records);
        for (MetadataRecordType type : MetadataRecordType.values())
            metadata(records, times, type);
        segment(folder, "__cluster_metadata-0", records);
        for (int i = 0; i < 40 * times; i++)
            records.add(new SimpleRecord(TIMES[dice.nextInt(TIMES.length)], anything(true), anything(true), headers()));
        segment(folder, "plain-0", records);
    }

    static byte[] bytes(int... values) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++)
            bytes[i] = (byte) values[i];
        return bytes;
    }

    // ---- records

    static void coordinator(List<SimpleRecord> records, int times, short type, Object key, Object value) throws Exception {
        Schema keys = schemas(key)[0];
        Schema[] values = schemas(value);
        for (int version = 0; version < values.length; version++) {
            for (int i = 0; values[version] != null && i < times; i++)
                records.add(new SimpleRecord(1, encoded(type, keys), encoded((short) version, values[version])));
        }
        records.add(new SimpleRecord(1, encoded(type, keys), null));
    }

    static void unknown(List<SimpleRecord> records, int type) {
        records.add(new SimpleRecord(1, ByteBuffer.allocate(9).putShort((short) type).array(), new byte[4]));
    }

    static void metadata(List<SimpleRecord> records, int times, MetadataRecordType type) throws Exception {
        Schema[] schemas = schemas(type.newMetadataRecord());
        for (int version = 0; version < schemas.length; version++) {
            for (int i = 0; schemas[version] != null && i < times; i++) {
                ByteBuffer frame = ByteBuffer.allocate(1 << 20);
                ByteUtils.writeUnsignedVarint(1, frame);
                ByteUtils.writeUnsignedVarint(type.id(), frame);
                ByteUtils.writeUnsignedVarint(version, frame);
                frame.put(unmarked(struct(schemas[version])));
                records.add(new SimpleRecord(1, null, Arrays.copyOf(frame.array(), frame.position())));
            }
        }
    }

    /** A key behind its type, or a value behind its version. */
    static byte[] encoded(short first, Schema schema) {
        byte[] struct = unmarked(struct(schema));
        return ByteBuffer.allocate(2 + struct.length).putShort(first).put(struct).array();
    }

    static Schema[] schemas(Object message) throws ReflectiveOperationException {
        return (Schema[]) message.getClass().getField("SCHEMAS").get(null);
    }

    static void segment(Path folder, String partition, List<SimpleRecord> records) throws IOException {
        Compression[] codecs = {Compression.NONE, Compression.gzip().build(), Compression.snappy().build(), Compression.lz4().build(), Compression.zstd().build()};
        Path log = Files.createDirectories(folder.resolve(partition)).resolve("00000000000000000000.log");
        try (OutputStream out = Files.newOutputStream(log)) {
            for (int from = 0; from < records.size();) {
                int upto = Math.min(records.size(), from + 1 + dice.nextInt(20));
                Compression codec = dice.nextInt(3) > 0 ? Compression.NONE : codecs[dice.nextInt(codecs.length)];
                boolean idempotent = dice.nextBoolean();
                MemoryRecords batch = MemoryRecords.withRecords(RecordBatch.CURRENT_MAGIC_VALUE, from, codec, TimestampType.CREATE_TIME,
                    idempotent ? dice.nextLong() >>> 1 : -1, idempotent ? (short) (dice.nextInt() & 0x7fff) : -1,
                    idempotent ? Integer.MAX_VALUE - dice.nextInt(5) : -1, dice.nextInt() >>> 1, false, records.subList(from, upto).toArray(new SimpleRecord[0]));
                out.write(batch.buffer().array(), batch.buffer().arrayOffset(), batch.sizeInBytes());
                from = upto;
            }
        }
        records.clear();
    }

    static Header[] headers() {
        Header[] headers = new Header[dice.nextInt(4)];
        for (int i = 0; i < headers.length; i++)
            headers[i] = new RecordHeader(ByteBuffer.wrap(anything(false)), dice.nextBoolean() ? null : ByteBuffer.wrap(anything(false)));
        return headers;
    }

    // ---- values

    static byte[] struct(Schema schema) {
        Struct struct = filled(schema, false);
        ByteBuffer out = ByteBuffer.allocate(schema.sizeOf(struct));
        schema.write(out, struct);
        return out.array();
    }

    static Struct filled(Schema schema, boolean tagged) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields())
            struct.set(field, special(field.def.name, field.def.type, tagged));
        return struct;
    }

    static Object special(String name, Type type, boolean tagged) {
        switch (name) {
            case "protocol_type":
                return dice.nextInt(3) > 0 ? "consumer" : value(type, tagged);
            case "subscription":
                return ByteBuffer.wrap(consumers(ConsumerProtocolSubscription.SCHEMAS));
            case "assignment":
                return type instanceof Schema || type.isArray() ? value(type, tagged) : ByteBuffer.wrap(consumers(ConsumerProtocolAssignment.SCHEMAS));
            default:
                return value(type, tagged);
        }
    }

    /** What a consumer says or is given: as it should be, with another version, with bytes that were changed, or anything. */
    static byte[] consumers(Schema[] schemas) {
        if (dice.nextInt(8) == 0)
            return anything(false);
        int version = dice.nextInt(schemas.length);
        int[] versions = {version, version, version, -1, schemas.length, 100, Short.MAX_VALUE, Short.MIN_VALUE};
        byte[] bytes = encoded((short) versions[dice.nextInt(versions.length)], schemas[version]);
        for (int i = dice.nextInt(4); bytes.length > 2 && i > 0; i--)
            bytes[dice.nextInt(bytes.length)] = (byte) (dice.nextBoolean() ? dice.nextInt(3) - 1 : dice.nextInt());
        return dice.nextInt(6) == 0 ? Arrays.copyOf(bytes, dice.nextInt(bytes.length + 3)) : bytes;
    }

    /** A value of a type; of one that is tagged not the default, which Kafka would not have written. */
    static Object value(Type type, boolean tagged) {
        if (type instanceof TaggedFields) {
            Map<Integer, Object> fields = new TreeMap<>();
            for (Map.Entry<Integer, Field> field : ((TaggedFields) type).fields().entrySet()) {
                if (dice.nextInt(3) > 0)
                    fields.put(field.getKey(), value(field.getValue().type, true));
            }
            return fields;
        }
        if (type.isNullable() && !tagged && dice.nextInt(4) == 0)
            return null;
        if (type instanceof Schema)
            return filled((Schema) type, tagged);
        if (type.isArray()) {
            Object[] elements = new Object[dice.nextInt(4) + (tagged ? 1 : 0)];
            for (int i = 0; i < elements.length; i++)
                elements[i] = value(type.arrayElementType().get(), false);
            return elements;
        }
        if (type == Type.BOOLEAN)
            return tagged || dice.nextBoolean();
        if (type == Type.INT8)
            return (byte) number(tagged, Byte.MIN_VALUE, Byte.MAX_VALUE);
        if (type == Type.INT16)
            return (short) number(tagged, Short.MIN_VALUE, Short.MAX_VALUE);
        if (type == Type.UINT16)
            return (int) number(tagged, 1, 0xffff);
        if (type == Type.INT32)
            return (int) number(tagged, Integer.MIN_VALUE, Integer.MAX_VALUE);
        if (type == Type.UNSIGNED_INT32)
            return number(tagged, 1, 0xffffffffL);
        if (type == Type.INT64)
            return number(tagged, Long.MIN_VALUE, Long.MAX_VALUE);
        if (type == Type.FLOAT64)
            return dice.nextBoolean() ? DOUBLES[dice.nextInt(DOUBLES.length)] : Math.rint(dice.nextDouble() * 1e6) / 1e3;
        if (type == Type.UUID)
            return dice.nextInt(4) == 0 && !tagged ? Uuid.ZERO_UUID : new Uuid(dice.nextLong(), dice.nextLong());
        if (type.toString().contains("STRING"))
            return text(tagged);
        if (type.toString().contains("BYTES"))
            return ByteBuffer.wrap(anything(false));
        throw new IllegalStateException("a type that is not known: " + type);
    }

    static long number(boolean tagged, long least, long most) {
        long[] all = {least, most, least + 1, 7, tagged ? 8 : 0, tagged || least >= 0 ? 9 : -1};
        return all[dice.nextInt(all.length)];
    }

    static String text(boolean tagged) {
        int kind = dice.nextInt(60);
        if (kind == 0)
            return "\u00e4".repeat(Short.MAX_VALUE / 2);
        if (kind < 12)
            return MARK + (char) ('0' + dice.nextInt(NO_TEXT.length));
        String one = TEXTS[tagged ? 1 + dice.nextInt(TEXTS.length - 1) : dice.nextInt(TEXTS.length)];
        return kind < 30 ? one : one + TEXTS[dice.nextInt(TEXTS.length)] + (char) (1 + dice.nextInt(160));
    }

    static byte[] anything(boolean nullable) {
        int kind = dice.nextInt(6);
        if (kind == 0 && nullable)
            return null;
        if (kind <= 2)
            return unmarked(text(false).getBytes(StandardCharsets.UTF_8));
        byte[] bytes = new byte[dice.nextInt(kind == 3 ? 4 : 40)];
        dice.nextBytes(bytes);
        return bytes;
    }

    /** With bytes that are no UTF-8 where a text is marked. */
    static byte[] unmarked(byte[] bytes) {
        byte[] mark = MARK.getBytes(StandardCharsets.UTF_8);
        for (int at = 0; at + mark.length < bytes.length; at++) {
            if (Arrays.equals(bytes, at, at + mark.length, mark, 0, mark.length))
                System.arraycopy(NO_TEXT[Math.floorMod(bytes[at + mark.length], NO_TEXT.length)], 0, bytes, at, mark.length + 1);
        }
        return bytes;
    }
}
