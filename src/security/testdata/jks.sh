#!/bin/sh
# Makes the JKS files of this folder anew, and a PKCS12 file of one of them, with the JDK's keytool:
#     cd src/security/testdata && sh jks.sh
# protocol-tests/record/Stores.java then says what Java reads in them. Names of certificates are the aliases.
set -eu
export LC_ALL=C.UTF-8
authority=$(mktemp -d)/authority.p12
rm -f keytool-*.jks keytool-keystore-of-jks.p12

keytool() {
    command keytool "$@" -storepass fixture-secret -noprompt
}
ec() {
    keytool -genkeypair -keyalg EC -groupname secp256r1 -validity 36500 "$@"
}

ec -alias authority -dname CN=authority -ext bc:c -keystore "$authority" -storetype PKCS12
keytool -exportcert -rfc -alias authority -keystore "$authority" >"$authority.pem"

keys="-keystore keytool-keystore.jks -storetype JKS"
keytool -genkeypair -keyalg RSA -keysize 2048 -validity 36500 -alias rsa -dname CN=rsa -keypass fixture-secret $keys
ec -alias server-2024 -dname CN=server-2024 -keypass fixture-secret $keys
ec -alias server-2025 -dname CN=server-2025 -keypass fixture-secret $keys
keytool -importcert -alias authority -file "$authority.pem" $keys
keytool -certreq -alias server-2025 $keys |
    keytool -gencert -rfc -alias authority -validity 36500 -keystore "$authority" |
    keytool -importcert -alias server-2025 $keys
command keytool -importkeystore -srckeystore keytool-keystore.jks -srcstorepass fixture-secret -noprompt \
    -destkeystore keytool-keystore-of-jks.p12 -deststoretype PKCS12 -deststorepass fixture-secret

ec -alias own -dname CN=own -keypass Schlüssel-2 -keystore keytool-keypass.jks -storetype JKS

keytool -importcert -alias authority -file "$authority.pem" -keystore keytool-truststore.jks -storetype JKS
ec -alias zürich -dname CN=zürich -keystore "$authority" -storetype PKCS12
keytool -exportcert -rfc -alias zürich -keystore "$authority" |
    keytool -importcert -alias zürich -keystore keytool-truststore.jks -storetype JKS
rm -r "$(dirname "$authority")"
