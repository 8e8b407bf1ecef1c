"""Why there is no connection to an API server that calls could be sent by."""


class NoCluster(Exception):
    """There is no usable connection configuration; the message says what is missing and what to do."""


class NotInPod(NoCluster):
    """A pod's own service account is to be used, and this process runs in no pod: nothing is wrong but the place."""
