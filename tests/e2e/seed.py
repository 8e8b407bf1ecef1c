"""The guide's own words: the objects and commands of "How to Automate Istio mTLS Certificate Rotation", to be run."""

import base64
import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.api import Kube
from tests.cluster.poll import until

ISSUER = "istio-ca"
SECRET = "istio-ca-secret"

GENERATE_ROOT = """
openssl req -x509 -sha256 -nodes -days 365 -newkey rsa:4096 \\
  -subj "/O=example Inc./CN=example.com" \\
  -keyout ca.key -out ca.crt
"""

CLUSTER_ISSUER = """
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata:
  name: istio-ca
spec:
  ca:
    secretName: istio-ca-secret
"""

CACERTS = """
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: cacerts
  namespace: istio-system
spec:
  secretName: cacerts
  duration: 720h # 30 days
  renewBefore: 168h # Renew 7 days before expiry
  commonName: istio-ca
  isCA: true
  usages:
    - digital signature
    - key encipherment
    - cert sign
  dnsNames:
    - istio-ca.istio-system.svc
  issuerRef:
    name: istio-ca
    kind: ClusterIssuer
"""


def shell(script: str, folder: Path, **variables: str) -> str:
    """Run lines of the guide in a folder, and give what they print; the first that fails ends them.

    Raises:
        subprocess.CalledProcessError: One failed; its output holds what it printed.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": _path(), "HOME": str(folder), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, script, done.stdout)
    return done.stdout


def make_issuer(kube: Kube, folder: Path) -> Path:
    """Make the guide's root and its ClusterIssuer, and wait until it is ready; give the root's file.

    `kubectl create secret tls` is the one command in other words: there is no kubectl, only the API that it calls.
    """
    shell(GENERATE_ROOT, folder)
    content = {"tls.crt": (folder / "ca.crt").read_text(), "tls.key": (folder / "ca.key").read_text()}
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "cert-manager"}}
    kube.create_namespace("cert-manager")
    kube.apply({**head, "type": "kubernetes.io/tls", "stringData": content})
    kube.wait_condition(kube.apply(CLUSTER_ISSUER)[0], deadline=20)
    return folder / "ca.crt"


def secret(kube: Kube, name: str, namespace: str, deadline: float = 20.0) -> dict[str, str]:
    """The contents of a Secret, once it is there and whole."""

    def found() -> dict[str, str] | None:
        stored = {item["metadata"]["name"]: item for item in kube.list_all("v1", "Secret", namespace)}
        data = stored.get(name, {}).get("data", {})
        return {key: base64.b64decode(text).decode() for key, text in data.items()} if data.get("tls.crt") else None

    return until(found, deadline=deadline, what=f"the Secret {namespace}/{name}")


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
