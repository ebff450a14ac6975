// Prints what Kafka reads in key stores and trust stores, for src/security/testdata/stores.tsv, with Kafka's jars in $LIBS:
//     java -Dstdout.encoding=UTF-8 -cp "$LIBS/*" protocol-tests/record/Stores.java src/security/testdata \
//         > src/security/testdata/stores.tsv
// Each line: what is read, the file, the type, the password, the password of keys, and for a key store the subjects of the
// chain that a listener gives for a key of each kind, for a trust store those that are trusted, or why it is refused.
// Last, the order in which Java's key managers go over aliases.

import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509KeyManager;
import javax.net.ssl.X509TrustManager;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.security.ssl.DefaultSslEngineFactory;

public class Stores {
    static final String GIVEN = "fixture-secret";

    static final String[][] KEY_STORES = {
        {"keytool-keystore.jks", "JKS", GIVEN, null},
        {"keytool-keystore.jks", "jks", GIVEN, GIVEN},
        {"keytool-keystore.jks", "PKCS12", GIVEN, null},
        {"keytool-keystore.jks", "JKS", "wrong", null},
        {"keytool-keystore.jks", "JKS", "wrong", GIVEN},
        {"keytool-keystore.jks", "PKCS12", "wrong", null},
        {"keytool-keystore.jks", "JKS", GIVEN, "wrong"},
        {"keytool-keypass.jks", "JKS", GIVEN, "Schlüssel-2"},
        {"keytool-keypass.jks", "JKS", GIVEN, null},
        {"keytool-truststore.jks", "JKS", GIVEN, null},
        {"keytool-keystore-of-jks.p12", "PKCS12", GIVEN, null},
        {"keytool-keystore-of-jks.p12", "JKS", GIVEN, null},
        {"keytool-keystore-of-jks.p12", "JKS", "wrong", null},
    };

    static final String[][] TRUST_STORES = {
        {"keytool-truststore.jks", "JKS", GIVEN, null},
        {"keytool-truststore.jks", "JKS", null, null},
        {"keytool-truststore.jks", "PKCS12", null, null},
        {"keytool-truststore.jks", "JKS", "wrong", null},
        {"keytool-keystore.jks", "JKS", null, null},
        {"keytool-keypass.jks", "JKS", GIVEN, null},
        {"keytool-keystore-of-jks.p12", "JKS", GIVEN, null},
        {"keytool-keystore-of-jks.p12", "JKS", null, null},
    };

    public static void main(String[] args) {
        for (String[] row : KEY_STORES) {
            print(args[0], "keystore", row);
        }
        for (String[] row : TRUST_STORES) {
            print(args[0], "truststore", row);
        }
        Stream<String> few = Stream.of("broker", "kafka", "localhost", "mykey", "new", "old", "server", "zürich", "鍵");
        print(few);
        print(IntStream.range(0, 12).mapToObj(n -> "broker-" + n));
        print(IntStream.range(0, 13).mapToObj(n -> "broker-" + n));
        print(IntStream.range(0, 26).mapToObj(n -> n + ".kafka.example.org"));
    }

    static void print(Stream<String> aliases) {
        Map<String, Boolean> map = new HashMap<>();
        aliases.sorted().forEach(alias -> map.put(alias, true));
        System.out.println("aliases\t" + String.join(",", map.keySet()));
    }

    static void print(String folder, String what, String[] row) {
        Stream<String> cells = Arrays.stream(row).map(cell -> cell == null ? "" : cell);
        String answer;
        try {
            answer = answer(what, folder + "/" + row[0], row);
        } catch (Exception error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            answer = "refused: " + cause.getMessage();
        }
        System.out.println(what + "\t" + cells.collect(Collectors.joining("\t")) + "\t" + answer);
    }

    static String answer(String what, String path, String[] row) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("ssl.protocol", "TLSv1.3");
        settings.put("ssl.cipher.suites", List.of());
        settings.put("ssl.enabled.protocols", List.of("TLSv1.3"));
        settings.put("ssl." + what + ".type", row[1]);
        settings.put("ssl." + what + ".location", path);
        settings.put("ssl." + what + ".password", row[2] == null ? null : new Password(row[2]));
        settings.put("ssl.key.password", row[3] == null ? null : new Password(row[3]));
        settings.put("ssl.trustmanager.algorithm", TrustManagerFactory.getDefaultAlgorithm());
        try (DefaultSslEngineFactory factory = new DefaultSslEngineFactory()) {
            factory.configure(settings);
            boolean isKeyStore = what.equals("keystore");
            return isKeyStore ? keys(factory.keystore(), row[3] == null ? row[2] : row[3]) : trusted(factory.truststore());
        }
    }

    static String keys(KeyStore store, String password) throws Exception {
        KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, password.toCharArray());
        X509KeyManager manager = (X509KeyManager) factory.getKeyManagers()[0];
        List<String> found = new ArrayList<>();
        for (String kind : List.of("EC", "RSA")) {
            String alias = manager.chooseServerAlias(kind, null, null);
            if (alias != null) {
                X509Certificate[] chain = manager.getCertificateChain(alias);
                found.add(kind + ": " + Arrays.stream(chain).map(Stores::subject).collect(Collectors.joining(" ")));
            }
        }
        return String.join("; ", found);
    }

    static String trusted(KeyStore store) throws Exception {
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        X509Certificate[] trusted = ((X509TrustManager) factory.getTrustManagers()[0]).getAcceptedIssuers();
        return String.join(" ", new TreeSet<>(Arrays.stream(trusted).map(Stores::subject).toList()));
    }

    static String subject(X509Certificate certificate) {
        return certificate.getSubjectX500Principal().getName();
    }
}
