import java.io.*; import java.net.*; import java.nio.*; import java.util.*; import java.lang.reflect.*;
import org.apache.kafka.common.protocol.*; import org.apache.kafka.common.requests.*;
import com.fasterxml.jackson.databind.*; import com.fasterxml.jackson.databind.node.*;
// Asks a broker and writes down what it answers: ../fixtures/groups/groups.tsv of groups.txt, transactions likewise.
//   java -cp "<Kafka's jars>" GroupAsk.java PORT [hex] <groups.txt
// A line is the API, the version, the request in JSON; after `- ` it is not written down. `sleep MILLISECONDS`; `set NAME [FIELD]`: $NAME is then the member id,
// or that field, of the last answer. With `hex` it prints API, version and the bytes of both bodies.
public class GroupAsk {
  static String hex(byte[] b){ return HexFormat.of().formatHex(b); }
  public static void main(String[] a) throws Exception {
    ObjectMapper m = new ObjectMapper();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    Socket s = new Socket("127.0.0.1", Integer.parseInt(a[0]));
    boolean withHex = a.length > 1 && a[1].equals("hex");
    int corr = 0; String line; Map<String,String> vars = new LinkedHashMap<>(); JsonNode last = null;
    while ((line = in.readLine()) != null) {
      line = line.strip(); if (line.isEmpty() || line.startsWith("#")) { System.out.println(line.isEmpty()?"#":line); continue; }
      if (line.startsWith("sleep ")) { Thread.sleep(Integer.parseInt(line.substring(6))); continue; }
      if (line.startsWith("set ")) { String[] w = line.split(" "); vars.put(w[1], last.get(w.length > 2 ? w[2] : "memberId").asText()); continue; }
      boolean prepares = line.startsWith("- "); if (prepares) line = line.substring(2);
      String shown = line; for (var e : vars.entrySet()) line = line.replace("$"+e.getKey(), e.getValue());
      String[] p = line.split(" ", 3); short v = Short.parseShort(p[1]);
      ApiKeys key = null; for (ApiKeys k : ApiKeys.values()) if (k.messageType.name().replace("_","").equalsIgnoreCase(p[0])) key = k;
      String base = "org.apache.kafka.common.message."+p[0];
      Class<?> rq = Class.forName(base+"RequestDataJsonConverter");
      Object data = rq.getMethod("read", JsonNode.class, short.class).invoke(null, m.readTree(p[2]), v);
      ObjectSerializationCache c = new ObjectSerializationCache();
      RequestHeader h = new RequestHeader(key, v, "test", ++corr);
      ByteBuffer b = RequestUtils.serialize(h.data(), h.headerVersion(), (Message) data, v);
      byte[] out = new byte[b.remaining()]; b.get(out);
      int hs = h.data().size(c, h.headerVersion());
      DataOutputStream o = new DataOutputStream(s.getOutputStream()); o.writeInt(out.length); o.write(out); o.flush();
      DataInputStream i = new DataInputStream(s.getInputStream()); byte[] r = new byte[i.readInt()]; i.readFully(r);
      ByteBuffer rb = ByteBuffer.wrap(r); ResponseHeader.parse(rb, key.responseHeaderVersion(v));
      int rs = rb.position();
      Class<?> rd = Class.forName(base+"ResponseData");
      Object resp = rd.getConstructor(org.apache.kafka.common.protocol.Readable.class, short.class).newInstance(new ByteBufferAccessor(rb), v);
      Class<?> rj = Class.forName(base+"ResponseDataJsonConverter");
      JsonNode j = (JsonNode) rj.getMethod("write", rd, short.class).invoke(null, resp, v);
      if (withHex) { ObjectNode n = m.createObjectNode(); n.put("api", p[0]); n.put("version", v); n.set("request", m.readTree(p[2])); n.put("request_hex", hex(Arrays.copyOfRange(out, hs, out.length))); n.set("response", j); n.put("response_hex", hex(Arrays.copyOfRange(r, rs, r.length))); last = j; if (!prepares && !p[0].equals("FindCoordinator")) System.out.println(p[0]+"\t"+v+"\t"+n.get("request_hex").asText()+"\t"+n.get("response_hex").asText()); }
      else { last = j; String t = j.toString(); for (var e : vars.entrySet()) t = t.replace(e.getValue(), "$"+e.getKey()); t = t.replaceAll("[0-9a-f]{8}-[0-9a-f-]{27}", "UUID"); System.out.println("> "+shown); System.out.println("< "+t); }
    }
  }
}
