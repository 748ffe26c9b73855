#!/usr/bin/env bash
# A private certificate authority, and a certificate by it for a server:
#
#   certs/private-ca.sh NAME...     host names or IP addresses; the first one names the files
#
# Needs openssl. Keys are P-256, readable by their owner only.
set -euo pipefail
umask 077
cd "$(dirname "$0")"

CA_DAYS=3650
# What browsers accept at most.
SERVER_DAYS=397

[ $# -gt 0 ] || { echo "usage: certs/private-ca.sh NAME..." >&2; exit 2; }
name=$1

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

if [ ! -e ca.key ]; then
    key ca.key
    openssl req -x509 -new -key ca.key -days $CA_DAYS -subj "/CN=confgate private CA" -out ca.pem \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
fi

names=
for each in "$@"; do
    case $each in
        *:*|*[0-9].[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
        *) kind=DNS ;;
    esac
    names+=${names:+,}$kind:$each
done

key "$name.key"
request=$(openssl req -new -key "$name.key" -subj "/CN=$name")
openssl x509 -req -in - -CA ca.pem -CAkey ca.key -CAcreateserial -days $SERVER_DAYS -out "$name.pem" <<<"$request" \
    -extfile <(printf '%s\n' "subjectAltName=$names" basicConstraints=critical,CA:FALSE \
        keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth)
echo "ca.pem, $name.pem, $name.key"
