import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Writes every generated message of Apache Kafka in every version to standard output, a line each: class, versions
 * with the same bytes, variant, hex, and the JSON of Kafka's converter. Variants: "filled" sets each field that the version has to a
 * value other than its default, with an unknown tagged field in each flexible struct; "nulls" is the same with null
 * wherever it is allowed and one-element arrays; "default" is a new object.
 *
 * Run with Kafka's jars in LIBS: java -cp 'LIBS/*' MessageFixtures.java LIBS/kafka-*.jar > messages.tsv
 */
public class MessageFixtures {
    static int counter;

    public static void main(String[] jars) throws Exception {
        Map<String, Class<?>> classes = new TreeMap<>();
        for (String jar : jars) {
            try (JarFile file = new JarFile(jar)) {
                for (Enumeration<JarEntry> entries = file.entries(); entries.hasMoreElements();) {
                    String name = entries.nextElement().getName();
                    if (!name.endsWith(".class") || name.contains("$")) continue;
                    if (!name.matches(".*/(message|metadata|generated)/[^/]+")) continue;
                    Class<?> found = Class.forName(name.substring(0, name.length() - 6).replace('/', '.'));
                    if (ApiMessage.class.isAssignableFrom(found) && !found.isInterface()) classes.put(found.getSimpleName(), found);
                }
            }
        }
        PrintStream out = System.out;
        out.println("# Written by Apache Kafka 4.3.0 through protocol-tests/record/MessageFixtures.java: class, versions, variant, bytes, JsonConverter's text.");
        for (Map.Entry<String, Class<?>> entry : classes.entrySet()) {
            String name = entry.getKey().replaceFirst("Data$", "");
            for (String variant : List.of("filled", "nulls", "default")) {
                short from = -1;
                short last = -1;
                String pending = null;
                Schema[] schemas = (Schema[]) entry.getValue().getField("SCHEMAS").get(null);
                for (short version = 0; version < schemas.length; version++) {
                    if (schemas[version] == null) continue;
                    String line = line(entry.getValue(), schemas[version], version, variant);
                    if (line == null) continue;
                    if (line.equals(pending)) {
                        last = version;
                        continue;
                    }
                    if (pending != null) out.println(name + "\t" + from + "-" + last + "\t" + variant + "\t" + pending);
                    from = last = version;
                    pending = line;
                }
                if (pending != null) out.println(name + "\t" + from + "-" + last + "\t" + variant + "\t" + pending);
            }
        }
    }

    static String line(Class<?> type, Schema schema, short version, String variant) throws Exception {
        counter = 0;
        ApiMessage message = (ApiMessage) type.getConstructor().newInstance();
        if (!variant.equals("default")) fill(message, schema, variant.equals("nulls"));
        try {
            ObjectSerializationCache cache = new ObjectSerializationCache();
            int size = message.size(cache, version);
            ByteBuffer buffer = ByteBuffer.allocate(size);
            message.write(new ByteBufferAccessor(buffer), cache, version);
            return HexFormat.of().formatHex(buffer.array()) + "\t" + json(type, message, version);
        } catch (Exception e) {
            System.err.println(type.getSimpleName() + " " + version + " " + variant + ": " + e);
            return null;
        }
    }

    static String json(Class<?> type, ApiMessage message, short version) throws Exception {
        Class<?> converter = Class.forName(type.getName() + "JsonConverter");
        for (Method method : converter.getMethods()) {
            if (method.getName().equals("write") && method.getParameterCount() == 3) {
                return method.invoke(null, message, version, false).toString();
            }
        }
        throw new IllegalStateException(converter + " has no write");
    }

    static String camel(String snake) {
        StringBuilder out = new StringBuilder();
        boolean upper = false;
        for (char c : snake.toCharArray()) {
            if (c == '_') {
                upper = true;
            } else {
                out.append(upper ? Character.toUpperCase(c) : c);
                upper = false;
            }
        }
        return out.toString();
    }

    static Field field(Class<?> type, String snake) {
        String wanted = camel(snake);
        for (Field field : type.getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && field.getName().equalsIgnoreCase(wanted)) return field;
        }
        throw new IllegalStateException(type + " has no " + wanted);
    }

    static void fill(Object message, Schema schema, boolean nulls) throws Exception {
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields) {
                Map<Integer, org.apache.kafka.common.protocol.types.Field> tags = ((TaggedFields) bound.def.type).fields();
                for (org.apache.kafka.common.protocol.types.Field tagged : tags.values()) set(message, tagged.name, tagged.type, nulls);
                Method unknown = message.getClass().getMethod("unknownTaggedFields");
                @SuppressWarnings("unchecked")
                List<RawTaggedField> list = (List<RawTaggedField>) unknown.invoke(message);
                list.add(new RawTaggedField(200 + (counter++ % 7), new byte[] {(byte) counter, 0x5a}));
            } else {
                set(message, bound.def.name, bound.def.type, nulls);
            }
        }
    }

    static void set(Object message, String name, org.apache.kafka.common.protocol.types.Type wire, boolean nulls) throws Exception {
        Field field = field(message.getClass(), name);
        field.setAccessible(true);
        field.set(message, value(field.getType(), field.getGenericType(), wire, nulls));
    }

    static Object value(Class<?> type, Type generic, org.apache.kafka.common.protocol.types.Type wire, boolean nulls) throws Exception {
        int n = ++counter;
        if (nulls && wire.isNullable()) return null;
        if (type == boolean.class || type == Boolean.class) return n % 3 != 0;
        if (type == byte.class || type == Byte.class) return (byte) (n % 2 == 0 ? n : -n);
        if (type == short.class || type == Short.class) return (short) (n % 2 == 0 ? 300 + n : -n - 1);
        if (type == int.class || type == Integer.class) {
            return wire.toString().equals("UINT16") ? (Object) (60000 + n) : (Object) (n % 2 == 0 ? 70000 + n : -n - 2);
        }
        if (type == long.class || type == Long.class) {
            return wire.toString().equals("UINT32") ? (Object) (4000000000L + n) : (Object) (n % 2 == 0 ? 5000000000L + n : -n - 3L);
        }
        if (type == double.class || type == Double.class) return n + 0.25;
        if (type == String.class) return n % 4 == 0 ? "zw\u00f6lf-" + n : "s" + n;
        if (type == Uuid.class) return new Uuid(0x0102030405060708L * (n % 9 + 1), n + 1000);
        if (type == byte[].class) return new byte[] {(byte) n, 1, 2, (byte) 0xff};
        if (type == ByteBuffer.class) return ByteBuffer.wrap(new byte[] {(byte) n, 1, 2, (byte) 0xff});
        if (BaseRecords.class.isAssignableFrom(type)) return MemoryRecords.readableRecords(ByteBuffer.wrap(new byte[] {(byte) n, 7, 7, 7, 7, 7, 7}));
        if (Collection.class.isAssignableFrom(type)) {
            org.apache.kafka.common.protocol.types.Type element = wire.arrayElementType().get();
            @SuppressWarnings("unchecked")
            Collection<Object> all = type == List.class ? new ArrayList<>() : (Collection<Object>) type.getConstructor().newInstance();
            Type elementType = type == List.class
                ? ((ParameterizedType) generic).getActualTypeArguments()[0]
                : ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
            for (int i = 0; i < (nulls ? 1 : 2); i++) all.add(value((Class<?>) elementType, elementType, element, nulls));
            return all;
        }
        Schema schema = (Schema) wire;
        Object struct = type.getConstructor().newInstance();
        fill(struct, schema, nulls);
        return struct;
    }
}
