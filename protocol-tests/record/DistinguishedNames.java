// Prints what Java makes of distinguished names, for src/security/testdata/distinguished_names.tsv: the DER in hex, a tab, and
// X500Principal.getName(), which is what Kafka's principals of certificates are.
//     java protocol-tests/record/DistinguishedNames.java > src/security/testdata/distinguished_names.tsv

import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

public class DistinguishedNames {
    public static void main(String[] args) {
        String[] names = {
            "CN=Duke, OU=JavaSoft, O=Sun Microsystems, C=US",
            "CN=localhost",
            "CN=a+UID=b, O=Org",
            "CN=\"Org, Inc.\", O=\"a+b=c<d>e#f;g\\\"h\\\\i\"",
            "CN=\" lead and trail \", ST=Bayern, L=München, STREET=Hauptstraße 1",
            "EMAILADDRESS=duke@example.org, CN=Duke, DC=example, DC=org",
            "SERIALNUMBER=42, T=Dr, CN=x, 1.2.3.4=long",
            "CN=クライアント, O=組織",
            "DNQ=q, GIVENNAME=g, SURNAME=s, INITIALS=i, GENERATION=x, CN=plain's (name)/:?.-",
            "CN=" + "x".repeat(64) + ", OU=" + "y".repeat(64) + ", 2.5.4.13=" + "z".repeat(200),
            "",
        };
        for (String name : names) {
            X500Principal principal = new X500Principal(name);
            System.out.println(HexFormat.of().formatHex(principal.getEncoded()) + "\t" + principal.getName());
        }
    }
}
