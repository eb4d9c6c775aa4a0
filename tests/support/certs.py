"""Certificates for tests, made on the spot with openssl: a CA, what it signed, and a CA nobody trusts."""

import os
import subprocess


def run(*args, **kwargs):
    subprocess.run(["openssl", *args], check=True, capture_output=True, **kwargs)


def make_ca(folder, name):
    key, certificate = os.path.join(folder, f"{name}.key"), os.path.join(folder, f"{name}.pem")
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
        f"/CN={name}", "-keyout", key, "-out", certificate)
    return key, certificate


def make_certificate(folder, ca_name, name, alternatives):
    """A certificate of the CA for these names ("DNS:x,IP:y"). (key, certificate)."""
    stem = os.path.join(folder, name)
    ca = os.path.join(folder, ca_name)
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
        f"{stem}.key", "-out", f"{stem}.csr")
    with open(f"{stem}.ext", "w", encoding="ascii") as file:
        file.write(f"subjectAltName={alternatives}\n")
    run("x509", "-req", "-in", f"{stem}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days",
        "30", "-extfile", f"{stem}.ext", "-out", f"{stem}.pem")
    return f"{stem}.key", f"{stem}.pem"


class Certificates:
    """Paths in one folder: ca, other_ca, and (key, certificate) pairs server, misnamed, client; of the
    other CA other_server and stranger."""

    def __init__(self, folder):
        folder = str(folder)
        self.ca = make_ca(folder, "ca")[1]
        self.other_ca = make_ca(folder, "other-ca")[1]
        self.server = make_certificate(folder, "ca", "server", "DNS:server.global.nomad,DNS:localhost,IP:127.0.0.1")
        self.misnamed = make_certificate(folder, "ca", "misnamed", "DNS:server.global.nomad")
        self.client = make_certificate(folder, "ca", "client", "DNS:client.global.nomad")
        self.other_server = make_certificate(folder, "other-ca", "other-server", "DNS:localhost,IP:127.0.0.1")
        self.stranger = make_certificate(folder, "other-ca", "stranger", "DNS:client.global.nomad")
