#!/usr/bin/env bash
# Makes the certificates of the TLS tests: an authority, and a certificate for 127.0.0.1 that it signs. Both are valid for
# 100 years; the authority's key is thrown away. Needs OpenSSL.
set -euo pipefail
cd "$(dirname "$0")"
key=$(mktemp)
trap 'rm -f "$key" request.pem' EXIT
new=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
"${new[@]}" -x509 -days 36500 -subj "/CN=Magpie tests" -keyout "$key" -out authority.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
"${new[@]}" -subj "/CN=loopback" -keyout server.key -out request.pem
openssl x509 -req -in request.pem -CA authority.pem -CAkey "$key" -days 36500 -out server.pem \
    -extfile <(echo "subjectAltName=IP:127.0.0.1")
