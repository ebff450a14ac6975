import java.util.ArrayList;
import java.util.List;
import java.util.Map;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** `Transactions ADDRESS TRANSACTIONAL_ID TOPIC PREFIX` commits and aborts in turn and prints the committed values. */
public class Transactions {
    static final int TRANSACTIONS = 4;
    static final int EACH = 5;

    public static void main(String[] args) {
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "transactional.id", args[1]);
        List<String> committed = new ArrayList<>();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            for (int t = 0; t < TRANSACTIONS; t++) {
                producer.beginTransaction();
                for (int i = 0; i < EACH; i++) {
                    String value = args[3] + "-" + t + "-" + i;
                    producer.send(new ProducerRecord<>(args[2], "key" + i, value));
                    if (t % 2 == 0) {
                        committed.add(value);
                    }
                }
                producer.flush();
                if (t % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
        committed.forEach(System.out::println);
    }
}
