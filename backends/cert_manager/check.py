"""``istio-signer check`` for cert-manager: rights, the issuer, and whether anybody approves."""

from typing import Any

from backends.cert_manager.settings import CertManagerSettings
from backends.intermediate.check import check_lifetime
from backends.kube_requests.kind import conditions, is_true, words
from backends.kube_requests.rights import requests_rights
from backends.remote.roots import check_roots
from signer.core.spec import BackendContext, Finding, NoAnswer
from signer.kube.answer import ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.connect import connect
from signer.kube.no_cluster import NoCluster
from signer.kube.rights import Right, check_rights

_SECONDS = 5.0
_GROUP, _PLURAL = "cert-manager.io", "certificaterequests"
_PLURALS = {"Issuer": "issuers", "ClusterIssuer": "clusterissuers"}


def check(settings: CertManagerSettings, context: BackendContext) -> list[Finding]:
    """Judge the settings and the file they name."""
    where, issuer = f"backends.{context.name}", settings.issuer
    text = f"{settings.mode} by {issuer.kind} {issuer.name} ({issuer.group}), requests in {settings.namespace}"
    findings = [Finding("ok", where, text)]
    if settings.mode == "intermediate":
        findings += check_lifetime(settings.intermediate, context)
    return [*findings, *check_roots(settings.roots_file, context.name)]


async def check_live(settings: CertManagerSettings, context: BackendContext) -> list[Finding]:
    """Ask the API server: is cert-manager there, may we, is the issuer ready, is anybody approving?"""
    where = f"backends.{context.name}"
    try:
        api = await connect(*context.cluster(settings.kubeconfig, settings.kube_context))
    except NoCluster as error:
        return [Finding("error", where, str(error))]
    try:
        return [
            *await _rights(api, settings, where),
            *await _issuer(api, settings, where),
            *await _approval(api, settings, where),
        ]
    except ApiUnavailable as error:
        return [NoAnswer("error", where, f"the API server gives no answer: {error}")]
    finally:
        await api.close()


async def _rights(api: KubeApi, settings: CertManagerSettings, where: str) -> list[Finding]:
    requests = requests_rights(_GROUP, _PLURAL, settings.namespace)
    findings = await check_rights(api, requests, f"{where}.namespace", "istio-signer-cert-manager")
    followed = settings.runtime_config_map
    if followed is None:
        return findings
    # By name: the watch selects by it, and so no other ConfigMap need be open to this account.
    reading = [Right(verb, "", "configmaps", followed.namespace, name=followed.name) for verb in ("list", "watch")]
    key = f"{where}.runtime_config_map"
    return [*findings, *await check_rights(api, reading, key, "istio-signer-runtime-config-map")]


async def _get(api: KubeApi, path: str) -> tuple[int, dict[str, Any]]:
    answer = await api.call("GET", path, _SECONDS)
    return answer.status, answer.body


async def _issuer(api: KubeApi, settings: CertManagerSettings, where: str) -> list[Finding]:
    issuer, key = settings.issuer, f"{where}.issuer"
    plural = _PLURALS.get(issuer.kind)
    if plural is None or issuer.group != _GROUP:
        text = f"{issuer.kind} of {issuer.group} is an external issuer: whether it is ready cannot be told from here"
        return [Finding("ok", key, text)]
    place = f"/namespaces/{settings.namespace}" if issuer.kind == "Issuer" else ""
    status, body = await _get(api, f"/apis/{_GROUP}/v1{place}/{plural}/{issuer.name}")
    if status == 403:
        return [Finding("ok", key, f"{issuer.kind} {issuer.name} may not be read by this account, as it need not be")]
    if status == 404:
        text = f"there is no {issuer.kind} {issuer.name}, or cert-manager is not installed"
        return [Finding("error", key, text, f"kubectl get {plural}.{_GROUP}{' -A' if place else ''}")]
    if any(is_true(condition, "Ready") for condition in conditions(body)):
        return [Finding("ok", key, f"{issuer.kind} {issuer.name} is ready")]
    told = "; ".join(map(words, conditions(body))) or "it has no status: does cert-manager run?"
    return [Finding("error", key, f"{issuer.kind} {issuer.name} is not ready: {told}")]


async def _approval(api: KubeApi, settings: CertManagerSettings, where: str) -> list[Finding]:
    """By what became of the requests that are there; without any, nothing can be told without making one."""
    path = f"/apis/{_GROUP}/v1/namespaces/{settings.namespace}/{_PLURAL}?limit=20"
    status, body = await _get(api, path)
    items = body.get("items") or [] if status == 200 else []
    waiting = [item for item in items if not conditions(item)]
    if items and len(waiting) == len(items):
        text = (
            f"none of the last {len(items)} CertificateRequests was approved or denied: run cert-manager's approver "
            "(its default), or approver-policy with a CertificateRequestPolicy for istio-signer"
        )
        return [Finding("error", f"{where}.issuer", text)]
    return []
