import java.io.*; import java.net.*; import java.nio.*; import java.util.*;
import org.apache.kafka.common.compress.Compression; import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.protocol.*; import org.apache.kafka.common.record.*; import org.apache.kafka.common.record.internal.*; import org.apache.kafka.common.requests.*;
import com.fasterxml.jackson.databind.*;
// Asks a broker for its logs and writes down what it answers: ../fixtures/dirs/*.tsv of dirs*.txt.
//   java -cp "<Kafka's jars>" DirsAsk.java PORT [hex] <dirs.txt
// A line is the API, the version, the request in JSON; `sleep MILLISECONDS`; or `produce TOPIC PARTITION RECORDS
// [PRODUCER EPOCH SEQUENCE]`, which is Produce 12. With `hex` it prints API, version and the bytes of both bodies.
public class DirsAsk {
  static String hex(byte[] b){ return HexFormat.of().formatHex(b); }
  static Message produce(String[] p) {
    long pid = p.length > 4 ? Long.parseLong(p[4]) : -1; short epoch = p.length > 5 ? Short.parseShort(p[5]) : -1;
    int seq = p.length > 6 ? Integer.parseInt(p[6]) : -1;
    MemoryRecordsBuilder b = new MemoryRecordsBuilder(ByteBuffer.allocate(1 << 16), RecordBatch.MAGIC_VALUE_V2, Compression.NONE,
        TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP, pid, epoch, seq, false, false, RecordBatch.NO_PARTITION_LEADER_EPOCH, 1 << 16);
    for (int i = 0; i < Integer.parseInt(p[3]); i++) b.append(1_700_000_000_000L + i, ("k" + i).getBytes(), ("value " + i).getBytes());
    ProduceRequestData d = new ProduceRequestData().setAcks((short) -1).setTimeoutMs(10000);
    d.topicData().add(new ProduceRequestData.TopicProduceData().setName(p[1]).setPartitionData(List.of(
        new ProduceRequestData.PartitionProduceData().setIndex(Integer.parseInt(p[2])).setRecords(b.build()))));
    return d;
  }
  public static void main(String[] a) throws Exception {
    ObjectMapper m = new ObjectMapper();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    Socket s = new Socket("127.0.0.1", Integer.parseInt(a[0]));
    boolean withHex = a.length > 1 && a[1].equals("hex");
    int corr = 0; String line;
    while ((line = in.readLine()) != null) {
      line = line.strip(); if (line.isEmpty() || line.startsWith("#")) { System.out.println(line.isEmpty()?"#":line); continue; }
      if (line.startsWith("sleep ")) { Thread.sleep(Integer.parseInt(line.substring(6))); if (withHex) System.out.println(line); continue; }
      boolean produces = line.startsWith("produce ");
      String[] p = produces ? new String[]{"Produce", "12"} : line.split(" ", 3); short v = Short.parseShort(p[1]);
      ApiKeys key = null; for (ApiKeys k : ApiKeys.values()) if (k.messageType.name().replace("_","").equalsIgnoreCase(p[0])) key = k;
      String base = "org.apache.kafka.common.message."+p[0];
      Message data = produces ? produce(line.split(" "))
          : (Message) Class.forName(base+"RequestDataJsonConverter").getMethod("read", JsonNode.class, short.class).invoke(null, m.readTree(p[2]), v);
      ObjectSerializationCache c = new ObjectSerializationCache();
      RequestHeader h = new RequestHeader(key, v, "test", ++corr);
      ByteBuffer b = RequestUtils.serialize(h.data(), h.headerVersion(), data, v);
      byte[] out = new byte[b.remaining()]; b.get(out);
      int hs = h.data().size(c, h.headerVersion());
      DataOutputStream o = new DataOutputStream(s.getOutputStream()); o.writeInt(out.length); o.write(out); o.flush();
      DataInputStream i = new DataInputStream(s.getInputStream()); byte[] r = new byte[i.readInt()]; i.readFully(r);
      ByteBuffer rb = ByteBuffer.wrap(r); ResponseHeader.parse(rb, key.responseHeaderVersion(v));
      int rs = rb.position();
      Class<?> rd = Class.forName(base+"ResponseData");
      Object resp = rd.getConstructor(org.apache.kafka.common.protocol.Readable.class, short.class).newInstance(new ByteBufferAccessor(rb), v);
      Object j = Class.forName(base+"ResponseDataJsonConverter").getMethod("write", rd, short.class).invoke(null, resp, v);
      if (withHex) System.out.println(p[0]+"\t"+v+"\t"+hex(Arrays.copyOfRange(out, hs, out.length))+"\t"+hex(Arrays.copyOfRange(r, rs, r.length)));
      else { System.out.println("> "+line); System.out.println("< "+j); }
    }
  }
}
